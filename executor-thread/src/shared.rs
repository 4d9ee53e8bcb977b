//! What the threads, the handles and the jobs of a pool share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};

use executor_core::{
    CancelOutcome, Job, JobHandle, OpenError, Owner, OwnerId, Rejected, Stats, TaskError, TaskId,
    register_owner,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::config::{SCHEME, ThreadConfig};
use crate::ending::Ending;
use crate::executor::Guard;
use crate::places::{Call, Places};
use crate::queue::{Queue, Refused};
use crate::runtime::{Polled, Runtime};
use crate::seat::Seat;
use crate::side::{End, Lane, Side};
use crate::stand_in::StandIns;
use crate::timer::Timer;
use crate::waits::{Bell, Parked};
use crate::worker;

pub(crate) struct Shared {
    queue: Queue,
    pub(crate) side: Side,
    pub(crate) places: Places,
    /// Of the pool's threads, and behind them those of threads that stand in.
    seats: RwLock<Vec<Arc<Seat>>>,
    pub(crate) threads: usize,
    pub(crate) stand_ins: StandIns,
    pub(crate) parked: Parked,
    pub(crate) room: Bell,
    pub(crate) timer: Timer,
    pub(crate) runtime: Runtime,
    pub(crate) asyncs: Asyncs,
    pub(crate) ending: Ending,
    /// Threads that look for a task to run outside of a drainer.
    pub(crate) outside: AtomicU64,
    /// Threads in a wait so deep in their stack that they run nothing on top of it.
    pub(crate) deep: AtomicU64,
    pub(crate) stack_size: usize,
    capacity: u64,
    /// Tasks in the queue that have been cancelled; for a moment less than 0, when one is come across before it is counted.
    cancelled: AtomicI64,
    owner: OwnerId,
    /// `None` before the start and after the end.
    pool: RwLock<Option<ThreadPool>>,
    /// The handles' guard, for as long as there is a handle.
    guard: OnceLock<Weak<Guard>>,
}

impl Shared {
    pub(crate) fn open(config: &ThreadConfig) -> Result<Arc<Self>, OpenError> {
        let threads = config.workers;
        let shared = Arc::new_cyclic(|this: &Weak<Self>| Self {
            queue: Queue::new(config.queue),
            side: Side::new(threads),
            places: Places::new(threads),
            seats: RwLock::default(),
            threads,
            stand_ins: StandIns::new(&config.name),
            parked: Parked::default(),
            room: Bell::default(),
            timer: Timer::default(),
            runtime: Runtime::default(),
            asyncs: Asyncs::default(),
            ending: Ending::new(threads),
            outside: AtomicU64::new(0),
            deep: AtomicU64::new(0),
            stack_size: config.stack_size,
            capacity: config.queue as u64,
            cancelled: AtomicI64::new(0),
            owner: register_owner(this.clone()),
            pool: RwLock::new(None),
            guard: OnceLock::new(),
        });
        let (name, at_start, at_exit) = (config.name.clone(), Arc::clone(&shared), Arc::clone(&shared));
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .stack_size(config.stack_size)
            .thread_name(move |index| format!("{name}-{index}"))
            .start_handler(move |index| worker::enter(&at_start, index))
            .exit_handler(move |_| at_exit.ending.on_thread_exit())
            .build()
            .map_err(|error| OpenError::system(format!("{}://", SCHEME.name), error.to_string()))?;
        *shared.pool.write().unwrap_or_else(PoisonError::into_inner) = Some(pool);
        Ok(shared)
    }

    // ---- handles -----------------------------------------------------------------------------------------------

    pub(crate) fn set_guard(&self, guard: &Arc<Guard>) {
        // Set once, by `open`, before anybody else has the pool.
        let _ = self.guard.set(Arc::downgrade(guard));
    }

    pub(crate) fn guard(&self) -> Option<Arc<Guard>> {
        self.guard.get()?.upgrade()
    }

    // ---- submitting --------------------------------------------------------------------------------------------

    #[inline]
    /// `by_task` says that the handle is a task's, on whichever thread it is used.
    pub(crate) fn submit(self: &Arc<Self>, job: Job, by_task: bool) -> Result<(), Rejected> {
        job.watch(&self.owner);
        let pushed = match self.lane_of(&job) {
            Err(error) => Err(Rejected { job, error }),
            Ok(None) => match self.push(job) {
                Err(Rejected { job, error: TaskError::Closed }) if by_task => {
                    self.push_aside(job, Lane::Priority(0), true)
                }
                pushed => pushed,
            },
            Ok(Some(lane)) => self.push_aside(job, lane, by_task),
        };
        if let Err(rejected) = pushed {
            rejected.job.unwatch();
            return Err(rejected);
        }
        self.notify();
        Ok(())
    }

    /// `None` for the fast queue.
    #[inline]
    fn lane_of(&self, job: &Job) -> Result<Option<Lane>, TaskError> {
        let options = job.options();
        if let Some(worker) = options.worker {
            let thread = usize::try_from(worker).ok().filter(|it| *it < self.threads);
            return thread.map(|it| Some(Lane::Mail(it))).ok_or_else(|| {
                let threads = self.threads;
                TaskError::unreachable(format!("thread {worker}"), format!("the pool has {threads} threads"))
            });
        }
        if options.priority != 0 {
            return Ok(Some(Lane::Priority(options.priority)));
        }
        Ok(worker::index_in(self).map(Lane::Nested))
    }

    #[inline]
    fn push(&self, job: Job) -> Result<(), Rejected> {
        let limit = self.limit().saturating_sub(self.side.len() + self.asyncs.len());
        let raw = job.into_raw();
        self.queue.push(raw, limit).map_err(|refused| {
            // SAFETY: the pointer has just been made by `into_raw`, and the queue has not taken it.
            reject(unsafe { Job::from_raw(raw) }, refused)
        })
    }

    fn push_aside(self: &Arc<Self>, job: Job, lane: Lane, by_task: bool) -> Result<(), Rejected> {
        let by_task = by_task || worker::index_in(self).is_some();
        let limit = self.limit().saturating_sub(self.queue.len() + self.asyncs.len());
        self.side.push(job, lane, by_task, limit).map_err(|(job, refused)| reject(job, refused))?;
        if let Lane::Mail(thread) = lane {
            self.with_pool(|pool| {
                // Which reaches the thread when it looks for work; if it is a drainer or waits in a task, it looks anyway.
                pool.spawn_broadcast(move |here| {
                    if here.index() == thread {
                        worker::take_mail();
                    }
                });
            });
            self.parked.wake_all();
        }
        Ok(())
    }

    /// To be called after a task has been put into the queue.
    #[inline]
    pub(crate) fn notify(self: &Arc<Self>) {
        match self.places.call() {
            // A drainer that is only starting may have to wait for a thread, which may be parked in a task.
            Call::Searching => {}
            Call::Starting | Call::Busy => self.parked.wake_all(),
            Call::Start => {
                self.start_drainer();
                self.parked.wake_all();
            }
        }
    }

    #[cold]
    fn start_drainer(self: &Arc<Self>) {
        // While a thread of the pool is blocked, it is its place that is free.
        if self.stand_ins.start(self) {
            return;
        }
        if self.with_pool(|pool| pool.spawn(worker::drain_here)).is_none() {
            // The pool has ended: others have run what we have put into the queue.
            self.places.begin();
            self.places.leave(true);
        }
    }

    fn with_pool<T>(&self, f: impl FnOnce(&ThreadPool) -> T) -> Option<T> {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(f)
    }

    /// Lets the threads end.
    pub(crate) fn drop_pool(&self) {
        let pool = self.pool.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(pool);
    }

    // ---- the queue ---------------------------------------------------------------------------------------------

    /// Takes the task that thread `me` is to run next.
    #[inline]
    pub(crate) fn pop(&self, me: usize, end: End, fast_first: bool) -> Option<Job> {
        let job = self.side.pop(me, end, fast_first, || self.pop_fast())?;
        self.room.ring();
        Some(job)
    }

    #[inline]
    fn pop_fast(&self) -> Option<Job> {
        let raw = self.queue.pop()?;
        // SAFETY: only `push` puts pointers into the queue, each from `into_raw`, and each comes out once.
        Some(unsafe { Job::from_raw(raw) })
    }

    /// Takes any task, whomever it is for.
    pub(crate) fn pop_any(&self) -> Option<Job> {
        self.pop_fast().or_else(|| self.side.pop_any())
    }

    /// Whether there is a task that thread `me` may run.
    pub(crate) fn has_work(&self, me: usize) -> bool {
        (self.side.has_work(me) || self.queue.has_written()) && !self.ending.is_sweeping()
    }

    pub(crate) fn queued(&self) -> u64 {
        self.queue.len() + self.side.len()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.queued() + self.asyncs.len() < self.limit()
    }

    /// How many tasks may be in the queue: those that are cancelled and have not been come across do not count, as far as they fit.
    #[inline]
    fn limit(&self) -> u64 {
        let cancelled = u64::try_from(self.cancelled.load(Ordering::SeqCst)).unwrap_or(0);
        (self.capacity + cancelled).min(self.queue.capacity())
    }

    /// A task was come across that had been cancelled in the queue.
    pub(crate) fn on_gone(&self) {
        self.cancelled.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    pub(crate) fn close(&self) {
        self.queue.close();
        self.side.close();
        self.room.ring();
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        stats.workers = self.threads;
        let cancelled = u64::try_from(self.cancelled.load(Ordering::SeqCst)).unwrap_or(0);
        stats.queued = usize::try_from(self.queued().saturating_sub(cancelled)).unwrap_or(usize::MAX);
        let seats = self.seats.read().unwrap_or_else(PoisonError::into_inner);
        stats.running = self.asyncs.len() as usize + seats.iter().map(|it| it.running()).sum::<usize>();
        stats.finished = self.asyncs.finished() + seats.iter().map(|it| it.finished()).sum::<u64>();
        stats
    }

    pub(crate) fn add_seat(&self) -> Arc<Seat> {
        let seat = Arc::new(Seat::new());
        self.seats.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&seat));
        seat
    }

    /// A thread that stood in leaves; what it counted stays.
    pub(crate) fn remove_seat(&self, seat: &Arc<Seat>) {
        let mut seats = self.seats.write().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|it| !Arc::ptr_eq(it, seat));
        self.asyncs.finished.fetch_add(seat.finished(), Ordering::Relaxed);
    }

    pub(crate) fn kill_running(&self) {
        let seats = self.seats.read().unwrap_or_else(PoisonError::into_inner).clone();
        seats.iter().for_each(|seat| seat.kill());
        self.asyncs.kill();
    }
}

impl Owner for Shared {
    fn cancel(&self, _word: &AtomicU64, _task: TaskId) -> CancelOutcome {
        // It has begun; the flag has been raised before we are asked.
        CancelOutcome::FlagRaised
    }
    fn revoke(&self, _word: &AtomicU64, _task: TaskId) -> bool {
        false
    }
    fn progress(&self, _word: &AtomicU64, _task: TaskId) -> Option<f64> {
        None
    }
    fn has_begun(&self, _word: &AtomicU64, _task: TaskId) -> bool {
        false
    }
    fn on_cancelled(&self, _word: &AtomicU64, _task: TaskId) {
        self.cancelled.fetch_add(1, Ordering::SeqCst);
        self.room.ring();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Dropped, a job resolves its future. There are some only if the pool was never started.
        while self.pop_any().is_some() {}
    }
}

fn reject(job: Job, refused: Refused) -> Rejected {
    let error = match refused {
        Refused::Full => TaskError::Full,
        Refused::Closed => TaskError::Closed,
    };
    Rejected { job, error }
}

/// Async bodies that are on their way.
#[derive(Default)]
pub(crate) struct Asyncs {
    tasks: Mutex<HashMap<TaskId, JobHandle>>,
    len: AtomicU64,
    finished: AtomicU64,
}

/// An async body's entry; its drop, with the body's end, removes it.
pub(crate) struct AsyncEntry {
    shared: Arc<Shared>,
    task: TaskId,
}

impl Asyncs {
    pub(crate) fn enter(shared: &Arc<Shared>, job: &Job) -> AsyncEntry {
        let asyncs = &shared.asyncs;
        asyncs.len.fetch_add(1, Ordering::SeqCst);
        asyncs.lock().insert(job.id(), job.handle());
        AsyncEntry { shared: Arc::clone(shared), task: job.id() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TaskId, JobHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::SeqCst)
    }

    fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Resolves them as cancelled.
    pub(crate) fn kill(&self) {
        let tasks: Vec<JobHandle> = self.lock().values().cloned().collect();
        tasks.iter().for_each(crate::seat::kill);
    }
}

impl AsyncEntry {
    /// Polls `body` to its end, elsewhere. `with` is dropped at the end.
    pub(crate) fn spawn(self, body: Polled, with: impl Send + 'static) {
        let shared = Arc::clone(&self.shared);
        let body = Box::pin(async move {
            let entry = self;
            body.await;
            entry.shared.asyncs.finished.fetch_add(1, Ordering::Relaxed);
            drop(with);
        });
        shared.runtime.spawn(body, shared.threads);
    }
}

impl Drop for AsyncEntry {
    fn drop(&mut self) {
        let handle = self.shared.asyncs.lock().remove(&self.task);
        drop(handle);
        self.shared.asyncs.len.fetch_sub(1, Ordering::SeqCst);
        self.shared.room.ring();
        self.shared.end_if_done();
    }
}
