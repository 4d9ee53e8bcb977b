//! Runs the tests of programs whose `main` decides what the process is, a worker or a test program, so that it cannot be
//! the usual one.
//!
//! Tests run one after the other, so that each can be charged with what it leaves behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A test and its name.
pub type Test = (&'static str, fn());

/// The tests of a module.
pub type Tests = &'static [Test];

/// Names the tests of a module.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// The tests of this module.
        pub const TESTS: $crate::harness::Tests = &[$((stringify!($name), $name)),*];
    };
}

/// The tests whose names contain one of the program's arguments; all if there are none. Options, which come from `cargo test`,
/// say nothing.
pub fn selected(modules: &[Tests]) -> Vec<Test> {
    let filters: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let is_selected = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    modules.concat().into_iter().filter(|(name, _)| is_selected(name)).collect()
}

/// How the tests so far have ended.
pub struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Announces so many tests.
    pub fn start(count: usize) -> Self {
        println!("\nrunning {count} tests");
        Self { passed: 0, failed: 0 }
    }

    /// Runs tests, each by `check`, which calls it and then looks at what it has left behind.
    pub fn run(&mut self, tests: Vec<Test>, mut check: impl FnMut(Test)) {
        for (name, test) in tests {
            let began = Instant::now();
            let outcome = catch_unwind(AssertUnwindSafe(|| check((name, test))));
            let word = if outcome.is_ok() { "ok" } else { "FAILED" };
            println!("test {name} ... {word} ({:.1?})", began.elapsed());
            *(if outcome.is_ok() { &mut self.passed } else { &mut self.failed }) += 1;
        }
    }

    /// Says how many have passed, in the words of the usual `main`.
    pub fn end(self) -> ExitCode {
        println!("\ntest result: {} passed; {} failed\n", self.passed, self.failed);
        ExitCode::from(u8::from(self.failed > 0))
    }
}
