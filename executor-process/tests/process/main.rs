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

#[path = "../common/harness.rs"]
mod harness;
#[path = "../common/waiting.rs"]
mod waiting;

use std::process::ExitCode;

use executor_process::Process;
use harness::{Tally, Test, selected};
use support::{eventually_equal, leftovers};

fn main() -> ExitCode {
    roles::before_init();
    executor_process::init();
    roles::after_init();
    let with_one_thread = selected(&[forks::TESTS]);
    let others = selected(&[values::TESTS, ends::TESTS]);
    let mut tally = Tally::start(with_one_thread.len() + others.len());
    let before = leftovers();
    tally.run(with_one_thread, |test| check(test, &before));
    // The library's own thread stays once it was started, with two descriptors; so it is there before they are counted.
    futures::executor::block_on(Process::spawn(|()| (), ()).expect("a process")).expect("a value");
    let before = (before.0 + 2, before.1);
    tally.run(others, |test| check(test, &before));
    tally.end()
}

fn check((_, test): Test, before: &(usize, Vec<i32>)) {
    test();
    eventually_equal("nothing is left behind", leftovers, before);
}
