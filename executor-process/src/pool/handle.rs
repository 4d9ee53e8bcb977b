//! [`ProcessExecutor`]: the handle that users have.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use executor_core::{Capabilities, Carrier, Executor, Job, OpenError, Rejected, Shutdown, Stats, TaskError};

use super::core::counted_bytes;
use super::inbox::Item;
use super::{Pool, reaper};
use crate::config::ProcessConfig;
use crate::limits::WorkerCount;
use crate::sys;

/// An executor whose workers are processes of this machine. Cloning gives another handle of the same pool.
///
/// A task that aborts, overflows its stack or is killed costs that task only; a running task can be ended. When the last
/// handle is dropped, what has been submitted still runs, and then the workers leave; they never outlive the program,
/// however that ends.
///
/// # Examples
///
/// ```no_run
/// use executor_core::ExecutorExt;
/// use executor_process::{ProcessConfig, ProcessExecutor};
///
/// executor_process::init(); // the first line of main
/// let ex = ProcessExecutor::open(ProcessConfig::default().with_workers(2))?;
/// assert_eq!(ex.submit(|n: u64| n + 1, 41).wait()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ProcessExecutor {
    handle: Arc<Handle>,
}

/// Its drop is the drop of the last handle.
struct Handle {
    pool: Arc<Pool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.pool.close(Shutdown::Drain);
    }
}

impl ProcessExecutor {
    /// Starts a pool. Returns before its workers have started.
    ///
    /// # Errors
    ///
    /// [`OpenError::InitMissing`] in a worker process that has not passed [`init`](crate::init),
    /// [`OpenError::InvalidOption`] for a [start method](crate::StartMethod) that is not possible here, and
    /// [`OpenError::System`] if the pool's thread or its descriptors cannot be had.
    pub fn open(config: ProcessConfig) -> Result<Self, OpenError> {
        if sys::worker::is_unentered() {
            return Err(OpenError::InitMissing);
        }
        let origin = config.origin()?;
        let workers = config.workers.unwrap_or_else(|| {
            let count = WorkerCount::detect();
            tracing::debug!("process pool with {count}");
            count.count
        });
        let system = |what: &'static str| move |it| OpenError::system("process://", format!("{what}: {it}"));
        let pool = Pool::new(config, workers.max(1)).map_err(system("making an eventfd"))?;
        reaper::start(&pool, origin).map_err(system("starting the pool's thread"))?;
        Ok(Self { handle: Arc::new(Handle { pool }) })
    }

    fn pool(&self) -> &Pool {
        &self.handle.pool
    }
}

impl Pool {
    /// Whether the job is one for us; what is wrong with it otherwise.
    fn check(&self, job: &mut Job) -> Result<(), TaskError> {
        job.target()?;
        job.encode_for(Carrier::local(self.config.largest_frame()))
    }

    fn submit(&self, mut job: Job) -> Result<(), Rejected> {
        if self.is_closed.load(Ordering::Acquire) {
            let error = self.with_core(|core, _| core.refusal()).unwrap_or(TaskError::Closed);
            return Err(Rejected { job, error });
        }
        if !self.has_room() {
            return Err(Rejected { job, error: TaskError::Full });
        }
        if let Err(error) = self.check(&mut job) {
            return Err(Rejected { job, error });
        }
        if job.set_owner(self.owner(), 0) {
            let bytes = counted_bytes(&job);
            if bytes > 0 {
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            let options = job.options();
            let is_special = options.priority != 0 || options.worker.is_some() || job.is_async();
            self.push(if is_special { Item::Special(job) } else { Item::Job(job) });
        }
        Ok(())
    }

    pub(super) fn close(&self, how: Shutdown) {
        self.is_closed.store(true, Ordering::Release);
        self.with_core(|core, now: Instant| {
            core.shutdown(self, how, now);
        });
    }
}

#[async_trait::async_trait]
impl Executor for ProcessExecutor {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        self.pool().submit(job)
    }

    async fn ready(&self) -> Result<(), TaskError> {
        std::future::poll_fn(|cx| {
            let pool = self.pool();
            pool.watch(cx.waker());
            let (refusal, has_worker) = pool.with_core(|core, _| (core.refusal(), core.has_worker()));
            match refusal {
                Some(error) => Poll::Ready(Err(error)),
                None if has_worker && pool.has_room() => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("process")
            .with_isolates(true)
            .with_stops_running(true)
            .with_serializes(true)
            .with_concurrent(true)
    }

    fn stats(&self) -> Stats {
        let pool = self.pool();
        pool.with_core(|core, now| {
            // What is in the inbox counts too.
            core.step(pool, now);
            core.stats()
        })
    }

    async fn shutdown(&self, how: Shutdown) {
        self.pool().close(how);
        std::future::poll_fn(|cx| {
            let pool = self.pool();
            pool.watch(cx.waker());
            match pool.with_core(|core, _| core.is_over) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

impl fmt::Debug for ProcessExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessExecutor").field("stats", &self.stats()).finish()
    }
}
