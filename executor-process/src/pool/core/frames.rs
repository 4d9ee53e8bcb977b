//! What workers say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use executor_core::scheduler::{Cancelled, TaskKey, WorkerKey};
use executor_core::wire::{FromWorker, NestedFrame, Packed, ToWorker};
use executor_core::{Job, Parcel, Printed, ShareBlob, ShareId, TaskError};

use super::{Core, counted_bytes};
use crate::board::Ticket;
use crate::pool::Pool;
use crate::pool::inbox::{Event, Item};

impl Core {
    /// Deals with one frame. `printed` gives what the task in a slot has printed.
    pub(in crate::pool) fn on_frame(
        &mut self,
        pool: &Arc<Pool>,
        id: u64,
        body: &[u8],
        printed: &mut dyn FnMut(Ticket) -> Option<Printed>,
        now: Instant,
    ) -> Result<(), String> {
        let frame = FromWorker::decode(body).map_err(|it| it.to_string())?;
        let ticket = |bits| Ticket::from_bits(bits).ok_or_else(|| format!("{bits} is not a ticket"));
        match frame {
            FromWorker::Ready(_) => self.on_ready(id, now),
            FromWorker::Done(bits, elapsed, outcome) => {
                let ticket = ticket(bits)?;
                self.on_done(id, ticket, elapsed, outcome, printed(ticket), now);
            }
            FromWorker::Nested(frame) => self.on_nested(pool, id, frame, now),
            FromWorker::NestedCancel(nested) => {
                // At once: a task that its submitter takes for cancelled must not be sent after this frame.
                let handle = self.workers.get(&id).and_then(|it| it.nested.get(&nested));
                let key = handle.and_then(|handle| self.key_of(handle.word(), handle.id()));
                if let Some(key) = key
                    && let Cancelled::Removed(task) | Cancelled::Resolved(task) =
                        self.scheduler.handle_cancel(now, key)
                {
                    self.fail(task, TaskError::Cancelled);
                }
            }
            FromWorker::NestedShare(share, value) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    let blob = Arc::new(ShareBlob::new(share, value.bytes.to_vec()));
                    worker.nested_shares.insert(share, blob);
                }
            }
            FromWorker::Blocked(bits) => {
                if let Some((worker, task)) = self.running_in(id, ticket(bits)?) {
                    self.scheduler.handle_blocked(now, worker, task);
                }
            }
            FromWorker::Unblocked(bits) => {
                if let Some((worker, task)) = self.running_in(id, ticket(bits)?) {
                    self.scheduler.handle_unblocked(now, worker, task);
                }
            }
            FromWorker::Progress(..)
            | FromWorker::Revoked(..)
            | FromWorker::Output(..)
            | FromWorker::Pong
            | FromWorker::Release(..)
            | FromWorker::Withdraw(_) => {
                return Err("a worker process sends no such frame".to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn running_in(&self, id: u64, ticket: Ticket) -> Option<(WorkerKey, TaskKey)> {
        let worker = self.workers.get(&id)?;
        Some((worker.key?, worker.task_in(ticket)?))
    }

    pub(super) fn on_done(
        &mut self,
        id: u64,
        ticket: Ticket,
        elapsed: Duration,
        outcome: Result<Packed<'_>, TaskError>,
        printed: Option<Printed>,
        now: Instant,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (Some(key), Some(task)) = (worker.key, worker.close(ticket)) else { return };
        worker.finished += 1;
        let Some(task) = self.scheduler.handle_finished(now, key, task, elapsed) else {
            return;
        };
        let job = self.release(task);
        if let Some(printed) = printed {
            job.set_printed(printed);
        }
        job.note_elapsed(elapsed);
        let notice = match outcome {
            Ok(value) => job.complete_deferred(value.bytes),
            Err(error) => job.fail_deferred(error),
        };
        self.note(notice);
    }

    pub(super) fn on_nested(&mut self, pool: &Arc<Pool>, id: u64, frame: NestedFrame<'_>, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let nested = frame.nested;
        let shares: Result<Vec<_>, ShareId> =
            frame.shares.iter().map(|share| worker.known_share(*share).ok_or(*share)).collect();
        let shares = match shares {
            Ok(shares) => shares,
            Err(share) => {
                let error = TaskError::decode("shared value", format!("the value {:x} is not here", share.0));
                self.answer_nested(id, nested, &Err(error));
                return;
            }
        };
        let answer_to = Arc::downgrade(pool);
        let sink = move |result| {
            if let Some(pool) = answer_to.upgrade() {
                let event = Event::NestedDone { worker: id, nested, result };
                pool.push(Item::Event(Box::new(event)));
            }
        };
        let (job, handle) = Job::from_encoded(
            frame.target,
            frame.arg.bytes.into(),
            frame.is_async,
            frame.options,
            shares,
            sink,
        );
        worker.nested.insert(nested, handle);
        if job.set_owner(pool.owner(), 0) {
            // They do not wait for room, and are counted all the same: `release` takes them off.
            pool.bytes.fetch_add(counted_bytes(&job), Ordering::Relaxed);
            let depth = self.depth_at(id).saturating_add(1);
            self.submit(job, depth, now);
        }
    }

    /// The depth of the deepest task that a worker runs.
    pub(super) fn depth_at(&self, id: u64) -> u8 {
        let key = self.workers.get(&id).and_then(|worker| worker.key);
        let tasks = key.into_iter().flat_map(|key| self.scheduler.tasks_of(key));
        let depths = tasks.filter_map(|task| Some(self.scheduler.payload(task)?.depth));
        depths.max().unwrap_or(0)
    }

    pub(super) fn answer_nested(
        &mut self,
        id: u64,
        nested: u64,
        result: &Result<Parcel<'static>, TaskError>,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.nested.remove(&nested);
        let outcome = match result {
            Ok(parcel) => Ok(Packed::from(&*parcel.bytes)),
            Err(error) => Err(error.clone()),
        };
        ToWorker::NestedDone(nested, outcome).encode(worker.out());
        worker.is_urgent = true;
        self.mark_dirty(id);
    }
}
