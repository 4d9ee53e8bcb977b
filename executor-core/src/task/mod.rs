//! Tasks: one allocation that the executor's side ([`Job`]) and the caller's side ([`TaskFuture`]) share.
//!
//! # The protocol
//!
//! A task is a [`Header`](cell::Header), the function (the *body*), and one *slot* that holds in turn the argument,
//! the serialised argument, and the output. One atomic word ([`state::State`]) says who may touch what. The
//! references are: at most one `Job`, at most one `TaskFuture`, and short-lived [`JobHandle`]s (a running task's view
//! of its own cancel flag, and the second completer that a time limit needs).
//!
//! 1. **The slot.** Until the outcome is visible (`DONE`), or if the outcome is `CANCELLED`, the slot belongs to the
//!    `Job`: it alone reads, replaces and drops the argument in either form. From `DONE` without `CANCELLED` on, the
//!    slot belongs to the `TaskFuture`, which takes the output or leaves it; what is left is dropped with the last
//!    reference.
//!    In which of its two forms the argument is, the job notes beside the name of its owner, which nobody else writes.
//! 2. **Completion.** Whoever completes first wins the output lock (`LOCKED`), writes the output and sets `DONE` in
//!    one step with releasing the lock. A job that a backend has taken charge of (`HELD`) and that has no second
//!    completer (`CONTESTED`) needs no lock, because nobody else can get there. A job that nobody is to be woken for
//!    gives its reference up in that same step, and touches the task no more.
//! 3. **Cancel.** While no backend has taken charge, the future decides alone: `CANCELLED | DONE` in one step, and
//!    the job, when it is found in a queue, cannot begin any more. Once it is `HELD`, the future raises the flag
//!    `CANCEL_REQUESTED` and asks the backend through its [`Owner`], which answers whether the task is resolved.
//!    A backend that runs bodies in this process may *kill* a task: `CANCELLED | DONE` in one step, while the body goes
//!    on. The slot stays the job's side's; the body's output, when it comes, finds `DONE` and is dropped.
//! 4. **Begin.** A body is begun only after `transition_to_begun` has answered `Begun`; that step fails for ever once
//!    the task is resolved. A backend that runs tasks elsewhere has its own claim for that.
//! 5. **The waker.** The waker slot belongs to the future while `WAKER` is clear, and to whoever sets `DONE` while it is
//!    set; the bit then stays set, so that a future that polls at the same moment keeps its hands off. The future publishes a
//!    waker by setting the bit and takes it back by clearing it; both fail once `DONE` is set. If setting fails the
//!    future still owns the slot, and the outcome is there. If clearing fails, the completer owns it, and the outcome is
//!    there too. So no wake-up is lost and no waker is touched by two.
//! 6. **The end.** A job dropped without completion completes itself with [`Closed`](crate::TaskError::Closed): never silence.
//!    A future dropped before the outcome lets the task run on (or cancels it, with `cancel_on_drop`).

mod body;
pub(crate) mod cell;
mod future;
mod job;
#[cfg(all(test, loom))]
mod loom;
mod options;
mod owner;
pub(crate) mod park;
mod payload;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use body::{AsyncCall, Body, Call, CallOnce, DynamicCall, NamedCall, Started, Value, run_encoded};
pub(crate) use cell::Ref;
pub use future::{TaskFuture, TaskStatus};
pub use job::{Job, JobHandle, Notice, RelayHandle, RelaySink, Relayed, RunOutcome};
pub use options::{Printed, TaskOptions};
pub use owner::{CancelOutcome, Owner, OwnerId, register_owner};

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Names a task within this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TaskId(pub(crate) u64);

impl TaskId {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The id with this number; for backends that tell a worker which task it runs.
    pub fn from_raw(number: u64) -> Self {
        Self(number)
    }

    /// The next id. Each thread takes a thousand at a time, so that threads do not fight for one counter.
    #[inline]
    pub(crate) fn next() -> Self {
        const BLOCK: u64 = 1024;
        static BLOCKS: AtomicU64 = AtomicU64::new(0);
        thread_local! { static NEXT: Cell<u64> = const { Cell::new(0) } }
        NEXT.with(|next| {
            let mut id = next.get();
            if id.is_multiple_of(BLOCK) {
                id = BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK;
                // Number 0 is nobody's: a block's first number is skipped, so that the test above is all it takes.
                id += 1;
            }
            next.set(id + 1);
            Self(id)
        })
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
