//! The panic policy: catch where user code runs, keep what the panic hook saw, let the rest of the program go on.
//!
//! The hook is chained once, in front of the one that is installed at that time: a panic in a task is printed as any
//! other, and its message, location and backtrace are kept for the [`TaskError::Panicked`] that its future gets.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

use crate::error::TaskError;

struct Seen {
    location: String,
    backtrace: String,
}

thread_local! {
    /// How many `catch` are on this thread's stack.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

#[inline]
fn install_hook() {
    if !HOOK.is_completed() {
        install_hook_once();
    }
}

#[cold]
fn install_hook_once() {
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
            // During thread exit there is no task any more.
            if DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0) {
                let seen = Seen {
                    location: info.location().map_or_else(String::new, ToString::to_string),
                    backtrace: Backtrace::force_capture().to_string(),
                };
                let _ = SEEN.try_with(|slot| *slot.borrow_mut() = Some(seen));
            }
            previous(info);
        }));
    });
}

/// Calls user code; a panic becomes an error.
#[inline]
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, TaskError> {
    install_hook();
    DEPTH.with(|depth| depth.set(depth.get() + 1));
    // Unwind safety: a task's state is not looked at again after its panic, and what it shares with others through
    // statics is subject to the same rules as with threads.
    let result = catch_unwind(AssertUnwindSafe(f));
    DEPTH.with(|depth| depth.set(depth.get() - 1));
    result.map_err(to_error)
}

/// Whether a panic on this thread, at this moment, becomes an error.
#[cfg(feature = "conformance")]
pub(crate) fn is_caught() -> bool {
    DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0)
}

/// Calls user code whose panic nobody can be told of, such as a destructor.
pub(crate) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        // The payload's own destructor may panic as well.
        std::mem::forget(payload);
    }
}

fn to_error(payload: Box<dyn Any + Send>) -> TaskError {
    let message = match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => match payload.downcast::<&'static str>() {
            Ok(message) => (*message).to_owned(),
            Err(payload) => {
                quietly(|| drop(payload));
                "panic payload is not text".to_owned()
            }
        },
    };
    // Nothing was seen if the panic came from another thread, as through rayon's `join`.
    let seen = SEEN
        .with(|slot| slot.borrow_mut().take())
        .unwrap_or(Seen { location: "unknown location".to_owned(), backtrace: String::new() });
    TaskError::panicked(message, seen.location, seen.backtrace)
}

/// Polls a user's future; a panic becomes an error.
pub(crate) fn catch_future<F: Future>(future: F) -> CatchFuture<F> {
    CatchFuture { future: Some(Box::pin(future)) }
}

pub(crate) struct CatchFuture<F> {
    /// `None` after it has ended: its destructor runs inside of the catch too.
    future: Option<Pin<Box<F>>>,
}

impl<F: Future> Future for CatchFuture<F> {
    type Output = Result<F::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut().expect("a future is not polled after it was ready");
        let output = match catch(|| future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(error) => Err(error),
        };
        let future = self.future.take();
        quietly(|| drop(future));
        Poll::Ready(output)
    }
}
