//! A worker's thread: takes tasks, runs them, and helps while they wait.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Poll, Waker};

use executor_core::worker::{self, Incoming};
use executor_core::{
    Bytes, Carrier, Executor, Invocation, Job, JobHandle, Outlet, Parcel, RunOutcome, ShareBlob, TaskError,
    TaskId, share_store,
};
use futures::channel::mpsc as channel;
use futures::stream::{FuturesUnordered, Stream};

use super::{Pool, Running, Shared, State, Way};

pub(super) fn work(shared: &Arc<Shared>, worker: u32) {
    let host: Arc<dyn executor_core::Host> = Arc::new(Host::new(shared, worker));
    loop {
        let mut state = shared.lock();
        let job = loop {
            if let Some(job) = state.take(worker) {
                break Some(job);
            }
            // A task that still runs may submit more.
            if state.closing.is_some() && state.running.is_empty() {
                break None;
            }
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let Some(job) = job else {
            state.threads -= 1;
            drop(state);
            shared.changed();
            return;
        };
        let running = begin(&mut state, &job);
        drop(state);
        run(shared, job, &running, &host);
    }
}

fn begin(state: &mut State, job: &Job) -> Running {
    let running = Running { handle: job.time_limit_handle(), job: Arc::default() };
    state.running.insert(job.id(), running.clone());
    running
}

struct Host {
    shared: Arc<Shared>,
    worker: u32,
    handles: Mutex<HashMap<u64, JobHandle>>,
}

impl Host {
    fn new(shared: &Arc<Shared>, worker: u32) -> Self {
        Self { shared: Arc::clone(shared), worker, handles: Mutex::default() }
    }

    fn handle(&self, token: u64) -> Option<JobHandle> {
        self.shared.lock().running.get(&TaskId::from_raw(token)).map(|running| running.handle.clone())
    }
}

impl executor_core::Host for Host {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Pool { shared: Arc::clone(&self.shared), _handle: None })
    }
    fn worker(&self) -> String {
        format!("thread {}", self.worker)
    }
    fn is_cancelled(&self, token: u64) -> bool {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        // Kept, so that a task whose future is resolved is still told.
        handles.get(&token).is_some_and(JobHandle::is_cancelled)
            || self.handle(token).is_some_and(|handle| {
                let is_cancelled = handle.is_cancelled();
                handles.insert(token, handle);
                is_cancelled
            })
    }
    fn set_progress(&self, token: u64, fraction: f64) {
        if let Some(handle) = self.handle(token) {
            handle.set_progress(fraction);
        }
    }
    fn help(&self) -> bool {
        let mut state = self.shared.lock();
        let Some(job) = state.take(self.worker) else {
            return false;
        };
        let running = begin(&mut state, &job);
        drop(state);
        let host: Arc<dyn executor_core::Host> = Arc::new(Self::new(&self.shared, self.worker));
        run(&self.shared, job, &running, &host);
        true
    }
    fn enter_foreign_wait(&self, _token: u64, waker: &Waker) -> Result<(), TaskError> {
        let mut state = self.shared.lock();
        // Polled again at each change; meanwhile another thread runs what is queued.
        state.wakers.push(waker.clone());
        if state.queued() > 0 {
            let host = Self::new(&self.shared, self.worker);
            std::thread::spawn(move || while executor_core::Host::help(&host) {});
        }
        Ok(())
    }
    fn enter_wait(&self, _token: u64, waker: &Waker) -> Result<(), TaskError> {
        let mut state = self.shared.lock();
        match state.queued() {
            0 => state.wakers.push(waker.clone()),
            _ => waker.wake_by_ref(),
        }
        Ok(())
    }
}

/// Marks the task as ended; the limit's thread goes too.
struct Ended {
    shared: Arc<Shared>,
    task: TaskId,
    _limit: Option<mpsc::Sender<()>>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.running.remove(&self.task);
        state.finished += 1;
        drop(state);
        self.shared.changed();
    }
}

fn run(shared: &Arc<Shared>, job: Job, running: &Running, host: &Arc<dyn executor_core::Host>) {
    let limit = job.options().timeout.map(|limit| {
        let (sender, receiver) = mpsc::channel();
        let (running, worker) = (running.clone(), host.worker());
        std::thread::spawn(move || {
            while receiver.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                if running.resolve(TaskError::timed_out(limit, worker.clone())) {
                    return;
                }
            }
        });
        sender
    });
    let ended = Ended { shared: Arc::clone(shared), task: job.id(), _limit: limit };
    shared.changed();
    match shared.way {
        Way::Moved => {
            if let RunOutcome::Async(body) = job.run(host, 1) {
                shared.asynchronous.spawn(async move {
                    body.await;
                    drop(ended);
                });
            }
        }
        Way::Encoded => run_encoded(shared, job, running, host, ended),
    }
}

fn run_encoded(
    shared: &Shared,
    job: Job,
    running: &Running,
    host: &Arc<dyn executor_core::Host>,
    ended: Ended,
) {
    for blob in job.shares() {
        if share_store().blob(blob.id()).is_none() {
            share_store().insert(ShareBlob::new(
                blob.id(),
                Parcel {
                    bytes: Bytes::Owned(blob.bytes().to_vec()),
                    attachments: blob.attachments().to_vec(),
                },
            ));
        }
    }
    let target = match job.target() {
        Ok(target) => target,
        Err(error) => return job.fail(error),
    };
    let arg = Parcel {
        bytes: match job.bulk() {
            Some(bulk) => Bytes::Bulk(bulk.clone()),
            None => Bytes::Owned(job.encoded().to_vec()),
        },
        attachments: job.attachments().to_vec(),
    };
    let task = job.id();
    job.mark_begun();
    let slot = Arc::clone(&running.job);
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
    let incoming = Incoming { target: &target, arg, task, attempt: 1, token: task.get() };
    let mut out = Vec::new();
    let mut outlet = Outlet::new(&mut out, Carrier::local(usize::MAX));
    match worker::run(incoming, host, &mut outlet) {
        Invocation::Done(result) => {
            let (attachments, bulk) = outlet.finish();
            let bytes = bulk.map_or(Bytes::Owned(out), Bytes::Bulk);
            complete(&slot, result.map(|()| Parcel { bytes, attachments }));
        }
        Invocation::Pending(body) => shared.asynchronous.spawn(async move {
            complete(&slot, body.await);
            drop(ended);
        }),
    }
}

fn complete(slot: &Mutex<Option<Job>>, result: Result<Parcel<'static>, TaskError>) {
    // Taken by a time limit or a shutdown otherwise.
    let Some(job) = slot.lock().unwrap_or_else(PoisonError::into_inner).take() else {
        return;
    };
    match result {
        Ok(bytes) => job.complete(bytes),
        Err(error) => job.fail(error),
    }
}

type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Polls all async bodies on one thread.
pub(super) struct AsyncThread(channel::UnboundedSender<Body>);

impl AsyncThread {
    pub(super) fn start() -> Self {
        let (sender, mut bodies) = channel::unbounded::<Body>();
        std::thread::spawn(move || {
            let mut running = FuturesUnordered::new();
            let mut has_ended = false;
            futures::executor::block_on(poll_fn(move |cx| {
                while let Poll::Ready(body) = Pin::new(&mut bodies).poll_next(cx) {
                    match body {
                        Some(body) => running.push(body),
                        None => {
                            has_ended = true;
                            break;
                        }
                    }
                }
                loop {
                    match Pin::new(&mut running).poll_next(cx) {
                        Poll::Ready(Some(())) => {}
                        Poll::Ready(None) if has_ended => return Poll::Ready(()),
                        Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                    }
                }
            }));
        });
        Self(sender)
    }

    fn spawn(&self, body: impl Future<Output = ()> + Send + 'static) {
        self.0.unbounded_send(Box::pin(body)).expect("its thread lives as long as the pool");
    }
}
