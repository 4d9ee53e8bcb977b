//! Why a process could not be started.

use std::io;

use executor_core::TaskError;

use crate::sys::ForkError;

/// Why a [`Process`](crate::Process) could not be started. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// This process was itself started to run something, and `main` has not passed [`init`](crate::init()).
    #[error(
        "a process cannot be started here: this one was started as a worker, and its main function did not call \
         executor::init() first; make `executor::init();` the first line of main (or use \
         `executor::init_before_main!();` in tests)"
    )]
    InitMissing,
    /// The function cannot be named to another process, or the argument cannot be handed over.
    #[error("the function or its argument cannot be handed over")]
    Handover(#[source] TaskError),
    /// The program cannot be forked: it has threads, or the system refuses.
    #[error(transparent)]
    Fork(#[from] ForkError),
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

pub(super) fn system(action: &'static str) -> impl Fn(io::Error) -> ProcessError {
    move |source| ProcessError::System { action, source }
}
