//! The backends of the executor library, opened by the URLs that are their names.

use std::sync::Arc;

use executor::{Executor, ExecutorExt, TaskError, TaskFuture};
use futures::executor::block_on;

use super::PoolSubject;
use crate::bytes::Bytes;
use crate::pool;
use crate::subject::{BenchError, Family, Handle, Pool, Sample, Side, Subject};
use crate::workload::{self, Scale, Speed, WORKERS, Workload};

mod connection;
mod large;
mod manager;
mod rpc;
mod toolbox;

pub use connection::{
    serve_until_end_of as serve_connection, tcp as connection_tcp, unix as connection_unix,
};
pub use manager::{one_by_one as manager, pipelined as manager_pipelined};
pub use rpc::{from_python as rpc_from_python, rpc, serve_until_end_of as serve_rpc};

/// Their URLs, without the number of workers.
const THREAD: &str = "thread://";
const PROCESS: &str = "process://";

/// The key of those who talk to other programs; `python/peers.py` has the same.
const AUTHKEY: &str = "secret";

pub fn thread() -> Box<dyn Subject> {
    Box::new(PoolSubject {
        name: "thread://?workers=2",
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
        open: |workers| open(THREAD, workers),
    })
}

pub fn process() -> Box<dyn Subject> {
    Box::new(Process)
}

/// What threads are asked, and what only processes have an answer to.
struct Process;

impl Subject for Process {
    fn name(&self) -> &str {
        "process://?workers=2"
    }

    fn family(&self) -> Family {
        Family::Processes
    }

    fn side(&self) -> Side {
        Side::Ours
    }

    fn workloads(&self) -> &[Workload] {
        &[
            Workload::Noop,
            Workload::Roundtrip,
            Workload::RoundtripPaused,
            Workload::Map,
            Workload::Payload,
            Workload::Blob,
            Workload::BlobInPlace,
            Workload::Shared,
            Workload::Cpu,
            Workload::Startup,
            Workload::Pending,
            Workload::Idle,
            Workload::Queue,
            Workload::Lock,
            Workload::Value,
        ]
    }

    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Millions, quick);
        let open = |workers| open(PROCESS, workers);
        match workload {
            Workload::Blob => large::blob(open(WORKERS)?.executor(), scale),
            Workload::BlobInPlace => large::blob_in_place(open(WORKERS)?.executor(), scale),
            Workload::Shared => large::shared(open(WORKERS)?.executor(), scale),
            Workload::Queue => toolbox::queue(open(WORKERS)?.executor(), scale),
            Workload::Lock => toolbox::lock(open(WORKERS)?.executor(), scale),
            Workload::Value => toolbox::value(open(WORKERS)?.executor(), scale),
            other => pool::measure(other, scale, open),
        }
    }
}

pub fn process_of_eight() -> Box<dyn Subject> {
    Box::new(PoolSubject {
        name: "process://?workers=8",
        family: Family::Processes,
        side: Side::Ours,
        speed: Speed::Millions,
        workloads: &[Workload::Startup8],
        open: |workers| open(PROCESS, workers),
    })
}

fn open(backend: &str, workers: usize) -> Result<Ours, BenchError> {
    Ours::open(&format!("{backend}?workers={workers}"))
}

/// Any backend, behind a pointer as users have it.
pub struct Ours {
    executor: Arc<dyn Executor>,
}

impl Ours {
    pub fn open(url: &str) -> Result<Self, BenchError> {
        Ok(Self { executor: executor::open(url).map_err(BenchError::failed)? })
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
    use crate::workload::MANY_WORKERS;

    #[test]
    fn the_names_ask_for_as_many_workers_as_the_peers_have() {
        assert_eq!(open(THREAD, WORKERS).unwrap().executor.stats().workers, WORKERS);
        assert_eq!(thread().name(), format!("{THREAD}?workers={WORKERS}"));
        assert_eq!(process().name(), format!("{PROCESS}?workers={WORKERS}"));
        assert_eq!(process_of_eight().name(), format!("{PROCESS}?workers={MANY_WORKERS}"));
    }

    #[test]
    fn a_map_adds_up_what_the_function_gives() {
        let expected = (0..1000).map(workload::spin_1us).fold(0, u64::wrapping_add);
        let sum = open(THREAD, WORKERS).unwrap().map_sum((0..1000).collect());
        assert_eq!(sum.unwrap(), expected);
    }

    #[test]
    fn the_sum_of_no_handles_and_of_failed_ones() {
        let ours = open(THREAD, WORKERS).unwrap();
        assert_eq!(TaskFuture::<u64>::wait_sum(&mut Vec::new()).unwrap(), 0);
        let mut handles = vec![ours.executor.submit(|x: u64| if x == 7 { panic!("seven") } else { x }, 7)];
        let error = Handle::wait_sum(&mut handles).unwrap_err().to_string();
        assert!(error.contains("seven"), "{error}");
    }
}
