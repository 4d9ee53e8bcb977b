//! The conformance suite on a plain thread pool, once moving values and once serialising them: what it says of backends
//! that run tasks beside their submitter is itself tested here.

mod pool;

use std::process::ExitCode;
use std::sync::Arc;

use executor_core::conformance;
use pool::{Pool, Way};

fn main() -> ExitCode {
    let moved = conformance::main(|options| Arc::new(Pool::with_options(Way::Moved, options)));
    let encoded = conformance::main(|options| Arc::new(Pool::with_options(Way::Encoded, options)));
    match (moved == ExitCode::SUCCESS, encoded == ExitCode::SUCCESS) {
        (true, true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
