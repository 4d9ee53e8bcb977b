//! `affinitypool`: threads over sharded work-stealing queues, a future per task.

use affinitypool::{Builder, Threadpool};

use super::{PoolSubject, THREAD_POOL};
use crate::subject::{Awaited, BenchError, Family, Handle, Pool, Subject};
use crate::workload::{self, Speed};

pub fn subject() -> Box<dyn Subject> {
    PoolSubject::peer("affinitypool", Family::Threads, Speed::Millions, THREAD_POOL, Affinity::open)
}

struct Affinity {
    pool: Threadpool,
}

impl Affinity {
    fn open(workers: usize) -> Result<Self, BenchError> {
        let pool = Builder::new().worker_threads(workers).build();
        Ok(Self { pool })
    }
}

impl Pool for Affinity {
    fn noop(&self, x: u64) -> impl Handle {
        Awaited(self.pool.spawn(move || workload::noop(x)))
    }

    fn burn(&self, x: u64) -> impl Handle {
        Awaited(self.pool.spawn(move || workload::burn(x)))
    }

    fn hold(&self, path: String) -> impl Handle {
        Awaited(self.pool.spawn(move || workload::hold(path)))
    }
}
