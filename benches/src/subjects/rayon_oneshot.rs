//! `rayon::spawn` into a pool of its own, the result over a channel of the `oneshot` crate.

use oneshot::Receiver;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{PoolSubject, THREAD_POOL};
use crate::subject::{BenchError, Family, Handle, Pool, Subject};
use crate::workload::{self, Speed};

pub fn subject() -> Box<dyn Subject> {
    PoolSubject::peer("rayon+oneshot", Family::Threads, Speed::Millions, THREAD_POOL, RayonOneshot::open)
}

struct RayonOneshot {
    pool: ThreadPool,
}

impl RayonOneshot {
    fn open(workers: usize) -> Result<Self, BenchError> {
        let pool = ThreadPoolBuilder::new().num_threads(workers).build();
        let pool = pool.map_err(BenchError::failed)?;
        Ok(Self { pool })
    }

    fn spawn(&self, task: impl FnOnce() -> u64 + Send + 'static) -> Receiver<u64> {
        let (sender, receiver) = oneshot::channel();
        self.pool.spawn(move || {
            // The receiver may be gone only when the measurement has failed.
            let _ = sender.send(task());
        });
        receiver
    }
}

impl Pool for RayonOneshot {
    fn noop(&self, x: u64) -> impl Handle {
        self.spawn(move || workload::noop(x))
    }

    fn burn(&self, x: u64) -> impl Handle {
        self.spawn(move || workload::burn(x))
    }

    fn hold(&self, path: String) -> impl Handle {
        self.spawn(move || workload::hold(path))
    }
}

impl Handle for Receiver<u64> {
    fn wait(self) -> Result<u64, BenchError> {
        self.recv().map_err(BenchError::failed)
    }
}
