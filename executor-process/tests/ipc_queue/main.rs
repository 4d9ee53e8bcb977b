//! Queues and pipes between real processes, some of which are killed.
//!
//! The test program has one thread, so that it can fork (until the last tests); each child runs one closure with the queues that it inherits, and exits.
//! Tests run one after the other, because they count descriptors and children. They wait for events, never for
//! time; an alarm turns a hang into a failure.

mod deaths;
mod handles;
mod pipes;
mod support;
mod traffic;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    executor_process::init();
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let tests: Vec<_> = [traffic::TESTS, deaths::TESTS, pipes::TESTS, handles::TESTS]
        .concat()
        .into_iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter)))
        .collect();
    println!("\nrunning {} tests", tests.len());
    let failed = tests.iter().filter(|test| !passes(test)).count();
    println!("\ntest result: {} passed; {failed} failed\n", tests.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

/// After every test, nothing may be left of it.
fn passes((name, test): &(&str, fn())) -> bool {
    let before = support::descriptors();
    support::alarm(120);
    let passed = catch_unwind(AssertUnwindSafe(|| {
        test();
        assert_eq!(support::descriptors(), before, "descriptors were leaked");
        assert!(!support::has_children(), "children were left");
    }))
    .is_ok();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}
