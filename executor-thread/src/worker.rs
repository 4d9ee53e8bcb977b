//! A thread of the pool: the drainer's loop, and helping inside of waits.

use std::cell::{Cell, OnceCell};
use std::hint;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use executor_core::{Executor, Host, Job, JobHandle, RunOutcome, TaskError, set_thread_host};

use crate::executor::ThreadExecutor;
use crate::places::{Crew, drain};
use crate::seat::{Kept, Seat};
use crate::shared::{Asyncs, Shared};
use crate::side::End;
use crate::sync::{fence, give_way};
use crate::waits::WorkerId;

/// How often a drainer that has nothing looks for a task before it gives its thread back to rayon: some 20
/// microseconds, which covers the time from a result to the next submit of a caller that goes there and back.
const SEARCHES: u32 = 400;

/// Every how many of those the processor is offered to others: the one with the next task may wait for it.
const YIELD_EVERY: u32 = 16;

/// Every how many tasks the fast queue goes before the tasks that tasks have submitted, so that neither starves. A prime, as in
/// other schedulers, so that it does not beat with periods of the program.
const FAST_FIRST: u32 = 61;

/// How long a drainer runs tasks before it lets rayon's own work through.
const PACE: Duration = Duration::from_micros(200);

/// The most tasks in that time: a look at rayon's queues costs as much as some tasks of no work.
const MOST: u32 = 256;

struct Worker {
    shared: Arc<Shared>,
    index: usize,
    id: WorkerId,
    seat: Arc<Seat>,
    host: Arc<dyn Host>,
    kept: Kept,
    is_stand_in: bool,
    is_draining: Cell<bool>,
    ticks: Cell<u32>,
    pace: Pace,
    /// Where the stack was at the start of the thread.
    stack_top: usize,
    /// Counted in `Shared::deep`.
    is_deep: Cell<bool>,
    /// Counted as absent.
    is_absent: Cell<bool>,
}

thread_local! {
    static WORKER: OnceCell<Worker> = const { OnceCell::new() };
    /// The same, for a quick answer to whose thread this is.
    static HERE: Cell<(*const Shared, usize)> = const { Cell::new((ptr::null(), 0)) };
}

/// Makes this thread number `index` of the pool.
pub(crate) fn enter(shared: &Arc<Shared>, index: usize) {
    sit_down(shared, index, false);
}

/// Makes this thread one that stands in for number `index`, and drains on it.
pub(crate) fn stand_in(shared: &Arc<Shared>, index: usize) {
    sit_down(shared, index, true);
    with_worker(|worker| {
        worker.drain();
        shared.remove_seat(&worker.seat);
    });
}

fn sit_down(shared: &Arc<Shared>, index: usize, is_stand_in: bool) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let host: Arc<dyn Host> = Arc::new(ThreadHost { shared: Arc::clone(shared), index });
    set_thread_host(Some(Arc::clone(&host)));
    HERE.set((Arc::as_ptr(shared), index));
    WORKER.with(|worker| {
        worker.get_or_init(|| Worker {
            shared: Arc::clone(shared),
            index,
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            seat: shared.add_seat(),
            host,
            kept: Kept::default(),
            is_stand_in,
            is_draining: Cell::new(false),
            ticks: Cell::new(0),
            pace: Pace::default(),
            stack_top: stack_address(),
            is_deep: Cell::new(false),
            is_absent: Cell::new(false),
        });
    });
}

/// The number of this thread in that pool.
#[inline]
pub(crate) fn index_in(shared: &Shared) -> Option<usize> {
    let (here, index) = HERE.get();
    ptr::eq(here, shared).then_some(index)
}

/// The rayon job that a drainer is.
pub(crate) fn drain_here() {
    with_worker(Worker::drain);
}

/// Runs the tasks that are for this thread, unless it is a drainer, which looks for them by itself.
pub(crate) fn take_mail() {
    with_worker(|worker| {
        if !worker.is_draining.get() {
            while worker.shared.side.has_work(worker.index) && worker.help(End::Oldest) {}
        }
    });
}

fn with_worker(f: impl FnOnce(&Worker)) {
    WORKER.with(|worker| f(worker.get().expect("the pool's jobs run on the pool's threads")));
}

fn stack_address() -> usize {
    let local = 0u8;
    (&raw const local).addr()
}

impl Worker {
    fn drain(&self) {
        if self.is_draining.replace(true) {
            self.drain_nested();
        } else {
            drain(&self.shared.places, self);
            self.is_draining.set(false);
        }
        self.shared.end_if_done();
    }

    /// A drainer was started on top of another one on the same thread: rayon looked for work there, because a parallel
    /// iterator inside of a task waits for its pieces, or because the drainer let it through. The thread has a place already, so this one is given back
    /// for other threads; for itself, it runs one task, so that what waits below is looked at again.
    fn drain_nested(&self) {
        self.shared.places.begin();
        self.shared.places.leave(true);
        self.help(End::Oldest);
        if self.shared.has_work(self.index) {
            self.shared.notify();
        }
    }

    /// Runs a task on top of whatever the thread is in the middle of. False if there is none, or no stack for it.
    fn help(&self, end: End) -> bool {
        if self.is_too_deep() {
            return false;
        }
        self.shared.outside.fetch_add(1, Ordering::SeqCst);
        let take = || if self.shared.ending.is_sweeping() { None } else { self.pop(end) };
        let helped = self.seat.run_nested(take, |job| {
            self.shared.parked.leave(self.id);
            if self.shared.has_work(self.index) {
                self.shared.notify();
            }
            drop(self.run_job(job));
        });
        self.shared.outside.fetch_sub(1, Ordering::SeqCst);
        self.shared.end_if_done();
        helped
    }

    #[inline]
    fn pop(&self, end: End) -> Option<Job> {
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        self.shared.pop(self.index, end, ticks.is_multiple_of(FAST_FIRST))
    }

    #[inline]
    fn run_job(&self, job: Job) -> JobHandle {
        let limit = job
            .options()
            .timeout
            .map(|limit| self.shared.timer.arm(job.time_limit_handle(), limit, self.host.worker()));
        if job.is_async() {
            return self.start_async(job, limit);
        }
        let (outcome, handle) = job.run_keeping(&self.host, 1);
        drop(limit);
        match outcome {
            RunOutcome::Gone => self.shared.on_gone(),
            RunOutcome::Finished | RunOutcome::Async(_) => self.seat.count_finished(),
        }
        // Still absent, if the body has dropped the future that it waited for.
        self.return_from_absence();
        handle.expect("a body that is not async ends before `run` returns")
    }

    fn start_async(&self, job: Job, limit: impl Send + 'static) -> JobHandle {
        let handle = job.handle();
        let entry = Asyncs::enter(&self.shared, &job);
        match job.run_keeping(&self.host, 1).0 {
            RunOutcome::Async(body) => entry.spawn(body, limit),
            RunOutcome::Finished => self.seat.count_finished(),
            RunOutcome::Gone => self.shared.on_gone(),
        }
        handle
    }

    // ---- waits inside of tasks ---------------------------------------------------------------------------------

    fn is_too_deep(&self) -> bool {
        let used = self.stack_top.saturating_sub(stack_address());
        used > self.shared.stack_size / 2
    }

    fn enter_wait(&self, waker: &Waker) -> Result<(), TaskError> {
        if self.is_too_deep() {
            return self.enter_deep_wait();
        }
        self.shared.parked.enter(self.id, waker);
        fence(Ordering::SeqCst);
        if self.shared.has_work(self.index) {
            waker.wake_by_ref();
        }
        Ok(())
    }

    /// A wait that runs nothing meanwhile. If all threads were in such waits, nothing would ever run.
    fn enter_deep_wait(&self) -> Result<(), TaskError> {
        if self.is_deep.get() {
            return Ok(());
        }
        let deep = self.shared.deep.fetch_add(1, Ordering::SeqCst) + 1;
        if deep == self.shared.threads as u64 {
            self.shared.deep.fetch_sub(1, Ordering::SeqCst);
            return Err(TaskError::nested_too_deep(self.shared.threads));
        }
        self.is_deep.set(true);
        Ok(())
    }

    /// A wait by means that are not ours: nothing is run here, but a thread that stands in takes the place.
    fn enter_foreign_wait(&self) -> Result<(), TaskError> {
        if !self.is_absent.get() {
            self.shared.begin_absence(self.index)?;
            self.is_absent.set(true);
            if self.shared.has_work(self.index) {
                self.shared.notify();
            }
        }
        Ok(())
    }

    fn return_from_absence(&self) {
        if self.is_absent.replace(false) {
            self.shared.end_absence(self.index);
        }
    }

    fn leave_wait(&self) {
        self.return_from_absence();
        self.shared.parked.leave(self.id);
        if self.is_deep.replace(false) {
            self.shared.deep.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Crew for Worker {
    type Task = Job;

    #[inline]
    fn take(&self) -> Option<Job> {
        self.seat.look(&self.kept);
        if self.shared.ending.is_sweeping() {
            return None;
        }
        self.pop(End::Oldest)
    }

    #[inline]
    fn run(&self, job: Job) {
        self.seat.run(&self.kept, job, |job| self.run_job(job));
        if self.pace.is_over() {
            self.rest();
            // Whatever that runs, the place stays taken: the thread is busy.
            rayon::yield_now();
            self.pace.start();
        }
    }

    fn has_work(&self) -> bool {
        self.shared.has_work(self.index)
    }

    fn search(&self) -> bool {
        for round in 1..=SEARCHES {
            if self.shared.ending.is_sweeping() {
                return false;
            }
            if self.has_work() {
                return true;
            }
            if round.is_multiple_of(YIELD_EVERY) {
                give_way();
            }
            hint::spin_loop();
        }
        false
    }

    fn rest(&self) {
        self.seat.rest(&self.kept);
    }

    fn is_superfluous(&self) -> bool {
        self.is_stand_in && self.shared.places.is_overfull()
    }

    fn call_another(&self) {
        self.shared.notify();
    }
}

/// Every how many tasks rayon's work is let through: as many as take about [`PACE`], judged by the last ones. So the clock is
/// read now and then, and not for each task.
struct Pace {
    left: Cell<u32>,
    batch: Cell<u32>,
    since: Cell<Instant>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { left: Cell::new(1), batch: Cell::new(1), since: Cell::new(Instant::now()) }
    }
}

impl Pace {
    #[inline]
    fn is_over(&self) -> bool {
        let left = self.left.get() - 1;
        self.left.set(left);
        left == 0
    }

    fn start(&self) {
        let now = Instant::now();
        let batch = self.batch.get();
        let batch = match now - self.since.get() {
            short if short < PACE / 2 => (batch * 2).min(MOST),
            long if long > PACE => (batch / 2).max(1),
            _ => batch,
        };
        self.batch.set(batch);
        self.left.set(batch);
        self.since.set(now);
    }
}

/// What tasks on a thread ask and tell.
struct ThreadHost {
    shared: Arc<Shared>,
    index: usize,
}

impl ThreadHost {
    /// Calls `f` if this is the host's own thread: a task's context may be asked on another one.
    fn here<T>(&self, f: impl FnOnce(&Worker) -> T) -> Option<T> {
        index_in(&self.shared)?;
        WORKER.with(|worker| worker.get().map(f))
    }
}

impl Host for ThreadHost {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(ThreadExecutor::of(&self.shared))
    }

    fn worker(&self) -> String {
        format!("thread {}", self.index)
    }

    fn help(&self) -> bool {
        self.here(|worker| worker.help(End::Newest)).unwrap_or(false)
    }

    fn enter_wait(&self, _token: u64, waker: &Waker) -> Result<(), TaskError> {
        self.here(|worker| worker.enter_wait(waker)).unwrap_or(Ok(()))
    }

    fn helps_in_foreign_wait(&self) -> bool {
        false
    }

    fn enter_foreign_wait(&self, _token: u64, _waker: &Waker) -> Result<(), TaskError> {
        self.here(Worker::enter_foreign_wait).unwrap_or(Ok(()))
    }

    fn leave_wait(&self, _token: u64) {
        self.here(Worker::leave_wait);
    }
}
