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

#[path = "../common/harness.rs"]
mod harness;

use std::process::ExitCode;

use harness::{Tally, selected};
use support::{children, descriptors};

fn main() -> ExitCode {
    roles::take_over();
    let tests = selected(&[start::TESTS, death::TESTS, recovery::TESTS, capture::TESTS]);
    let mut tally = Tally::start(tests.len());
    tally.run(tests, |(_, test)| {
        let before = descriptors();
        test();
        assert_eq!(descriptors(), before, "descriptors were leaked");
        assert_eq!(children(), Vec::<i32>::new(), "children were left");
    });
    tally.end()
}
