//! `serial://`: runs each task inside of `submit`. For debugging and tests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::context::Host;
use crate::error::{Rejected, TaskError};
use crate::executor::{Capabilities, Executor, Shutdown, Stats};
use crate::task::{Job, RunOutcome, park};

/// How an async body is run to its end on the thread that submitted it.
pub type BlockOn = fn(Pin<Box<dyn Future<Output = ()> + Send>>);

/// An executor that runs each task inside of `submit`, on the submitting thread.
///
/// A future that it gives is always resolved. A task cannot be cancelled, because there is no moment for it, and a time limit
/// is seen when the task has ended.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, Serial};
/// let ex = Serial::new();
/// assert!(ex.submit(|n: u64| n + 1, 41).is_done());
/// ```
#[derive(Clone)]
pub struct Serial {
    inner: Arc<Inner>,
    host: Arc<dyn Host>,
}

struct Inner {
    is_closed: AtomicBool,
    finished: AtomicU64,
    block_on: BlockOn,
}

impl Default for Serial {
    fn default() -> Self {
        Self::new()
    }
}

impl Serial {
    /// A new one. Async bodies are polled without a runtime, so that timers and sockets of one do not work in them; see
    /// [`with_block_on`](Self::with_block_on).
    pub fn new() -> Self {
        Self::with_block_on(|mut body| park::block_on(|cx| body.as_mut().poll(cx)))
    }

    /// A new one that runs async bodies by `block_on`, which may bring a runtime.
    pub fn with_block_on(block_on: BlockOn) -> Self {
        Self::of(Arc::new(Inner { is_closed: AtomicBool::new(false), finished: AtomicU64::new(0), block_on }))
    }

    fn of(inner: Arc<Inner>) -> Self {
        let host = Arc::new(SerialHost(Arc::clone(&inner)));
        Self { inner, host }
    }

    fn run(&self, job: Job) {
        // Held until the task has ended; its end disarms the time limit.
        let _limit = job.options().timeout.map(|limit| TimeLimit::start(&job, limit));
        if let RunOutcome::Async(body) = job.run(&self.host, 1) {
            (self.inner.block_on)(body);
        }
        self.inner.finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Resolves a task as timed out at its limit, from a thread of its own: the task has the submitting one.
struct TimeLimit {
    /// Its drop ends the thread.
    _ended: mpsc::Sender<()>,
}

impl TimeLimit {
    fn start(job: &Job, limit: Duration) -> Self {
        let handle = job.time_limit_handle();
        let (ended, has_ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut wait = limit;
            while has_ended.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Timeout) {
                // The outcome before the flag: a body that stops when it sees the flag must not come first.
                if handle.fail(TaskError::timed_out(limit, WORKER)) {
                    handle.request_cancel();
                    return;
                }
                // A limit of next to nothing, and the body has not begun yet.
                wait = Duration::from_millis(1);
            }
        });
        Self { _ended: ended }
    }
}

const WORKER: &str = "serial";

#[async_trait::async_trait]
impl Executor for Serial {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        if self.inner.is_closed.load(Ordering::Acquire) {
            return Err(Rejected { job, error: TaskError::Closed });
        }
        self.run(job);
        Ok(())
    }

    async fn ready(&self) -> Result<(), TaskError> {
        match self.inner.is_closed.load(Ordering::Acquire) {
            true => Err(TaskError::Closed),
            false => Ok(()),
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("serial")
    }

    fn stats(&self) -> Stats {
        Stats { workers: 1, finished: self.inner.finished.load(Ordering::Relaxed), ..Stats::default() }
    }

    async fn shutdown(&self, _how: Shutdown) {
        self.inner.is_closed.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").field("stats", &self.stats()).finish()
    }
}

struct SerialHost(Arc<Inner>);

impl Host for SerialHost {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Serial::of(Arc::clone(&self.0)))
    }
    fn worker(&self) -> String {
        WORKER.to_owned()
    }
}
