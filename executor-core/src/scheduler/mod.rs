//! Which task goes to which worker, when, and what becomes of it: a state machine without IO, time, threads
//! or randomness.
//!
//! A driver owns the workers (processes, connections) and one [`Scheduler`]. It reports what happened through
//! `handle_*`, and does what [`poll_action`](Scheduler::poll_action) says. The process pool and the cluster
//! client are such drivers.
//!
//! # Protocol of the driver
//!
//! 1. Call any number of `handle_*`, with `now` never going back.
//! 2. Poll actions until `None`, doing each. `handle_*` may be called between two polls; in
//!    particular a driver that knows the answer to a [`Revoke`](Action::Revoke) at once gives it
//!    before it polls on. Actions that events have overtaken are dropped when they are polled, so
//!    that what is polled is true at that moment. Nothing is assigned but by polling: a submit that
//!    was rejected as full may fit after it.
//!    A driver to which many things happen at once is better off with [`handle_results`](Scheduler::handle_results)
//!    for the results of one worker, and with [`poll_run`](Scheduler::poll_run), until it is `None`, before each
//!    `poll_action`: they do the same, for a third of the cost.
//! 3. Arm one timer for [`poll_timeout`](Scheduler::poll_timeout), and when it fires call
//!    [`handle_timer`](Scheduler::handle_timer).
//!
//! Payloads come back exactly once: by [`handle_finished`](Scheduler::handle_finished) or [`Results::finished`],
//! [`handle_not_sent`](Scheduler::handle_not_sent), [`handle_cancel`](Scheduler::handle_cancel), or in
//! [`Action::Fail`]. The driver completes the future with it.
//!
//! # States of a task
//!
//! | state | meaning | leaves by |
//! | --- | --- | --- |
//! | queued | waits, by priority | sent to a worker; cancelled; failed when the pool breaks or cancels what is pending |
//! | ahead | at a worker, behind the tasks in its slots | promoted when a slot frees; taken back; cancelled |
//! | running | in one of the worker's slots, or async: it may have begun | finished; worker lost; time limit; cancelled |
//! | ghost | resolved (cancelled, timed out, closed), but its worker still has it | finished; taken back; worker lost |
//!
//! A ghost is asked back first, since it may not have begun. When the worker has begun it, its flag is raised
//! ([`Action::Stop`]) and, if it is still there after the grace period, its worker is killed
//! ([`Action::Kill`]).
//!
//! When a worker is lost, tasks that it had not begun return to the front of their queue and are not charged.
//! Those that it had begun are repeated if they have retries left, and fail otherwise.
//!
//! # States of a worker
//!
//! *Ready* takes tasks: idle slots first, of any worker, then ahead, the least loaded worker first. How many
//! are handed ahead to each slot follows from the measured time of its tasks
//! ([`SchedulerConfig::target_ahead`]). What a worker holds never exceeds its credit at the moment of
//! sending: its slots and that window. A worker is *stalled* while the tasks in its slots have not moved for
//! [`SchedulerConfig::stall_check`]: what it holds ahead is taken back, and nothing is handed ahead to it
//! until it finishes something. When slots are idle and the queue is empty, half of what the most loaded
//! worker holds ahead is taken back and handed out again.
//!
//! *Retiring* takes no more tasks and gives back those ahead; when it is empty it is forgotten
//! ([`Action::Retired`]). *Doomed* is to be killed; its loss is expected. Unexpected losses in a row, nothing
//! having finished in between, break the pool ([`SchedulerConfig::breaker`]): what is pending fails, and
//! nothing more is accepted.
//!
//! # Example
//!
//! ```
//! use std::time::{Duration, Instant};
//! use executor_core::scheduler::{Action, Scheduler, SchedulerConfig, TaskSpec};
//!
//! let now = Instant::now();
//! let mut scheduler = Scheduler::new(SchedulerConfig::default());
//! let task = scheduler.handle_submit(now, TaskSpec::default(), "payload").expect("the queue is empty");
//! assert_eq!(scheduler.poll_action(now), None, "there is no worker yet");
//!
//! let worker = scheduler.handle_worker_ready(now, 0, 1);
//! assert_eq!(scheduler.poll_action(now), Some(Action::Send { worker, task, attempt: 1 }));
//! assert_eq!(scheduler.poll_action(now), None);
//!
//! let elapsed = Duration::from_micros(5);
//! assert_eq!(scheduler.handle_finished(now + elapsed, worker, task, elapsed), Some("payload"));
//! ```
//!
//! # Cost
//!
//! Every event takes constant time, amortised, and logarithmic time for tasks with a time limit or a priority
//! other than 0. Tasks, workers and timers live in tables, threaded by links into the list where each is at
//! the moment; a waiting task takes 32 bytes and its payload. With a million tasks waiting the cost of an event is
//! that of the cache lines that it fetches: one for a submit, one for a send, and none for a result.

mod action;
mod assign;
mod buckets;
mod config;
mod getters;
mod held;
mod key;
mod list;
mod lost;
mod queue;
mod results;
mod run;
mod shutdown;
mod stop;
mod take_back;
mod tasks;
mod timers;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

pub use self::action::{Action, Began, Cancelled, Failure, Rejected, SchedulerStats, ShutdownMode};
pub use self::config::{SchedulerConfig, TaskSpec};
pub use self::key::{TaskKey, WorkerKey};
pub use self::results::Results;
pub use self::run::{Outgoing, Run};

use self::buckets::Buckets;
use self::queue::Queues;
use self::tasks::{Flags, Tasks};
use self::timers::{Timer, Timers};
use self::workers::{WorkerState, Workers};

/// The scheduler; see the [module](self) for its protocol. `T` is what the driver keeps for each task, at
/// best a pointer.
pub struct Scheduler<T> {
    config: SchedulerConfig,
    tasks: Tasks<T>,
    queues: Queues,
    workers: Workers,
    timers: Timers,
    /// What is to do, but for sends, which are made when they are polled.
    actions: VecDeque<Action<T>>,

    /// Workers that can take a sync task, by load.
    available: Buckets,
    /// Workers that tasks can be taken back from, by how many.
    loaded: Buckets,
    /// Workers that can take an async task, by load. Kept from the first async task on (`uses_async`).
    async_available: Buckets,
    uses_async: bool,
    /// The newest worker of each index that is not retiring.
    by_index: BTreeMap<u32, u32>,
    /// Indices whose pinned tasks may have found room.
    pins_to_check: Vec<u32>,

    /// How the pool was told to end.
    closing: Option<ShutdownMode>,
    broken: bool,
    /// Workers lost since a task last finished.
    deaths_in_a_row: u32,

    running: usize,
    blocked: usize,
    /// Tasks with an unanswered `Revoke`.
    revoking: usize,
    /// Tasks in the table that are resolved.
    ghosts: usize,
    finished: u64,
    failed: u64,
    cancelled: u64,
    retried: u64,
    lost_workers: u64,
}

impl<T> Scheduler<T> {
    /// A scheduler without workers or tasks.
    pub fn new(config: SchedulerConfig) -> Self {
        Self {
            config,
            tasks: Tasks::new(),
            queues: Queues::new(),
            workers: Workers::new(),
            timers: Timers::default(),
            actions: VecDeque::new(),
            available: Buckets::new(),
            loaded: Buckets::new(),
            async_available: Buckets::new(),
            uses_async: false,
            by_index: BTreeMap::new(),
            pins_to_check: Vec::new(),
            closing: None,
            broken: false,
            deaths_in_a_row: 0,
            running: 0,
            blocked: 0,
            revoking: 0,
            ghosts: 0,
            finished: 0,
            failed: 0,
            cancelled: 0,
            retried: 0,
            lost_workers: 0,
        }
    }

    /// Takes a task into the queue.
    ///
    /// # Errors
    ///
    /// Gives the payload back when the queue is full, the pool has been shut down (while it drains, nested
    /// tasks are still accepted), or the pool is broken.
    #[inline]
    pub fn handle_submit(
        &mut self,
        _now: Instant,
        spec: TaskSpec,
        payload: T,
    ) -> Result<TaskKey, Rejected<T>> {
        if (self.closing.is_some() || self.broken || self.queues.len() >= self.config.queue_limit)
            && let Some(reject) = self.refusal(&spec)
        {
            return Err(reject(payload));
        }
        if spec.is_async && !self.uses_async {
            self.start_using_async();
        }
        let slot = self.tasks.insert(&spec, payload);
        self.queues.push_back(&mut self.tasks, slot);
        if let Some(index) = spec.pin {
            self.pins_to_check.push(index);
        }
        Ok(self.tasks.key(slot))
    }

    /// How a task is refused, if it is.
    #[cold]
    fn refusal(&self, spec: &TaskSpec) -> Option<fn(T) -> Rejected<T>> {
        match self.closing {
            None => {}
            // Once nothing is left, nothing can be nested: drained stays drained.
            Some(ShutdownMode::Drain) if spec.nested && self.unresolved() > 0 => {}
            Some(_) => return Some(Rejected::Closed),
        }
        if self.broken {
            return Some(Rejected::Broken);
        }
        (self.queues.len() >= self.config.queue_limit).then_some(Rejected::Full)
    }

    /// A worker can take tasks: `slots` at a time (at least 1), the first of them now.
    ///
    /// `index` is the driver's number for it, which pinned tasks name. Two workers may have one index while
    /// the newer replaces the older; pinned tasks go to the newer.
    pub fn handle_worker_ready(&mut self, now: Instant, index: u32, slots: u32) -> WorkerKey {
        let worker = self.workers.insert(index, slots, self.config.first_ahead, now);
        let key = self.workers.key(worker);
        self.by_index.insert(index, worker);
        if self.queues.has_pinned(index) {
            self.pins_to_check.push(index);
        }
        if self.closing == Some(ShutdownMode::Kill) {
            self.workers[worker].state = WorkerState::Doomed;
            self.actions.push_back(Action::Kill { worker: key, task: None });
        }
        self.refresh(worker);
        key
    }

    /// The driver could not send a task that it was told to send (say, its payload cannot be encoded): gives
    /// it back to complete.
    ///
    /// Counts neither as finished nor as an attempt.
    pub fn handle_not_sent(&mut self, now: Instant, worker: WorkerKey, task: TaskKey) -> Option<T> {
        let (worker, slot) = self.find_held(worker, task)?;
        self.detach(worker, slot, now);
        let payload = self.release(slot);
        self.after_detach(worker);
        payload
    }

    /// A running task waits for a task of its own pool: nothing is handed ahead to its worker, what is ahead
    /// there is taken back.
    ///
    /// A worker with one slot gets nothing at all meanwhile; the driver may add a worker, so that what is
    /// waited for can run. Async tasks wait without blocking anything and are ignored here.
    pub fn handle_blocked(&mut self, _now: Instant, worker: WorkerKey, task: TaskKey) {
        let Some((worker, slot)) = self.find_held(worker, task) else {
            return;
        };
        let task = &mut self.tasks[slot];
        if task.is_async() || task.flags.has(Flags::BLOCKED) {
            return;
        }
        task.flags.set(Flags::BLOCKED);
        self.workers[worker].blocked += 1;
        self.blocked += 1;
        self.take_back_stuck(worker);
        self.refresh(worker);
    }

    /// A task that was blocked goes on.
    pub fn handle_unblocked(&mut self, now: Instant, worker: WorkerKey, task: TaskKey) {
        let Some((worker, slot)) = self.find_held(worker, task) else {
            return;
        };
        if self.tasks[slot].flags.take(Flags::BLOCKED) {
            self.blocked -= 1;
            let state = &mut self.workers[worker];
            state.blocked -= 1;
            state.last_progress = now;
            self.refresh(worker);
        }
    }

    /// The driver cannot send to a worker for the moment (its buffers are full): nothing is sent there until
    /// [`handle_resumed`](Self::handle_resumed).
    pub fn handle_paused(&mut self, _now: Instant, worker: WorkerKey) {
        self.set_paused(worker, true);
    }

    /// The driver can send to a paused worker again.
    pub fn handle_resumed(&mut self, _now: Instant, worker: WorkerKey) {
        self.set_paused(worker, false);
    }

    /// A worker is to leave when it has finished what it runs; what it holds ahead goes elsewhere.
    pub fn handle_retire(&mut self, _now: Instant, worker: WorkerKey) {
        let Some(worker) = self.workers.find(worker) else {
            return;
        };
        if self.workers[worker].state != WorkerState::Ready {
            return;
        }
        self.workers[worker].state = WorkerState::Retiring;
        self.forget_index(worker);
        self.take_back_ahead(worker);
        self.after_detach(worker);
    }

    /// The moment that [`poll_timeout`](Self::poll_timeout) named has come, or may have.
    pub fn handle_timer(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Limit(task) => self.on_limit(task, now),
                Timer::Grace(task) => self.on_grace(task),
                Timer::Stall(worker) => self.on_stall(worker, now),
            }
        }
    }

    /// When to call [`handle_timer`](Self::handle_timer); `None` for never. To be asked again after every
    /// round of events.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// The next thing to do; `None` when there is nothing until the next event.
    #[inline]
    pub fn poll_action(&mut self, now: Instant) -> Option<Action<T>> {
        loop {
            if let Some(action) = self.pop_action() {
                return Some(action);
            }
            if let Some(failure) = self.pending_fails_with() {
                return self.fail_pending(failure);
            }
            if let Some(send) = self.assign(now) {
                return Some(send);
            }
            if !self.rebalance() {
                return None;
            }
        }
    }

    /// Takes the next action that events have not overtaken.
    #[inline]
    fn pop_action(&mut self) -> Option<Action<T>> {
        while let Some(action) = self.actions.pop_front() {
            if self.is_wanted(&action) {
                return Some(action);
            }
        }
        None
    }

    fn is_wanted(&mut self, action: &Action<T>) -> bool {
        match *action {
            Action::Revoke { worker, task } => self.confirm_revoke(worker, task),
            Action::Stop { worker, task } => self.find_held(worker, task).is_some(),
            Action::Kill { worker, task: Some(task) } => self.confirm_kill(worker, task),
            Action::Send { .. }
            | Action::Kill { task: None, .. }
            | Action::Fail { .. }
            | Action::Retired { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests;
