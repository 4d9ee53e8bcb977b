//! What the scheduler asks of its driver, and what it answers.

use std::fmt;
use std::time::Duration;

use super::key::{TaskKey, WorkerKey};

/// Something for the driver to do, from [`poll_action`](super::Scheduler::poll_action).
#[derive(Debug, PartialEq, Eq)]
pub enum Action<T> {
    /// Hand this task to this worker, behind those it was handed before.
    /// [`payload`](super::Scheduler::payload) is what to send.
    Send {
        /// The worker to send to.
        worker: WorkerKey,
        /// The task to send.
        task: TaskKey,
        /// Which attempt this is, from 1.
        attempt: u32,
    },
    /// Ask for this task back, if the worker has not begun it; answer by
    /// [`handle_revoked`](super::Scheduler::handle_revoked).
    ///
    /// Each is to be answered once, in order with the other reports of that worker, unless the worker is lost:
    /// also with "not taken" when the task has ended meanwhile.
    Revoke {
        /// The worker that holds the task.
        worker: WorkerKey,
        /// The task, never asked for twice before the answer.
        task: TaskKey,
    },
    /// Raise the cooperative cancel flag of this task. It is resolved already; its worker still runs it.
    Stop {
        /// The worker that runs the task.
        worker: WorkerKey,
        /// The task to stop.
        task: TaskKey,
    },
    /// End this worker by force, or with a task named and several slots, the process that runs that task.
    ///
    /// Answer by [`handle_worker_lost`](super::Scheduler::handle_worker_lost) once it is gone; for one
    /// process of many by [`handle_finished`](super::Scheduler::handle_finished) or
    /// [`handle_task_lost`](super::Scheduler::handle_task_lost) of that task.
    Kill {
        /// The worker to end.
        worker: WorkerKey,
        /// The task that did not stop within the grace period; `None` when the whole pool ends.
        task: Option<TaskKey>,
    },
    /// Complete this task as failed. It is gone from the scheduler, or runs on at its worker as a task that
    /// nobody waits for.
    Fail {
        /// The task's key, by now unknown to the scheduler's callers.
        task: TaskKey,
        /// What the driver submitted.
        payload: T,
        /// Why it failed.
        failure: Failure,
    },
    /// This retiring worker has nothing left: stop it. Its key is forgotten already.
    Retired {
        /// The worker to stop.
        worker: WorkerKey,
    },
}

/// Why a task failed without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// Its worker was lost while it ran, and no retry was left.
    WorkerLost {
        /// The worker that was lost.
        worker: WorkerKey,
        /// How many times it was begun.
        attempts: u32,
    },
    /// It ran longer than its limit.
    TimedOut {
        /// The limit of its spec.
        limit: Duration,
        /// Which attempt hit it, from 1.
        attempts: u32,
    },
    /// The pool was shut down in a way that cancels what has not begun.
    Cancelled,
    /// The pool was killed.
    Closed,
    /// The pool is broken: too many workers were lost in a row.
    Broken,
}

/// Why a task was not accepted, with its payload back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rejected<T> {
    /// [`queue_limit`](super::SchedulerConfig::queue_limit) tasks are waiting.
    Full(T),
    /// The pool has been shut down.
    Closed(T),
    /// Too many workers were lost in a row.
    Broken(T),
}

impl<T> Rejected<T> {
    /// The payload that was not accepted.
    pub fn into_payload(self) -> T {
        match self {
            Self::Full(payload) | Self::Closed(payload) | Self::Broken(payload) => payload,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Full(_) => "the queue is full",
            Self::Closed(_) => "the pool has been shut down",
            Self::Broken(_) => "the pool is broken: too many workers were lost in a row",
        }
    }
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rejected({})", self.reason())
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl<T> std::error::Error for Rejected<T> {}

/// What a cancel found.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the payload inside is the caller's to complete"]
pub enum Cancelled<T> {
    /// It waited in the queue and never begins.
    Removed(T),
    /// A worker holds it; it is taken back or stopped there, and its result, if one comes, is dropped.
    Resolved(T),
    /// It is resolved already, or never was.
    Unknown,
}

/// Whether a lost worker had begun a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Began {
    /// It had, as far as anybody can know.
    Yes,
    /// It certainly had not.
    No,
    /// Nobody knows: begun for all tasks but idempotent ones.
    Unknown,
}

/// How a pool ends. Later modes override earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShutdownMode {
    /// Run all that is queued, and what running tasks still submit.
    Drain,
    /// Fail what has not begun as cancelled; let running tasks end.
    CancelPending,
    /// Fail everything as closed, and kill the workers.
    Kill,
}

/// Counts of a scheduler at one moment, and since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedulerStats {
    /// Tasks in the queue.
    pub waiting: usize,
    /// Tasks in slots of workers, async ones included, also those resolved but not yet gone.
    pub running: usize,
    /// Tasks handed to workers ahead of the running ones.
    pub ahead: usize,
    /// Running tasks that wait for a task of their own pool.
    pub blocked: usize,
    /// Workers that are ready, retiring ones included.
    pub workers: usize,
    /// Workers that would begin a task at once.
    pub idle_workers: usize,
    /// Tasks finished by a worker, whatever their result.
    pub finished: u64,
    /// Tasks failed by the scheduler ([`Action::Fail`]), time-outs included.
    pub failed: u64,
    /// Tasks resolved by [`handle_cancel`](super::Scheduler::handle_cancel).
    pub cancelled: u64,
    /// Attempts repeated after the loss of a worker.
    pub retried: u64,
    /// Workers lost, those killed on request included.
    pub lost_workers: u64,
}
