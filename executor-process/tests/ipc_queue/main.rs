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

#[path = "../common/harness.rs"]
mod harness;

use std::process::ExitCode;

use harness::{Tally, selected};

fn main() -> ExitCode {
    executor_process::init();
    let tests = selected(&[traffic::TESTS, deaths::TESTS, pipes::TESTS, handles::TESTS]);
    let mut tally = Tally::start(tests.len());
    tally.run(tests, |(_, test)| {
        let before = support::descriptors();
        support::alarm(600);
        test();
        assert_eq!(support::descriptors(), before, "descriptors were leaked");
        assert!(!support::has_children(), "children were left");
    });
    tally.end()
}
