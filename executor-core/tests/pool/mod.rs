//! A plain thread pool behind `Executor`, one lock and no speed: the suite and the core's ways of running a job are
//! tested on it, moving values and serialising them alike.

mod run;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};

use executor_core::{
    CancelOutcome, Capabilities, Carrier, Executor, Job, JobHandle, Owner, OwnerId, Rejected, Shutdown,
    Stats, TaskError, TaskId, register_owner,
};

/// Whether arguments are moved to the task or serialised on their way.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    Moved,
    Encoded,
}

#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
    /// `None` for the executor that a task gets: its submits are nested, and its drop means nothing.
    _handle: Option<Arc<Handle>>,
}

/// Its drop drains the pool.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close(Shutdown::Drain);
    }
}

struct Shared {
    way: Way,
    workers: usize,
    limit: usize,
    owner: Mutex<Option<OwnerId>>,
    state: Mutex<State>,
    work: Condvar,
    asynchronous: run::AsyncThread,
}

/// A task that runs.
#[derive(Clone)]
struct Running {
    handle: JobHandle,
    /// Of an encoded task: whoever takes it resolves it.
    job: Arc<Mutex<Option<Job>>>,
}

impl Running {
    /// Resolves the future although the body still runs, and tells the body. False if it is not that far yet.
    fn resolve(&self, error: TaskError) -> bool {
        let job = self.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_resolved = match job {
            Some(job) => {
                job.fail(error);
                true
            }
            None => self.handle.fail(error),
        };
        if is_resolved {
            self.handle.request_cancel();
        }
        is_resolved
    }
}

#[derive(Default)]
struct State {
    /// Higher priority first, then in the order of submission.
    queue: BTreeMap<(Reverse<i32>, u64), Job>,
    pinned: HashMap<u32, VecDeque<Job>>,
    submitted: u64,
    running: HashMap<TaskId, Running>,
    finished: u64,
    closing: Option<Shutdown>,
    threads: usize,
    /// Those who wait for room, for the end, or in a task for something to help with.
    wakers: Vec<Waker>,
}

impl State {
    fn queued(&self) -> usize {
        self.queue.len() + self.pinned.values().map(VecDeque::len).sum::<usize>()
    }

    fn take(&mut self, worker: u32) -> Option<Job> {
        let pinned = self.pinned.get_mut(&worker).and_then(VecDeque::pop_front);
        pinned.or_else(|| self.queue.pop_first().map(|(_, job)| job))
    }

    fn take_by_id(&mut self, task: TaskId) -> Option<Job> {
        if let Some(key) = self.queue.iter().find(|(_, job)| job.id() == task).map(|(key, _)| *key) {
            return self.queue.remove(&key);
        }
        let mut pinned = self.pinned.values_mut();
        pinned.find_map(|jobs| jobs.iter().position(|job| job.id() == task).and_then(|at| jobs.remove(at)))
    }

    fn take_all(&mut self) -> Vec<Job> {
        let queue = std::mem::take(&mut self.queue).into_values();
        queue.chain(std::mem::take(&mut self.pinned).into_values().flatten()).collect()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called after each change, with the lock given back.
    fn changed(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        self.work.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn submit(&self, job: Job, is_nested: bool) -> Result<(), Rejected> {
        let mut job = job;
        let mut state = self.lock();
        let error = match state.closing {
            Some(how) if !is_nested || how != Shutdown::Drain => Some(TaskError::Closed),
            _ if state.queued() >= self.limit => Some(TaskError::Full),
            // Under the lock, so that there is still room afterwards: nothing rejects an encoded job.
            _ if self.way == Way::Encoded => {
                job.target().and_then(|_| job.encode_for(Carrier::local(usize::MAX))).err()
            }
            _ => None,
        };
        if let Some(error) = error {
            return Err(Rejected { job, error });
        }
        let owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        if owner.as_ref().is_some_and(|owner| !job.set_owner(owner, 0)) {
            return Ok(());
        }
        state.submitted += 1;
        match job.options().worker {
            Some(worker) => state.pinned.entry(worker).or_default().push_back(job),
            None => {
                let key = (Reverse(job.options().priority), state.submitted);
                state.queue.insert(key, job);
            }
        }
        drop((state, owner));
        self.changed();
        Ok(())
    }

    fn close(&self, how: Shutdown) {
        let mut state = self.lock();
        state.closing = state.closing.max(Some(how));
        let pending = if how == Shutdown::Drain { Vec::new() } else { state.take_all() };
        let running: Vec<_> = match how {
            Shutdown::Kill => state.running.values().cloned().collect(),
            _ => Vec::new(),
        };
        drop(state);
        for job in pending {
            job.fail(TaskError::Cancelled);
        }
        for task in running {
            task.resolve(TaskError::Cancelled);
            task.handle.request_cancel();
        }
        self.changed();
    }
}

impl Owner for Shared {
    fn cancel(&self, _word: &AtomicU64, task: TaskId) -> CancelOutcome {
        let mut state = self.lock();
        if let Some(job) = state.take_by_id(task) {
            drop(state);
            job.fail(TaskError::Cancelled);
            self.changed();
            return CancelOutcome::Cancelled;
        }
        match state.running.contains_key(&task) {
            true => CancelOutcome::FlagRaised,
            false => CancelOutcome::TooLate,
        }
    }

    fn revoke(&self, word: &AtomicU64, task: TaskId) -> bool {
        let is_queued = !self.lock().running.contains_key(&task);
        is_queued && self.cancel(word, task) == CancelOutcome::Cancelled
    }

    fn has_begun(&self, _word: &AtomicU64, task: TaskId) -> bool {
        self.lock().running.contains_key(&task)
    }

    fn progress(&self, _word: &AtomicU64, _task: TaskId) -> Option<f64> {
        // The job keeps it.
        None
    }
}

impl Pool {
    pub fn new(way: Way, workers: usize, limit: usize) -> Self {
        let shared = Arc::new(Shared {
            way,
            workers,
            limit,
            owner: Mutex::default(),
            state: Mutex::new(State { threads: workers, ..State::default() }),
            work: Condvar::new(),
            asynchronous: run::AsyncThread::start(),
        });
        let owner: Weak<dyn Owner> = Arc::downgrade(&(Arc::clone(&shared) as Arc<dyn Owner>));
        *shared.owner.lock().unwrap() = Some(register_owner(owner));
        for worker in 0..workers as u32 {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || run::work(&shared, worker));
        }
        Self { _handle: Some(Arc::new(Handle(Arc::clone(&shared)))), shared }
    }

    /// From the options that the suite asks for.
    pub fn with_options(way: Way, options: &[(&str, &str)]) -> Self {
        let (mut workers, mut limit) = (2, 1 << 20);
        for (key, value) in options {
            match *key {
                "workers" => workers = value.parse().unwrap(),
                "queue" => limit = value.parse().unwrap(),
                other => panic!("the suite asks for `{other}`"),
            }
        }
        Self::new(way, workers, limit)
    }
}

#[async_trait::async_trait]
impl Executor for Pool {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        self.shared.submit(job, self._handle.is_none())
    }

    async fn ready(&self) -> Result<(), TaskError> {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.closing.is_some() {
                return Poll::Ready(Err(TaskError::Closed));
            }
            if state.queued() < self.shared.limit {
                return Poll::Ready(Ok(()));
            }
            state.wakers.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn capabilities(&self) -> Capabilities {
        let scheme = if self.shared.way == Way::Moved { "moved" } else { "encoded" };
        Capabilities::new(scheme).with_concurrent(true).with_serializes(self.shared.way == Way::Encoded)
    }

    fn stats(&self) -> Stats {
        let state = self.shared.lock();
        Stats::new(self.shared.workers).with_tasks(state.queued(), state.running.len(), state.finished)
    }

    async fn shutdown(&self, how: Shutdown) {
        self.shared.close(how);
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            if state.threads == 0 {
                return Poll::Ready(());
            }
            state.wakers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
