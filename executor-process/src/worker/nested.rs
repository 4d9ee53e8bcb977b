//! The executor that a task in a worker has: it submits to the pool that runs the task.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use executor_core::wire::{FromWorker, NestedFrame};
use executor_core::{
    CancelOutcome, Capabilities, Executor, Job, Owner, OwnerId, Parcel, Rejected, ShareId, Shutdown, Stats,
    TaskError, TaskId, register_owner,
};

use super::Shared;

#[derive(Default)]
struct Table {
    jobs: HashMap<u64, Job>,
    /// Tasks that are being cancelled, and whether the answer, once it has come, was that they are.
    cancels: HashMap<u64, Option<bool>>,
}

/// Nested tasks that have been submitted and not been answered.
#[derive(Default)]
pub(super) struct Pending {
    table: Mutex<Table>,
    answered: Condvar,
    next: AtomicU64,
    /// Shared values that the parent has got from here.
    sent: Mutex<HashSet<ShareId>>,
    owner: OnceLock<(Arc<NestedOwner>, OwnerId)>,
}

impl Pending {
    pub(super) fn complete(&self, nested: u64, outcome: Result<Parcel<'_>, TaskError>) {
        let Some(job) = self.lock().jobs.remove(&nested) else { return };
        let is_cancelled = matches!(outcome, Err(TaskError::Cancelled));
        match outcome {
            Ok(parcel) => job.complete(parcel),
            Err(error) => job.fail(error),
        }
        // Whoever has asked for a cancel finds the future resolved.
        if let Some(answer) = self.lock().cancels.get_mut(&nested) {
            *answer = Some(is_cancelled);
            self.answered.notify_all();
        }
    }

    /// Whether a cancel is worth asking for: the task has not been answered. Then the answer is going to be kept.
    fn expect_answer(&self, nested: u64) -> bool {
        let mut table = self.lock();
        let is_pending = table.jobs.contains_key(&nested);
        if is_pending {
            table.cancels.insert(nested, None);
        }
        is_pending
    }

    /// Waits until the task is answered. True if that is by a cancel.
    fn wait_for_answer(&self, nested: u64) -> bool {
        let mut table = self.lock();
        loop {
            if let Some(is_cancelled) = table.cancels.get(&nested).copied().flatten() {
                table.cancels.remove(&nested);
                return is_cancelled;
            }
            table = self.answered.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An executor that hands tasks to the pool of which this process is a worker.
pub(super) struct NestedExecutor {
    shared: Arc<Shared>,
}

impl NestedExecutor {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn owner(&self) -> &OwnerId {
        let (_, id) = self.shared.nested.owner.get_or_init(|| {
            let owner = Arc::new(NestedOwner { shared: Arc::clone(&self.shared) });
            let weak: std::sync::Weak<dyn Owner> = Arc::downgrade(&owner) as _;
            (owner, register_owner(weak))
        });
        id
    }

    /// Sends the shared values that the parent has not got.
    fn send_shares(&self, job: &Job) -> Vec<ShareId> {
        let mut sent = self.shared.nested.sent.lock().unwrap_or_else(PoisonError::into_inner);
        for blob in job.shares() {
            if sent.insert(blob.id()) {
                let packing = self.shared.book.packing(blob.bulk(), blob.attachments());
                self.shared.output.send(&FromWorker::NestedShare(blob.id(), packing.of(blob.bytes())));
            }
        }
        job.shares().iter().map(|blob| blob.id()).collect()
    }
}

#[async_trait::async_trait]
impl Executor for NestedExecutor {
    fn submit_job(&self, mut job: Job) -> Result<(), Rejected> {
        let target =
            match job.target().and_then(|target| job.encode_for(self.shared.carrier()).map(|()| target)) {
                Ok(target) => target,
                Err(error) => return Err(Rejected { job, error }),
            };
        let nested = self.shared.nested.next.fetch_add(1, Ordering::Relaxed);
        if !job.set_owner(self.owner(), nested) {
            return Ok(());
        }
        let shares = self.send_shares(&job);
        let packing = self.shared.book.packing(job.bulk(), job.attachments());
        let mut frame = Vec::new();
        FromWorker::Nested(NestedFrame {
            nested,
            is_async: job.is_async(),
            target,
            options: job.options().clone(),
            shares,
            arg: packing.of(job.encoded()),
        })
        .encode(&mut frame);
        // It is in the table before its answer can come.
        self.shared.nested.lock().jobs.insert(nested, job);
        self.shared.output.write(&frame);
        self.shared.output.flush();
        Ok(())
    }

    async fn ready(&self) -> Result<(), TaskError> {
        // The pool's queue is not seen from here; a full one fails the task.
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("process")
            .with_isolates(true)
            .with_stops_running(true)
            .with_serializes(true)
            .with_concurrent(true)
    }

    fn stats(&self) -> Stats {
        // Of the pool, only its existence is known here.
        let waiting = self.shared.nested.lock().jobs.len();
        Stats::new(1).with_tasks(waiting, 0, 0)
    }

    async fn shutdown(&self, _how: Shutdown) {
        // The pool belongs to the program that has opened it.
    }
}

/// Passes cancels of nested tasks on.
struct NestedOwner {
    shared: Arc<Shared>,
}

impl Owner for NestedOwner {
    /// Blocks until the pool has answered: only there it is known whether the task has begun. That takes as long as a task
    /// of no work.
    fn cancel(&self, word: &AtomicU64, _task: TaskId) -> CancelOutcome {
        let nested = word.load(Ordering::Relaxed);
        if !self.shared.nested.expect_answer(nested) {
            return CancelOutcome::TooLate;
        }
        self.shared.output.send(&FromWorker::NestedCancel(nested));
        match self.shared.nested.wait_for_answer(nested) {
            true => CancelOutcome::Cancelled,
            false => CancelOutcome::TooLate,
        }
    }

    fn revoke(&self, _word: &AtomicU64, _task: TaskId) -> bool {
        false
    }

    fn progress(&self, _word: &AtomicU64, _task: TaskId) -> Option<f64> {
        None
    }

    fn has_begun(&self, _word: &AtomicU64, _task: TaskId) -> bool {
        false
    }
}
