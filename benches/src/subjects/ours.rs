//! The backends of the executor library, opened by the URLs that are their names.

use std::sync::Arc;

use executor_core::{Config, Executor, ExecutorExt, TaskError, TaskFuture};
use executor_process::{ProcessConfig, ProcessExecutor};
use executor_thread::{ThreadConfig, ThreadExecutor};
use futures::executor::block_on;

use super::PoolSubject;
use crate::bytes::Bytes;
use crate::subject::{BenchError, Family, Handle, Pool, Side, Subject};
use crate::workload::{self, Speed, Workload};

const THREAD: &str = "thread://?workers=2";
const PROCESS: &str = "process://?workers=2";

pub fn thread() -> Box<dyn Subject> {
    Box::new(PoolSubject {
        name: THREAD,
        family: Family::Threads,
        side: Side::Ours,
        speed: Speed::Millions,
        workloads: &[
            Workload::Noop,
            Workload::Roundtrip,
            Workload::Map,
            Workload::Cpu,
            Workload::Startup,
            Workload::Pending,
        ],
        open: open_thread,
    })
}

pub fn process() -> Box<dyn Subject> {
    Box::new(PoolSubject {
        name: PROCESS,
        family: Family::Processes,
        side: Side::Ours,
        speed: Speed::Millions,
        workloads: &Workload::ALL,
        open: open_process,
    })
}

fn open_thread() -> Result<Ours, BenchError> {
    let config = Config::from_url(THREAD).map_err(BenchError::failed)?;
    let options = config.options(&executor_thread::SCHEME).map_err(BenchError::failed)?;
    let config = ThreadConfig::from_options(&options).map_err(BenchError::failed)?;
    Ok(Ours::new(ThreadExecutor::open(config).map_err(BenchError::failed)?))
}

fn open_process() -> Result<Ours, BenchError> {
    let config = Config::from_url(PROCESS).map_err(BenchError::failed)?;
    let options = config.options(&executor_process::SCHEME).map_err(BenchError::failed)?;
    let config = ProcessConfig::from_options(&options).map_err(BenchError::failed)?;
    Ok(Ours::new(ProcessExecutor::open(config).map_err(BenchError::failed)?))
}

/// Any backend, behind a pointer as users have it.
pub struct Ours {
    executor: Arc<dyn Executor>,
}

impl Ours {
    pub fn new(executor: impl Executor) -> Self {
        Self { executor: Arc::new(executor) }
    }

    pub fn executor(&self) -> &Arc<dyn Executor> {
        &self.executor
    }
}

impl Pool for Ours {
    fn noop(&self, x: u64) -> impl Handle {
        self.executor.submit(workload::noop, x)
    }

    fn burn(&self, x: u64) -> impl Handle {
        self.executor.submit(workload::burn, x)
    }

    fn hold(&self, path: String) -> impl Handle {
        self.executor.submit(workload::hold, path)
    }

    fn echo(&self, bytes: Vec<u8>) -> Result<Vec<u8>, BenchError> {
        let echoed = self.executor.submit(workload::echo, Bytes(bytes)).wait();
        Ok(echoed.map_err(BenchError::failed)?.0)
    }

    /// Collects the results, as a map has them, before it adds them up.
    fn map_sum(&self, items: Vec<u64>) -> Result<u64, BenchError> {
        let results = self.executor.map(workload::spin_1us, items).into_iter();
        let results: Vec<u64> = results.collect::<Result<_, _>>().map_err(BenchError::failed)?;
        Ok(results.into_iter().fold(0, u64::wrapping_add))
    }
}

impl Handle for TaskFuture<u64> {
    fn wait(self) -> Result<u64, BenchError> {
        TaskFuture::wait(self).map_err(BenchError::failed)
    }

    fn wait_sum(handles: &mut Vec<Self>) -> Result<u64, BenchError> {
        let sum = block_on(async {
            let mut sum = 0u64;
            for handle in handles.drain(..) {
                sum = sum.wrapping_add(handle.await?);
            }
            Ok::<u64, TaskError>(sum)
        });
        sum.map_err(BenchError::failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::WORKERS;

    #[test]
    fn the_names_ask_for_as_many_workers_as_the_peers_have() {
        assert_eq!(open_thread().unwrap().executor.stats().workers, WORKERS);
        let wanted = format!("?workers={WORKERS}");
        assert!(THREAD.ends_with(&wanted) && PROCESS.ends_with(&wanted));
    }

    #[test]
    fn a_map_adds_up_what_the_function_gives() {
        let expected = (0..1000).map(workload::spin_1us).fold(0, u64::wrapping_add);
        let sum = open_thread().unwrap().map_sum((0..1000).collect());
        assert_eq!(sum.unwrap(), expected);
    }

    #[test]
    fn the_sum_of_no_handles_and_of_failed_ones() {
        let ours = open_thread().unwrap();
        assert_eq!(TaskFuture::<u64>::wait_sum(&mut Vec::new()).unwrap(), 0);
        let mut handles = vec![ours.executor.submit(|x: u64| if x == 7 { panic!("seven") } else { x }, 7)];
        let error = Handle::wait_sum(&mut handles).unwrap_err().to_string();
        assert!(error.contains("seven"), "{error}");
    }
}
