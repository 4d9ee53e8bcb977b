//! The life of workers: which are to be started, how they become ready, are replaced, leave and are lost.

use std::time::Instant;

use executor_core::scheduler::{Began, Scheduler};
use executor_core::{Printed, WorkerLoss};

use super::INIT_HINT;
use super::{Core, FIRST_PAUSE, LONGEST_PAUSE, NOBODY, with_hint};
use crate::board::Ticket;
use crate::config::ProcessConfig;
use crate::pool::worker::{Life, Worker};
use crate::sys::Child;

impl Core {
    /// The indices of workers that are to be started.
    pub(super) fn take_starts(&mut self, now: Instant) -> Vec<u32> {
        if !self.may_start() {
            self.starts.clear();
        }
        if self.next_start.is_some_and(|at| at > now) {
            return Vec::new();
        }
        self.next_start = None;
        self.being_started += self.starts.len();
        std::mem::take(&mut self.starts)
    }

    /// How many workers have been started and have not said a word.
    pub(super) fn starting(&self) -> usize {
        self.workers.values().filter(|it| it.life == Life::Starting).count()
    }

    /// What is missing may come back, such as descriptors. Each failure in a row doubles the time until the next try.
    pub(super) fn put_off_starts(&mut self, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failed_starts.min(16)).min(LONGEST_PAUSE);
        self.failed_starts += 1;
        self.next_start = now.checked_add(pause);
    }

    pub(super) fn may_start(&self) -> bool {
        !self.scheduler.is_broken() && (!self.scheduler.is_closing() || self.scheduler.unresolved() > 0)
    }

    pub(in crate::pool) fn add_worker(&mut self, id: u64, worker: Worker) {
        self.being_started -= 1;
        worker.listen(self.watch.need());
        self.workers.add(id, worker);
    }

    /// A worker of this index could not be started at all.
    pub(in crate::pool) fn on_start_failed(&mut self, index: u32, reason: String, now: Instant) {
        self.being_started -= 1;
        self.last_loss = Some(WorkerLoss { reason, ..WorkerLoss::default() });
        self.scheduler.handle_start_failed(now);
        self.put_off_starts(now);
        self.starts.push(index);
        self.changed = true;
    }

    /// The worker's first word.
    pub(super) fn on_ready(&mut self, id: u64, now: Instant) {
        let Some(worker) = self.workers.get_mut(id).filter(|it| it.life == Life::Starting) else {
            return;
        };
        let index = worker.index;
        let key = self.scheduler.handle_worker_ready(now, index, 1);
        worker.life = Life::Ready;
        worker.key = Some(key);
        self.failed_starts = 0;
        self.next_start = None;
        if self.by_key.len() <= key.slot() {
            self.by_key.resize(key.slot() + 1, NOBODY);
        }
        self.by_key[key.slot()] = id;
        self.changed = true;
        // The one that it replaces leaves now.
        let mut workers = self.workers.values_mut();
        let old = workers.find(|it| it.index == index && it.is_replaced && it.life == Life::Ready);
        if let Some(old) = old {
            old.life = Life::Retiring;
            if let Some(key) = old.key {
                self.scheduler.handle_retire(now, key);
            }
        }
    }

    /// The worker is gone, and all that it has written has been read. `printed` gives what the task in a slot had printed.
    pub(in crate::pool) fn on_lost(
        &mut self,
        id: u64,
        loss: WorkerLoss,
        printed: &mut dyn FnMut(Ticket) -> Option<Printed>,
        now: Instant,
    ) {
        let Some(worker) = self.workers.remove(id) else { return };
        self.changed = true;
        let begun = worker.begun();
        for (task, _) in begun.iter().filter(|(_, has_begun)| **has_begun) {
            let Some(task) = self.scheduler.payload(*task) else { continue };
            if let Some(printed) = task.ticket.and_then(&mut *printed) {
                self.last_words.push((task.job.id(), printed));
            }
        }
        for handle in worker.nested.into_values() {
            // Nobody is left to take their results.
            self.after.push(Box::new(move || {
                handle.cancel();
            }));
        }
        if worker.index < self.wanted && !worker.is_replaced && worker.life != Life::Leaving {
            self.starts.push(worker.index);
        }
        let Some(key) = worker.key else {
            if worker.life == Life::Starting {
                self.last_loss = Some(with_hint(loss));
                self.scheduler.handle_start_failed(now);
                self.put_off_starts(now);
            }
            return;
        };
        if self.by_key[key.slot()] == id {
            self.by_key[key.slot()] = NOBODY;
        }
        if worker.life != Life::Leaving {
            self.last_loss = Some(loss.clone());
            self.losses.push((key, loss));
            self.scheduler.handle_worker_lost(now, key, |task| match begun.get(&task) {
                Some(false) => Began::No,
                Some(true) | None => Began::Yes,
            });
            // Those that are not lost with it wait again.
            for task in begun.into_keys() {
                if let Some(task) = self.scheduler.payload_mut(task) {
                    task.ticket = None;
                    self.books.nested_waiting += usize::from(task.depth > 0);
                }
            }
        }
    }

    /// Marks a worker as to be replaced, if it has done, lived or grown enough.
    pub(super) fn recycle(&mut self, place: usize, config: &ProcessConfig, now: Instant) {
        let worker = self.workers.id_at(place).and_then(|id| self.workers.get_mut(id));
        let Some(worker) = worker else { return };
        if worker.life == Life::Ready && !worker.is_replaced && worker.is_worn(config, now) {
            worker.is_replaced = true;
            if worker.index < self.wanted {
                self.starts.push(worker.index);
            }
        }
    }

    /// When the next worker is to be started, gets too old, or has taken too long to start or to leave.
    pub(super) fn next_deadline(&self, config: &ProcessConfig) -> Option<Instant> {
        let start = self.next_start.filter(|_| !self.starts.is_empty() && self.may_start());
        let deadlines = self.workers.values().filter_map(|it| it.deadline(config));
        deadlines.chain(start).min()
    }

    /// Looks after workers whose time is up.
    pub(in crate::pool) fn on_deadlines(&mut self, config: &ProcessConfig, now: Instant) {
        let late = |worker: &&mut Worker| worker.deadline(config).is_some_and(|at| at <= now);
        let mut old = Vec::new();
        for worker in self.workers.values_mut().filter(late) {
            match worker.life {
                Life::Ready => old.push(worker.index),
                Life::Starting => worker.kill(&format!("it did not report in time; {INIT_HINT}")),
                Life::Leaving => worker.kill("it did not leave when told to"),
                Life::Retiring => {}
            }
        }
        if !old.is_empty() {
            for place in 0..self.workers.len() {
                self.recycle(place, config, now);
            }
        }
    }

    /// Whether everything is resolved after a shutdown.
    pub(super) fn is_drained(&self) -> bool {
        self.scheduler.is_drained()
    }

    /// Tells all workers to leave. Those that have not said a word are not waited for.
    pub(super) fn dismiss(&mut self, now: Instant) {
        for (id, worker) in self.workers.iter_mut() {
            match worker.life {
                Life::Starting => worker.kill("the pool ends"),
                Life::Ready | Life::Retiring => {
                    worker.dismiss(now);
                    self.dirty.push(id);
                }
                Life::Leaving => {}
            }
        }
        self.flush_dirty(now);
    }

    /// Whether the reaper has something to do at once.
    pub(super) fn has_work_for_reaper(&self, now: Instant) -> bool {
        let is_due = self.next_start.is_none_or(|at| at <= now);
        !self.starts.is_empty() && is_due && self.may_start()
    }

    /// Ends a worker.
    pub(in crate::pool) fn kill(&mut self, id: u64, reason: &str) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.kill(reason);
        }
    }

    /// A worker that is dead, or as good as dead: its process and its name.
    pub(in crate::pool) fn take_child(&mut self, id: u64) -> Option<(Child, String)> {
        let worker = self.workers.get_mut(id)?;
        Some((worker.take_child()?, worker.name()))
    }

    /// Why we ended a worker; empty if we did not.
    pub(in crate::pool) fn take_kill_reason(&mut self, id: u64) -> String {
        self.workers.get_mut(id).map(|worker| std::mem::take(&mut worker.kill_reason)).unwrap_or_default()
    }

    /// The reaper has failed: nothing runs any more, and every task resolves as closed.
    pub(in crate::pool) fn give_up(&mut self) {
        let empty = Scheduler::new(self.scheduler.config().clone());
        let scheduler = std::mem::replace(&mut self.scheduler, empty);
        self.workers.clear();
        // Dropping a job resolves its future; not under the lock.
        let backlog = std::mem::take(&mut self.backlog);
        self.after.push(Box::new(move || drop((scheduler, backlog))));
    }

    /// Everything has ended.
    pub(in crate::pool) fn close(&mut self) {
        self.is_over = true;
        self.changed = true;
    }
}
