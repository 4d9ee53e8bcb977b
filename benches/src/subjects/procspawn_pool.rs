//! `procspawn`'s pool of processes.
//!
//! A pending task costs it three descriptors, and it dies of "too many open
//! files" beyond a few thousand, so `noop` is submitted in waves.

use procspawn::{JoinHandle, Pool as ProcPool};

use super::PoolSubject;
use crate::bytes::Bytes;
use crate::subject::{BenchError, Family, Handle, Pool, Subject};
use crate::workload::{self, Speed, Workload};

pub fn subject() -> Box<dyn Subject> {
    PoolSubject::peer(
        "procspawn",
        Family::Processes,
        Speed::Slow,
        &[
            Workload::Noop,
            Workload::Roundtrip,
            Workload::RoundtripPaused,
            Workload::Payload,
            Workload::Cpu,
            Workload::Startup,
            Workload::Startup8,
            Workload::Pending,
            Workload::Idle,
        ],
        Procspawn::open,
    )
}

struct Procspawn {
    pool: ProcPool,
}

impl Procspawn {
    fn open(workers: usize) -> Result<Self, BenchError> {
        let pool = ProcPool::new(workers).map_err(BenchError::failed)?;
        Ok(Self { pool })
    }
}

impl Pool for Procspawn {
    const MAX_PENDING: usize = 1000;

    fn noop(&self, x: u64) -> impl Handle {
        self.pool.spawn(x, workload::noop)
    }

    fn burn(&self, x: u64) -> impl Handle {
        self.pool.spawn(x, workload::burn)
    }

    fn hold(&self, path: String) -> impl Handle {
        self.pool.spawn(path, workload::hold)
    }

    fn echo(&self, bytes: Vec<u8>) -> Result<Vec<u8>, BenchError> {
        let echoed = self.pool.spawn(Bytes(bytes), workload::echo).join();
        Ok(echoed.map_err(BenchError::failed)?.0)
    }
}

impl Handle for JoinHandle<u64> {
    fn wait(self) -> Result<u64, BenchError> {
        self.join().map_err(BenchError::failed)
    }
}
