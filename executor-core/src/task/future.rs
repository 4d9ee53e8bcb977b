//! The caller's side of a task.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::hint;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::cell::Ref;
use super::options::Printed;
use super::{CancelOutcome, TaskId, park};
use crate::context::{self, Wait};
use crate::error::TaskError;

/// The result of a task that has been submitted.
///
/// A `Future` that any async runtime can await, and that a thread can [`wait`](Self::wait) for. It resolves exactly
/// once: with the value, a panic, a cancel, a time limit, the loss of the worker, or the end of the executor.
///
/// Dropping it lets the task run on, as in `concurrent.futures` and tokio; see
/// [`cancel_on_drop`](Self::cancel_on_drop) for the other way.
///
/// # Cancel safety
///
/// Polling loses nothing: a `select!` that drops a `&mut TaskFuture` half-way may poll it again later. The value is
/// handed out once.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, Serial};
/// let ex = Serial::new();
/// let future = ex.submit(|n: u64| n + 1, 41);
/// assert_eq!(future.wait(), Ok(42));
/// ```
#[must_use = "a task runs on without its future, but its result is lost"]
pub struct TaskFuture<R> {
    task: Ref,
    /// `Send` and not `Sync`: the waker slot has one user at a time.
    _output: PhantomData<Cell<R>>,
}

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskStatus {
    /// Its body has not begun, as far as is known here.
    Queued,
    /// Its body has begun.
    Running,
    /// It is resolved, with a value or an error other than a cancel.
    Done,
    /// Its outcome is that it was cancelled.
    Cancelled,
}

/// How often a waiting thread looks before it offers the processor to others, and how often it does that before it
/// goes to sleep.
///
/// A task of no work is there and back on another core within the first spin, of half a microsecond. If there is no other core
/// to be had, the sooner the worker gets this one the better. Going to sleep and being woken costs some microseconds more.
const SPINS: u32 = 24;
const YIELDS: u32 = 4;

/// A wait that ended so soon makes the thread's next wait look for as long before it goes to sleep.
///
/// A round trip to a worker process takes 15 µs to 50 µs, and the wake-up of the thread that waits for it some 5 µs to
/// 10 µs of that. A thread whose waits take longer never looks for longer than [`SPINS`], so that programs which wait for
/// work, and machines with more threads than processors, pay nothing.
const SHORT_WAIT: Duration = Duration::from_micros(100);

/// How long a thread looks for outcomes at a backend that has them looked for, if its last wait was not a short one.
const FIRST_LOOK: Duration = Duration::from_micros(10);

thread_local! {
    /// Whether this thread's last wait was a short one.
    static WAITED_SHORTLY: Cell<bool> = const { Cell::new(false) };
}

impl<R> TaskFuture<R> {
    pub(super) fn new(task: Ref) -> Self {
        Self { task, _output: PhantomData }
    }

    /// The task's id; its `context().task()` is the same.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// The task's name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.task.options().name.as_deref()
    }

    /// Where the task is. A snapshot: it may have moved on.
    pub fn status(&self) -> TaskStatus {
        let snapshot = self.task.snapshot();
        if snapshot.has_been_cancelled() {
            TaskStatus::Cancelled
        } else if snapshot.is_done() {
            TaskStatus::Done
        } else if snapshot.has_begun() || self.task.has_begun_at_owner() {
            TaskStatus::Running
        } else {
            TaskStatus::Queued
        }
    }

    /// Whether the outcome is there, so that waiting takes no time.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.task.snapshot().is_done()
    }

    /// Whether the outcome is there and is an error. A result that will turn out not to decode counts as a value.
    pub fn is_failed(&self) -> bool {
        self.task.snapshot().is_failed()
    }

    /// Ready when the outcome is there; does not take it.
    pub(crate) fn poll_done(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_done() || !self.task.register(cx.waker()) {
            return Poll::Ready(());
        }
        match context::pending_inside_task(cx.waker(), || self.is_done()) {
            Ok(true) => Poll::Ready(()),
            Ok(false) => Poll::Pending,
            // The wait could never end: give the task up, so that the future has an outcome.
            Err(_) => match self.task.cancel() {
                CancelOutcome::Cancelled | CancelOutcome::TooLate => Poll::Ready(()),
                CancelOutcome::FlagRaised => Poll::Pending,
            },
        }
    }

    /// What the task last told by `context().progress(..)`.
    pub fn progress(&self) -> Option<f64> {
        self.task.progress().or_else(|| self.task.owner_progress())
    }

    /// What the task wrote to its standard streams, if its executor captures that and the outcome is there.
    pub fn printed(&self) -> Option<&Printed> {
        self.task.printed()
    }

    /// Cancels the task. True if its outcome is now [`TaskError::Cancelled`].
    ///
    /// A task that has not begun never begins; but one that was sent to another machine, to wait there, may still begin until
    /// that machine hears of it, and is then treated as one that runs. For one that has, the cooperative flag is raised
    /// (`context().is_cancelled()`); on backends that isolate tasks the future resolves at once and the worker is
    /// ended after a grace period, on others the task runs to its end, this returns false, and the value arrives.
    /// False too when the outcome is there already.
    pub fn cancel(&self) -> bool {
        self.task.cancel() == CancelOutcome::Cancelled
    }

    /// Makes the drop of this future cancel the task.
    pub fn cancel_on_drop(self) -> Self {
        self.task.set_cancel_on_drop();
        self
    }

    /// Blocks the thread until the outcome is there.
    ///
    /// Inside a task, this releases what the task holds of its pool, so that a wait for a task of the same pool ends
    /// even when the pool is full: the thread runs other tasks meanwhile, or the pool starts another worker.
    ///
    /// # Errors
    ///
    /// Those of [`TaskError`].
    ///
    /// # Blocking
    ///
    /// For as long as the task takes. In async code, `.await` the future instead.
    #[inline]
    pub fn wait(self) -> Result<R, TaskError> {
        match self.block_until(None) {
            // SAFETY of the expect: there is no deadline to come first.
            Ok(true) => self.take(),
            Ok(false) => unreachable!("a wait without a deadline ends with the outcome"),
            Err(error) => Err(self.give_up(error)),
        }
    }

    /// Blocks the thread until the outcome is there, for at most `limit`. `None` means that the task still goes on;
    /// it is not stopped by this.
    ///
    /// # Panics
    ///
    /// If the outcome has been taken already.
    pub fn wait_timeout(&self, limit: Duration) -> Option<Result<R, TaskError>> {
        let deadline = Instant::now().checked_add(limit);
        match self.block_until(deadline) {
            Ok(true) => Some(self.take()),
            Ok(false) => None,
            Err(error) => Some(Err(self.give_up(error))),
        }
    }

    /// Blocks the thread until the outcome is there (true) or the deadline has come (false), without taking it.
    #[inline]
    pub(crate) fn block_until(&self, deadline: Option<Instant>) -> Result<bool, TaskError> {
        if self.is_done() {
            return Ok(true);
        }
        self.block_slowly(deadline)
    }

    /// Looks again and again for a short time.
    fn spin(&self) -> bool {
        for _ in 0..YIELDS {
            for _ in 0..SPINS {
                if self.is_done() {
                    return true;
                }
                hint::spin_loop();
            }
            std::thread::yield_now();
        }
        false
    }

    #[cold]
    fn block_slowly(&self, deadline: Option<Instant>) -> Result<bool, TaskError> {
        // Inside of a task there is other work to be done.
        if context::is_inside_task() {
            return self.block_parked(deadline);
        }
        let began = Instant::now();
        let look = if WAITED_SHORTLY.get() { SHORT_WAIT } else { FIRST_LOOK };
        let until = deadline.map_or(began + look, |deadline| deadline.min(began + look));
        if self.task.look_at_owner(&|| self.is_done(), until) || self.spin() {
            return Ok(true);
        }
        if WAITED_SHORTLY.get() {
            while began.elapsed() < SHORT_WAIT && deadline.is_none_or(|deadline| Instant::now() < deadline) {
                if self.spin() {
                    return Ok(true);
                }
            }
        }
        let result = self.block_parked(deadline);
        WAITED_SHORTLY.set(began.elapsed() < SHORT_WAIT);
        result
    }

    fn block_parked(&self, deadline: Option<Instant>) -> Result<bool, TaskError> {
        park::with_parker(|parker, waker| {
            let wait = Wait::begin(waker);
            loop {
                while !self.is_done() && wait.help() {}
                if self.is_done() || !self.task.register(waker) {
                    return Ok(true);
                }
                wait.enter()?;
                if !parker.park(deadline) && !self.is_done() {
                    return Ok(false);
                }
            }
        })
    }

    /// A wait that could never end: nobody is going to take the outcome, so the task need not begin.
    #[cold]
    fn give_up(&self, error: TaskError) -> TaskError {
        self.task.cancel();
        error
    }

    #[inline]
    fn take(&self) -> Result<R, TaskError> {
        // SAFETY: `Job::new` made this future with the body's output type.
        unsafe { self.task.take() }
    }
}

// The output is moved out, never borrowed.
impl<R> Unpin for TaskFuture<R> {}

impl<R> Future for TaskFuture<R> {
    type Output = Result<R, TaskError>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.is_done() || !self.task.register(cx.waker()) {
            context::ready_inside_task();
            return Poll::Ready(self.take());
        }
        // A body that blocks on this future (`block_on` inside of a task) must not starve its own pool.
        match context::pending_inside_task(cx.waker(), || self.is_done()) {
            Ok(false) => Poll::Pending,
            Ok(true) => Poll::Ready(self.take()),
            Err(error) => Poll::Ready(Err(self.give_up(error))),
        }
    }
}

impl<R> Drop for TaskFuture<R> {
    fn drop(&mut self) {
        let snapshot = self.task.snapshot();
        if snapshot.cancels_on_drop() && !snapshot.is_done() {
            // Whatever the answer is, nobody is left to be told.
            self.task.cancel();
        }
    }
}

impl<R> fmt::Debug for TaskFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskFuture")
            .field("id", &self.id())
            .field("name", &self.name())
            .field("status", &self.status())
            .finish()
    }
}
