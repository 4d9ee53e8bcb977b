//! The parent's side of the pool.
//!
//! # Who does what
//!
//! All decisions are those of one [`Scheduler`](executor_core::scheduler::Scheduler) in [`Core`], under one lock. Two kinds
//! of threads get there:
//!
//! * *Submitters* encode the job on their own thread, push it to the inbox (a short lock of its own), and *try* to take
//!   the core's lock. Who gets it empties the inbox and does what the scheduler says: mostly, writes frames to workers.
//!   Who does not get it leaves: the holder looks at the inbox again after it has let go.
//! * The *reaper*, one thread per pool, waits for the workers' bell, for their deaths and for time. It starts the
//!   workers too, because the kernel ties a worker's life to the thread that started it.
//! * Threads that *wait for a future* look for answers themselves for a short time before they sleep
//!   ([`Owner::look`]): an answer that comes soon costs no wake-up at all, neither of the reaper nor of the waiter.
//!   Submitters look now and then as well, so that a flood of tasks is submitted and answered on one warm processor.
//!
//! # Who is woken
//!
//! Answers lie in the workers' rings until somebody looks. A worker rings the pool's bell only when it was asked to
//! ([`Need`](crate::ring::Need)): not while the reaper or another thread looks; when it has run dry, while the reaper naps; at
//! once, while the reaper sleeps. The reaper naps, for [`reaper::NAP`] at the most, after a turn in which answers have come:
//! the next ones are seen together. After a nap without any it sleeps, so that an idle pool causes no wake-ups.
//!
//! # What waits where
//!
//! The scheduler has no more tasks than workers can be sent soon; the others wait in the *backlog*, a list in the order
//! of their submission, and in the inbox, which is emptied into it. So the tables of the scheduler stay small and warm
//! however many tasks wait, and a submitter whose task is not wanted yet leaves it in the inbox and goes on. Tasks with a
//! priority, with a worker of their own, and async ones do not wait there: the scheduler has to know of them.
//!
//! # No job is left in the inbox
//!
//! A submitter pushes and then tries the lock; a holder lets go and then looks at the inbox, each pair separated by a
//! sequentially consistent fence. So either the submitter's try comes after the release and succeeds, or the holder's
//! look comes after the push and finds the job.
//!
//! While the pool is not *hungry* neither of them has to do anything: the scheduler has tasks, in its queue or at workers,
//! and whoever deals with what becomes of them empties the inbox and says anew whether the pool is hungry, before it lets go
//! of the lock; then the same fences see to it that either it finds a job or the submitter finds it hungry.
//!
//! # What happens under the lock
//!
//! Nothing of the user's: arguments are serialised before, results are decoded by whoever takes them, and wakers and
//! sinks are called after ([`Notice`](executor_core::Notice)). Writes to rings never wait: what a ring does not take stays in the worker's
//! buffer until the bell says that there is room. Small frames for a worker that has plenty to do are not written at once
//! but with the next batch of its answers; those of async tasks are, as those before them may wait for them.
//!
//! # The end
//!
//! `shutdown` and the drop of the last handle tell the scheduler; the reaper, when everything is resolved, tells the
//! workers to leave, waits for them, closes the pool and ends.

mod core;
mod crew;
mod handle;
mod inbox;
mod plan;
mod reaper;
mod watch;
mod worker;

pub use handle::ProcessExecutor;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak};
use std::task::Waker;
use std::time::Instant;

use executor_core::{CancelOutcome, Owner, OwnerId, TaskId};

use self::core::Core;
use self::inbox::{Inbox, Item};
use crate::config::ProcessConfig;
use crate::segment;
use crate::transport::bell;

/// So many tasks in the inbox are taken out by the submitter of the last: it has touched them a moment ago, so they cost it
/// less than anybody else, and what a turn with the core costs is shared by them.
const BATCH: usize = 32;

/// How often a waiting thread looks before it offers the processor to others.
const LOOKS: u32 = 32;

/// What handles, reaper and futures share.
pub(crate) struct Pool {
    pub(crate) config: ProcessConfig,
    inbox: Inbox,
    core: Mutex<Core>,
    /// Makes the reaper look: a shutdown, a worker to start, a deadline that comes earlier than it knows.
    alarm: OwnedFd,
    /// Rung by workers.
    pub(crate) bell: Arc<OwnedFd>,
    this: OnceLock<Weak<Pool>>,
    owner: OnceLock<OwnerId>,
    /// Tasks in the scheduler's queue, as of the last time the lock was let go.
    waiting: AtomicUsize,
    /// Tasks in the inbox are wanted. While they are not, there is something with workers or in the queue, of which whoever
    /// deals with it next looks at the inbox as well.
    is_hungry: AtomicBool,
    /// Bytes of serialised arguments beyond the small ones.
    bytes: AtomicUsize,
    /// No task is taken any more.
    is_closed: AtomicBool,
    /// Whoever waits for room, or for the end.
    watchers: Mutex<Vec<Waker>>,
    /// There is another processor for the workers while a thread looks for their answers.
    may_look: bool,
    /// There are some. Set before they look for what they wait for, which happens under the core's lock: whoever lets go
    /// of it later sees this, and who has let go of it earlier was seen.
    is_watched: AtomicBool,
    /// Large blobs are made where workers can have them.
    _installed: segment::Installed,
}

impl Pool {
    fn new(config: ProcessConfig, workers: usize) -> std::io::Result<Arc<Self>> {
        let core = Core::new(&config, workers);
        let pool = Arc::new(Self {
            inbox: Inbox::default(),
            core: Mutex::new(core),
            alarm: bell()?,
            bell: Arc::new(bell()?),
            this: OnceLock::new(),
            owner: OnceLock::new(),
            waiting: AtomicUsize::new(0),
            is_hungry: AtomicBool::new(true),
            bytes: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            watchers: Mutex::default(),
            is_watched: AtomicBool::new(false),
            _installed: segment::install(),
            may_look: crate::limits::usable_processors() > 1,
            config,
        });
        let _ = pool.this.set(Arc::downgrade(&pool));
        let owner: Arc<dyn Owner> = Arc::clone(&pool) as _;
        let _ = pool.owner.set(executor_core::register_owner(Arc::downgrade(&owner)));
        Ok(pool)
    }

    fn owner(&self) -> &OwnerId {
        self.owner.get().expect("set when the pool was made")
    }

    /// For those who may outlive the pool.
    fn this(&self) -> Weak<Self> {
        self.this.get().cloned().unwrap_or_default()
    }

    /// Puts an item into the inbox and sees to it that somebody takes it out.
    fn push(&self, item: Item) {
        let can_wait = matches!(item, Item::Job(_));
        let waiting = self.inbox.push(item);
        fence(Ordering::SeqCst);
        if !can_wait || waiting >= BATCH || self.is_hungry.load(Ordering::Relaxed) {
            self.drive();
        }
    }

    /// Does what there is to do, unless another thread is at it; then that one does it.
    fn drive(&self) {
        loop {
            fence(Ordering::SeqCst);
            let Some(mut core) = self.try_lock() else { return };
            let now = Instant::now();
            if self.takes_part() && core.is_time_to_look(self.inbox.len()) {
                core.read_all(self, None, now);
            }
            core.step(self, now);
            self.finish(core);
            if self.is_left_to_others() {
                return;
            }
        }
    }

    /// Does something with the core, waiting for it if need be.
    fn with_core<T>(&self, f: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let mut core = self.lock();
        let result = f(&mut core, Instant::now());
        self.finish(core);
        // Whoever pushed while we held the lock relies on us.
        if !self.is_left_to_others() {
            self.drive();
        }
        result
    }

    /// Deals with what workers have said, if that is anything and nobody else is at it. False if there was nothing.
    fn look(&self) -> bool {
        let Some(mut core) = self.try_lock() else { return false };
        let found = core.has_answers();
        if found {
            let now = Instant::now();
            core.read_all(self, None, now);
            core.step(self, now);
        }
        self.finish(core);
        // Whoever pushed while we held the lock relies on us.
        if !self.is_left_to_others() {
            self.drive();
        }
        found
    }

    /// Whether threads other than the reaper deal with answers: not where the output of tasks is captured, as the reaper
    /// alone has it.
    fn takes_part(&self) -> bool {
        self.config.capture.is_none()
    }

    /// Whether nothing is in the inbox that somebody has to take out now. Asked after the lock was let go.
    fn is_left_to_others(&self) -> bool {
        self.inbox.is_empty() || (!self.is_hungry.load(Ordering::Relaxed) && !self.inbox.has_urgent())
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Core>> {
        match self.core.try_lock() {
            Ok(core) => Some(core),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Poison: the core's own code has panicked, which its tests exclude; a wrong count is better than a hang.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the core and gives the notices that have gathered.
    fn finish(&self, mut core: MutexGuard<'_, Core>) {
        self.waiting.store(core.waiting(), Ordering::Relaxed);
        self.is_hungry.store(core.is_hungry(), Ordering::Relaxed);
        let mut notices = core.take_notices();
        let after = core.take_after();
        self.bytes.fetch_sub(core.take_released(), Ordering::Relaxed);
        let changed = core.take_changed();
        if changed && core.refusal().is_some() {
            self.is_closed.store(true, Ordering::Release);
        }
        let alarm = core.take_alarm();
        drop(core);
        fence(Ordering::SeqCst);
        for notice in notices.drain(..) {
            notice.give();
        }
        for step in after {
            step();
        }
        if alarm {
            self.ring();
        }
        if changed || (self.is_watched.load(Ordering::Acquire) && self.has_room()) {
            self.wake_watchers();
        }
    }

    /// Wakes the reaper.
    fn ring(&self) {
        // A full counter means that it is awake anyway.
        let _ = rustix::io::write(&self.alarm, &1u64.to_ne_bytes());
    }

    fn watch(&self, waker: &Waker) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        if !watchers.iter().any(|it| it.will_wake(waker)) {
            watchers.push(waker.clone());
        }
        self.is_watched.store(true, Ordering::Release);
    }

    fn wake_watchers(&self) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_watched.store(false, Ordering::Release);
        let woken = std::mem::take(&mut *watchers);
        drop(watchers);
        for waker in woken {
            waker.wake();
        }
    }

    /// Whether one more task may wait.
    fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) + self.inbox.len() < self.config.queue
            && self.bytes.load(Ordering::Relaxed) < self.config.max_bytes
    }
}

impl Owner for Pool {
    fn cancel(&self, word: &AtomicU64, task: TaskId) -> CancelOutcome {
        self.with_core(|core, now| core.cancel(self, word, task, now))
    }

    fn revoke(&self, word: &AtomicU64, task: TaskId) -> bool {
        self.with_core(|core, now| core.revoke(self, word, task, now))
    }

    fn progress(&self, word: &AtomicU64, task: TaskId) -> Option<f64> {
        self.with_core(|core, _| core.progress(word, task))
    }

    fn has_begun(&self, word: &AtomicU64, task: TaskId) -> bool {
        self.with_core(|core, _| core.has_begun(word, task))
    }

    fn look(&self, is_done: &dyn Fn() -> bool, until: Instant) -> bool {
        if !self.takes_part() || !self.may_look {
            return false;
        }
        self.with_core(|core, _| core.start_looking());
        let mut found = is_done();
        while !found && Instant::now() < until {
            for _ in 0..LOOKS {
                found = is_done();
                if found {
                    break;
                }
                if !Pool::look(self) {
                    std::hint::spin_loop();
                }
            }
            if !found {
                std::thread::yield_now();
            }
        }
        self.with_core(|core, _| core.stop_looking());
        found || is_done()
    }
}
