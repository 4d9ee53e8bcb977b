//! The interface that binds backends: [`Executor`].

use std::sync::Arc;

use crate::error::{Rejected, TaskError};
use crate::task::Job;

/// Something that runs tasks: threads, processes, machines.
///
/// This trait binds *implementors*; users call the methods of [`ExecutorExt`](crate::ExecutorExt), which every
/// executor has.
///
/// # Contract
///
/// * A job that [`submit_job`](Self::submit_job) has taken resolves its future exactly once: with a value, a panic, a
///   cancel, a time limit, the loss of the worker, or [`TaskError::Closed`]. Dropping the job does the last.
/// * Without retries, a body is begun at most once. With `retries(n)` it is begun again at most n times, and only
///   after its worker was lost. A task that is queued behind a dying worker is begun elsewhere and not charged.
/// * A job that is rejected comes back whole.
/// * Nothing blocks: `submit_job` takes a lock for a short time and does no IO that can wait.
/// * Higher priorities are begun first; within a priority, the order of submission is kept, as far as there are
///   workers. Tasks handed ahead to a worker may be taken back.
/// * A task may submit to its own executor and wait for the result, also when all workers are busy.
/// * Dropping the last handle of an executor behaves as [`Shutdown::Drain`] in the background: it does not block, and what
///   has been submitted still runs, for as long as the program does.
#[async_trait::async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Takes a job, or gives it back with the reason.
    ///
    /// # Errors
    ///
    /// [`TaskError::Full`] if the queue is full, [`TaskError::Closed`] after a shutdown, [`TaskError::Broken`] if the
    /// executor gave up, [`TaskError::Encode`] or [`TaskError::NotPortable`] if the job cannot travel.
    fn submit_job(&self, job: Job) -> Result<(), Rejected>;

    /// Waits until there is room in the queue and at least one worker.
    ///
    /// A hint: another submitter may be faster.
    ///
    /// # Errors
    ///
    /// [`TaskError::Closed`] or [`TaskError::Broken`] if that can never be.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost by dropping it.
    async fn ready(&self) -> Result<(), TaskError>;

    /// What this backend can do.
    fn capabilities(&self) -> Capabilities;

    /// Counts, as of now.
    fn stats(&self) -> Stats;

    /// Ends the executor. Returns when every outstanding future is resolved and the workers have left.
    ///
    /// Later submits are rejected with [`TaskError::Closed`]. A second call may be stricter than the first, and waits
    /// as well.
    ///
    /// # Cancel safety
    ///
    /// The shutdown goes on when this is dropped.
    async fn shutdown(&self, how: Shutdown);
}

/// How an executor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shutdown {
    /// Runs everything that is queued.
    Drain,
    /// Cancels what is queued and lets what is running end.
    CancelPending,
    /// Cancels what is queued and ends what is running. On backends that cannot end a task, its flag is raised and its
    /// future resolves as cancelled.
    Kill,
}

/// What a backend can do beyond the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The scheme of its URL: `thread`, `process`, ...
    pub scheme: &'static str,
    /// A task that aborts, overflows its stack or is killed costs that task only, and not the program.
    pub isolates: bool,
    /// A running task can be ended: by cancel, time limit and [`Shutdown::Kill`].
    pub stops_running: bool,
    /// Functions, arguments and results are serialised.
    pub serializes: bool,
    /// Tasks run at the same time as their submitter.
    pub concurrent: bool,
    /// Workers can be lost while the executor lives on, as on other machines.
    pub remote: bool,
}

impl Capabilities {
    /// The capabilities of a backend that has none.
    pub fn new(scheme: &'static str) -> Self {
        Self {
            scheme,
            isolates: false,
            stops_running: false,
            serializes: false,
            concurrent: false,
            remote: false,
        }
    }

    /// Sets [`isolates`](Self::isolates).
    pub fn with_isolates(mut self, yes: bool) -> Self {
        self.isolates = yes;
        self
    }

    /// Sets [`stops_running`](Self::stops_running).
    pub fn with_stops_running(mut self, yes: bool) -> Self {
        self.stops_running = yes;
        self
    }

    /// Sets [`serializes`](Self::serializes).
    pub fn with_serializes(mut self, yes: bool) -> Self {
        self.serializes = yes;
        self
    }

    /// Sets [`concurrent`](Self::concurrent).
    pub fn with_concurrent(mut self, yes: bool) -> Self {
        self.concurrent = yes;
        self
    }

    /// Sets [`remote`](Self::remote).
    pub fn with_remote(mut self, yes: bool) -> Self {
        self.remote = yes;
        self
    }
}

/// Counts of an executor; a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Workers that can run a task: threads, processes, slots.
    pub workers: usize,
    /// Tasks that wait.
    pub queued: usize,
    /// Tasks that are running, or handed to a worker.
    pub running: usize,
    /// Tasks that ended with a value or a panic.
    pub finished: u64,
    /// Workers that were lost, ever.
    pub lost_workers: u64,
    /// Attempts beyond the first, ever.
    pub retried: u64,
}

impl Stats {
    /// Counts of an executor that has so many workers and no tasks.
    pub fn new(workers: usize) -> Self {
        Self { workers, ..Self::default() }
    }

    /// Sets the counts of tasks.
    pub fn with_tasks(mut self, queued: usize, running: usize, finished: u64) -> Self {
        self.queued = queued;
        self.running = running;
        self.finished = finished;
        self
    }

    /// Sets the counts of what went wrong.
    pub fn with_losses(mut self, lost_workers: u64, retried: u64) -> Self {
        self.lost_workers = lost_workers;
        self.retried = retried;
        self
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait::async_trait]
impl<E: Executor + ?Sized> Executor for Arc<E> {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        (**self).submit_job(job)
    }
    async fn ready(&self) -> Result<(), TaskError> {
        (**self).ready().await
    }
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
    fn stats(&self) -> Stats {
        (**self).stats()
    }
    async fn shutdown(&self, how: Shutdown) {
        (**self).shutdown(how).await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait::async_trait]
impl<E: Executor + ?Sized> Executor for Box<E> {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        (**self).submit_job(job)
    }
    async fn ready(&self) -> Result<(), TaskError> {
        (**self).ready().await
    }
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }
    fn stats(&self) -> Stats {
        (**self).stats()
    }
    async fn shutdown(&self, how: Shutdown) {
        (**self).shutdown(how).await;
    }
}
