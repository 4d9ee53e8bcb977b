//! Where things go on that nobody polls.
//!
//! Accepting peers, their handshakes, what servers read and clients are answered: all of this has to proceed whatever the caller
//! does, and the caller may be in any async runtime or in none. So the process has one tokio runtime of its own, of two threads,
//! which is started when it is first needed and never ends. A process that does nothing but serve, of which all tasks are quick,
//! has one of one thread instead, which is [attentive](attention): two would wake each other for each message. What is given to the
//! caller as a future needs no runtime: it is woken by this one, and can be polled anywhere.
//!
//! [`block_on`] is for callers without a runtime: it parks the thread. It may be called everywhere, inside of another
//! runtime too, where it blocks that thread as any blocking call does.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use tokio::runtime::{Builder, Handle, Runtime};

use attention::Attention;

mod attention;
#[cfg(test)]
mod tests;

/// One reads while the other computes, or looks at a connection; what takes long is not for these threads.
const THREADS: usize = 2;

const NAME: &str = "executor-io";

static RUNTIME: OnceLock<Io> = OnceLock::new();

/// What is kept for as long as the process runs.
struct Io {
    handle: Handle,
    /// Of the runtime of several threads. That of one is its thread's.
    _runtime: Option<Runtime>,
    attention: Option<Arc<Attention>>,
}

/// The runtime, started if need be.
///
/// # Errors
///
/// What the operating system says when it gives no thread or no epoll.
pub(crate) fn start() -> io::Result<Handle> {
    start_by(several_threads)
}

/// As [`start`], but with one thread that is [attentive](attention). For a process that does nothing else, whose tasks are all quick.
/// Does nothing if the runtime has been started already.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn start_attentive() -> io::Result<Handle> {
    start_by(one_thread)
}

fn start_by(build: fn() -> io::Result<Io>) -> io::Result<Handle> {
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(io) = RUNTIME.get() {
        return Ok(io.handle.clone());
    }
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(io) = RUNTIME.get() {
        return Ok(io.handle.clone());
    }
    let io = build()?;
    Ok(RUNTIME.get_or_init(|| io).handle.clone())
}

fn several_threads() -> io::Result<Io> {
    let runtime = Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name(NAME)
        .enable_io()
        .enable_time()
        .build()?;
    Ok(Io { handle: runtime.handle().clone(), _runtime: Some(runtime), attention: None })
}

fn one_thread() -> io::Result<Io> {
    let runtime = Builder::new_current_thread().thread_name(NAME).enable_io().enable_time().build()?;
    let handle = runtime.handle().clone();
    let attention = Arc::new(Attention::default());
    handle.spawn(attention::attend(Arc::clone(&attention)));
    std::thread::Builder::new()
        .name(NAME.to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(Io { handle, _runtime: None, attention: Some(attention) })
}

/// Something was received: if the runtime is attentive, it looks for more.
pub(crate) fn has_received() {
    if let Some(Io { attention: Some(attention), .. }) = RUNTIME.get() {
        attention.has_received();
    }
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
