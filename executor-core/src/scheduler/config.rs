//! What a driver can set.

use std::time::Duration;

/// Limits and times of a [`Scheduler`](super::Scheduler).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerConfig {
    /// Tasks that may wait without having been handed to a worker. Default 1,048,576.
    ///
    /// Too low: bursts are rejected as full. Too high: memory, 32 bytes per waiting task and its payload.
    /// Tasks that return from a worker (lost, taken back) are never rejected, so the queue can exceed the
    /// limit by what the workers held.
    pub queue_limit: usize,
    /// Cap, per slot of a worker, on the tasks handed ahead of the running one. Default 1,024.
    ///
    /// Too low: workers with tasks of nanoseconds run dry while results travel. Too high: memory at the
    /// workers, and more to take back when one of them stalls. 0: nothing is ever handed ahead.
    pub max_ahead: u32,
    /// Tasks handed ahead to each slot of a worker whose tasks have not been measured yet. Default 1.
    ///
    /// Too low: the first results of a new worker take a round trip each. Too high: the first tasks wait behind one
    /// another although other workers are about to be ready.
    pub first_ahead: u32,
    /// How much work, in measured running time, to hand ahead to each slot. Default 1 ms.
    ///
    /// Should cover the time from a result to the next task's arrival (a network's round trip). Too low:
    /// workers idle between tasks. Too high: the wait of a task that was handed to the wrong worker. Tasks
    /// that take ten times as long or more are never handed ahead.
    pub target_ahead: Duration,
    /// Async tasks that one worker runs at the same time, per slot. Default 1,024.
    ///
    /// Too low: async tasks that only wait queue behind one another. Too high: memory at the workers.
    pub max_async: u32,
    /// How long a worker may go without a result before the tasks that were handed ahead to it are taken
    /// back. Default 10 ms.
    ///
    /// Too low: tasks move without need, at a message each on a network. Too high: tasks wait that long
    /// behind a slow one.
    pub stall_check: Duration,
    /// How long a cancelled or timed-out task has to end by itself before it is killed. Default 1 s.
    ///
    /// Too low: no time to clean up. Too high: the worker is unusable that long.
    pub grace: Duration,
    /// Workers lost in a row, no task having finished in between, after which the pool counts as broken.
    /// Default 10.
    ///
    /// Too low: a few bad tasks in a row end the pool. Too high: a program that cannot run its workers starts
    /// that many first. 0 counts as 1.
    pub breaker: u32,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            queue_limit: 1 << 20,
            max_ahead: 1024,
            first_ahead: 1,
            target_ahead: Duration::from_millis(1),
            max_async: 1024,
            stall_check: Duration::from_millis(10),
            grace: Duration::from_secs(1),
            breaker: 10,
        }
    }
}

/// What the scheduler needs to know of one task. The default is a plain task: sync, priority 0, no limit, no
/// retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskSpec {
    /// Higher goes first, strictly; equal priorities go in the order of submit.
    pub priority: i32,
    /// Limit on the running time of each attempt, counted from when the worker can have begun it.
    pub timeout: Option<Duration>,
    /// How many more times to begin the task when its worker was lost while it ran.
    pub retries: u32,
    /// May be begun again, uncharged, when nobody knows whether a lost worker had begun it.
    pub idempotent: bool,
    /// Does not occupy a slot of its worker: up to [`SchedulerConfig::max_async`] run there at once.
    pub is_async: bool,
    /// Runs only on the worker with this index, and waits in a queue of its own while there is none. Such
    /// tasks go before the others on that worker, whatever their priorities.
    pub pin: Option<u32>,
    /// Submitted by a task that runs in this pool: still accepted while the pool drains.
    pub nested: bool,
}
