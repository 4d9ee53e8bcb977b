//! The client: `tcp://`, an executor whose workers are agents.
//!
//! # Threads
//!
//! Each agent has a thread, which connects, greets, uploads the executable if the agent lacks it, and then reads until the
//! connection is lost, and begins anew ([`dial`]). Whoever submits sends: submitters put their job into an inbox and try to
//! become the driver of the one [`Core`]; who finds it driven goes away, and the driver looks into the inbox again
//! after he has let go. Sending never blocks (see [`Outbox`](crate::link::Outbox)). One more thread keeps time.
//!
//! # Rules
//!
//! 1. User code (wakers, destructors of results) never runs under the core's lock: what it would lead to is
//!    collected in an [`After`] and done when the lock is free. A shutdown is not over before that is done.
//! 2. An agent is one worker of the scheduler, with as many slots as it said. What was sent to an agent that is lost may
//!    have begun; nobody can know. A worker process that an agent loses is a lost attempt of one task.
//! 3. An agent that refuses us, or cannot be reached for as long as [`RemoteConfig::unreachable`], is *out*. When all are,
//!    waiting tasks fail and new ones do at once, until one of them answers: connecting never ends. An agent that is being
//!    greeted has been reached, however long it takes to send it the executable; if that fails, the time counts from when the
//!    agent was last connected.

mod after;
mod config;
mod core;
mod dial;
mod executable;
mod link;
mod lost;
mod send;
mod timer;

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use executor_core::scheduler::{Cancelled, ShutdownMode, TaskKey};
use executor_core::{
    CancelOutcome, Capabilities, Carrier, Executor, Job, OpenError, Owner, OwnerId, Rejected, Shutdown,
    Stats, TaskError, TaskId, register_owner,
};

pub use config::{RemoteConfig, SCHEME};

use self::after::After;
use self::core::Core;
use self::timer::Timer;

/// An executor whose workers are agents on other machines, or on this one.
///
/// Cheap to clone. When the last handle is dropped, what has been submitted still runs in the background, for as long as
/// the program does.
///
/// `broadcast` and `.worker(i)` count the slots of all connected agents, in the order of the configuration: each slot is a
/// worker process. A task that names one waits for its agent if that is lost.
///
/// Agents are sent some tasks ahead, so that none of them waits for the network between two tasks. Such a task is taken back
/// when it is cancelled; its future is cancelled at once, and should the task begin before the agent hears of it, it is
/// stopped as one that runs.
#[derive(Clone)]
pub struct RemoteExecutor {
    handle: Arc<Handle>,
}

/// The users' share of an executor.
struct Handle {
    shared: Arc<Shared>,
}

/// What users, agents' threads and the time keeper share.
pub(crate) struct Shared {
    config: RemoteConfig,
    owner: OwnerId,
    inbox: Mutex<Inbox>,
    /// Length of the inbox.
    inbox_len: AtomicUsize,
    /// How many tasks waited in the scheduler when a driver last told.
    waiting: AtomicUsize,
    /// The inbox has a refusal.
    is_refusing: AtomicBool,
    core: Mutex<Core>,
    /// Drivers that have something left to do after they let go of the core (rule 1).
    settling: AtomicUsize,
    timer: Timer,
    finish: Finish,
    /// Of agents, that run.
    threads: AtomicUsize,
}

/// Jobs that no driver has seen.
#[derive(Default)]
struct Inbox {
    jobs: Vec<Job>,
    /// Why nothing more is taken.
    refusal: Option<TaskError>,
}

/// Tells the agents' threads that there is nothing left to connect for.
#[derive(Default)]
struct Finish {
    finished: Mutex<bool>,
    changed: Condvar,
}

impl RemoteExecutor {
    /// Opens it. The network is left to threads; tasks may be submitted at once, and wait for the first agent.
    ///
    /// # Errors
    ///
    /// [`OpenError`] for what can be told to be wrong without the network, if no thread can be started, and in a worker
    /// process that has not passed `init()`.
    pub fn open(config: RemoteConfig) -> Result<Self, OpenError> {
        if executor_process::sys::worker::is_unentered() {
            return Err(OpenError::InitMissing);
        }
        config.check()?;
        let shared = Arc::new_cyclic(|weak: &Weak<Shared>| {
            let owner: Weak<dyn Owner> = Weak::<Shared>::clone(weak);
            Shared {
                owner: register_owner(owner),
                inbox: Mutex::default(),
                inbox_len: AtomicUsize::new(0),
                waiting: AtomicUsize::new(0),
                is_refusing: AtomicBool::new(false),
                core: Mutex::new(Core::new(&config, Instant::now())),
                settling: AtomicUsize::new(0),
                timer: Timer::default(),
                finish: Finish::default(),
                threads: AtomicUsize::new(config.agents.len()),
                config,
            }
        });
        // From here on, an error drops the handle, and the threads that exist end.
        let this = Self { handle: Arc::new(Handle { shared: Arc::clone(&shared) }) };
        let system = |error: std::io::Error| OpenError::system("tcp", format!("starting a thread: {error}"));
        timer::start(&shared).map_err(system)?;
        for agent in 0..shared.config.agents.len() {
            dial::start(&shared, agent).map_err(system).inspect_err(|_| {
                (agent..shared.config.agents.len()).for_each(|_| shared.on_thread_ended());
            })?;
        }
        shared.drive_now(|core, _, now| core.arm_give_up(now));
        Ok(this)
    }
}

impl fmt::Debug for RemoteExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteExecutor").field("agents", &self.handle.shared.config.agents).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_shutdown(ShutdownMode::Drain);
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait::async_trait]
impl Executor for RemoteExecutor {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        self.handle.shared.submit(job)
    }

    async fn ready(&self) -> Result<(), TaskError> {
        let shared = &self.handle.shared;
        poll_fn(|cx| shared.poll_ready(cx.waker())).await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(SCHEME.name)
            .with_isolates(true)
            .with_stops_running(true)
            .with_serializes(true)
            .with_concurrent(true)
            .with_remote(true)
    }

    fn stats(&self) -> Stats {
        let shared = &self.handle.shared;
        let mut stats = shared.core().stats();
        stats.queued += shared.inbox().jobs.len();
        stats
    }

    async fn shutdown(&self, how: Shutdown) {
        let shared = &self.handle.shared;
        shared.begin_shutdown(match how {
            Shutdown::Drain => ShutdownMode::Drain,
            Shutdown::CancelPending => ShutdownMode::CancelPending,
            Shutdown::Kill => ShutdownMode::Kill,
        });
        poll_fn(|cx| shared.poll_over(cx.waker())).await;
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, mut job: Job) -> Result<(), Rejected> {
        if let Err(error) = self.check_room() {
            return Err(Rejected { job, error });
        }
        let limit = self.config.frame_limit_bytes;
        if let Err(error) = job.target().and_then(|_| job.encode_for(Carrier::remote(limit))) {
            return Err(Rejected { job, error });
        }
        let mut inbox = self.inbox();
        if let Some(error) = inbox.refusal.clone() {
            drop(inbox);
            // Closed since: it has been encoded and cannot be given back whole.
            job.fail(error);
            return Ok(());
        }
        inbox.jobs.push(job);
        self.inbox_len.store(inbox.jobs.len(), Ordering::Relaxed);
        drop(inbox);
        fence(Ordering::SeqCst); // with the one in `let_go`
        self.drive();
        Ok(())
    }

    /// Whether a job may come in. Several threads that ask at the same time may exceed the limit by their number.
    fn check_room(&self) -> Result<(), TaskError> {
        if self.is_refusing.load(Ordering::Acquire)
            && let Some(error) = self.inbox().refusal.clone()
        {
            return Err(error);
        }
        if self.has_room() {
            return Ok(());
        }
        // A driver may have made room that he has not told of.
        self.drive_now(|_, _, _| {});
        if self.has_room() { Ok(()) } else { Err(TaskError::Full) }
    }

    fn has_room(&self) -> bool {
        self.inbox_len.load(Ordering::Relaxed) + self.waiting.load(Ordering::Relaxed) < self.config.queue
    }

    /// Drives the core, unless somebody else does.
    fn drive(&self) {
        loop {
            let mut core = match self.core.try_lock() {
                Ok(core) => core,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let mut after = After::default();
            self.run(&mut core, &mut after, Instant::now());
            self.let_go(core, after);
            if self.inbox_len.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    /// Lets `event` happen, and drives the core.
    fn drive_now<'a, T>(&self, event: impl FnOnce(&mut Core, &mut After<'a>, Instant) -> T) -> T {
        let mut core = self.core();
        let mut after = After::default();
        let now = Instant::now();
        let result = event(&mut core, &mut after, now);
        self.run(&mut core, &mut after, now);
        self.let_go(core, after);
        if self.inbox_len.load(Ordering::Relaxed) != 0 {
            self.drive();
        }
        result
    }

    fn run(&self, core: &mut Core, after: &mut After<'_>, now: Instant) {
        loop {
            let jobs = self.take_inbox(core);
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                core.submit(job, &self.owner, after, now);
            }
            core.perform(after, now);
        }
        // Events without jobs have actions too.
        core.perform(after, now);
        core.settle(after);
        self.waiting.store(core.waiting(), Ordering::Relaxed);
        if let Some(error) = core.refusal() {
            self.refuse(error);
        }
        if let Some(at) = core.next_deadline() {
            self.timer.arm(at);
        }
        if core.is_drained() {
            self.finish.announce();
        }
    }

    fn take_inbox(&self, core: &Core) -> Vec<Job> {
        if self.inbox_len.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut inbox = self.inbox();
        // They still count until they are in the scheduler's own count.
        self.waiting.store(core.waiting() + inbox.jobs.len(), Ordering::Relaxed);
        self.inbox_len.store(0, Ordering::Relaxed);
        std::mem::take(&mut inbox.jobs)
    }

    /// Gives the core back and does what is left (rule 1).
    fn let_go(&self, core: MutexGuard<'_, Core>, after: After<'_>) {
        let settles = after.resolves();
        if settles {
            self.settling.fetch_add(1, Ordering::SeqCst);
        }
        drop(core);
        after.finish();
        if settles && self.settling.fetch_sub(1, Ordering::SeqCst) == 1 && *self.finish.finished() {
            self.wake_closers();
        }
        fence(Ordering::SeqCst); // with the one in `submit`
    }

    fn poll_ready(&self, waker: &Waker) -> Poll<Result<(), TaskError>> {
        let mut core = self.core();
        let inbox = self.inbox();
        if let Some(error) = inbox.refusal.clone().or_else(|| core.out().cloned()) {
            return Poll::Ready(Err(error));
        }
        if core.is_connected() && core.waiting() + inbox.jobs.len() < self.config.queue {
            return Poll::Ready(Ok(()));
        }
        core.wait_until_ready(waker);
        Poll::Pending
    }

    /// Takes no more jobs, for the first reason given.
    fn refuse(&self, error: TaskError) {
        self.inbox().refusal.get_or_insert(error);
        self.is_refusing.store(true, Ordering::Release);
    }

    fn begin_shutdown(&self, mode: ShutdownMode) {
        self.refuse(TaskError::Closed);
        // What was submitted before is in the inbox, and counts.
        self.drive_now(|_, _, _| {});
        self.drive_now(|core, _, now| core.shutdown(mode, now));
        self.wake_closers();
    }

    fn poll_over(&self, waker: &Waker) -> Poll<()> {
        let mut core = self.core();
        if core.is_drained() && !core.is_connected() && self.settling.load(Ordering::SeqCst) == 0 {
            return Poll::Ready(());
        }
        core.wait_until_over(waker);
        Poll::Pending
    }

    /// Lets those who wait for the end look again.
    fn wake_closers(&self) {
        let closers = self.core().take_closers();
        closers.into_iter().for_each(Waker::wake);
    }
}

impl Owner for Shared {
    fn cancel(&self, word: &AtomicU64, _task: TaskId) -> CancelOutcome {
        self.resolve_cancelled(word, false)
    }

    fn revoke(&self, word: &AtomicU64, _task: TaskId) -> bool {
        self.resolve_cancelled(word, true) == CancelOutcome::Cancelled
    }

    fn progress(&self, _word: &AtomicU64, _task: TaskId) -> Option<f64> {
        None // it is stored in the job
    }

    fn has_begun(&self, word: &AtomicU64, _task: TaskId) -> bool {
        TaskKey::from_raw(word.load(Ordering::Relaxed)).is_some_and(|task| self.core().has_begun(task))
    }
}

impl Shared {
    /// Cancels a task, or only one that waits here.
    fn resolve_cancelled(&self, word: &AtomicU64, only_waiting: bool) -> CancelOutcome {
        let Some(task) = TaskKey::from_raw(word.load(Ordering::Relaxed)) else {
            return CancelOutcome::TooLate;
        };
        self.drive_now(|core, after, now| {
            if only_waiting && core.is_at_agent(task) {
                return CancelOutcome::TooLate;
            }
            match core.cancel(task, now) {
                Cancelled::Removed(job) | Cancelled::Resolved(job) => {
                    after.fail(job, TaskError::Cancelled);
                    CancelOutcome::Cancelled
                }
                Cancelled::Unknown => CancelOutcome::TooLate,
            }
        })
    }
}

impl Finish {
    fn finished(&self) -> MutexGuard<'_, bool> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        let mut finished = self.finished();
        if !std::mem::replace(&mut *finished, true) {
            self.changed.notify_all();
        }
    }

    /// Waits, but not longer than that. Whether it is finished.
    fn wait(&self, patience: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.finished(), patience, |finished| !*finished);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
