//! The handle: [`ThreadExecutor`].

use std::fmt;
use std::sync::Arc;
use std::task::Poll;

use executor_core::{
    Capabilities, Executor, Job, OpenError, Rejected, Shutdown, Stats, TaskError, TaskFuture,
};

use crate::config::{SCHEME, ThreadConfig};
use crate::scope::{self, Scope};
use crate::shared::Shared;

/// An executor on threads of this process.
///
/// A clone is another handle of the same threads. When the last handle is dropped, what has been submitted still runs,
/// and then the threads end.
///
/// # Examples
///
/// ```
/// use executor_core::ExecutorExt;
/// use executor_thread::{ThreadConfig, ThreadExecutor};
/// let ex = ThreadExecutor::open(ThreadConfig::default())?;
/// let sum = ex.submit(|(a, b): (u64, u64)| a + b, (40, 2));
/// assert_eq!(sum.wait(), Ok(42));
/// # Ok::<(), executor_core::OpenError>(())
/// ```
#[derive(Clone)]
pub struct ThreadExecutor {
    guard: Arc<Guard>,
    /// Whether a task has it from its context: what it submits by it is taken also while the pool drains.
    is_of_task: bool,
}

/// What all handles have together; its drop is the drop of the last one.
pub(crate) struct Guard {
    shared: Arc<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.begin_shutdown(Shutdown::Drain);
    }
}

impl ThreadExecutor {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`] for a value that cannot be used, [`OpenError::System`] if there are no threads to be had.
    pub fn open(config: ThreadConfig) -> Result<Self, OpenError> {
        config.check()?;
        let guard = Arc::new(Guard { shared: Shared::open(&config)? });
        guard.shared.set_guard(&guard);
        Ok(Self { guard, is_of_task: false })
    }

    /// A handle for a task of the pool. If all others are gone, the pool is closed, and only its tasks still submit.
    pub(crate) fn of(shared: &Arc<Shared>) -> Self {
        let guard = shared.guard().unwrap_or_else(|| Arc::new(Guard { shared: Arc::clone(shared) }));
        Self { guard, is_of_task: true }
    }

    /// Runs any closure, captures and all. Only here, and not on `dyn Executor`: a closure cannot leave its process.
    ///
    /// Never blocks. A full queue or a shutdown comes out of the future.
    ///
    /// ```
    /// # use executor_thread::{ThreadConfig, ThreadExecutor};
    /// # let ex = ThreadExecutor::open(ThreadConfig::default())?;
    /// let factor = 3;
    /// assert_eq!(ex.spawn(move || factor * 14).wait(), Ok(42));
    /// # Ok::<(), executor_core::OpenError>(())
    /// ```
    pub fn spawn<F, R>(&self, f: F) -> TaskFuture<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let (job, future) = Job::from_fn(f);
        if let Err(rejected) = self.submit_job(job) {
            rejected.fail();
        }
        future
    }

    /// Runs closures that borrow from the caller: all that is spawned in the scope has ended before this returns, also
    /// when `f` panics.
    ///
    /// ```
    /// # use executor_thread::{ThreadConfig, ThreadExecutor};
    /// # let ex = ThreadExecutor::open(ThreadConfig::default())?;
    /// let words = ["one".to_owned(), "three".to_owned()];
    /// let longest = ex.scope(|s| {
    ///     let lengths: Vec<_> = words.iter().map(|word| s.spawn(|| word.len())).collect();
    ///     lengths.into_iter().map(|it| it.wait().unwrap()).max()
    /// });
    /// assert_eq!(longest, Some(5));
    /// # Ok::<(), executor_core::OpenError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If `f` does. A closure that panics gives [`TaskError::Panicked`] to whoever waits for it.
    ///
    /// # Blocking
    ///
    /// Until all that was spawned has ended. Inside of a task, the thread runs others meanwhile.
    pub fn scope<'env, F, R>(&self, f: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    {
        scope::run(self, f)
    }
}

#[async_trait::async_trait]
impl Executor for ThreadExecutor {
    #[inline]
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        self.guard.shared.submit(job, self.is_of_task)
    }

    async fn ready(&self) -> Result<(), TaskError> {
        let shared = &self.guard.shared;
        std::future::poll_fn(|cx| {
            let look = || {
                if shared.is_closed() {
                    return Poll::Ready(Err(TaskError::Closed));
                }
                if shared.has_room() { Poll::Ready(Ok(())) } else { Poll::Pending }
            };
            if let ready @ Poll::Ready(_) = look() {
                return ready;
            }
            shared.room.register(cx.waker());
            look()
        })
        .await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(SCHEME.name).with_concurrent(true)
    }

    fn stats(&self) -> Stats {
        self.guard.shared.stats()
    }

    /// Not to be awaited by a task of the same pool, unless it is a [`Shutdown::Kill`]: it would wait for itself.
    async fn shutdown(&self, how: Shutdown) {
        let shared = &self.guard.shared;
        shared.begin_shutdown(how);
        std::future::poll_fn(|cx| shared.ending.poll_over(cx)).await;
    }
}

impl fmt::Debug for ThreadExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadExecutor").field("stats", &self.stats()).finish()
    }
}
