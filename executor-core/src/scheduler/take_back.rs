//! Taking back what was handed ahead: asking, the answer, and the stall check.

use std::time::Instant;

use super::Scheduler;
use super::action::Action;
use super::key::{TaskKey, WorkerKey};
use super::tasks::{Flags, NIL, Place, Revoke};
use super::timers::Timer;

impl<T> Scheduler<T> {
    /// The answer to [`Action::Revoke`]: `taken` when the worker had not begun the task and now never will.
    ///
    /// The task then waits at the front of its queue, uncharged, and may be sent again under the same key,
    /// even to the same worker.
    pub fn handle_revoked(&mut self, now: Instant, worker: WorkerKey, task: TaskKey, taken: bool) {
        if self.take_stale_answer(worker, task) {
            return;
        }
        let Some((worker, slot)) = self.find_held(worker, task) else {
            return;
        };
        if self.tasks[slot].revoke != Revoke::Sent {
            return;
        }
        if taken {
            self.detach(worker, slot, now);
            if self.tasks[slot].is_ghost() {
                self.release(slot);
            } else {
                self.requeue(slot);
            }
        } else {
            self.settle_revoke(worker, slot, Revoke::Refused);
            if self.tasks[slot].is_ghost() {
                self.stop_begun(worker, slot, now);
            }
        }
        self.after_detach(worker);
    }

    /// Whether an answer is about a former stay of the task at that worker.
    fn take_stale_answer(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let Some(slot) = self.tasks.find(task) else { return false };
        let Some(rare) = self.tasks.rare_mut(slot) else { return false };
        let owed = rare.stale_answers.iter().position(|&other| other == worker);
        owed.map(|at| rare.stale_answers.swap_remove(at)).is_some()
    }

    /// Asks for a task back.
    pub(super) fn ask_back(&mut self, worker: u32, slot: u32) {
        let key = self.tasks.key(slot);
        let state = &mut self.workers[worker];
        let task = &mut self.tasks[slot];
        debug_assert_eq!(task.revoke, Revoke::No, "one request per task at a time");
        task.revoke = Revoke::Asked;
        if task.flags.take(Flags::LOOSE) {
            match task.place {
                Place::Async => state.loose_async -= 1,
                _ => state.loose -= 1,
            }
        }
        state.revoking += 1;
        self.revoking += 1;
        self.actions.push_back(Action::Revoke { worker: self.workers.key(worker), task: key });
    }

    /// A polled `Revoke` counts as sent, unless its task has left the worker since.
    pub(super) fn confirm_revoke(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let Some((_, slot)) = self.find_held(worker, task) else {
            return false;
        };
        let task = &mut self.tasks[slot];
        let wanted = task.revoke == Revoke::Asked;
        if wanted {
            task.revoke = Revoke::Sent;
        }
        wanted
    }

    /// Asks for up to `limit` tasks ahead that another worker could run, the last first: returning to the
    /// front of the queue one by one they are then in order again.
    pub(super) fn take_back_loose(&mut self, worker: u32, limit: u32) {
        self.take_back_where(worker, limit, |flags| flags.has(Flags::LOOSE));
    }

    /// Asks for all tasks ahead, pinned ones too.
    pub(super) fn take_back_ahead(&mut self, worker: u32) {
        self.take_back_where(worker, u32::MAX, |_| true);
    }

    fn take_back_where(&mut self, worker: u32, limit: u32, wanted: impl Fn(Flags) -> bool) {
        let mut left = limit.min(self.workers[worker].held);
        let list = self.workers[worker].sync;
        let mut at = list.last();
        while at != NIL && left > 0 && self.tasks[at].place == Place::Ahead {
            let task = &self.tasks[at];
            let (slot, prev) = (at, list.before(&self.tasks, at));
            if task.revoke == Revoke::No && wanted(task.flags) {
                self.ask_back(worker, slot);
                left -= 1;
            }
            at = prev;
        }
    }

    /// Asks for everything that waits behind the running task of a worker and could run elsewhere.
    pub(super) fn take_back_stuck(&mut self, worker: u32) {
        if self.workers[worker].loose > 0 {
            self.take_back_loose(worker, u32::MAX);
        }
        let list = self.workers[worker].asynchronous;
        let mut at = list.last();
        while at != NIL && self.workers[worker].loose_async > 0 {
            let (slot, prev) = (at, list.before(&self.tasks, at));
            if self.tasks[slot].flags.has(Flags::LOOSE) {
                self.ask_back(worker, slot);
            }
            at = prev;
        }
    }

    /// A worker with tasks behind the running ones may not have finished any for long.
    pub(super) fn on_stall(&mut self, worker: u32, now: Instant) {
        let state = &mut self.workers[worker];
        state.stall_timer = None;
        if state.running == 0 || state.loose + state.loose_async == 0 {
            return;
        }
        let due = state.last_progress + self.config.stall_check;
        if due > now {
            state.stall_timer = Some(self.timers.arm(due, Timer::Stall(worker)));
            return;
        }
        state.stalled = true;
        self.take_back_stuck(worker);
        self.refresh(worker);
    }
}
