//! tokio's `spawn_blocking` with as many blocking threads as every subject has workers.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::{PoolSubject, THREAD_POOL};
use crate::subject::{BenchError, Family, Handle, Pool, Subject};
use crate::workload::{self, Speed};

pub fn subject() -> Box<dyn Subject> {
    PoolSubject::peer(
        "tokio-spawn-blocking",
        Family::Threads,
        Speed::Millions,
        THREAD_POOL,
        SpawnBlocking::open,
    )
}

struct SpawnBlocking {
    runtime: Runtime,
}

impl SpawnBlocking {
    fn open(workers: usize) -> Result<Self, BenchError> {
        // The tasks run on the blocking threads alone, so a runtime without workers is the cheapest for tokio.
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(workers)
            .build()
            .map_err(BenchError::io("cannot start tokio"))?;
        Ok(Self { runtime })
    }
}

impl Pool for SpawnBlocking {
    fn noop(&self, x: u64) -> impl Handle {
        Joined(self.runtime.spawn_blocking(move || workload::noop(x)))
    }

    fn burn(&self, x: u64) -> impl Handle {
        Joined(self.runtime.spawn_blocking(move || workload::burn(x)))
    }

    fn hold(&self, path: String) -> impl Handle {
        Joined(self.runtime.spawn_blocking(move || workload::hold(path)))
    }
}

struct Joined(JoinHandle<u64>);

impl Handle for Joined {
    fn wait(self) -> Result<u64, BenchError> {
        futures::executor::block_on(self.0).map_err(BenchError::failed)
    }

    fn wait_sum(handles: &mut Vec<Self>) -> Result<u64, BenchError> {
        futures::executor::block_on(async {
            let mut sum = 0u64;
            for handle in handles.drain(..) {
                sum = sum.wrapping_add(handle.0.await.map_err(BenchError::failed)?);
            }
            Ok(sum)
        })
    }
}
