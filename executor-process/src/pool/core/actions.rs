//! Doing what the scheduler says, and writing to workers.

use std::time::Instant;

use executor_core::scheduler::{Action, Scheduler, TaskKey, WorkerKey};
use executor_core::wire::{Packed, TaskFrame};

use super::{Core, NOBODY, Task};
use crate::board::{SlotState, Ticket};
use crate::pool::worker::Worker;

impl Core {
    /// Does what the scheduler says until it has nothing more to say, and writes what workers are to be told.
    pub(in crate::pool) fn act(&mut self, now: Instant) {
        loop {
            self.poll_actions(now);
            if self.scheduler.blocked() > 0 {
                self.relieve(now);
            }
            if self.has_extra() {
                self.retire_extra(now);
            }
            // Refused waits, workers that leave and workers that can be sent to again make actions of their own.
            let resumed = self.flush_dirty(now);
            match self.scheduler.poll_action(now) {
                Some(action) => self.perform(action, now),
                None if resumed => {}
                None => break,
            }
        }
        self.losses.clear();
        self.last_words.clear();
        self.changed |= self.scheduler.is_closing() || self.scheduler.is_broken();
        self.alarm |= match (self.scheduler.poll_timeout(), self.reaper_sleeps_until) {
            (Some(at), Some(until)) => at < until,
            (Some(_), None) => true,
            (None, _) => false,
        } || self.has_work_for_reaper(now)
            || self.scheduler.is_drained();
    }

    pub(super) fn poll_actions(&mut self, now: Instant) {
        loop {
            if self.has_extra() {
                self.steer_extra(now);
            } else {
                while self.send_run(now) {}
            }
            match self.scheduler.poll_action(now) {
                Some(action) => self.perform(action, now),
                None => return,
            }
        }
    }

    pub(super) fn perform(&mut self, action: Action<Task>, now: Instant) {
        match action {
            Action::Send { worker, task, attempt } => self.send(worker, task, attempt, now),
            Action::Revoke { worker, task } => {
                let Some((id, ticket)) = self.ticket_of(worker, task) else { return };
                let Some(at) = self.workers.get_mut(id) else { return };
                // Who revokes a relayed task has closed its slot already.
                let taken = at.board.revoke(ticket) || at.board.state(ticket) == SlotState::Revoked;
                if taken {
                    at.close(ticket);
                    if let Some(task) = self.scheduler.payload_mut(task) {
                        task.ticket = None;
                        self.books.nested_waiting += usize::from(task.depth > 0);
                    }
                }
                self.scheduler.handle_revoked(now, worker, task, taken);
            }
            Action::Stop { worker, task } => {
                if let Some((id, ticket)) = self.ticket_of(worker, task)
                    && let Some(at) = self.workers.get(id)
                {
                    at.board.request_cancel(ticket);
                }
            }
            Action::Kill { worker, task } => {
                let reason = match task {
                    Some(_) => "ended: a task did not stop when it was cancelled or its time was up",
                    None => "ended: the pool was shut down",
                };
                if let Some(at) = self.at(worker) {
                    at.kill(reason);
                }
            }
            Action::Fail { payload, failure, .. } => {
                let id = payload.job.id();
                if let Some(at) = self.last_words.iter().position(|(task, _)| *task == id) {
                    payload.job.set_printed(self.last_words.swap_remove(at).1);
                }
                let error = self.error_of(failure);
                self.fail(payload, error);
            }
            Action::Retired { worker } => {
                // Not by slot: that may be a younger worker's already, which has become ready since.
                let retired = self.workers.iter_mut().find(|(_, at)| at.key == Some(worker));
                if let Some((id, at)) = retired {
                    at.dismiss(now);
                    self.mark_dirty(id);
                }
            }
        }
    }

    pub(super) fn at(&mut self, worker: WorkerKey) -> Option<&mut Worker> {
        let id = *self.by_key.get(worker.slot())?;
        self.workers.get_mut(id)
    }

    pub(super) fn ticket_of(&self, worker: WorkerKey, task: TaskKey) -> Option<(u64, Ticket)> {
        let id = *self.by_key.get(worker.slot())?;
        let known = self.scheduler.payload(task).and_then(|task| task.ticket);
        let ticket = known.or_else(|| self.workers.get(id)?.ticket_of(task))?;
        Some((id, ticket))
    }

    /// Sends as many tasks to the same worker as the scheduler says; whether it said any.
    fn send_run(&mut self, now: Instant) -> bool {
        let Self { scheduler, workers, by_key, books, dirty, .. } = self;
        let Some(mut run) = scheduler.poll_run(now) else { return false };
        let key = run.worker();
        let id = by_key.get(key.slot()).copied().unwrap_or(NOBODY);
        let Some(worker) = workers.get_mut(id) else {
            // It would be asked for again and again.
            unreachable!("the scheduler knows a worker that the pool does not");
        };
        while !worker.should_pause()
            && let Some(send) = run.next_task()
        {
            books.nested_waiting -= usize::from(send.payload.depth > 0);
            hand_over(worker, send.task, send.payload, send.attempt);
        }
        drop(run);
        if worker.should_pause() && !worker.is_paused {
            worker.is_paused = true;
            scheduler.handle_paused(now, key);
        }
        if !worker.is_dirty {
            worker.is_dirty = true;
            dirty.push(id);
        }
        true
    }

    pub(super) fn send(&mut self, key: WorkerKey, task: TaskKey, attempt: u32, now: Instant) {
        let Some(id) = self.by_key.get(key.slot()).copied() else { return };
        let (Some(worker), Some(payload)) = (self.workers.get_mut(id), self.scheduler.payload_mut(task))
        else {
            return;
        };
        self.books.nested_waiting -= usize::from(payload.depth > 0);
        hand_over(worker, task, payload, attempt);
        if worker.should_pause() && !worker.is_paused {
            worker.is_paused = true;
            self.scheduler.handle_paused(now, key);
        }
        self.mark_dirty(id);
    }

    pub(super) fn mark_dirty(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(id)
            && !worker.is_dirty
        {
            worker.is_dirty = true;
            self.dirty.push(id);
        }
    }

    /// Writes frames to workers, but for those that have plenty to do and little to be told. True if a worker that could
    /// not be sent to can be again.
    pub(super) fn flush_dirty(&mut self, now: Instant) -> bool {
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut resumed = false;
        dirty.retain(|id| {
            let Some(worker) = self.workers.get_mut(*id) else {
                return false;
            };
            let held = worker.key.map_or(0, |key| self.scheduler.held(key));
            if worker.wants_flush(held) {
                if worker.flush() {
                    self.full.push(*id);
                }
                resumed |= resume(worker, &mut self.scheduler, now);
            }
            worker.is_dirty = !worker.is_flushed();
            worker.is_dirty
        });
        self.dirty = dirty;
        resumed
    }

    /// Writes on to workers whose rings were full. True if one of them can be sent to again that could not.
    pub(super) fn retry_full(&mut self, now: Instant) -> bool {
        let mut full = std::mem::take(&mut self.full);
        let mut resumed = false;
        full.retain(|id| {
            let Some(worker) = self.workers.get_mut(*id) else { return false };
            let is_full = worker.flush();
            resumed |= resume(worker, &mut self.scheduler, now);
            is_full
        });
        self.full.append(&mut full);
        resumed
    }
}

/// Offers a task to a worker, and appends its frame to what the worker is told.
#[inline]
fn hand_over(worker: &mut Worker, key: TaskKey, task: &mut Task, attempt: u32) {
    let ticket = worker.offer(key).expect("a worker's credit is no more than its slots");
    task.ticket = Some(ticket);
    let job = &task.job;
    // Nothing tells when the async tasks that the worker has will end, so there may be no later batch to go with.
    worker.is_urgent |= job.is_async();
    if worker.book.has_notes() {
        worker.send_notes();
    }
    if !job.shares().is_empty() || worker.has_stale_shares() {
        worker.send_shares(job.shares());
    }
    let packing;
    let arg = match job.is_plain() {
        true => Packed::from(job.encoded()),
        false => {
            packing = worker.book.packing(job.bulk(), job.attachments());
            packing.of(job.encoded())
        }
    };
    match job.target() {
        Ok(target) => TaskFrame {
            slot: ticket.to_bits(),
            task: job.id(),
            attempt: attempt + job.attempts_before(),
            is_async: job.is_async(),
            target,
            extra: None,
            arg,
        }
        .encode(worker.out()),
        Err(_) => unreachable!("the target was found when the task was submitted"),
    }
}

/// Lets the scheduler send to a worker again whose buffer has emptied.
fn resume(worker: &mut Worker, scheduler: &mut Scheduler<Task>, now: Instant) -> bool {
    let resumed = worker.is_paused && !worker.should_pause();
    if resumed {
        worker.is_paused = false;
        // An extra worker is let loose by its own rule.
        if let Some(key) = worker.key
            && !worker.is_steered_off
        {
            scheduler.handle_resumed(now, key);
        }
    }
    resumed
}
