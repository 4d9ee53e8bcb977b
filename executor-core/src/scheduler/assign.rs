//! Which worker gets the next task, and from which one tasks are taken back for idle ones.

use std::time::Instant;

use super::Scheduler;
use super::action::Action;
use super::workers::FIRST_AHEAD_LEVEL;

impl<T> Scheduler<T> {
    /// Hands out one task: pinned ones first, then sync, then async.
    #[inline]
    pub(super) fn assign(&mut self, now: Instant) -> Option<Action<T>> {
        if !self.pins_to_check.is_empty()
            && let Some(send) = self.assign_pinned(now)
        {
            return Some(send);
        }
        if !self.queues.sync.is_empty()
            && let Some(worker) = self.least_loaded(now)
            && let Some(slot) = self.queues.pop_sync(&mut self.tasks)
        {
            return Some(self.send(worker, slot, now));
        }
        if !self.queues.asynchronous.is_empty()
            && let Some(worker) = self.async_available.lowest()
            && let Some(slot) = self.queues.pop_async(&mut self.tasks)
        {
            return Some(self.send_async(worker, slot, now));
        }
        None
    }

    /// The worker for the next sync task.
    #[inline]
    pub(super) fn least_loaded(&mut self, now: Instant) -> Option<u32> {
        loop {
            let worker = self.available.lowest()?;
            let state = &mut self.workers[worker];
            if state.sync_level < FIRST_AHEAD_LEVEL {
                return Some(worker);
            }
            // Most often the result that made room has just come in.
            if now == state.last_progress
                || now.saturating_duration_since(state.last_progress) < self.config.stall_check
            {
                return Some(worker);
            }
            // Its tasks have become long since the window was measured.
            state.stalled = true;
            self.refresh(worker);
        }
    }

    #[inline]
    fn send(&mut self, worker: u32, slot: u32, now: Instant) -> Action<T> {
        self.attach(worker, slot, now);
        self.file_after_send(worker);
        self.send_action(worker, slot)
    }

    /// Files a worker that was sent sync tasks. Those with free slots take turns.
    #[inline]
    pub(super) fn file_after_send(&mut self, worker: u32) {
        let level = self.workers[worker].sync_level;
        self.refresh(worker);
        if level == self.workers[worker].sync_level && (1..FIRST_AHEAD_LEVEL).contains(&level) {
            self.available.rotate(worker, level);
        }
    }

    fn send_async(&mut self, worker: u32, slot: u32, now: Instant) -> Action<T> {
        self.attach(worker, slot, now);
        let level = self.workers[worker].async_level;
        self.refresh(worker);
        if level == self.workers[worker].async_level {
            self.async_available.rotate(worker, level);
        }
        self.send_action(worker, slot)
    }

    #[inline]
    fn send_action(&self, worker: u32, slot: u32) -> Action<T> {
        let attempt = self.tasks.attempt(slot);
        Action::Send { worker: self.workers.key(worker), task: self.tasks.key(slot), attempt }
    }

    #[cold]
    fn assign_pinned(&mut self, now: Instant) -> Option<Action<T>> {
        while let Some(&index) = self.pins_to_check.last() {
            if let Some(&worker) = self.by_index.get(&index) {
                let state = &self.workers[worker];
                let sync_room = state.held < state.credit(&self.config);
                let async_room = state.has_async_room(&self.config);
                let fits = |is_async: bool| if is_async { async_room } else { sync_room };
                if let Some(slot) =
                    self.queues.pop_pinned(&mut self.tasks, index, |task| fits(task.is_async()))
                {
                    self.attach(worker, slot, now);
                    self.refresh(worker);
                    return Some(self.send_action(worker, slot));
                }
                self.workers[worker].awaited = self.queues.has_pinned(index);
            }
            self.pins_to_check.pop();
        }
        None
    }

    /// Takes tasks back from the most loaded worker if another one is idle and nothing waits; whether it did.
    ///
    /// Never asks for more than one batch per idle worker before the answers are in.
    #[inline]
    pub(super) fn rebalance(&mut self) -> bool {
        if !self.available.any_below(FIRST_AHEAD_LEVEL) || !self.queues.sync.is_empty() {
            return false;
        }
        let Some(victim) = self.loaded.highest() else {
            return false;
        };
        if self.revoking >= self.available.count_below(FIRST_AHEAD_LEVEL) {
            return false;
        }
        let half = self.workers[victim].loose.div_ceil(2);
        self.take_back_loose(victim, half);
        self.refresh(victim);
        true
    }
}
