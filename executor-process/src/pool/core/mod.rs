//! The state of the pool under its lock, and what is done with it.

mod actions;
mod frames;
mod relief;
mod workers;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use executor_core::scheduler::{
    Cancelled, Failure, Rejected, Scheduler, SchedulerConfig, ShutdownMode, TaskKey, TaskSpec, WorkerKey,
};
use executor_core::{CancelOutcome, Job, Notice, Printed, Shutdown, Stats, TaskError, TaskId, WorkerLoss};

use crate::board::{SlotState, Ticket, WINDOW};
use crate::config::ProcessConfig;
use crate::pool::Pool;
use crate::pool::crew::Crew;
use crate::pool::inbox::{Event, Item};
use crate::pool::plan::Plan;
use crate::pool::watch::Watch;
use crate::pool::worker::Worker;
use crate::ring::Need;

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

/// What is counted of the tasks that the scheduler has.
#[derive(Default)]
struct Books {
    /// Nested tasks in the scheduler's queue.
    nested_waiting: usize,
    /// Bytes of arguments whose tasks have been resolved, and that the pool still counts.
    released: usize,
}

impl Books {
    /// Takes a task out of the books.
    #[inline]
    fn release(&mut self, task: Task) -> Job {
        if task.depth > 0 && task.ticket.is_none() {
            self.nested_waiting -= 1;
        }
        self.released += counted_bytes(&task.job);
        task.job
    }
}

/// A step to be taken when the lock has been let go.
type Step = Box<dyn FnOnce() + Send>;

pub(crate) struct Core {
    scheduler: Scheduler<Task>,
    /// By the reaper's number, which is never used again.
    workers: Crew,
    /// By the slot of the scheduler's key.
    by_key: Vec<u64>,
    dirty: Vec<u64>,
    /// Workers whose rings are full; the bell rings when there is room.
    full: Vec<u64>,
    items: Vec<Item>,
    /// Tasks that the scheduler does not know of yet.
    backlog: VecDeque<Job>,
    notices: Vec<Notice>,
    after: Vec<Step>,
    /// Something that watchers wait for may have happened.
    changed: bool,
    alarm: bool,
    /// Until when the reaper sleeps at the longest.
    reaper_sleeps_until: Option<Instant>,
    /// Of the workers whose loss is being dealt with.
    losses: Vec<(WorkerKey, WorkerLoss)>,
    /// What the tasks that they were running had printed: the last words of those that are not run again.
    last_words: Vec<(TaskId, Printed)>,
    last_loss: Option<WorkerLoss>,
    pub(super) is_over: bool,
    books: Books,
    /// How many workers there should be.
    wanted: u32,
    /// How many more there may be.
    extra: usize,
    /// Counts what has been taken in from workers.
    answers: u64,
    /// Tasks that submitters have brought since one of them looked for answers.
    unlooked: usize,
    /// Who looks for answers.
    watch: Watch,
    /// Indices of workers that the reaper is to start.
    starts: Vec<u32>,
    /// How many workers the reaper has been told to start and has not: a zygote may be at it.
    being_started: usize,
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
            workers: Crew::default(),
            by_key: Vec::new(),
            dirty: Vec::new(),
            full: Vec::new(),
            items: Vec::new(),
            backlog: VecDeque::new(),
            notices: Vec::new(),
            after: Vec::new(),
            changed: false,
            alarm: false,
            reaper_sleeps_until: None,
            losses: Vec::new(),
            last_words: Vec::new(),
            last_loss: None,
            is_over: false,
            books: Books::default(),
            wanted: workers,
            starts: (0..workers).collect(),
            being_started: 0,
            failed_starts: 0,
            next_start: None,
            answers: 0,
            unlooked: 0,
            watch: Watch::new(),
            extra: config.extra_workers.unwrap_or((4 * workers as usize).max(64)),
        }
    }

    // ---- for `Pool` --------------------------------------------------------------------------------------------

    pub(super) fn waiting(&self) -> usize {
        self.scheduler.waiting() + self.backlog.len()
    }

    /// Whether a submitter has to see to it that its task is sent: a worker has little to do and can be sent more. Those
    /// that have plenty to do are sent more together with the next look at their answers, many tasks at a time.
    pub(super) fn is_hungry(&self) -> bool {
        /// No-op tasks for some 10 µs, which is about what it takes until somebody looks.
        const PLENTY: usize = 128;
        if self.takes_nothing() {
            // What still comes is to be told so.
            return true;
        }
        let has_room = |key| self.scheduler.held(key) < self.scheduler.credit(key).min(PLENTY);
        self.backlog.is_empty() && self.workers.values().any(|it| it.key.is_some_and(has_room))
    }

    /// Whether every task that is given to the scheduler is refused.
    fn takes_nothing(&self) -> bool {
        self.is_over || self.scheduler.is_closing() || self.scheduler.is_broken()
    }

    /// How many tasks the scheduler should have in its queue: as many as all workers can be sent at once. With fewer, a
    /// task of a lower priority might be sent before one in the backlog.
    fn appetite(&self) -> usize {
        WINDOW / 2 * self.workers.len().max(1)
    }

    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    pub(super) fn take_after(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.after)
    }

    pub(super) fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.books.released)
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
            .with_tasks(self.waiting(), counts.running + counts.ahead, counts.finished)
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

    // ---- who looks for answers ---------------------------------------------------------------------------------

    /// A thread starts to look for answers.
    pub(super) fn start_looking(&mut self) {
        self.watch.start_looking(&self.workers);
    }

    /// A thread looks no more.
    pub(super) fn stop_looking(&mut self) {
        self.alarm |= self.watch.stop_looking(&self.workers);
    }

    /// The reaper goes to sleep, unless there are answers already (false).
    pub(super) fn doze(&mut self, need: Need) -> bool {
        self.watch.doze(need, &self.workers)
    }

    /// The reaper is awake.
    pub(super) fn wake(&mut self) {
        self.watch.wake(&self.workers);
    }

    /// Whether a submitter is to look for answers on its way: once for about so many tasks.
    #[inline]
    pub(super) fn is_time_to_look(&mut self, tasks: usize) -> bool {
        /// To look costs a cache miss for each worker, which is to be small beside what this many tasks cost.
        const EVERY: usize = 32;
        self.unlooked += tasks;
        let looks = self.unlooked >= EVERY;
        if looks {
            self.unlooked = 0;
        }
        looks
    }

    /// How often something was taken in from workers, and whether there is something to come.
    pub(super) fn activity(&self) -> (u64, bool) {
        let counts = self.scheduler.stats();
        (self.answers, counts.running + counts.ahead > 0)
    }

    // ---- events ------------------------------------------------------------------------------------------------

    /// Takes in what is in the inbox, and does what follows.
    pub(super) fn step(&mut self, pool: &Pool, now: Instant) {
        self.take_in(pool, now);
        if !self.takes_nothing() {
            self.feed(self.appetite(), now);
        }
        self.act(now);
        // After what the scheduler says of those that it knows, the last loss among it: in the order of events.
        if !self.backlog.is_empty() && self.takes_nothing() {
            self.feed(usize::MAX, now);
            self.act(now);
        }
    }

    /// Gives the scheduler tasks out of the backlog until so many wait there.
    fn feed(&mut self, appetite: usize, now: Instant) {
        while self.scheduler.waiting() < appetite
            && let Some(job) = self.backlog.pop_front()
        {
            self.submit(job, 0, now);
        }
    }

    /// Empties the inbox, and the backlog too: whoever looks for a task finds it.
    fn take_in_all(&mut self, pool: &Pool, now: Instant) {
        self.take_in(pool, now);
        self.feed(usize::MAX, now);
    }

    fn take_in(&mut self, pool: &Pool, now: Instant) {
        let mut items = std::mem::take(&mut self.items);
        pool.inbox.take(&mut items);
        for item in items.drain(..) {
            match item {
                Item::Job(job) => self.backlog.push_back(job),
                Item::Special(job) => self.submit(job, 0, now),
                Item::Event(event) => match *event {
                    Event::NestedDone { worker, nested, result } => {
                        self.answer_nested(worker, nested, &result);
                    }
                    Event::Notes { worker } => self.send_notes(worker),
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
                self.books.nested_waiting += usize::from(depth > 0);
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
        self.take_in_all(pool, now);
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
        self.take_in_all(pool, now);
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
        self.workers.get(*self.by_key.get(key.slot())?)
    }

    pub(super) fn shutdown(&mut self, pool: &Pool, how: Shutdown, now: Instant) {
        // What was submitted before belongs to what is shut down.
        self.take_in_all(pool, now);
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
            starting: self.starting(),
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

    // ---- endings -----------------------------------------------------------------------------------------------

    fn fail(&mut self, task: Task, error: TaskError) {
        let notice = self.books.release(task).fail_deferred(error);
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
#[inline]
pub(super) fn counted_bytes(job: &Job) -> usize {
    /// What fits into the task itself.
    const FREE: usize = 22;
    match job.encoded().len() {
        0..=FREE => 0,
        len => len,
    }
}
