//! How a future reaches the backend that holds its job.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, Weak};
use std::time::Instant;

use super::TaskId;

/// What a backend did with a request to cancel a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CancelOutcome {
    /// The task is resolved as [`Cancelled`](crate::TaskError::Cancelled), or is going to be before anything else.
    Cancelled,
    /// The task runs on, with its cooperative flag raised.
    FlagRaised,
    /// The task is resolved already.
    TooLate,
}

/// A backend that takes charge of jobs, as seen by their futures.
///
/// A backend registers itself once with [`register_owner`] and marks each job that it accepts with
/// [`Job::set_owner`](super::Job::set_owner).
pub trait Owner: Send + Sync {
    /// Cancels the task. `word` is the job's, which the backend may have changed since `set_owner`.
    fn cancel(&self, word: &AtomicU64, task: TaskId) -> CancelOutcome;

    /// Takes the task back if its body has not begun. True if it never begins; then it is resolved as cancelled.
    fn revoke(&self, word: &AtomicU64, task: TaskId) -> bool;

    /// What the task last told by `context().progress(..)`.
    fn progress(&self, word: &AtomicU64, task: TaskId) -> Option<f64>;

    /// Whether the task's body has begun, as far as is known here.
    fn has_begun(&self, word: &AtomicU64, task: TaskId) -> bool;

    /// Looks for outcomes on the thread that calls, until `is_done` or until that moment; whether it is done. A thread that waits
    /// calls this before it goes to sleep, so that an outcome which comes soon costs no wake-up.
    ///
    /// By default the backend has nothing to look at, and the answer is no, at once.
    fn look(&self, _is_done: &dyn Fn() -> bool, _until: Instant) -> bool {
        false
    }

    /// A task that the backend only [watches](super::Job::watch) has been cancelled by its future. Its job has not begun and never
    /// will; the backend comes across it in its queue.
    fn on_cancelled(&self, _word: &AtomicU64, _task: TaskId) {}
}

/// Names a registered [`Owner`]. The registration ends when this is dropped.
#[derive(Debug)]
pub struct OwnerId(u32);

impl OwnerId {
    /// A task keeps a bit of its own beside the number.
    pub(super) const LAST: u32 = u32::MAX >> 1;

    pub(crate) fn get(&self) -> u32 {
        self.0
    }
}

/// 0 is nobody, so that a job needs no option.
static NEXT: AtomicU32 = AtomicU32::new(1);
static OWNERS: RwLock<Option<HashMap<u32, Weak<dyn Owner>>>> = RwLock::new(None);

/// Registers a backend, so that futures of its jobs can find it. Held weakly.
///
/// # Panics
///
/// After two thousand million of them.
pub fn register_owner(owner: Weak<dyn Owner>) -> OwnerId {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(id <= OwnerId::LAST, "too many executors were made in this process");
    let mut owners = OWNERS.write().unwrap_or_else(PoisonError::into_inner);
    owners.get_or_insert_default().insert(id, owner);
    OwnerId(id)
}

impl Drop for OwnerId {
    fn drop(&mut self) {
        let mut owners = OWNERS.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(owners) = owners.as_mut() {
            owners.remove(&self.0);
        }
    }
}

/// The backend that holds a job, if it still exists.
pub(super) fn find(id: u32) -> Option<std::sync::Arc<dyn Owner>> {
    if id == 0 {
        return None;
    }
    let owners = OWNERS.read().unwrap_or_else(PoisonError::into_inner);
    owners.as_ref()?.get(&id)?.upgrade()
}
