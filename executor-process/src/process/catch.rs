//! Jobs without an executor: what a process needs of a task is its function's name, its argument's bytes and its future.

use std::sync::Mutex;

use executor_core::{Capabilities, Executor, Job, Rejected, Shutdown, Stats, TaskError, TaskFuture};

/// Keeps the job that is submitted.
pub(super) struct Catch(Mutex<Option<Job>>);

/// The job that `submit` submits, and its future.
pub(super) fn job_of<R>(submit: impl FnOnce(&Catch) -> TaskFuture<R>) -> (Job, TaskFuture<R>) {
    let catch = Catch(Mutex::new(None));
    let future = submit(&catch);
    let job = catch.0.into_inner().ok().flatten();
    (job.expect("it was just submitted"), future)
}

#[async_trait::async_trait]
impl Executor for Catch {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        match self.0.lock() {
            Ok(mut kept) => *kept = Some(job),
            Err(_) => return Err(Rejected { job, error: TaskError::Closed }),
        }
        Ok(())
    }

    async fn ready(&self) -> Result<(), TaskError> {
        Ok(())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new("process").with_isolates(true).with_serializes(true)
    }

    fn stats(&self) -> Stats {
        Stats::new(0)
    }

    async fn shutdown(&self, _: Shutdown) {}
}
