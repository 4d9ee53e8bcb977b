//! The end of the pool, asked for or by breaking: what becomes of the tasks that are left.

use std::time::Instant;

use super::Scheduler;
use super::action::{Action, Failure, ShutdownMode};
use super::tasks::NIL;
use super::workers::WorkerState;

impl<T> Scheduler<T> {
    /// The pool is to end. A later call can only make it end sooner.
    ///
    /// The workers stay the driver's to stop, once [`is_drained`](Self::is_drained), except that
    /// [`ShutdownMode::Kill`] asks for the end of each, and of those that become ready later.
    pub fn handle_shutdown(&mut self, _now: Instant, mode: ShutdownMode) {
        if self.closing >= Some(mode) {
            return;
        }
        self.closing = Some(mode);
        match mode {
            ShutdownMode::Drain => {}
            ShutdownMode::CancelPending => self.take_back_everywhere(),
            ShutdownMode::Kill => self.kill_everywhere(),
        }
    }

    /// What the tasks in the queue fail with, if none of them is to run any more.
    #[inline]
    pub(super) fn pending_fails_with(&self) -> Option<Failure> {
        match self.closing {
            Some(ShutdownMode::Kill) => Some(Failure::Closed),
            _ if self.broken => Some(Failure::Broken),
            Some(ShutdownMode::CancelPending) => Some(Failure::Cancelled),
            Some(ShutdownMode::Drain) | None => None,
        }
    }

    /// Fails one task of the queue. One a poll: the queue may hold millions.
    #[cold]
    pub(super) fn fail_pending(&mut self, failure: Failure) -> Option<Action<T>> {
        let slot = self.queues.pop_any(&mut self.tasks)?;
        let task = self.tasks.key(slot);
        let payload = self.release(slot)?;
        self.failed += 1;
        Some(Action::Fail { task, payload, failure })
    }

    /// Takes any task out of the queue, pinned ones too: for a driver that knows that none of them can run, as when no
    /// machine can be reached. `None` when nothing waits. The task counts as failed.
    pub fn take_waiting(&mut self) -> Option<T> {
        let slot = self.queues.pop_any(&mut self.tasks)?;
        self.failed += 1;
        self.release(slot)
    }

    /// Asks all workers for what they hold ahead.
    pub(super) fn take_back_everywhere(&mut self) {
        let present: Vec<u32> = self.workers.present().collect();
        for worker in present {
            self.take_back_ahead(worker);
            self.refresh(worker);
        }
    }

    fn kill_everywhere(&mut self) {
        let present: Vec<u32> = self.workers.present().collect();
        for worker in present {
            self.close_tasks_of(worker);
            self.workers[worker].state = WorkerState::Doomed;
            self.actions.push_back(Action::Kill { worker: self.workers.key(worker), task: None });
            self.refresh(worker);
        }
    }

    fn close_tasks_of(&mut self, worker: u32) {
        let state = &self.workers[worker];
        for head in [state.sync.head, state.asynchronous.head] {
            let mut at = head;
            while at != NIL {
                let key = self.tasks.key(at);
                if let Some(payload) = self.take_payload(at) {
                    self.push_fail(key, payload, Failure::Closed);
                }
                at = self.tasks[at].next;
            }
        }
    }
}
