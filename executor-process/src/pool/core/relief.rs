//! Extra workers, for when tasks wait for tasks of their own pool.

use std::time::Instant;

use executor_core::TaskError;
use executor_core::scheduler::{Cancelled, TaskKey};

use super::Core;
use crate::pool::worker::Life;

impl Core {
    /// Starts another worker if tasks wait for tasks that nobody is free to run; refuses the wait if that cannot be.
    pub(super) fn relieve(&mut self, now: Instant) {
        let is_stuck = |it: &Self| {
            it.scheduler.blocked() > 0 && it.books.nested_waiting > 0 && it.scheduler.idle_workers() == 0
        };
        if !is_stuck(self)
            || self.workers.values().any(|it| it.life == Life::Starting)
            || !self.starts.is_empty()
            || self.being_started > 0
        {
            return;
        }
        let present = self.workers.values().filter(|it| it.life == Life::Ready).count();
        if present < self.wanted as usize + self.extra {
            let taken = |index| self.workers.values().any(|it| it.index == index);
            let first_extra = self.wanted;
            let index =
                (first_extra..).find(|index| !taken(*index)).expect("there are fewer workers than numbers");
            self.starts.push(index);
            self.alarm = true;
        } else if self.scheduler.blocked() >= present {
            self.refuse_waits(present, now);
        }
    }

    /// Every worker waits for a task of the pool, and no more may be started: the tasks waited for fail.
    pub(super) fn refuse_waits(&mut self, blocked: usize, now: Instant) {
        let nested: Vec<TaskKey> = self
            .workers
            .values()
            .flat_map(|worker| worker.nested.values())
            .filter_map(|handle| self.key_of(handle.word(), handle.id()))
            .filter(|key| self.scheduler.worker_of(*key).is_none())
            .collect();
        for key in nested {
            if let Cancelled::Removed(task) | Cancelled::Resolved(task) =
                self.scheduler.handle_cancel(now, key)
            {
                self.fail(task, TaskError::nested_too_deep(blocked));
            }
        }
    }

    /// Lets the workers go that were started to relieve the others, when nobody waits any more.
    pub(super) fn retire_extra(&mut self, now: Instant) {
        if self.scheduler.blocked() > 0 || self.books.nested_waiting > 0 {
            return;
        }
        for worker in self.workers.values_mut().filter(|it| it.index >= self.wanted) {
            if worker.life == Life::Ready && worker.held() == 0 {
                worker.life = Life::Retiring;
                if let Some(key) = worker.key {
                    self.scheduler.handle_retire(now, key);
                }
            }
        }
    }

    pub(super) fn has_extra(&self) -> bool {
        self.workers.len() > self.wanted as usize
    }

    /// Workers beyond the wanted number are there for nested tasks, and only while fewer than the wanted number are at
    /// work: so the wanted number of tasks makes headway, depth first, with as few workers as that takes.
    pub(super) fn steer_extra(&mut self, now: Instant) {
        let busy = self.workers.values().filter(|it| it.life == Life::Ready && it.held() > 0).count();
        let at_work = busy.saturating_sub(self.scheduler.blocked());
        let is_needed = self.books.nested_waiting > 0 && at_work < self.wanted as usize;
        let wanted = self.wanted;
        for worker in self.workers.values_mut().filter(|it| it.index >= wanted) {
            let (Some(key), Life::Ready) = (worker.key, worker.life) else { continue };
            if worker.is_steered_off == is_needed {
                worker.is_steered_off = !is_needed;
                if !is_needed {
                    self.scheduler.handle_paused(now, key);
                } else if !worker.is_paused {
                    self.scheduler.handle_resumed(now, key);
                }
            }
        }
    }
}
