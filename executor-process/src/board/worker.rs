//! The worker's side of a board.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::claims::{self, Ticket};
use super::mapping::{MapError, Mapping};
use super::memory::Memory;

/// The worker's side of a board; clones are the same board.
#[derive(Debug)]
pub struct WorkerBoard<M: Memory = Mapping> {
    memory: Arc<M>,
}

impl<M: Memory> Clone for WorkerBoard<M> {
    fn clone(&self) -> Self {
        Self { memory: Arc::clone(&self.memory) }
    }
}

impl WorkerBoard<Mapping> {
    /// Maps the board that the parent shares by `fd`.
    ///
    /// # Errors
    ///
    /// [`MapError`] if `fd` is no board of this version, or cannot be mapped.
    pub fn map(fd: OwnedFd) -> Result<Self, MapError> {
        Ok(Self::over(Arc::new(Mapping::of(fd)?)))
    }

    /// The memory, for the rings in it.
    pub(crate) fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }
}

impl<M: Memory> WorkerBoard<M> {
    pub(crate) fn over(memory: Arc<M>) -> Self {
        Self { memory }
    }

    /// Claims an offered task. True means that the task now counts as begun and has to be run; false that the parent
    /// took it back, and the message is to be dropped without an answer.
    ///
    /// The results of all earlier tasks must be published before: then a parent that finds this task begun also
    /// finds them.
    #[must_use = "the task must not be run unless this is true"]
    pub fn claim(&self, ticket: Ticket) -> bool {
        claims::claim(&*self.memory, ticket)
    }

    /// Whether the parent wants the task to end.
    #[must_use]
    pub fn cancel_requested(&self, ticket: Ticket) -> bool {
        claims::cancel_requested(&*self.memory, ticket)
    }

    /// Publishes the progress of a running task; NaN is ignored.
    pub fn report_progress(&self, ticket: Ticket, value: f64) {
        claims::report_progress(&*self.memory, ticket, value);
    }
}
