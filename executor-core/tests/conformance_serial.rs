//! The conformance suite on `Serial`: directly, through `Arc<dyn Executor>`, and through a `Box` in it.

use std::process::ExitCode;
use std::sync::Arc;

use executor_core::{Serial, conformance};

fn main() -> ExitCode {
    conformance::main(|_| Arc::new(Serial::new()))
}
