//! What a driver can ask.

use std::fmt;

use super::Scheduler;
use super::action::SchedulerStats;
use super::config::SchedulerConfig;
use super::key::{TaskKey, WorkerKey};
use super::tasks::NIL;
use super::workers::FIRST_AHEAD_LEVEL;

impl<T> Scheduler<T> {
    /// The settings it was made with.
    pub fn config(&self) -> &SchedulerConfig {
        &self.config
    }

    /// What was submitted for a task; `None` once it is resolved.
    #[inline]
    pub fn payload(&self, task: TaskKey) -> Option<&T> {
        self.tasks.find(task).and_then(|slot| self.tasks[slot].payload.as_ref())
    }

    /// What was submitted for a task, to be changed; `None` once it is resolved.
    #[inline]
    pub fn payload_mut(&mut self, task: TaskKey) -> Option<&mut T> {
        self.tasks.find(task).and_then(|slot| self.tasks[slot].payload.as_mut())
    }

    /// The running or next attempt of a task, from 1; `None` once it is resolved.
    pub fn attempt(&self, task: TaskKey) -> Option<u32> {
        let slot = self.tasks.find(task)?;
        (!self.tasks[slot].is_ghost()).then(|| self.tasks.attempt(slot))
    }

    /// The worker that holds a task.
    pub fn worker_of(&self, task: TaskKey) -> Option<WorkerKey> {
        let task = &self.tasks[self.tasks.find(task)?];
        task.is_at_worker().then(|| self.workers.key(task.worker))
    }

    /// The index that a worker was given; `None` once it is lost or retired.
    pub fn worker_index(&self, worker: WorkerKey) -> Option<u32> {
        self.workers.find(worker).map(|slot| self.workers[slot].index)
    }

    /// What a worker holds: sync tasks in the order they were sent, then async ones, resolved ones included.
    pub fn tasks_of(&self, worker: WorkerKey) -> impl Iterator<Item = TaskKey> {
        let heads = self.workers.find(worker).map(|slot| {
            let state = &self.workers[slot];
            [state.sync.head, state.asynchronous.head]
        });
        heads.into_iter().flatten().flat_map(move |head| {
            let existing = |slot: u32| (slot != NIL).then_some(slot);
            std::iter::successors(existing(head), move |&slot| existing(self.tasks[slot].next))
                .map(|slot| self.tasks.key(slot))
        })
    }

    /// How many sync tasks a worker holds.
    pub fn held(&self, worker: WorkerKey) -> usize {
        self.workers.find(worker).map_or(0, |slot| self.workers[slot].held as usize)
    }

    /// How many sync tasks a worker may hold now; 0 for one that takes none.
    pub fn credit(&self, worker: WorkerKey) -> usize {
        self.workers.find(worker).map_or(0, |slot| self.workers[slot].credit(&self.config) as usize)
    }

    /// Tasks in the queue.
    pub fn waiting(&self) -> usize {
        self.queues.len()
    }

    /// Tasks in slots of workers and async tasks at workers, including those that are resolved but not gone.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Running tasks that wait for a task of their own pool.
    pub fn blocked(&self) -> usize {
        self.blocked
    }

    /// Tasks that are not resolved.
    pub fn unresolved(&self) -> usize {
        self.tasks.len() - self.ghosts
    }

    /// Workers that are ready, retiring ones included.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Workers with a free slot that take tasks.
    pub fn idle_workers(&self) -> usize {
        self.available.count_below(FIRST_AHEAD_LEVEL)
    }

    /// Whether a submit would be accepted.
    pub fn has_room(&self) -> bool {
        self.closing.is_none() && !self.broken && self.waiting() < self.config.queue_limit
    }

    /// Whether the pool was told to end.
    pub fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether too many workers were lost in a row.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the pool was told to end, every task is resolved and every action polled.
    pub fn is_drained(&self) -> bool {
        self.is_closing() && self.unresolved() == 0 && self.actions.is_empty()
    }

    /// All counts.
    pub fn stats(&self) -> SchedulerStats {
        SchedulerStats {
            waiting: self.waiting(),
            running: self.running,
            ahead: self.tasks.len() - self.waiting() - self.running,
            blocked: self.blocked,
            workers: self.workers(),
            idle_workers: self.idle_workers(),
            finished: self.finished,
            failed: self.failed,
            cancelled: self.cancelled,
            retried: self.retried,
            lost_workers: self.lost_workers,
        }
    }
}

impl<T> fmt::Debug for Scheduler<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler")
            .field("stats", &self.stats())
            .field("closing", &self.closing)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}
