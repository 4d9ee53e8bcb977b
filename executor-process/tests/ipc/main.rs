//! The primitives of `ipc` between real processes: mutual exclusion, deaths at bad moments, and what is left behind.
//!
//! Children are forks of this program, which has one thread in `main` whenever it forks (but for those that the library
//! keeps for a moment), so that they have the handles of their parent. Tests run one after the other, because
//! they count descriptors, threads and children. They wait for events; the limits in `support` only turn a hang into
//! a failure.

mod left_behind;
mod locks;
mod support;
mod values;
mod waits;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use support::Leftovers;

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let tests: Vec<_> = [locks::TESTS, values::TESTS, waits::TESTS, left_behind::TESTS]
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
    let before = Leftovers::now();
    let passed = catch_unwind(AssertUnwindSafe(|| {
        test();
        before.are_all();
    }))
    .is_ok();
    println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
    passed
}
