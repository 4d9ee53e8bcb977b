//! The board: one page of truth per worker, mapped by the parent and by the worker.
//!
//! It answers two questions that a message cannot answer once a worker is dead: *which tasks had begun*, and *which
//! results were finished*. It holds
//!
//! * [`WINDOW`] **claim slots**. The parent offers a task in a slot and sends it; the worker must claim the slot before it
//!   runs the task, and the parent may revoke the slot instead. Both are one compare-and-swap on one word, so exactly one
//!   of them wins: a task is never begun after it was taken back, and never taken back after it has begun.
//! * two **rings** ([`crate::ring`]), one in each direction. The worker's answers are in the ring before their tasks count
//!   as finished, and stay there when the worker is killed: nothing that was finished is lost.
//! * a **progress** value per slot.
//!
//! The states, the steps and the argument are in `README.md` beside this file; the loom models in `tests/loom.rs` check
//! the argument. Everything in shared memory is an atomic, so whatever the other side writes there, at any moment, is at
//! worst a wrong number, and every number that the parent reads is checked before it is used.

mod claims;
mod mapping;
mod memory;
mod worker;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

pub use claims::{SlotState, Ticket};
pub use mapping::{Dozer, FromWorker, MapError, Mapping, ToWorker};
pub use memory::Memory;
pub use worker::WorkerBoard;

/// Number of claim slots: the most tasks that can be in flight to one worker.
///
/// The prototype of the process backend found 1,024 to be the smallest window that keeps two workers busy with no-op
/// tasks while their answers are under way.
pub const WINDOW: usize = 1024;

/// Size of each ring in bytes: a window of small tasks, twice. Larger frames go through it piece by piece.
pub const RING_BYTES: usize = 128 * 1024;

/// The parent's side of a board.
///
/// Shared freely between the threads of the parent, under one duty that the pool has anyway: a slot belongs to one
/// task at a time, so [`offer`](Self::offer) is not called for a slot whose last task is still with the worker.
#[derive(Debug)]
pub struct Board<M: Memory = Mapping> {
    memory: Arc<M>,
}

impl Board<Mapping> {
    /// Makes a board and the descriptor by which a worker maps it.
    ///
    /// The memory is sealed against resizing, so neither side can make the other fault by truncating it.
    ///
    /// # Errors
    ///
    /// What `memfd_create`, `ftruncate`, `fcntl` and `mmap` report: no descriptors or no memory left.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let (mapping, fd) = Mapping::create()?;
        Ok((Self::over(Arc::new(mapping)), fd))
    }
}

impl Board<Mapping> {
    /// The memory, for the rings in it.
    pub(crate) fn memory(&self) -> &Arc<Mapping> {
        &self.memory
    }
}

impl<M: Memory> Board<M> {
    pub(crate) fn over(memory: Arc<M>) -> Self {
        Self { memory }
    }

    /// Opens `slot` for a new task and returns the ticket that has to travel with it. Call it before the task is sent.
    ///
    /// # Panics
    ///
    /// If `slot >= WINDOW`.
    #[must_use = "the worker can claim the task only by this ticket"]
    pub fn offer(&self, slot: usize) -> Ticket {
        claims::offer(&*self.memory, slot)
    }

    /// Takes an offered task back. True means that the worker will never begin it; false that it has begun (or that the
    /// ticket is not the slot's present one).
    #[must_use = "the task may be run elsewhere only if this is true"]
    pub fn revoke(&self, ticket: Ticket) -> bool {
        claims::revoke(&*self.memory, ticket)
    }

    /// Raises the cooperative cancel flag of a task. True if the flag is now up, false if the slot is no longer this
    /// task's. Says nothing about whether the task has begun; a task that must not begin is revoked.
    pub fn request_cancel(&self, ticket: Ticket) -> bool {
        claims::request_cancel(&*self.memory, ticket)
    }

    /// What has become of a task that was offered. After the worker's death the answer is final.
    #[must_use]
    pub fn state(&self, ticket: Ticket) -> SlotState {
        claims::state(&*self.memory, ticket)
    }

    /// The last progress that the task reported, if it has begun and reported any. Never NaN.
    #[must_use]
    pub fn progress(&self, ticket: Ticket) -> Option<f64> {
        claims::progress(&*self.memory, ticket)
    }
}
