//! Pools of real worker processes, put under stress: workers that are killed, fed with rubbish, replaced, and left alone.
//!
//! The test program is its own worker, and, in some tests, a program of its own with a pool (`roles`), so its `main` decides
//! what the process is. Tests run one after the other, because each is checked for descriptors, threads and
//! processes that it has left. They wait for events; the limits in `support` only turn a hang into a failure.

mod burden;
mod channel;
mod deaths;
mod ends;
mod ledger;
mod nesting;
mod output;
mod recycling;
mod roles;
mod starts;
mod stops;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use std::time::Instant;

use support::{Leftovers, Watchdog, leftovers};

fn main() -> ExitCode {
    roles::before_init();
    executor_process::init();
    roles::after_init();
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let tests: Vec<_> = [
        deaths::TESTS,
        recycling::TESTS,
        output::TESTS,
        starts::TESTS,
        nesting::TESTS,
        ends::TESTS,
        channel::TESTS,
        stops::TESTS,
        burden::TESTS,
    ]
    .concat()
    .into_iter()
    .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter)))
    .collect();
    println!("\nrunning {} tests", tests.len());
    let watchdog = Watchdog::start();
    let mut nothing = leftovers();
    let failed = tests.iter().filter(|test| !passes(test, &watchdog, &mut nothing)).count();
    println!("\ntest result: {} passed; {failed} failed\n", tests.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

/// After every test, nothing of its pools may be left.
fn passes((name, test): &(&'static str, fn()), watchdog: &Watchdog, nothing: &mut Leftovers) -> bool {
    watchdog.begin(name);
    let began = Instant::now();
    let passed = catch_unwind(AssertUnwindSafe(|| {
        test();
        support::eventually_equal("nothing is left behind", leftovers, nothing);
    }))
    .is_ok();
    watchdog.end();
    println!("test {name} ... {} ({:.1?})", if passed { "ok" } else { "FAILED" }, began.elapsed());
    if !passed {
        // What it has left is its fault alone.
        *nothing = leftovers();
    }
    passed
}
