//! Objects that processes share: proxies here, in worker processes, on other machines, and of a Python program's manager.
//!
//! Workers and managers are this program started again, so its `main` decides what the process is. After every test, descriptors
//! of managers and children are counted.

mod deaths;
mod objects;
#[cfg(feature = "python-tests")]
mod python;
mod support;
mod travel;

#[path = "../../../executor-process/tests/common/harness.rs"]
mod harness;
#[path = "../../../executor-process/tests/common/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use harness::{Tally, Test, selected};

fn main() -> ExitCode {
    executor_process::init();
    let tests = selected(&[
        objects::TESTS,
        travel::TESTS,
        deaths::TESTS,
        #[cfg(feature = "python-tests")]
        python::TESTS,
    ]);
    let mut tally = Tally::start(tests.len());
    tally.run(tests, check);
    tally.end()
}

fn check((_, test): Test) {
    test();
    waiting::eventually_equal("no process is left behind", support::children, &Vec::new());
}
