//! What workers say.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use executor_core::scheduler::{Cancelled, TaskKey, WorkerKey};
use executor_core::wire::{FromWorker, NestedFrame, ToWorker};
use executor_core::{Job, Parcel, Printed, ShareBlob, ShareId, TaskError};

use super::{Core, counted_bytes};
use crate::board::Ticket;
use crate::pool::Pool;
use crate::pool::inbox::{Event, Item};
use crate::pool::watch::Ears;
use crate::transport::FrameReader;

/// What the task in a slot of a worker has printed.
pub(in crate::pool) type PrintedBy<'a> = &'a mut dyn FnMut(u64, Ticket) -> Option<Printed>;

/// How a task has ended.
enum Answer<'a> {
    /// With a value that is nothing but bytes, as nearly all do.
    Plain(&'a [u8]),
    Other(Result<Parcel<'a>, TaskError>),
}

impl Core {
    /// Deals with what workers have said, at most once around each one's buffer, and with the room that they have made;
    /// whether that was anything, so that a [`step`](Self::step) has to follow. `printed` gives what the task in a slot of a
    /// worker has printed, if that is captured.
    pub(in crate::pool) fn read_all(
        &mut self,
        pool: &Pool,
        mut printed: Option<PrintedBy<'_>>,
        now: Instant,
    ) -> bool {
        let mut found = !self.full.is_empty() && self.retry_full(now);
        for place in 0..self.workers.len() {
            let Some(id) = self.workers.id_at(place) else { break };
            if self.read(pool, id, &mut printed, now) {
                self.recycle(place, &pool.config, now);
                found = true;
            }
        }
        found
    }

    /// Whether a worker has said something.
    #[inline]
    pub(in crate::pool) fn has_answers(&self) -> bool {
        Ears::has_answers(&self.workers)
    }

    /// Deals with what one worker has said.
    pub(in crate::pool) fn read(
        &mut self,
        pool: &Pool,
        id: u64,
        printed: &mut Option<PrintedBy<'_>>,
        now: Instant,
    ) -> bool {
        let Some(worker) = self.workers.get_mut(id).filter(|it| it.has_answers()) else { return false };
        let Some(mut reader) = worker.take_answers() else { return true };
        self.answers += 1;
        let mut printed = printed.as_mut().map(|printed| move |ticket| printed(id, ticket));
        let result = loop {
            match self.take_results(id, &mut reader, &mut printed, now) {
                Ok(None) => break Ok(()),
                Ok(Some(span)) => {
                    if let Err(reason) = self.on_frame(pool, id, reader.bytes(span), now) {
                        break Err(reason);
                    }
                }
                Err(reason) => break Err(reason),
            }
        };
        let Some(worker) = self.workers.get_mut(id) else { return true };
        worker.give_back(reader);
        if let Err(reason) = result {
            worker.condemn(&reason);
        }
        true
    }

    /// Deals with results, up to the first frame that is something else, which it gives.
    fn take_results(
        &mut self,
        id: u64,
        reader: &mut FrameReader,
        printed: &mut Option<impl FnMut(Ticket) -> Option<Printed>>,
        now: Instant,
    ) -> Result<Option<Range<usize>>, String> {
        let Self { scheduler, workers, notices, books, .. } = self;
        let Some(worker) = workers.get_mut(id) else { return Ok(None) };
        // One that has not said that it is ready has no tasks, so no slot is found for its results.
        let mut results = worker.key.map(|key| scheduler.handle_results(now, key));
        while let Some(span) = reader.next_span().map_err(|it| it.to_string())? {
            let frame = reader.bytes(span.clone());
            let (bits, elapsed, result) = match FromWorker::plain_value(frame) {
                Some((bits, elapsed, value)) => (bits, elapsed, Answer::Plain(value)),
                None => match FromWorker::decode(frame).map_err(|it| it.to_string())? {
                    // In any case, as its descriptors are the next in the lane.
                    FromWorker::Done(bits, elapsed, outcome) => {
                        (bits, elapsed, Answer::Other(worker.unpacked("result", outcome)?))
                    }
                    _ => return Ok(Some(span)),
                },
            };
            let ticket = ticket_of(bits)?;
            let (Some(results), Some(task)) = (&mut results, worker.close(ticket)) else { continue };
            worker.finished += 1;
            let Some(task) = results.finished(task, elapsed) else { continue };
            let job = books.release(task);
            if let Some(printed) = printed.as_mut().and_then(|printed| printed(ticket)) {
                job.set_printed(printed);
            }
            job.note_elapsed(elapsed);
            let notice = match result {
                Answer::Plain(value) => job.complete_plain_deferred(value),
                Answer::Other(Ok(value)) => job.complete_deferred(value),
                Answer::Other(Err(error)) => job.fail_deferred(error),
            };
            if notice.is_needed() {
                notices.push(notice);
            }
        }
        Ok(None)
    }

    /// Deals with one frame that is no result.
    fn on_frame(&mut self, pool: &Pool, id: u64, body: &[u8], now: Instant) -> Result<(), String> {
        match FromWorker::decode(body).map_err(|it| it.to_string())? {
            FromWorker::Ready(_) => self.on_ready(id, now),
            FromWorker::Nested(frame) => self.on_nested(pool, id, frame, now)?,
            FromWorker::NestedCancel(nested) => {
                // At once: a task that its submitter takes for cancelled must not be sent after this frame.
                let handle = self.workers.get(id).and_then(|it| it.nested.get(&nested));
                let key = handle.and_then(|handle| self.key_of(handle.word(), handle.id()));
                if let Some(key) = key
                    && let Cancelled::Removed(task) | Cancelled::Resolved(task) =
                        self.scheduler.handle_cancel(now, key)
                {
                    self.fail(task, TaskError::Cancelled);
                }
            }
            FromWorker::NestedShare(share, value) => {
                if let Some(worker) = self.workers.get_mut(id) {
                    // One that is lost is missed by the tasks that use it.
                    if let Ok(parcel) = worker.unpacked("shared value", Ok(value))? {
                        let blob = Arc::new(ShareBlob::new(share, parcel.into_owned()));
                        worker.nested_shares.insert(share, blob);
                    }
                }
            }
            FromWorker::Blocked(bits) => {
                if let Some((worker, task)) = self.running_in(id, ticket_of(bits)?) {
                    self.scheduler.handle_blocked(now, worker, task);
                }
            }
            FromWorker::Unblocked(bits) => {
                if let Some((worker, task)) = self.running_in(id, ticket_of(bits)?) {
                    self.scheduler.handle_unblocked(now, worker, task);
                }
            }
            FromWorker::Release(name, count) => {
                if let Some(worker) = self.workers.get(id) {
                    worker.book.on_release(name, count).map_err(|it| it.to_string())?;
                }
            }
            FromWorker::Withdraw(name) => {
                if let Some(worker) = self.workers.get(id) {
                    worker.book.on_withdraw(name);
                }
            }
            FromWorker::Done(..)
            | FromWorker::Progress(..)
            | FromWorker::Revoked(..)
            | FromWorker::Output(..)
            | FromWorker::Pong => {
                return Err("a worker process sends no such frame here".to_owned());
            }
        }
        Ok(())
    }

    pub(super) fn running_in(&self, id: u64, ticket: Ticket) -> Option<(WorkerKey, TaskKey)> {
        let worker = self.workers.get(id)?;
        Some((worker.key?, worker.task_in(ticket)?))
    }

    pub(super) fn on_nested(
        &mut self,
        pool: &Pool,
        id: u64,
        frame: NestedFrame<'_>,
        now: Instant,
    ) -> Result<(), String> {
        let Some(worker) = self.workers.get_mut(id) else { return Ok(()) };
        let nested = frame.nested;
        let arg = match worker.unpacked("argument", Ok(frame.arg))? {
            Ok(arg) => arg,
            Err(error) => {
                self.answer_nested(id, nested, &Err(error));
                return Ok(());
            }
        };
        let shares: Result<Vec<_>, ShareId> =
            frame.shares.iter().map(|share| worker.known_share(*share).ok_or(*share)).collect();
        let shares = match shares {
            Ok(shares) => shares,
            Err(share) => {
                let error = TaskError::decode("shared value", format!("the value {:x} is not here", share.0));
                self.answer_nested(id, nested, &Err(error));
                return Ok(());
            }
        };
        let answer_to = pool.this();
        let sink = move |result| {
            if let Some(pool) = answer_to.upgrade() {
                let event = Event::NestedDone { worker: id, nested, result };
                pool.push(Item::Event(Box::new(event)));
            }
        };
        let (job, handle) = Job::from_encoded(frame.target, arg, frame.is_async, frame.options, shares, sink);
        worker.nested.insert(nested, handle);
        if job.set_owner(pool.owner(), 0) {
            // They do not wait for room, and are counted all the same: `release` takes them off.
            pool.bytes.fetch_add(counted_bytes(&job), Ordering::Relaxed);
            let depth = self.depth_at(id).saturating_add(1);
            self.submit(job, depth, now);
        }
        Ok(())
    }

    /// The depth of the deepest task that a worker runs.
    pub(super) fn depth_at(&self, id: u64) -> u8 {
        let key = self.workers.get(id).and_then(|worker| worker.key);
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
        let Some(worker) = self.workers.get_mut(id) else { return };
        worker.nested.remove(&nested);
        let packing;
        let outcome = match result {
            Ok(parcel) => {
                packing = worker.book.packing_of(parcel);
                Ok(packing.of(&parcel.bytes))
            }
            Err(error) => Err(error.clone()),
        };
        ToWorker::NestedDone(nested, outcome).encode(worker.out());
        worker.is_urgent = true;
        self.mark_dirty(id);
    }

    /// A worker is to be told what was released or has gone.
    pub(super) fn send_notes(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.send_notes();
            self.mark_dirty(id);
        }
    }

    /// Something has happened to the socket on which a worker's descriptors travel. False if it is closed.
    pub(in crate::pool) fn on_lane(&mut self, id: u64) -> std::io::Result<bool> {
        self.workers.get(id).map_or(Ok(true), |worker| worker.book.on_lane())
    }
}

#[inline]
fn ticket_of(bits: u64) -> Result<Ticket, String> {
    Ticket::from_bits(bits).ok_or_else(|| format!("{bits} is not a ticket"))
}
