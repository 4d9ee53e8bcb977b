//! Where things go on that nobody polls.
//!
//! Accepting peers, their handshakes, what servers read and clients are answered: all of this has to proceed whatever the
//! caller does, and the caller may be in any async runtime or in none. So the process has one tokio runtime of its own,
//! of two threads, which is started when it is first needed and never ends. What is given to the caller as a future needs no runtime:
//! it is woken by this one, and can be polled anywhere.
//!
//! [`block_on`] is for callers without a runtime: it parks the thread. It may be called everywhere, inside of another
//! runtime too, where it blocks that thread as any blocking call does.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use tokio::runtime::{Builder, Handle, Runtime};

#[cfg(test)]
mod tests;

/// One reads while the other computes; what takes long is not for these threads.
const THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, started if need be.
///
/// # Errors
///
/// What the operating system says when it gives no thread or no epoll.
pub(crate) fn start() -> io::Result<Handle> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle().clone());
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("executor-io")
        .enable_io()
        .enable_time()
        .build()?;
    // Of two at the same time, one is not needed.
    if let Err(unneeded) = RUNTIME.set(runtime) {
        unneeded.shutdown_background();
    }
    Ok(RUNTIME.get().expect("it has just been set").handle().clone())
}

/// The runtime, for what already holds a connection or a listener, which are made by it.
///
/// # Panics
///
/// If it was never [started](start) and the operating system gives no thread now.
pub(crate) fn handle() -> Handle {
    start().expect("the threads for connections can be started")
}

/// Runs `future` on this thread, which sleeps in between.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    match block_on_until(future, None) {
        Some(output) => output,
        None => unreachable!("there is no deadline to pass"),
    }
}

/// As [`block_on`], but gives up at `deadline`: `None`, and the future is dropped.
pub(crate) fn block_on_until<F: Future>(future: F, deadline: Option<Instant>) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        // A wake-up between the poll and here makes the park return at once.
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => std::thread::park(),
            Some(left) if left.is_zero() => return None,
            Some(left) => std::thread::park_timeout(left),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
