//! What the tests share.

use std::future::Future;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};

use executor_core::{ExecutorExt, TaskFuture, context};
use executor_thread::{ThreadConfig, ThreadExecutor};

/// A pool of so many threads.
pub(crate) fn open(workers: usize) -> ThreadExecutor {
    ThreadExecutor::open(ThreadConfig::default().with_workers(workers)).unwrap()
}

/// A task that occupies a thread until the sender is dropped; it has begun when this returns.
pub(crate) fn hold(ex: &ThreadExecutor) -> (Sender<()>, TaskFuture<()>) {
    let (release, released) = channel::<()>();
    let (begin, begun) = channel();
    let future = ex.spawn(move || {
        begin.send(()).unwrap();
        let _ = released.recv();
    });
    begun.recv().unwrap();
    (release, future)
}

/// Polls once, for nobody.
pub(crate) fn poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Has a task wait for a task, that one for another, and so on.
pub(crate) fn chain(n: u64) -> u64 {
    if n == 0 { 0 } else { context().executor().submit(chain, n - 1).wait().map_or(0, |it| it + 1) }
}
