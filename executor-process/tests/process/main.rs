//! Functions in processes of their own: what comes back, how they end, and that nothing is left of them.
//!
//! The test program starts itself, so its `main` decides what the process is. It has one thread, so that it can be forked;
//! tests that need threads run in a program of their own (`roles`). After every test, descriptors and children are
//! counted.

mod ends;
mod forks;
mod roles;
mod support;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use executor_process::Process;
use support::{eventually_equal, leftovers};

fn main() -> ExitCode {
    roles::before_init();
    executor_process::init();
    roles::after_init();
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |test: &&(&str, fn())| filters.is_empty() || filters.iter().any(|it| test.0.contains(it));
    let with_one_thread: Vec<_> = forks::TESTS.iter().filter(is_wanted).collect();
    let others: Vec<_> = [values::TESTS, ends::TESTS].into_iter().flatten().filter(is_wanted).collect();
    let count = with_one_thread.len() + others.len();
    println!("\nrunning {count} tests");
    let before = leftovers();
    let mut failed = with_one_thread.into_iter().filter(|test| !passes(test, &before)).count();
    // The library's own thread stays once it was started, with two descriptors; so it is there before they are counted.
    futures::executor::block_on(Process::spawn(|()| (), ()).expect("a process")).expect("a value");
    let before = (before.0 + 2, before.1);
    failed += others.into_iter().filter(|test| !passes(test, &before)).count();
    println!("\ntest result: {} passed; {failed} failed\n", count - failed);
    ExitCode::from(u8::from(failed > 0))
}

fn passes((name, test): &(&'static str, fn()), before: &(usize, Vec<i32>)) -> bool {
    let passed = catch_unwind(AssertUnwindSafe(|| {
        test();
        eventually_equal("nothing is left behind", leftovers, before);
    }))
    .is_ok();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}
