//! Lost workers: whose tasks are charged, which run again, and when it has been too many.

use std::time::Instant;

use super::Scheduler;
use super::action::{Began, Failure};
use super::key::{TaskKey, WorkerKey};
use super::tasks::{Flags, NIL, Revoke};
use super::workers::WorkerState;

impl<T> Scheduler<T> {
    /// A worker is gone, and with it what it held. `began` says for each of those tasks whether the worker
    /// had begun it.
    ///
    /// Losses of workers that were to be killed or were retiring do not count for the breaker.
    pub fn handle_worker_lost(
        &mut self,
        _now: Instant,
        worker: WorkerKey,
        mut began: impl FnMut(TaskKey) -> Began,
    ) {
        let Some(slot) = self.workers.find(worker) else {
            return;
        };
        let state = &self.workers[slot];
        let lists = [state.asynchronous, state.sync];
        self.running -= (state.running + state.async_held) as usize;
        self.blocked -= state.blocked as usize;
        self.revoking -= state.revoking as usize;
        self.lost_workers += 1;
        let expected = state.state != WorkerState::Ready;
        self.remove_worker(slot);
        // From the last to the first: each returns to the front of its queue.
        for list in lists {
            let mut at = list.last();
            while at != NIL {
                let (task, prev) = (at, list.before(&self.tasks, at));
                self.forget_worker_of(task);
                self.settle_lost(worker, task, &mut began);
                at = prev;
            }
        }
        // Last: breaking the pool asks all workers for tasks, and this one is none any more.
        if !expected {
            self.count_death();
        }
    }

    /// One task of a worker with several slots was lost with the process that ran it; the worker itself
    /// lives.
    pub fn handle_task_lost(&mut self, now: Instant, worker: WorkerKey, task: TaskKey, began: Began) {
        let Some((slot, task)) = self.find_held(worker, task) else {
            return;
        };
        let expected = self.tasks[task].is_ghost();
        if self.tasks[task].revoke == Revoke::Sent && !expected {
            self.tasks.rare_or_new(task).stale_answers.push(worker);
        }
        self.detach(slot, task, now);
        self.settle_lost(worker, task, |_| began);
        if !expected {
            self.count_death();
        }
        self.after_detach(slot);
    }

    /// A worker died before it was ready: counts for the breaker.
    pub fn handle_start_failed(&mut self, _now: Instant) {
        self.lost_workers += 1;
        self.count_death();
    }

    /// Decides on a task in no list, whose worker is gone.
    fn settle_lost(&mut self, worker: WorkerKey, slot: u32, mut began: impl FnMut(TaskKey) -> Began) {
        let key = self.tasks.key(slot);
        let task = &self.tasks[slot];
        if task.is_ghost() {
            self.release(slot);
            return;
        }
        let charged = match began(key) {
            Began::Yes => true,
            Began::No => false,
            Began::Unknown => !task.flags.has(Flags::IDEMPOTENT),
        };
        let attempts = self.tasks.attempt(slot);
        let retries = self.tasks.rare(slot).map_or(0, |rare| rare.retries);
        if charged && attempts > retries {
            if let Some(payload) = self.release(slot) {
                self.push_fail(key, payload, Failure::WorkerLost { worker, attempts });
            }
            return;
        }
        if charged {
            self.tasks.rare_or_new(slot).charged += 1;
            self.retried += 1;
        }
        self.requeue(slot);
    }

    fn count_death(&mut self) {
        self.deaths_in_a_row += 1;
        if self.deaths_in_a_row >= self.config.breaker && !self.broken {
            self.transition_to_broken();
        }
    }

    fn transition_to_broken(&mut self) {
        self.broken = true;
        self.take_back_everywhere();
    }
}
