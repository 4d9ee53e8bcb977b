//! Cancels and time limits: resolving a task that a worker may be running.

use std::time::Instant;

use super::Scheduler;
use super::action::{Action, Cancelled, Failure};
use super::key::{TaskKey, WorkerKey};
use super::tasks::{Flags, Place, Revoke};
use super::timers::Timer;
use super::workers::WorkerState;

impl<T> Scheduler<T> {
    /// Cancels a task, giving back its payload to complete. It counts as resolved from now on, whatever its
    /// worker still does.
    pub fn handle_cancel(&mut self, now: Instant, task: TaskKey) -> Cancelled<T> {
        let Some(slot) = self.tasks.find(task) else {
            return Cancelled::Unknown;
        };
        let cancelled = if self.tasks[slot].is_at_worker() {
            self.make_ghost(slot, now).map(Cancelled::Resolved)
        } else {
            self.queues.remove(&mut self.tasks, slot);
            self.release(slot).map(Cancelled::Removed)
        };
        self.cancelled += u64::from(cancelled.is_some());
        cancelled.unwrap_or(Cancelled::Unknown)
    }

    /// A task has run as long as it may.
    pub(super) fn on_limit(&mut self, slot: u32, now: Instant) {
        let key = self.tasks.key(slot);
        let attempts = self.tasks.attempt(slot);
        let Some(rare) = self.tasks.rare_mut(slot) else { return };
        rare.timer = None;
        let limit = rare.timeout.unwrap_or_default();
        if let Some(payload) = self.make_ghost(slot, now) {
            self.push_fail(key, payload, Failure::TimedOut { limit, attempts });
        }
    }

    /// Resolves a task at a worker, and sets about ending it there.
    fn make_ghost(&mut self, slot: u32, now: Instant) -> Option<T> {
        let payload = self.take_payload(slot)?;
        let task = &self.tasks[slot];
        let (worker, place, revoke) = (task.worker, task.place, task.revoke);
        match revoke {
            Revoke::No => self.ask_back(worker, slot),
            Revoke::Asked | Revoke::Sent => {}
            Revoke::Refused => self.push_stop(worker, slot),
        }
        if place != Place::Ahead || revoke == Revoke::Refused {
            self.arm_grace(slot, now);
        }
        if place == Place::Running && self.workers[worker].is_single() {
            // It may take the grace period to end, and then a kill: nothing should be behind it.
            self.workers[worker].stalled = true;
            self.take_back_loose(worker, u32::MAX);
        }
        self.refresh(worker);
        Some(payload)
    }

    /// Takes the payload of a task at a worker, which makes it a ghost.
    pub(super) fn take_payload(&mut self, slot: u32) -> Option<T> {
        let payload = self.tasks[slot].payload.take()?;
        self.ghosts += 1;
        self.disarm(slot);
        Some(payload)
    }

    /// A ghost turned out to have begun.
    pub(super) fn stop_begun(&mut self, worker: u32, slot: u32, now: Instant) {
        self.push_stop(worker, slot);
        self.arm_grace(slot, now);
    }

    fn push_stop(&mut self, worker: u32, slot: u32) {
        let action = Action::Stop { worker: self.workers.key(worker), task: self.tasks.key(slot) };
        self.actions.push_back(action);
    }

    /// Gives a ghost the grace period from now.
    pub(super) fn arm_grace(&mut self, slot: u32, now: Instant) {
        self.disarm(slot);
        if let Some(at) = now.checked_add(self.config.grace) {
            let timer = self.timers.arm(at, Timer::Grace(slot));
            self.tasks.rare_or_new(slot).timer = Some(timer);
        }
    }

    /// A ghost has used up its grace period.
    pub(super) fn on_grace(&mut self, slot: u32) {
        self.tasks.rare_or_new(slot).timer = None;
        let worker = self.workers.key(self.tasks[slot].worker);
        self.actions.push_back(Action::Kill { worker, task: Some(self.tasks.key(slot)) });
    }

    /// Whether a task is still to be killed; a worker with one slot is doomed with it.
    pub(super) fn confirm_kill(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let Some((worker, _)) = self.find_held(worker, task) else {
            return false;
        };
        let state = &mut self.workers[worker];
        if state.state == WorkerState::Doomed {
            return false;
        }
        if state.is_single() {
            state.state = WorkerState::Doomed;
            self.refresh(worker);
        }
        true
    }

    pub(super) fn push_fail(&mut self, task: TaskKey, payload: T, failure: Failure) {
        self.failed += 1;
        self.actions.push_back(Action::Fail { task, payload, failure });
    }

    /// Forgets what a task was to its worker, which is gone.
    pub(super) fn forget_worker_of(&mut self, slot: u32) {
        self.disarm(slot);
        let task = &mut self.tasks[slot];
        task.revoke = Revoke::No;
        task.flags.take(Flags::BLOCKED);
        task.flags.take(Flags::LOOSE);
    }
}
