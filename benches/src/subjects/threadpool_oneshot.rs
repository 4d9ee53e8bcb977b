//! `threadpool`, the result over a channel of the `oneshot` crate.

use oneshot::Receiver;
use threadpool::ThreadPool;

use super::{PoolSubject, THREAD_POOL};
use crate::subject::{BenchError, Family, Handle, Pool, Subject};
use crate::workload::{self, Speed};

pub fn subject() -> Box<dyn Subject> {
    PoolSubject::peer(
        "threadpool+oneshot",
        Family::Threads,
        Speed::Millions,
        THREAD_POOL,
        ThreadpoolOneshot::open,
    )
}

struct ThreadpoolOneshot {
    pool: ThreadPool,
}

impl ThreadpoolOneshot {
    fn open(workers: usize) -> Result<Self, BenchError> {
        let pool = ThreadPool::new(workers);
        Ok(Self { pool })
    }

    fn execute(&self, task: impl FnOnce() -> u64 + Send + 'static) -> Receiver<u64> {
        let (sender, receiver) = oneshot::channel();
        self.pool.execute(move || {
            // The receiver may be gone only when the measurement has failed.
            let _ = sender.send(task());
        });
        receiver
    }
}

impl Pool for ThreadpoolOneshot {
    fn noop(&self, x: u64) -> impl Handle {
        self.execute(move || workload::noop(x))
    }

    fn burn(&self, x: u64) -> impl Handle {
        self.execute(move || workload::burn(x))
    }

    fn hold(&self, path: String) -> impl Handle {
        self.execute(move || workload::hold(path))
    }
}
