//! What workers hold: every task that enters or leaves one goes through here, so that counts, timers and
//! buckets agree.

use std::time::Instant;

use super::action::Action;
use super::key::{TaskKey, WorkerKey};
use super::tasks::{Flags, NIL, Place, Revoke};
use super::timers::Timer;
use super::workers::WorkerState;
use super::{Scheduler, buckets};

impl<T> Scheduler<T> {
    /// The slots of a worker and of a task that this worker holds.
    #[inline]
    pub(super) fn find_held(&self, worker: WorkerKey, task: TaskKey) -> Option<(u32, u32)> {
        let worker = self.workers.find(worker)?;
        let slot = self.tasks.find(task)?;
        let task = &self.tasks[slot];
        (task.worker == worker && task.is_at_worker()).then_some((worker, slot))
    }

    /// Adds a task that is in no list to a worker with credit. [`Run`](super::Run) does the same with many at once.
    #[inline]
    pub(super) fn attach(&mut self, worker: u32, slot: u32, now: Instant) {
        self.tasks[slot].worker = worker;
        if self.tasks[slot].is_async() {
            self.attach_async(worker, slot, now);
        } else {
            self.attach_sync(worker, slot, now);
        }
    }

    #[inline]
    fn attach_sync(&mut self, worker: u32, slot: u32, now: Instant) {
        let state = &mut self.workers[worker];
        debug_assert!(
            state.held < state.credit(&self.config),
            "a task was assigned beyond the worker's credit"
        );
        let runs = state.has_free_slot();
        state.held += 1;
        state.sync.push_back(&mut self.tasks, slot);
        if runs {
            if state.running == 0 {
                state.last_progress = now;
            }
            self.enter_slot(worker, slot, now);
            return;
        }
        let task = &mut self.tasks[slot];
        task.place = Place::Ahead;
        if state.first_ahead == NIL {
            state.first_ahead = slot;
        }
        if !task.flags.has(Flags::PINNED) {
            task.flags.set(Flags::LOOSE);
            state.loose += 1;
            self.watch_for_stall(worker);
        }
    }

    /// A worker has loose tasks: sees to it that they are taken back if it finishes nothing for long.
    #[inline]
    pub(super) fn watch_for_stall(&mut self, worker: u32) {
        let state = &mut self.workers[worker];
        if state.stall_timer.is_none() {
            let at = state.last_progress + self.config.stall_check;
            state.stall_timer = Some(self.timers.arm(at, Timer::Stall(worker)));
        }
    }

    fn attach_async(&mut self, worker: u32, slot: u32, now: Instant) {
        let state = &mut self.workers[worker];
        state.async_held += 1;
        state.asynchronous.push_back(&mut self.tasks, slot);
        // Behind a running task on the only slot it may not have been looked at yet.
        if state.is_single() && !self.tasks[slot].flags.has(Flags::PINNED) {
            self.tasks[slot].flags.set(Flags::LOOSE);
            state.loose_async += 1;
            if state.running > 0 && !state.stalled && state.stall_timer.is_none() {
                let at = now + self.config.stall_check;
                state.stall_timer = Some(self.timers.arm(at, Timer::Stall(worker)));
            }
        }
        self.tasks[slot].place = Place::Async;
        self.running += 1;
        self.arm_limit(slot, now);
    }

    /// A sync task of a worker gets one of its slots.
    #[inline]
    pub(super) fn enter_slot(&mut self, worker: u32, slot: u32, now: Instant) {
        let state = &mut self.workers[worker];
        let task = &mut self.tasks[slot];
        task.place = Place::Running;
        state.running += 1;
        self.running += 1;
        if task.flags.take(Flags::LOOSE) {
            state.loose -= 1;
        }
        if task.is_ghost() {
            self.arm_grace(slot, now);
        } else {
            self.arm_limit(slot, now);
        }
    }

    #[inline]
    fn arm_limit(&mut self, slot: u32, now: Instant) {
        if let Some(rare) = self.tasks.rare_mut(slot)
            && let Some(limit) = rare.timeout
            // A limit beyond what the clock can count is none.
            && let Some(at) = now.checked_add(limit)
        {
            rare.timer = Some(self.timers.arm(at, Timer::Limit(slot)));
        }
    }

    #[inline]
    pub(super) fn disarm(&mut self, slot: u32) {
        if let Some(rare) = self.tasks.rare_mut(slot)
            && let Some(timer) = rare.timer.take()
        {
            self.timers.disarm(timer);
        }
    }

    /// Takes a task out of its worker, and promotes the next. The task is in no list then;
    /// [`after_detach`](Self::after_detach) follows.
    #[inline]
    pub(super) fn detach(&mut self, worker: u32, slot: u32, now: Instant) {
        self.take_out(worker, slot);
        self.promote(worker, now);
    }

    /// Takes a task out of its worker, where [`promote`](Self::promote) is to fill the slot that it may have left.
    pub(super) fn take_out(&mut self, worker: u32, slot: u32) {
        self.disarm(slot);
        self.settle_revoke(worker, slot, Revoke::No);
        let state = &mut self.workers[worker];
        let task = &mut self.tasks[slot];
        let loose = task.flags.take(Flags::LOOSE);
        let (place, next) = (task.place, task.next);
        if place == Place::Async {
            state.loose_async -= u32::from(loose);
            state.async_held -= 1;
            state.asynchronous.unlink(&mut self.tasks, slot);
            self.running -= 1;
            return;
        }
        state.loose -= u32::from(loose);
        if task.flags.take(Flags::BLOCKED) {
            state.blocked -= 1;
            self.blocked -= 1;
        }
        state.held -= 1;
        state.sync.unlink(&mut self.tasks, slot);
        if place == Place::Running {
            state.running -= 1;
            self.running -= 1;
        } else if state.first_ahead == slot {
            state.first_ahead = next;
        }
    }

    /// The first tasks ahead get the slots that have become free.
    #[inline]
    pub(super) fn promote(&mut self, worker: u32, now: Instant) {
        loop {
            let state = &mut self.workers[worker];
            let promoted = state.first_ahead;
            if promoted == NIL || !state.has_empty_slot() {
                break;
            }
            state.first_ahead = self.tasks[promoted].next;
            self.enter_slot(worker, promoted, now);
        }
        // Without a running task nothing stalls it, however the last one ended.
        let state = &mut self.workers[worker];
        state.stalled &= state.running > 0;
    }

    /// Records how a `Revoke`, if one is out, has ended.
    #[inline]
    pub(super) fn settle_revoke(&mut self, worker: u32, slot: u32, outcome: Revoke) {
        let task = &mut self.tasks[slot];
        if matches!(task.revoke, Revoke::Asked | Revoke::Sent) {
            self.workers[worker].revoking -= 1;
            self.revoking -= 1;
        }
        task.revoke = outcome;
    }

    /// Removes a task that is in no list; gives its payload, unless it was a ghost.
    #[inline]
    pub(super) fn release(&mut self, slot: u32) -> Option<T> {
        let payload = self.tasks.remove(slot);
        self.ghosts -= usize::from(payload.is_none());
        payload
    }

    /// Returns a task that is in no list to the front of its queue.
    pub(super) fn requeue(&mut self, slot: u32) {
        let task = &mut self.tasks[slot];
        task.place = Place::Queued;
        task.worker = NIL;
        if let Some(index) = self.tasks.pin(slot) {
            self.pins_to_check.push(index);
        }
        self.queues.push_front(&mut self.tasks, slot);
    }

    /// Files a worker anew, and lets it go if it was only waiting to be empty.
    #[inline]
    pub(super) fn after_detach(&mut self, worker: u32) {
        self.refresh(worker);
        let state = &self.workers[worker];
        if state.state == WorkerState::Retiring && state.is_empty() {
            let key = self.workers.key(worker);
            self.remove_worker(worker);
            self.actions.push_back(Action::Retired { worker: key });
        }
    }

    /// Files a worker under its present loads.
    #[inline]
    pub(super) fn refresh(&mut self, worker: u32) {
        let state = &self.workers[worker];
        let is_filed = state.sync_level_now(&self.config) == state.sync_level
            && state.loose_level_now() == state.loose_level;
        if !is_filed || self.uses_async || state.awaited {
            self.file_anew(worker);
        }
    }

    #[inline(never)]
    fn file_anew(&mut self, worker: u32) {
        let state = &mut self.workers[worker];
        let level = state.sync_level_now(&self.config);
        if level != state.sync_level {
            self.available.shift(worker, state.sync_level, level);
            state.sync_level = level;
        }
        let level = state.loose_level_now();
        if level != state.loose_level {
            self.loaded.shift(worker, state.loose_level, level);
            state.loose_level = level;
        }
        if self.uses_async {
            let level = state.async_level_now(&self.config);
            if level != state.async_level {
                self.async_available.shift(worker, state.async_level, level);
                state.async_level = level;
            }
        }
        if state.awaited && (state.held < state.credit(&self.config) || state.has_async_room(&self.config)) {
            state.awaited = false;
            self.pins_to_check.push(state.index);
        }
    }

    /// Removes a worker that holds nothing.
    pub(super) fn remove_worker(&mut self, worker: u32) {
        self.forget_index(worker);
        let state = &mut self.workers[worker];
        if let Some(timer) = state.stall_timer.take() {
            self.timers.disarm(timer);
        }
        self.available.shift(worker, state.sync_level, buckets::NOWHERE);
        self.loaded.shift(worker, state.loose_level, buckets::NOWHERE);
        self.async_available.shift(worker, state.async_level, buckets::NOWHERE);
        self.workers.remove(worker);
    }

    /// Pinned tasks of this worker's index wait for another one.
    pub(super) fn forget_index(&mut self, worker: u32) {
        let index = self.workers[worker].index;
        if self.by_index.get(&index) == Some(&worker) {
            self.by_index.remove(&index);
        }
    }

    pub(super) fn set_paused(&mut self, worker: WorkerKey, paused: bool) {
        if let Some(worker) = self.workers.find(worker) {
            self.workers[worker].paused = paused;
            self.refresh(worker);
        }
    }

    /// Starts to file workers by their async load, which programs without async tasks do not pay for.
    #[cold]
    pub(super) fn start_using_async(&mut self) {
        self.uses_async = true;
        let present: Vec<u32> = self.workers.present().collect();
        for worker in present {
            self.refresh(worker);
        }
    }
}
