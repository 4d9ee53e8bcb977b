//! How a process that was started as a worker becomes one: [`init`] and [`init_before_main!`](crate::init_before_main).

use executor_core::OpenError;

/// The entry point of workers: the first line of `main`.
///
/// Executors of processes and machines start this very program again for each of their workers. In such a process, this
/// function takes over and never returns. In the program that a user started, it returns at once.
///
/// A pool that is opened in a worker which has not passed this fails with [`OpenError::InitMissing`], so that a program
/// that forgot it gets an error, and not workers that start workers.
///
/// # Examples
///
/// ```
/// fn main() {
///     executor::init();
///     // ...
/// }
/// ```
#[expect(clippy::needless_doctest_main, reason = "where the call stands is the point")]
pub fn init() {
    #[cfg(any(feature = "process", feature = "remote"))]
    executor_process::init();
}

/// An error in a worker that has not passed [`init`].
pub(crate) fn check() -> Result<(), OpenError> {
    #[cfg(any(feature = "process", feature = "remote"))]
    if executor_process::sys::worker::is_unentered() {
        return Err(OpenError::InitMissing);
    }
    Ok(())
}

/// Does what [`init`] does, from a constructor that runs before `main`: for test binaries, whose `main` is not ours.
///
/// Write it once, outside of functions, in each file under `tests/` that opens executors of processes or machines, and
/// in the `lib.rs` of a crate whose unit tests do, there behind `#[cfg(test)]`. A program with a `main` of its own
/// calls [`init`] instead: before `main`, Rust's runtime has not installed its handler for stack overflows, so that a
/// task that overflows its stack dies without saying so.
///
/// ```
/// use executor::prelude::*;
///
/// executor::init_before_main!();
///
/// fn tasks_run_in_processes() {
///     let ex = executor::open("process://?workers=1").unwrap();
///     let there = ex.submit(|()| std::process::id(), ()).wait().unwrap();
///     assert_ne!(there, std::process::id());
/// }
/// # #[cfg(feature = "process")]
/// # tasks_run_in_processes();
/// ```
///
/// Where there are no executors of processes (another system than Linux, or both `process` and `remote` turned off), it
/// expands to nothing.
#[cfg(all(target_os = "linux", any(feature = "process", feature = "remote")))]
#[macro_export]
macro_rules! init_before_main {
    () => {
        const _: () = {
            unsafe extern "C" fn constructor(
                argc: ::std::ffi::c_int,
                argv: *const *const ::std::ffi::c_char,
                envp: *const *const ::std::ffi::c_char,
            ) {
                // SAFETY: the loader calls this for the entry below.
                unsafe { $crate::__private::before_main(&ENTRY, argc, argv, envp) }
            }

            // SAFETY of the section: it holds functions that the loader calls with these arguments.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static ENTRY: $crate::__private::Entry = $crate::__private::Entry(constructor);
        };
    };
}

/// Does what [`init`] does, before `main`. Without executors of processes that is nothing.
#[cfg(not(all(target_os = "linux", any(feature = "process", feature = "remote"))))]
#[macro_export]
macro_rules! init_before_main {
    () => {};
}
