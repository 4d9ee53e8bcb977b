//! Real worker processes: how they start, what they find, how they end and what is left of them.
//!
//! The test program starts itself as the worker, so it has a `main` of its own, which decides what the process is. Tests
//! run one after the other, because they count descriptors and children. They wait for events, never for time; the
//! limit in `support` only turns a hang into a failure.

mod capture;
mod death;
mod recovery;
mod roles;
mod start;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use support::{children, descriptors};

fn main() -> ExitCode {
    roles::take_over();
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let tests: Vec<_> = [start::TESTS, death::TESTS, recovery::TESTS, capture::TESTS]
        .concat()
        .into_iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter)))
        .collect();
    println!("\nrunning {} tests", tests.len());
    let failed = tests.iter().filter(|test| !passes(test)).count();
    println!("\ntest result: {} passed; {failed} failed\n", tests.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

/// After every test, nothing of its workers may be left.
fn passes((name, test): &(&str, fn())) -> bool {
    let before = descriptors();
    let passed = catch_unwind(AssertUnwindSafe(|| {
        test();
        assert_eq!(descriptors(), before, "descriptors were leaked");
        assert_eq!(children(), Vec::<i32>::new(), "children were left");
    }))
    .is_ok();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}
