//! Runs of sends to one worker.

use std::time::Instant;

use super::Scheduler;
use super::key::{TaskKey, WorkerKey};
use super::tasks::{Flags, NIL, Place};
use super::workers::FIRST_AHEAD_LEVEL;

/// Tasks that one worker is to be sent next, from [`Scheduler::poll_run`].
///
/// What is taken out of it is sent; what is left when it is dropped waits on.
///
/// The tasks are the first of the queue, linked to one another there. They are marked as they are taken out, and
/// move to the worker's list as a whole at the end. (If the run is forgotten instead, tasks stay in the queue that were
/// sent, and are sent again.)
pub struct Run<'a, T> {
    core: &'a mut Scheduler<T>,
    worker: u32,
    now: Instant,
    /// The one task that fits goes into a free slot of the worker; else all go behind the tasks there.
    enters_slot: bool,
    /// How many more can be taken.
    left: u32,
    /// How many were, and the last of them.
    taken: u32,
    last: u32,
    next: u32,
}

/// A task to send.
#[derive(Debug)]
pub struct Outgoing<'a, T> {
    /// The task to send.
    pub task: TaskKey,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What to send.
    pub payload: &'a mut T,
}

impl<T> Scheduler<T> {
    /// The next sends, as many as go to the same worker in a row: what [`poll_action`](Self::poll_action) would say,
    /// for less. `None` when it has something else to say, or nothing.
    ///
    /// Tasks with a pin or a priority and async ones are left to `poll_action`. No event is reported before the run is
    /// dropped.
    ///
    /// ```
    /// # use std::time::Instant;
    /// # use executor_core::scheduler::{Scheduler, SchedulerConfig, TaskSpec};
    /// # let now = Instant::now();
    /// # let mut scheduler = Scheduler::new(SchedulerConfig::default());
    /// # scheduler.handle_worker_ready(now, 0, 1);
    /// # let task = scheduler.handle_submit(now, TaskSpec::default(), "payload").expect("the queue is empty");
    /// loop {
    ///     while let Some(mut run) = scheduler.poll_run(now) {
    ///         let worker = run.worker(); // As long as it can be written to:
    ///         while let Some(send) = run.next_task() {
    ///             assert_eq!((send.task, send.attempt, *send.payload), (task, 1, "payload"));
    ///         }
    ///     }
    ///     let Some(action) = scheduler.poll_action(now) else { break };
    ///     // Do it.
    /// }
    /// ```
    #[inline]
    pub fn poll_run(&mut self, now: Instant) -> Option<Run<'_, T>> {
        let next = self.queues.sync.first_of_zero()?;
        if !self.actions.is_empty() || self.pending_fails_with().is_some() || !self.pins_to_check.is_empty() {
            return None;
        }
        let worker = self.least_loaded(now)?;
        let state = &self.workers[worker];
        let enters_slot = state.sync_level < FIRST_AHEAD_LEVEL;
        let left = if enters_slot { 1 } else { state.room_in_level(&self.config) };
        Some(Run { core: self, worker, now, enters_slot, left, taken: 0, last: NIL, next })
    }
}

impl<T> Run<'_, T> {
    /// The worker to send to.
    #[inline]
    pub fn worker(&self) -> WorkerKey {
        self.core.workers.key(self.worker)
    }

    /// The next task of the run, which counts as sent now; `None` at its end.
    #[inline]
    pub fn next_task(&mut self) -> Option<Outgoing<'_, T>> {
        let slot = self.next;
        if self.left == 0 || slot == NIL {
            return None;
        }
        let tasks = &mut self.core.tasks;
        let attempt = tasks.attempt(slot);
        let task = &mut tasks[slot];
        task.worker = self.worker;
        if !self.enters_slot {
            task.place = Place::Ahead;
            task.flags.set(Flags::LOOSE);
        }
        self.left -= 1;
        self.taken += 1;
        self.last = slot;
        self.next = task.next;
        let key = task.key(slot);
        let payload = task.payload.as_mut();
        debug_assert!(payload.is_some(), "a task in the queue is not resolved");
        Some(Outgoing { task: key, attempt, payload: payload? })
    }
}

impl<T> Drop for Run<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.taken == 0 {
            return;
        }
        let Self { ref mut core, worker, now, last, taken, .. } = *self;
        let run = core.queues.split_front(&mut core.tasks, last, taken);
        let state = &mut core.workers[worker];
        state.held += taken;
        debug_assert!(
            state.held <= state.credit(&core.config),
            "tasks were assigned beyond the worker's credit"
        );
        state.sync.append(&mut core.tasks, run);
        if self.enters_slot {
            if state.running == 0 {
                state.last_progress = now;
            }
            core.enter_slot(worker, last, now);
        } else {
            if state.first_ahead == NIL {
                state.first_ahead = run.head;
            }
            state.loose += taken;
            core.watch_for_stall(worker);
        }
        core.file_after_send(worker);
    }
}
