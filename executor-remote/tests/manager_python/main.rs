//! A stock Python interpreter uses the objects of a Rust manager: `tests/python/manager_client.py`, by CPython's own proxies.
//!
//! Some managers are processes of their own, which start this program again, so its `main` decides what the process is.

#[path = "../../../executor-process/tests/common/harness.rs"]
#[macro_use]
mod harness;
mod objects;
mod processes;
mod support;

use std::process::ExitCode;

fn main() -> ExitCode {
    executor_process::init();
    if let Some(role) = std::env::args().nth(1).and_then(|arg| arg.strip_prefix("role=").map(str::to_owned)) {
        processes::play(&role);
        return ExitCode::SUCCESS;
    }
    let tests = harness::selected(&[objects::TESTS, processes::TESTS]);
    let mut tally = harness::Tally::start(tests.len());
    tally.run(tests, |(_, test)| test());
    tally.end()
}
