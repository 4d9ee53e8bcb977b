//! Results of one worker, one by one or many together.

use std::time::{Duration, Instant};

use super::Scheduler;
use super::key::{TaskKey, WorkerKey};
use super::tasks::{Flags, NIL, Place};

/// Takes in what one worker has finished, from [`Scheduler::handle_results`].
///
/// The worker gets its new load, its next running tasks and its new window when this is dropped. (Forgotten instead,
/// the worker is taken for busier than it is until its next event.)
pub struct Results<'a, T> {
    core: &'a mut Scheduler<T>,
    /// Its slot; `NIL` when there is no such worker.
    worker: u32,
    now: Instant,
    /// How many tasks have left the worker through this, and how many of them were measured.
    left: u32,
    measured: u32,
}

impl<T> Scheduler<T> {
    /// A worker finished a task, with whatever result, after `elapsed` of running time.
    ///
    /// Gives the payload to complete, or `None` when there is none: the task is resolved already, or was
    /// never this worker's.
    #[inline]
    pub fn handle_finished(
        &mut self,
        now: Instant,
        worker: WorkerKey,
        task: TaskKey,
        elapsed: Duration,
    ) -> Option<T> {
        self.handle_results(now, worker).finished(task, elapsed)
    }

    /// A worker finished several tasks: the same as [`handle_finished`](Self::handle_finished) for each of them, for
    /// less. What it finished is told to the [`Results`]; no other event is reported meanwhile.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use executor_core::scheduler::{Scheduler, SchedulerConfig, TaskSpec};
    /// # let now = Instant::now();
    /// # let mut scheduler = Scheduler::new(SchedulerConfig::default());
    /// # let worker = scheduler.handle_worker_ready(now, 0, 1);
    /// # let task = scheduler.handle_submit(now, TaskSpec::default(), "payload").expect("the queue is empty");
    /// # assert!(scheduler.poll_action(now).is_some());
    /// # let finished = [(task, Duration::from_micros(5))];
    /// let mut results = scheduler.handle_results(now, worker);
    /// for (task, elapsed) in finished {
    ///     if let Some(payload) = results.finished(task, elapsed) {
    ///         assert_eq!(payload, "payload"); // To be completed.
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn handle_results(&mut self, now: Instant, worker: WorkerKey) -> Results<'_, T> {
        let worker = self.workers.find(worker).unwrap_or(NIL);
        Results { core: self, worker, now, left: 0, measured: 0 }
    }
}

impl<T> Results<'_, T> {
    /// The worker finished this task, with whatever result, after `elapsed` of running time.
    ///
    /// Gives the payload to complete, or `None` when there is none: the task is resolved already, or was
    /// never this worker's.
    #[inline]
    pub fn finished(&mut self, task: TaskKey, elapsed: Duration) -> Option<T> {
        let core = &mut *self.core;
        let (slot, _) = task.parts();
        let held = core.tasks.held_mut(task, self.worker)?;
        let is_async = held.is_async();
        if held.is_simply_held() {
            let (place, next) = (held.place, held.next);
            let state = &mut core.workers[self.worker];
            state.held -= 1;
            state.loose -= u32::from(held.flags.has(Flags::LOOSE));
            if place == Place::Running {
                state.running -= 1;
                core.running -= 1;
            } else if state.first_ahead == slot {
                state.first_ahead = next;
            }
            state.sync.unlink(&mut core.tasks, slot);
        } else {
            core.take_out(self.worker, slot);
        }
        self.left += 1;
        if !is_async {
            self.measured += 1;
            core.workers[self.worker].measure(elapsed);
        }
        let payload = core.release(slot);
        core.finished += u64::from(payload.is_some());
        payload
    }
}

impl<T> Drop for Results<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.left == 0 {
            return;
        }
        let core = &mut *self.core;
        core.deaths_in_a_row = 0;
        let state = &mut core.workers[self.worker];
        state.last_progress = self.now;
        if self.measured > 0 {
            state.stalled = false;
            state.size_window(self.measured, &core.config);
        }
        core.promote(self.worker, self.now);
        core.after_detach(self.worker);
    }
}
