//! The suite that every backend passes: the promises of [`Executor`], stated as tests.
//!
//! A backend gives a factory, which opens an executor with the options that a test asks for, and runs everything:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use executor_core::{Executor, Serial, conformance};
//! # fn open(_: &[(&str, &str)]) -> Arc<dyn Executor> { Arc::new(Serial::new()) }
//! // A test target with `harness = false`, whose worker entry point comes first.
//! fn main() -> std::process::ExitCode {
//!     // executor_process::init();
//!     conformance::main(open)
//! }
//! ```
//!
//! # The protocol
//!
//! * The factory is called with any of `workers`, `queue`, and, if the backend
//!   [stops running tasks](crate::Capabilities::stops_running), `grace`; what it is not given it leaves at its default.
//!   It may be called from several threads, and several of its executors live at the same time.
//! * What backends may differ in, they say in their [`Capabilities`]; a test asks these what to
//!   expect. None is left out, but a promise that a backend does not make (to survive an abort, say) has nothing to
//!   show there, which is printed.
//! * Each test has a thread, a folder and executors of its own, and a minute; one that takes longer has failed, and the
//!   others go on.
//! * Tasks may run in other processes of the same executable, so tests and tasks tell each other things through files
//!   and sockets of the loopback interface, never through statics. Nobody sleeps to wait for something.

mod asynchronous;
mod blob;
mod cancel;
mod circumstances;
mod codec;
mod errors;
mod futures;
#[cfg(unix)]
mod isolation;
mod lab;
mod limits;
mod map;
mod nesting;
mod order;
mod shared;
mod shutdown;
mod signal;
mod submit;
#[cfg(test)]
mod tests;
mod values;

use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, Once, mpsc};
use std::time::{Duration, Instant};

use lab::{Factory, Lab};

use crate::executor::{Capabilities, Executor};

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// One promise.
struct Test {
    topic: &'static str,
    name: &'static str,
    run: fn(&Lab),
}

/// Lists the tests of a topic.
macro_rules! list {
    ($($name:ident),+ $(,)?) => {
        pub(super) const TESTS: &[crate::conformance::Test] = &[
            $(crate::conformance::Test { topic: module_path!(), name: stringify!($name), run: $name }),+
        ];
    };
}
use list;

impl Test {
    fn path(&self) -> String {
        let topic = self.topic.rsplit("::").next().unwrap_or(self.topic);
        format!("{topic}::{}", self.name)
    }
}

fn all_tests() -> impl Iterator<Item = &'static Test> {
    [
        submit::TESTS,
        futures::TESTS,
        errors::TESTS,
        codec::TESTS,
        order::TESTS,
        cancel::TESTS,
        limits::TESTS,
        circumstances::TESTS,
        shared::TESTS,
        blob::TESTS,
        asynchronous::TESTS,
        map::TESTS,
        nesting::TESTS,
        shutdown::TESTS,
        #[cfg(unix)]
        isolation::TESTS,
    ]
    .into_iter()
    .flatten()
}

/// Runs all tests on the executors that `factory` opens: directly, and through a wrapper.
///
/// # Panics
///
/// If a test fails; the message names all that did.
///
/// # Blocking
///
/// Until all tests have ended.
pub fn run(factory: impl Fn(&[(&str, &str)]) -> Arc<dyn Executor> + Send + Sync + 'static) {
    let failed = Suite::new(factory).run_twice();
    assert!(
        failed.is_empty(),
        "{} tests of the conformance suite failed: {}",
        failed.len(),
        failed.join(", ")
    );
}

/// As [`run`], for a test target with `harness = false`: understands the arguments that `cargo test` passes on (names
/// or parts of names of tests, `--exact`, `--skip`, `--list`), and fails by the exit code.
///
/// # Blocking
///
/// Until all tests have ended.
pub fn main(factory: impl Fn(&[(&str, &str)]) -> Arc<dyn Executor> + Send + Sync + 'static) -> ExitCode {
    let selection = Selection::parse(std::env::args().skip(1));
    if selection.is_list {
        for test in all_tests().filter(|test| selection.wants(&test.path())) {
            println!("{}: test", test.path());
        }
        return ExitCode::SUCCESS;
    }
    let mut suite = Suite::new(factory);
    suite.selection = selection;
    match suite.run_twice().as_slice() {
        [] => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Which tests to run.
#[derive(Default)]
struct Selection {
    names: Vec<String>,
    skipped: Vec<String>,
    is_exact: bool,
    is_list: bool,
}

impl Selection {
    /// Arguments of the standard harness that have no meaning here are ignored.
    fn parse(args: impl Iterator<Item = String>) -> Self {
        let mut selection = Self::default();
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--exact" => selection.is_exact = true,
                "--list" => selection.is_list = true,
                "--skip" => selection.skipped.extend(args.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(args.next()),
                flag if flag.starts_with('-') => {}
                _ => selection.names.push(arg),
            }
        }
        selection
    }

    fn wants(&self, path: &str) -> bool {
        let matches = |name: &String| match self.is_exact {
            true => path == name,
            false => path.contains(name.as_str()),
        };
        (self.names.is_empty() || self.names.iter().any(matches)) && !self.skipped.iter().any(matches)
    }
}

struct Suite {
    factory: Arc<Factory>,
    selection: Selection,
}

impl Suite {
    fn new(factory: impl Fn(&[(&str, &str)]) -> Arc<dyn Executor> + Send + Sync + 'static) -> Self {
        Self { factory: Arc::new(factory), selection: Selection::default() }
    }

    fn run_twice(&self) -> Vec<String> {
        be_quiet_about_tasks();
        let direct = Arc::clone(&self.factory);
        let mut failed = self.run(&self.factory, "");
        // What is forwarded wrongly, or not at all, by `impl Executor for Box<E>` and `Arc<E>` is seen here.
        let wrapped: Arc<Factory> = Arc::new(move |options| {
            let boxed: Box<dyn Executor> = Box::new(direct(options));
            Arc::new(boxed)
        });
        failed.extend(self.run(&wrapped, ", wrapped"));
        failed
    }

    fn run(&self, factory: &Arc<Factory>, how: &str) -> Vec<String> {
        let can = factory(&[]).capabilities();
        println!("\nconformance of {}{how} ({})", can.scheme, described(&can));
        let start = Instant::now();
        let mut failed = Vec::new();
        let mut passed = 0;
        for test in all_tests().filter(|test| self.selection.wants(&test.path())) {
            let path = test.path();
            print!("test {path} ... ");
            // A failure to print is nobody's fault here.
            let _ = std::io::stdout().flush();
            let start = Instant::now();
            match run_one(test, factory, &can) {
                Ok(note) => {
                    passed += 1;
                    println!("ok{note} ({} ms)", start.elapsed().as_millis());
                }
                Err(reason) => {
                    println!("FAILED: {reason} ({} ms)", start.elapsed().as_millis());
                    failed.push(format!("{path} ({}{how})", can.scheme));
                }
            }
        }
        println!(
            "conformance of {}{how}: {passed} passed, {} failed in {:.1} s",
            can.scheme,
            failed.len(),
            start.elapsed().as_secs_f64()
        );
        failed
    }
}

/// Keeps panics of tasks, most of which are on purpose, out of the output: their errors tell them.
fn be_quiet_about_tasks() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !crate::panic::is_caught() {
                previous(info);
            }
        }));
    });
}

fn described(can: &Capabilities) -> String {
    let flags = [
        ("isolates", can.isolates),
        ("stops_running", can.stops_running),
        ("serializes", can.serializes),
        ("concurrent", can.concurrent),
        ("remote", can.remote),
    ];
    let set: Vec<&str> = flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    if set.is_empty() { "no capabilities".to_owned() } else { set.join(", ") }
}

/// Runs a test on a thread of its own. A note on success, a reason on failure.
fn run_one(test: &'static Test, factory: &Arc<Factory>, can: &Capabilities) -> Result<String, String> {
    let lab = Lab::new(test.path(), Arc::clone(factory), can.clone());
    let (ended, has_ended) = mpsc::channel::<()>();
    let thread = std::thread::Builder::new().name(test.path()).spawn(move || {
        // Dropped when the test returns or unwinds, which ends the wait below.
        let _ended = ended;
        (test.run)(&lab);
        lab.note()
    });
    let thread = thread.map_err(|error| format!("its thread could not be started: {error}"))?;
    if has_ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
        return Err(format!("it did not end within {LIMIT:?}"));
    }
    thread.join().map_err(|_| "it panicked, see above".to_owned())
}
