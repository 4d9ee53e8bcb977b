//! The state of the pool under its lock, and what is done with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use executor_core::scheduler::{
    Action, Began, Cancelled, Failure, Rejected, Scheduler, SchedulerConfig, ShutdownMode, TaskKey, TaskSpec,
    WorkerKey,
};
use executor_core::wire::{FromWorker, NestedFrame, TaskFrame, ToWorker};
use executor_core::{
    CancelOutcome, Job, Notice, Printed, ShareBlob, ShareId, Shutdown, Stats, TaskError, TaskId, WorkerLoss,
};

use super::Pool;
use super::inbox::{Event, Item};
use super::plan::Plan;
use super::worker::{Life, Worker};
use crate::board::{RecoverError, SlotState, Ticket, WINDOW};
use crate::config::ProcessConfig;
use crate::sys::Exit;

/// How much earlier a task goes for each task that waits for it. Priorities of tasks from outside are not meant to be as
/// high.
const DEPTH_PRIORITY: i32 = 1 << 22;

/// What the scheduler keeps for each task.
pub(super) struct Task {
    job: Job,
    /// Its slot at the worker that holds it.
    ticket: Option<Ticket>,
    /// How many tasks of the pool wait for it, directly and indirectly: 0 for one from outside.
    depth: u8,
}

/// A step to be taken when the lock has been let go.
type Step = Box<dyn FnOnce() + Send>;

pub(crate) struct Core {
    scheduler: Scheduler<Task>,
    /// By the reaper's number, which is never used again.
    workers: HashMap<u64, Worker>,
    /// By the slot of the scheduler's key.
    by_key: Vec<u64>,
    dirty: Vec<u64>,
    /// Workers whose sockets the reaper is to wait for.
    full: Vec<u64>,
    items: Vec<Item>,
    notices: Vec<Notice>,
    after: Vec<Step>,
    released: usize,
    /// Something that watchers wait for may have happened.
    changed: bool,
    alarm: bool,
    /// Until when the reaper sleeps at the longest.
    reaper_sleeps_until: Option<Instant>,
    /// Of the workers whose loss is being dealt with.
    losses: Vec<(WorkerKey, WorkerLoss)>,
    last_loss: Option<WorkerLoss>,
    pub(super) is_over: bool,
    /// Nested tasks in the scheduler's queue.
    nested_waiting: usize,
    /// How many workers there should be.
    wanted: u32,
    /// How many more there may be.
    extra: usize,
    /// Indices of workers that the reaper is to start.
    starts: Vec<u32>,
    /// How many starts have failed in a row, and until when the next one waits.
    failed_starts: u32,
    next_start: Option<Instant>,
}

impl Core {
    pub(super) fn new(config: &ProcessConfig, workers: usize) -> Self {
        // More workers than a process can have numbers for are not asked for in earnest.
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        let scheduler = Scheduler::new(SchedulerConfig {
            // The limit is kept at the inbox, where a submitter can still be told.
            queue_limit: usize::MAX,
            // A worker's slots hold the running task too, and async ones.
            max_ahead: (WINDOW / 2 - 1) as u32,
            // It may be a task of hours, and the next worker is about to start.
            first_ahead: 0,
            max_async: (WINDOW / 2) as u32,
            grace: config.grace,
            breaker: config.breaker,
            ..SchedulerConfig::default()
        });
        Self {
            scheduler,
            workers: HashMap::new(),
            by_key: Vec::new(),
            dirty: Vec::new(),
            full: Vec::new(),
            items: Vec::new(),
            notices: Vec::new(),
            after: Vec::new(),
            released: 0,
            changed: false,
            alarm: false,
            reaper_sleeps_until: None,
            losses: Vec::new(),
            last_loss: None,
            is_over: false,
            nested_waiting: 0,
            wanted: workers,
            starts: (0..workers).collect(),
            failed_starts: 0,
            next_start: None,
            extra: config.extra_workers.unwrap_or((4 * workers as usize).max(64)),
        }
    }

    // ---- for `Pool` --------------------------------------------------------------------------------------------

    pub(super) fn waiting(&self) -> usize {
        self.scheduler.waiting()
    }

    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn take_after(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.after)
    }

    pub(super) fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.released)
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn take_alarm(&mut self) -> bool {
        std::mem::take(&mut self.alarm)
    }

    pub(super) fn stats(&self) -> Stats {
        let counts = self.scheduler.stats();
        Stats::new(self.wanted as usize)
            .with_tasks(counts.waiting, counts.running + counts.ahead, counts.finished)
            .with_losses(counts.lost_workers, counts.retried)
    }

    /// Whether a task can be begun: there is a worker.
    pub(super) fn has_worker(&self) -> bool {
        self.scheduler.workers() > 0
    }

    /// Why no task is taken any more.
    pub(super) fn refusal(&self) -> Option<TaskError> {
        if self.scheduler.is_broken() {
            return Some(self.broken());
        }
        (self.is_over || self.scheduler.is_closing()).then_some(TaskError::Closed)
    }

    // ---- events ------------------------------------------------------------------------------------------------

    /// Takes in what is in the inbox, and does what follows.
    pub(super) fn step(&mut self, pool: &Pool, now: Instant) {
        self.take_in(pool, now);
        self.act(now);
    }

    fn take_in(&mut self, pool: &Pool, now: Instant) {
        let mut items = std::mem::take(&mut self.items);
        pool.inbox.take(&mut items);
        for item in items.drain(..) {
            match item {
                Item::Job(job) => self.submit(job, 0, now),
                Item::Event(event) => match *event {
                    Event::NestedDone { worker, nested, result } => {
                        self.answer_nested(worker, nested, &result);
                    }
                },
            }
        }
        self.items = items;
    }

    /// `depth` tells how many tasks of the pool wait for this one.
    fn submit(&mut self, job: Job, depth: u8, now: Instant) {
        let options = job.options();
        // The deeper goes first: others wait for it, each in a worker.
        let before = i32::from(depth) * DEPTH_PRIORITY;
        let spec = TaskSpec {
            priority: options.priority.saturating_add(before),
            timeout: options.timeout,
            retries: options.retries,
            idempotent: options.idempotent,
            is_async: job.is_async(),
            pin: options.worker,
            nested: depth > 0,
        };
        match self.scheduler.handle_submit(now, spec, Task { job, ticket: None, depth }) {
            Ok(key) => {
                self.nested_waiting += usize::from(depth > 0);
                if let Some(task) = self.scheduler.payload(key) {
                    task.job.word().store(key.into_raw(), Ordering::Relaxed);
                }
            }
            Err(rejected) => {
                let error = match rejected {
                    Rejected::Broken(_) => self.broken(),
                    Rejected::Full(_) => TaskError::Full,
                    Rejected::Closed(_) => TaskError::Closed,
                };
                let task = rejected.into_payload();
                self.fail(task, error);
            }
        }
    }

    /// The future wants the task cancelled.
    pub(super) fn cancel(
        &mut self,
        pool: &Pool,
        word: &AtomicU64,
        id: TaskId,
        now: Instant,
    ) -> CancelOutcome {
        self.take_in(pool, now);
        let Some(key) = self.key_of(word, id) else {
            return CancelOutcome::TooLate;
        };
        let outcome = match self.scheduler.handle_cancel(now, key) {
            Cancelled::Removed(task) | Cancelled::Resolved(task) => {
                self.fail(task, TaskError::Cancelled);
                CancelOutcome::Cancelled
            }
            Cancelled::Unknown => CancelOutcome::TooLate,
        };
        self.act(now);
        outcome
    }

    /// Takes a task back if it has not begun.
    pub(super) fn revoke(&mut self, pool: &Pool, word: &AtomicU64, id: TaskId, now: Instant) -> bool {
        self.take_in(pool, now);
        let Some(key) = self.key_of(word, id) else {
            return false;
        };
        if self.has_begun(word, id) {
            return false;
        }
        // At a worker and not begun: the claim decides. If it is ours, the cancel below finds the slot closed.
        if let Some(ticket) = self.scheduler.payload(key).and_then(|task| task.ticket)
            && let Some(worker) = self.worker_of(key)
            && !worker.board.revoke(ticket)
        {
            return false;
        }
        self.cancel(pool, word, id, now) == CancelOutcome::Cancelled
    }

    /// The key in a job's word, if that job is still the scheduler's.
    fn key_of(&self, word: &AtomicU64, id: TaskId) -> Option<TaskKey> {
        let key = TaskKey::from_raw(word.load(Ordering::Relaxed))?;
        let task = self.scheduler.payload(key)?;
        (task.job.id() == id).then_some(key)
    }

    pub(super) fn progress(&self, word: &AtomicU64, id: TaskId) -> Option<f64> {
        let key = self.key_of(word, id)?;
        let ticket = self.scheduler.payload(key)?.ticket?;
        self.worker_of(key)?.board.progress(ticket)
    }

    pub(super) fn has_begun(&self, word: &AtomicU64, id: TaskId) -> bool {
        let begun = || {
            let key = self.key_of(word, id)?;
            let ticket = self.scheduler.payload(key)?.ticket?;
            Some(self.worker_of(key)?.board.state(ticket) == SlotState::Begun)
        };
        begun().unwrap_or(false)
    }

    fn worker_of(&self, task: TaskKey) -> Option<&Worker> {
        let key = self.scheduler.worker_of(task)?;
        self.workers.get(self.by_key.get(key.slot())?)
    }

    pub(super) fn shutdown(&mut self, how: Shutdown, now: Instant) {
        let mode = match how {
            Shutdown::Drain => ShutdownMode::Drain,
            Shutdown::CancelPending => ShutdownMode::CancelPending,
            Shutdown::Kill => ShutdownMode::Kill,
        };
        self.scheduler.handle_shutdown(now, mode);
        self.changed = true;
        self.alarm = true;
        self.act(now);
    }

    pub(super) fn on_timer(&mut self, now: Instant) {
        self.scheduler.handle_timer(now);
    }

    /// What the reaper has to do. It asks last before it sleeps.
    pub(super) fn plan(&mut self, pool: &Pool, now: Instant) -> Plan {
        let is_drained = self.is_drained() && pool.inbox.is_empty();
        if is_drained {
            self.dismiss(now);
        }
        let other = self.next_deadline(&pool.config);
        // Whatever the reaper should be called for is in the plan.
        self.alarm = false;
        Plan {
            starts: self.take_starts(now).into(),
            full: self.take_full(),
            is_drained,
            until: self.sleep_until(other),
        }
    }

    fn sleep_until(&mut self, other: Option<Instant>) -> Option<Instant> {
        let timeout = self.scheduler.poll_timeout();
        self.reaper_sleeps_until = match (timeout, other) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.reaper_sleeps_until
    }

    // ---- workers -----------------------------------------------------------------------------------------------

    /// The indices of workers that are to be started.
    fn take_starts(&mut self, now: Instant) -> Vec<u32> {
        if !self.may_start() {
            self.starts.clear();
        }
        if self.next_start.is_some_and(|at| at > now) {
            return Vec::new();
        }
        self.next_start = None;
        std::mem::take(&mut self.starts)
    }

    /// What is missing may come back, such as descriptors. Each failure in a row doubles the time until the next try.
    fn put_off_starts(&mut self, now: Instant) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failed_starts.min(16)).min(LONGEST_PAUSE);
        self.failed_starts += 1;
        self.next_start = now.checked_add(pause);
    }

    fn may_start(&self) -> bool {
        !self.scheduler.is_broken() && (!self.scheduler.is_closing() || self.scheduler.unresolved() > 0)
    }

    pub(super) fn add_worker(&mut self, id: u64, worker: Worker) {
        self.workers.insert(id, worker);
    }

    /// A worker of this index could not be started at all.
    pub(super) fn on_start_failed(&mut self, index: u32, reason: String, now: Instant) {
        self.last_loss = Some(WorkerLoss { reason, ..WorkerLoss::default() });
        self.scheduler.handle_start_failed(now);
        self.put_off_starts(now);
        self.starts.push(index);
        self.changed = true;
    }

    /// The worker's first word.
    fn on_ready(&mut self, id: u64, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id).filter(|it| it.life == Life::Starting) else {
            return;
        };
        let index = worker.index;
        let key = self.scheduler.handle_worker_ready(now, index, 1);
        worker.life = Life::Ready;
        worker.key = Some(key);
        self.failed_starts = 0;
        self.next_start = None;
        if self.by_key.len() <= key.slot() {
            self.by_key.resize(key.slot() + 1, NOBODY);
        }
        self.by_key[key.slot()] = id;
        self.changed = true;
        // The one that it replaces leaves now.
        let mut workers = self.workers.values_mut();
        let old = workers.find(|it| it.index == index && it.is_replaced && it.life == Life::Ready);
        if let Some(old) = old {
            old.life = Life::Retiring;
            if let Some(key) = old.key {
                self.scheduler.handle_retire(now, key);
            }
        }
    }

    /// The worker is gone, and all that it has written has been read. `printed` gives what the task in a slot had printed.
    pub(super) fn on_lost(
        &mut self,
        id: u64,
        loss: WorkerLoss,
        printed: &mut dyn FnMut(Ticket) -> Option<Printed>,
        now: Instant,
    ) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.changed = true;
        let begun = worker.begun();
        for (task, _) in begun.iter().filter(|(_, has_begun)| **has_begun) {
            let Some(task) = self.scheduler.payload(*task) else { continue };
            if let Some(printed) = task.ticket.and_then(&mut *printed) {
                task.job.set_printed(printed);
            }
        }
        for handle in worker.nested.into_values() {
            // Nobody is left to take their results.
            self.after.push(Box::new(move || {
                handle.cancel();
            }));
        }
        if worker.index < self.wanted && !worker.is_replaced && worker.life != Life::Leaving {
            self.starts.push(worker.index);
        }
        let Some(key) = worker.key else {
            if worker.life == Life::Starting {
                self.last_loss = Some(with_hint(loss));
                self.scheduler.handle_start_failed(now);
                self.put_off_starts(now);
            }
            return;
        };
        if self.by_key[key.slot()] == id {
            self.by_key[key.slot()] = NOBODY;
        }
        if worker.life != Life::Leaving {
            self.last_loss = Some(loss.clone());
            self.losses.push((key, loss));
            self.scheduler.handle_worker_lost(now, key, |task| match begun.get(&task) {
                Some(false) => Began::No,
                Some(true) | None => Began::Yes,
            });
            // Those that are not lost with it wait again.
            for task in begun.into_keys() {
                if let Some(task) = self.scheduler.payload_mut(task) {
                    task.ticket = None;
                    self.nested_waiting += usize::from(task.depth > 0);
                }
            }
        }
    }

    /// Marks a worker as to be replaced, if it has done, lived or grown enough.
    pub(super) fn recycle(&mut self, id: u64, config: &ProcessConfig, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.life == Life::Ready && !worker.is_replaced && worker.is_worn(config, now) {
            worker.is_replaced = true;
            if worker.index < self.wanted {
                self.starts.push(worker.index);
            }
        }
    }

    /// When the next worker is to be started, gets too old, or has taken too long to start or to leave.
    fn next_deadline(&self, config: &ProcessConfig) -> Option<Instant> {
        let start = self.next_start.filter(|_| !self.starts.is_empty() && self.may_start());
        let deadlines = self.workers.values().filter_map(|it| it.deadline(config));
        deadlines.chain(start).min()
    }

    /// Looks after workers whose time is up.
    pub(super) fn on_deadlines(&mut self, config: &ProcessConfig, now: Instant) {
        let late = |worker: &&mut Worker| worker.deadline(config).is_some_and(|at| at <= now);
        let mut old = Vec::new();
        for worker in self.workers.values_mut().filter(late) {
            match worker.life {
                Life::Ready => old.push(worker.index),
                Life::Starting => worker.kill(&format!("it did not report in time; {INIT_HINT}")),
                Life::Leaving => worker.kill("it did not leave when told to"),
                Life::Retiring => {}
            }
        }
        let ids: Vec<u64> = self.workers.keys().copied().collect();
        if !old.is_empty() {
            for id in ids {
                self.recycle(id, config, now);
            }
        }
    }

    /// Starts another worker if tasks wait for tasks that nobody is free to run; refuses the wait if that cannot be.
    fn relieve(&mut self, now: Instant) {
        let is_stuck = |it: &Self| {
            it.scheduler.blocked() > 0 && it.nested_waiting > 0 && it.scheduler.idle_workers() == 0
        };
        if !is_stuck(self)
            || self.workers.values().any(|it| it.life == Life::Starting)
            || !self.starts.is_empty()
        {
            return;
        }
        let present = self.workers.values().filter(|it| it.life == Life::Ready).count();
        if present < self.wanted as usize + self.extra {
            let taken = |index| self.workers.values().any(|it| it.index == index);
            let first_extra = self.wanted;
            let index =
                (first_extra..).find(|index| !taken(*index)).expect("there are fewer workers than numbers");
            self.starts.push(index);
            self.alarm = true;
        } else if self.scheduler.blocked() >= present {
            self.refuse_waits(present, now);
        }
    }

    /// Every worker waits for a task of the pool, and no more may be started: the tasks waited for fail.
    fn refuse_waits(&mut self, blocked: usize, now: Instant) {
        let nested: Vec<TaskKey> = self
            .workers
            .values()
            .flat_map(|worker| worker.nested.values())
            .filter_map(|handle| self.key_of(handle.word(), handle.id()))
            .filter(|key| self.scheduler.worker_of(*key).is_none())
            .collect();
        for key in nested {
            if let Cancelled::Removed(task) | Cancelled::Resolved(task) =
                self.scheduler.handle_cancel(now, key)
            {
                self.fail(task, TaskError::nested_too_deep(blocked));
            }
        }
    }

    /// Lets the workers go that were started to relieve the others, when nobody waits any more.
    fn retire_extra(&mut self, now: Instant) {
        if self.scheduler.blocked() > 0 || self.nested_waiting > 0 {
            return;
        }
        for worker in self.workers.values_mut().filter(|it| it.index >= self.wanted) {
            if worker.life == Life::Ready && worker.held() == 0 {
                worker.life = Life::Retiring;
                if let Some(key) = worker.key {
                    self.scheduler.handle_retire(now, key);
                }
            }
        }
    }

    /// Whether everything is resolved after a shutdown.
    fn is_drained(&self) -> bool {
        self.scheduler.is_drained()
    }

    /// Tells all workers to leave. Those that have not said a word are not waited for.
    fn dismiss(&mut self, now: Instant) {
        for (id, worker) in &mut self.workers {
            match worker.life {
                Life::Starting => worker.kill("the pool ends"),
                Life::Ready | Life::Retiring => {
                    worker.dismiss(now);
                    self.dirty.push(*id);
                }
                Life::Leaving => {}
            }
        }
        self.flush_dirty(now);
    }

    /// Whether the reaper has something to do at once.
    fn has_work_for_reaper(&self, now: Instant) -> bool {
        let is_due = self.next_start.is_none_or(|at| at <= now);
        (!self.starts.is_empty() && is_due && self.may_start()) || !self.full.is_empty()
    }

    /// Ends a worker.
    pub(super) fn kill(&mut self, id: u64, reason: &str) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.kill(reason);
        }
    }

    /// Makes sure that a worker is dead, and reaps it: how it ended, its name, and why we ended it if we did.
    pub(super) fn bury(&mut self, id: u64) -> Option<(Exit, String, String)> {
        let worker = self.workers.get_mut(&id)?;
        Some((worker.bury(), worker.name(), std::mem::take(&mut worker.kill_reason)))
    }

    /// Whether a worker has said that it would send all of the bytes that were received.
    pub(super) fn has_announced(&self, id: u64, received: u64) -> bool {
        self.workers.get(&id).is_none_or(|worker| worker.board.has_announced(received))
    }

    /// What a dead worker had finished beyond the bytes that were received.
    pub(super) fn recover(&self, id: u64, received: u64) -> Result<Vec<u8>, RecoverError> {
        match self.workers.get(&id) {
            Some(worker) => worker.board.recover(received),
            None => Ok(Vec::new()),
        }
    }

    /// The reaper has failed: nothing runs any more, and every task resolves as closed.
    pub(super) fn give_up(&mut self) {
        let empty = Scheduler::new(self.scheduler.config().clone());
        let scheduler = std::mem::replace(&mut self.scheduler, empty);
        self.workers.clear();
        // Dropping a job resolves its future; not under the lock.
        self.after.push(Box::new(move || drop(scheduler)));
    }

    /// Everything has ended.
    pub(super) fn close(&mut self) {
        self.is_over = true;
        self.changed = true;
    }

    // ---- frames from workers -----------------------------------------------------------------------------------

    /// Deals with one frame. `printed` gives what the task in a slot has printed.
    pub(super) fn on_frame(
        &mut self,
        pool: &Arc<Pool>,
        id: u64,
        body: &[u8],
        printed: &mut dyn FnMut(Ticket) -> Option<Printed>,
        now: Instant,
    ) -> Result<(), String> {
        let frame = FromWorker::decode(body).map_err(|it| it.to_string())?;
        let ticket = |bits| Ticket::from_bits(bits).ok_or_else(|| format!("{bits} is not a ticket"));
        match frame {
            FromWorker::Ready(_) => self.on_ready(id, now),
            FromWorker::Done(bits, elapsed, outcome) => {
                let ticket = ticket(bits)?;
                self.on_done(id, ticket, elapsed, outcome, printed(ticket), now);
            }
            FromWorker::Nested(frame) => self.on_nested(pool, id, frame, now),
            FromWorker::NestedCancel(nested) => {
                // At once: a task that its submitter takes for cancelled must not be sent after this frame.
                let handle = self.workers.get(&id).and_then(|it| it.nested.get(&nested));
                let key = handle.and_then(|handle| self.key_of(handle.word(), handle.id()));
                if let Some(key) = key
                    && let Cancelled::Removed(task) | Cancelled::Resolved(task) =
                        self.scheduler.handle_cancel(now, key)
                {
                    self.fail(task, TaskError::Cancelled);
                }
            }
            FromWorker::NestedShare(share, bytes) => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    let blob = Arc::new(ShareBlob::new(share, bytes.to_vec()));
                    worker.nested_shares.insert(share, blob);
                }
            }
            FromWorker::Blocked(bits) => {
                if let Some((worker, task)) = self.running_in(id, ticket(bits)?) {
                    self.scheduler.handle_blocked(now, worker, task);
                }
            }
            FromWorker::Unblocked(bits) => {
                if let Some((worker, task)) = self.running_in(id, ticket(bits)?) {
                    self.scheduler.handle_unblocked(now, worker, task);
                }
            }
            FromWorker::Progress(..)
            | FromWorker::Revoked(..)
            | FromWorker::Output(..)
            | FromWorker::Pong => {
                return Err("a worker process sends no such frame".to_owned());
            }
        }
        Ok(())
    }

    fn running_in(&self, id: u64, ticket: Ticket) -> Option<(WorkerKey, TaskKey)> {
        let worker = self.workers.get(&id)?;
        Some((worker.key?, worker.task_in(ticket)?))
    }

    fn on_done(
        &mut self,
        id: u64,
        ticket: Ticket,
        elapsed: Duration,
        outcome: Result<&[u8], TaskError>,
        printed: Option<Printed>,
        now: Instant,
    ) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (Some(key), Some(task)) = (worker.key, worker.close(ticket)) else { return };
        worker.finished += 1;
        let Some(task) = self.scheduler.handle_finished(now, key, task, elapsed) else {
            return;
        };
        let job = self.release(task);
        if let Some(printed) = printed {
            job.set_printed(printed);
        }
        job.note_elapsed(elapsed);
        let notice = match outcome {
            Ok(bytes) => job.complete_deferred(bytes),
            Err(error) => job.fail_deferred(error),
        };
        self.note(notice);
    }

    fn on_nested(&mut self, pool: &Arc<Pool>, id: u64, frame: NestedFrame<'_>, now: Instant) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let nested = frame.nested;
        let shares: Result<Vec<_>, ShareId> =
            frame.shares.iter().map(|share| worker.known_share(*share).ok_or(*share)).collect();
        let shares = match shares {
            Ok(shares) => shares,
            Err(share) => {
                let error = TaskError::decode("shared value", format!("the value {:x} is not here", share.0));
                self.answer_nested(id, nested, &Err(error));
                return;
            }
        };
        let answer_to = Arc::downgrade(pool);
        let sink = move |result| {
            if let Some(pool) = answer_to.upgrade() {
                let event = Event::NestedDone { worker: id, nested, result };
                pool.push(Item::Event(Box::new(event)));
            }
        };
        let (job, handle) =
            Job::from_encoded(frame.target, frame.arg.to_vec(), frame.is_async, frame.options, shares, sink);
        worker.nested.insert(nested, handle);
        if job.set_owner(pool.owner(), 0) {
            // They do not wait for room, and are counted all the same: `release` takes them off.
            pool.bytes.fetch_add(counted_bytes(&job), Ordering::Relaxed);
            let depth = self.depth_at(id).saturating_add(1);
            self.submit(job, depth, now);
        }
    }

    /// The depth of the deepest task that a worker runs.
    fn depth_at(&self, id: u64) -> u8 {
        let key = self.workers.get(&id).and_then(|worker| worker.key);
        let tasks = key.into_iter().flat_map(|key| self.scheduler.tasks_of(key));
        let depths = tasks.filter_map(|task| Some(self.scheduler.payload(task)?.depth));
        depths.max().unwrap_or(0)
    }

    fn answer_nested(&mut self, id: u64, nested: u64, result: &Result<Vec<u8>, TaskError>) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.nested.remove(&nested);
        let outcome = match result {
            Ok(bytes) => Ok(&bytes[..]),
            Err(error) => Err(error.clone()),
        };
        ToWorker::NestedDone(nested, outcome).encode(worker.out());
        worker.is_urgent = true;
        self.mark_dirty(id);
    }

    // ---- actions -----------------------------------------------------------------------------------------------

    /// Does what the scheduler says until it has nothing more to say, and writes what workers are to be told.
    pub(super) fn act(&mut self, now: Instant) {
        loop {
            self.poll_actions(now);
            if self.scheduler.blocked() > 0 {
                self.relieve(now);
            }
            if self.has_extra() {
                self.retire_extra(now);
            }
            // Refused waits, workers that leave and workers that can be sent to again make actions of their own.
            let resumed = self.flush_dirty(now);
            match self.scheduler.poll_action(now) {
                Some(action) => self.perform(action, now),
                None if resumed => {}
                None => break,
            }
        }
        self.losses.clear();
        self.changed |= self.scheduler.is_closing() || self.scheduler.is_broken();
        self.alarm |= match (self.scheduler.poll_timeout(), self.reaper_sleeps_until) {
            (Some(at), Some(until)) => at < until,
            (Some(_), None) => true,
            (None, _) => false,
        } || self.has_work_for_reaper(now)
            || self.scheduler.is_drained();
    }

    fn poll_actions(&mut self, now: Instant) {
        loop {
            if self.has_extra() {
                self.steer_extra(now);
            }
            match self.scheduler.poll_action(now) {
                Some(action) => self.perform(action, now),
                None => return,
            }
        }
    }

    fn has_extra(&self) -> bool {
        self.workers.len() > self.wanted as usize
    }

    /// Workers beyond the wanted number are there for nested tasks, and only while fewer than the wanted number are at
    /// work: so the wanted number of tasks makes headway, depth first, with as few workers as that takes.
    fn steer_extra(&mut self, now: Instant) {
        let busy = self.workers.values().filter(|it| it.life == Life::Ready && it.held() > 0).count();
        let at_work = busy.saturating_sub(self.scheduler.blocked());
        let is_needed = self.nested_waiting > 0 && at_work < self.wanted as usize;
        let wanted = self.wanted;
        for worker in self.workers.values_mut().filter(|it| it.index >= wanted) {
            let (Some(key), Life::Ready) = (worker.key, worker.life) else { continue };
            if worker.is_steered_off == is_needed {
                worker.is_steered_off = !is_needed;
                if !is_needed {
                    self.scheduler.handle_paused(now, key);
                } else if !worker.is_paused {
                    self.scheduler.handle_resumed(now, key);
                }
            }
        }
    }

    fn perform(&mut self, action: Action<Task>, now: Instant) {
        match action {
            Action::Send { worker, task, attempt } => self.send(worker, task, attempt, now),
            Action::Revoke { worker, task } => {
                let Some((id, ticket)) = self.ticket_of(worker, task) else { return };
                let Some(at) = self.workers.get_mut(&id) else { return };
                // Who revokes a relayed task has closed its slot already.
                let taken = at.board.revoke(ticket) || at.board.state(ticket) == SlotState::Revoked;
                if taken {
                    at.close(ticket);
                    if let Some(task) = self.scheduler.payload_mut(task) {
                        task.ticket = None;
                        self.nested_waiting += usize::from(task.depth > 0);
                    }
                }
                self.scheduler.handle_revoked(now, worker, task, taken);
            }
            Action::Stop { worker, task } => {
                if let Some((id, ticket)) = self.ticket_of(worker, task)
                    && let Some(at) = self.workers.get(&id)
                {
                    at.board.request_cancel(ticket);
                }
            }
            Action::Kill { worker, task } => {
                let reason = match task {
                    Some(_) => "ended: a task did not stop when it was cancelled or its time was up",
                    None => "ended: the pool was shut down",
                };
                if let Some(at) = self.at(worker) {
                    at.kill(reason);
                }
            }
            Action::Fail { payload, failure, .. } => {
                let error = self.error_of(failure);
                self.fail(payload, error);
            }
            Action::Retired { worker } => {
                let id = self.by_key.get(worker.slot()).copied().unwrap_or(NOBODY);
                if let Some(at) = self.workers.get_mut(&id) {
                    at.dismiss(now);
                    self.mark_dirty(id);
                }
            }
        }
    }

    fn at(&mut self, worker: WorkerKey) -> Option<&mut Worker> {
        let id = self.by_key.get(worker.slot())?;
        self.workers.get_mut(id)
    }

    fn ticket_of(&self, worker: WorkerKey, task: TaskKey) -> Option<(u64, Ticket)> {
        let id = *self.by_key.get(worker.slot())?;
        let known = self.scheduler.payload(task).and_then(|task| task.ticket);
        let ticket = known.or_else(|| self.workers.get(&id)?.ticket_of(task))?;
        Some((id, ticket))
    }

    fn send(&mut self, key: WorkerKey, task: TaskKey, attempt: u32, now: Instant) {
        let Some(id) = self.by_key.get(key.slot()).copied() else { return };
        let (Some(worker), Some(payload)) = (self.workers.get_mut(&id), self.scheduler.payload_mut(task))
        else {
            return;
        };
        let ticket = worker.offer(task).expect("a worker's credit is no more than its slots");
        payload.ticket = Some(ticket);
        self.nested_waiting -= usize::from(payload.depth > 0);
        let job = &payload.job;
        if !job.shares().is_empty() || worker.has_stale_shares() {
            worker.send_shares(job.shares());
        }
        match job.target() {
            Ok(target) => TaskFrame {
                slot: ticket.to_bits(),
                task: job.id(),
                attempt: attempt + job.attempts_before(),
                is_async: job.is_async(),
                target,
                extra: None,
                arg: job.encoded(),
            }
            .encode(worker.out()),
            Err(_) => unreachable!("the target was found when the task was submitted"),
        }
        if worker.should_pause() && !worker.is_paused {
            worker.is_paused = true;
            self.scheduler.handle_paused(now, key);
        }
        self.mark_dirty(id);
    }

    fn mark_dirty(&mut self, id: u64) {
        if let Some(worker) = self.workers.get_mut(&id)
            && !worker.is_dirty
        {
            worker.is_dirty = true;
            self.dirty.push(id);
        }
    }

    /// Writes frames to workers, but for those that have plenty to do and little to be told. True if a worker that could
    /// not be sent to can be again.
    fn flush_dirty(&mut self, now: Instant) -> bool {
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut resumed = false;
        dirty.retain(|id| {
            let Some(worker) = self.workers.get_mut(id) else {
                return false;
            };
            if worker.wants_flush() {
                // A worker that is gone is noticed by the reaper; what it was sent is dealt with there.
                if worker.flush().unwrap_or(false) {
                    self.full.push(*id);
                }
                resumed |= resume(worker, &mut self.scheduler, now);
            }
            worker.is_dirty = !worker.is_flushed();
            worker.is_dirty
        });
        self.dirty = dirty;
        resumed
    }

    /// The reaper has found the worker's socket writable. True if it is full again.
    pub(super) fn on_writable(&mut self, id: u64, now: Instant) -> bool {
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        let is_full = worker.flush().unwrap_or(false);
        resume(worker, &mut self.scheduler, now);
        is_full
    }

    /// Workers whose sockets are full, for the reaper to wait for.
    fn take_full(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.full)
    }

    // ---- endings -----------------------------------------------------------------------------------------------

    /// Takes a task out of the books.
    fn release(&mut self, task: Task) -> Job {
        if task.depth > 0 && task.ticket.is_none() {
            self.nested_waiting -= 1;
        }
        self.released += counted_bytes(&task.job);
        task.job
    }

    fn fail(&mut self, task: Task, error: TaskError) {
        let notice = self.release(task).fail_deferred(error);
        self.note(notice);
    }

    fn note(&mut self, notice: Notice) {
        if notice.is_needed() {
            self.notices.push(notice);
        }
    }

    fn error_of(&self, failure: Failure) -> TaskError {
        match failure {
            Failure::WorkerLost { worker, attempts } => {
                let loss = self.losses.iter().find(|(key, _)| *key == worker);
                TaskError::worker_lost(loss.map(|(_, loss)| loss.clone()).unwrap_or_default(), attempts)
            }
            Failure::TimedOut { limit, .. } => TaskError::timed_out(limit, "process"),
            Failure::Broken => self.broken(),
            // Whoever kills the pool cancels its tasks.
            Failure::Cancelled | Failure::Closed => TaskError::Cancelled,
            _ => TaskError::Closed,
        }
    }

    fn broken(&self) -> TaskError {
        let last = match &self.last_loss {
            Some(loss) => loss.to_string(),
            None => "nothing is known of the last one".to_owned(),
        };
        TaskError::broken(format!(
            "{} workers in a row died, or could not be started, without a task finished between them; the last one: \
             {last}",
            self.scheduler.config().breaker
        ))
    }
}

/// Lets the scheduler send to a worker again whose buffer has emptied.
fn resume(worker: &mut Worker, scheduler: &mut Scheduler<Task>, now: Instant) -> bool {
    let resumed = worker.is_paused && !worker.should_pause();
    if resumed {
        worker.is_paused = false;
        // An extra worker is let loose by its own rule.
        if let Some(key) = worker.key
            && !worker.is_steered_off
        {
            scheduler.handle_resumed(now, key);
        }
    }
    resumed
}

/// What to look at when a worker has not said a word.
fn with_hint(mut loss: WorkerLoss) -> WorkerLoss {
    if loss.reason.is_empty() {
        loss.reason = format!("it ended before it reported; {INIT_HINT}");
    }
    loss
}

const INIT_HINT: &str = "is `executor::init()` the first line of main?";

/// How long a start waits after one that has failed. Ten in a row, after which a pool gives up by default, take a second.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest that a start waits after those that have failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// No worker has this number.
const NOBODY: u64 = u64::MAX;

/// The bytes of a task's argument that count towards `max_bytes`.
pub(super) fn counted_bytes(job: &Job) -> usize {
    /// What fits into the task itself.
    const FREE: usize = 22;
    match job.encoded().len() {
        0..=FREE => 0,
        len => len,
    }
}
