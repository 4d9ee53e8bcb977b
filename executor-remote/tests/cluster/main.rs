//! Agents and clients with real worker processes: bad peers, lost agents, executables, back-pressure.
//!
//! Agents start this program as their workers, and some tests start it as an agent or as a client of its own, so its `main`
//! decides what the process is. Tests wait for events; the limits in `support` only turn a hang into a failure.

mod executables;
mod lost;
mod peers;
mod sharing;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    executor_process::init();
    if let Some(role) = std::env::args().nth(1).and_then(|arg| arg.strip_prefix("role=").map(str::to_owned)) {
        support::play(&role);
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let tests: Vec<_> = [peers::TESTS, lost::TESTS, executables::TESTS, sharing::TESTS]
        .concat()
        .into_iter()
        .filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(filter)))
        .collect();
    println!("\nrunning {} tests", tests.len());
    let failed = tests.iter().filter(|test| !passes(test)).count();
    println!("\ntest result: {} passed; {failed} failed\n", tests.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

fn passes((name, test): &(&str, fn())) -> bool {
    let start = Instant::now();
    let passed = catch_unwind(AssertUnwindSafe(test)).is_ok();
    println!("test {name} ... {} ({} ms)", if passed { "ok" } else { "FAILED" }, start.elapsed().as_millis());
    passed
}
