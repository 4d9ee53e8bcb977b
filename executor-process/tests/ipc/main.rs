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

#[path = "../common/harness.rs"]
mod harness;

use std::process::ExitCode;

use harness::{Tally, selected};
use support::Leftovers;

fn main() -> ExitCode {
    let tests = selected(&[locks::TESTS, values::TESTS, waits::TESTS, left_behind::TESTS]);
    let mut tally = Tally::start(tests.len());
    tally.run(tests, |(_, test)| {
        let before = Leftovers::now();
        test();
        before.are_all();
    });
    tally.end()
}
