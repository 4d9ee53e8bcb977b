//! What was asked of a manager, and its answer to come: [`Call`].

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::error::ManagerError;
use super::handle::Handle;
use super::pending::Pending;
use crate::io_runtime;
use crate::object::{Exception, Object};

/// A call on a manager or on one of its objects, which has been sent already. It is a future; [`wait`](Self::wait) is for those who have no
/// async runtime.
///
/// Calls of one process go over one connection, one after the other without waiting for answers: whoever makes many calls
/// before waiting for the first pays for one round trip. They are begun in the order in which they were made.
///
/// # Cancel safety
///
/// Dropping a call says that its value is not wanted. It may have been carried out, or will be; a call that waits in the
/// manager is withdrawn there. What a particular call then does with what it was given in that instant is said at the
/// method: a lock is released again. [`detach`](Self::detach) is for calls that shall be carried out and not be waited for.
#[must_use = "the call was sent, and may be withdrawn when this is dropped: wait for it, or detach it"]
pub struct Call<T> {
    inner: Inner<T>,
}

enum Inner<T> {
    Method(Method<T>),
    Other(Pin<Box<dyn Future<Output = Result<T, ManagerError>> + Send>>),
    Taken,
}

/// A method of an object.
struct Method<T> {
    pending: Pending<Object>,
    context: Context,
    decode: Decode<T>,
    /// What becomes of an answer that nobody waits for any more, if it must not get lost.
    abandoned: Option<fn(Pending<Object>, Context)>,
}

/// What a method answers or raises.
pub(super) type Outcome = Result<Object, Exception>;

/// Makes the value of an outcome.
pub(super) type Decode<T> = fn(Outcome, &Context) -> Result<T, ManagerError>;

/// What was called.
pub(super) struct Context {
    pub(super) handle: Arc<Handle>,
    pub(super) method: Cow<'static, str>,
}

impl Context {
    /// The exception as an error of this call.
    pub(super) fn raised(&self, exception: Exception) -> ManagerError {
        let object = self.handle.type_name().to_owned();
        match exception.type_name.as_str() {
            "_queue.Empty" | "queue.Empty" => ManagerError::Empty,
            "queue.Full" => ManagerError::Full,
            "ReferenceError" if self.handle.as_native().is_some() => {
                ManagerError::Gone { object, address: self.handle.address().to_string() }
            }
            _ => ManagerError::Raised {
                object,
                method: self.method.clone().into_owned(),
                exception: Box::new(exception),
            },
        }
    }

    /// The value of this type that was answered.
    pub(super) fn value<T: DeserializeOwned>(&self, object: Object) -> Result<T, ManagerError> {
        object.deserialize().map_err(|source| ManagerError::Decode {
            object: self.handle.type_name().to_owned(),
            method: self.method.clone().into_owned(),
            expected: std::any::type_name::<T>(),
            source,
        })
    }
}

/// The value as it was answered.
pub(super) fn value<T: DeserializeOwned>(outcome: Outcome, context: &Context) -> Result<T, ManagerError> {
    context.value(outcome.map_err(|exception| context.raised(exception))?)
}

/// Nothing, whatever the method answers.
pub(super) fn nothing(outcome: Outcome, context: &Context) -> Result<(), ManagerError> {
    outcome.map(drop).map_err(|exception| context.raised(exception))
}

impl<T> Call<T> {
    pub(super) fn method(pending: Pending<Object>, context: Context, decode: Decode<T>) -> Self {
        Self { inner: Inner::Method(Method { pending, context, decode, abandoned: None }) }
    }

    /// A call whose answer must not get lost.
    pub(super) fn if_abandoned(mut self, abandoned: fn(Pending<Object>, Context)) -> Self {
        if let Inner::Method(method) = &mut self.inner {
            method.abandoned = Some(abandoned);
        }
        self
    }

    pub(super) fn other(future: impl Future<Output = Result<T, ManagerError>> + Send + 'static) -> Self {
        Self { inner: Inner::Other(Box::pin(future)) }
    }

    /// A call whose answer is awaited whether or not this is polled or dropped.
    pub(super) fn spawned(work: impl Future<Output = Result<T, ManagerError>> + Send + 'static) -> Self
    where
        T: Send + 'static,
    {
        let task = io_runtime::handle().spawn(work);
        Self::other(async move {
            match task.await {
                Ok(outcome) => outcome,
                Err(ended) => match ended.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => unreachable!("the runtime never ends, and nobody aborts its tasks"),
                },
            }
        })
    }

    /// Waits for the answer on this thread.
    ///
    /// # Errors
    ///
    /// Whatever the call comes to.
    ///
    /// # Blocking
    ///
    /// Until the answer is there. Not for async code, whose thread it would block.
    pub fn wait(mut self) -> Result<T, ManagerError> {
        match std::mem::replace(&mut self.inner, Inner::Taken) {
            Inner::Method(Method { pending, context, decode, .. }) => {
                finish(pending.wait(), &context, decode)
            }
            Inner::Other(future) => io_runtime::block_on(future),
            Inner::Taken => taken(),
        }
    }

    /// Waits for the answer on this thread, at most so long. `None` if it is not there by then: the call can be waited for again.
    ///
    /// # Blocking
    ///
    /// As [`wait`](Self::wait), within the limit.
    ///
    /// # Panics
    ///
    /// If the answer has been taken before.
    pub fn wait_timeout(&mut self, limit: Duration) -> Option<Result<T, ManagerError>> {
        let deadline = Instant::now().checked_add(limit);
        io_runtime::block_on_until(self, deadline)
    }

    /// Lets the call be carried out without waiting for it. Its outcome, be it an error, is dropped. It goes out with the next ones, or
    /// in a moment: a process that ends right after this should wait for its last call.
    pub fn detach(mut self)
    where
        T: Send + 'static,
    {
        match std::mem::replace(&mut self.inner, Inner::Taken) {
            // What is there to be given back is given back by its destructor.
            Inner::Method(Method { pending, abandoned: None, .. }) => pending.detach(),
            Inner::Method(Method { pending, context, abandoned: Some(abandoned), .. }) => {
                abandoned(pending, context);
            }
            Inner::Other(future) => drop(io_runtime::handle().spawn(future)),
            Inner::Taken => {}
        }
    }
}

fn finish<T>(
    answer: Result<Outcome, ManagerError>,
    context: &Context,
    decode: Decode<T>,
) -> Result<T, ManagerError> {
    answer.and_then(|outcome| decode(outcome, context))
}

#[cold]
fn taken() -> ! {
    panic!("the answer of this call has been taken before")
}

/// # Panics
///
/// If it is polled after it was ready.
impl<T> Future for Call<T> {
    type Output = Result<T, ManagerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let value = match &mut self.inner {
            Inner::Method(method) => {
                let answer = ready!(Pin::new(&mut method.pending).poll(cx));
                finish(answer, &method.context, method.decode)
            }
            Inner::Other(future) => ready!(future.as_mut().poll(cx)),
            Inner::Taken => taken(),
        };
        self.inner = Inner::Taken;
        Poll::Ready(value)
    }
}

impl<T> Unpin for Call<T> {}

impl<T> Drop for Call<T> {
    fn drop(&mut self) {
        if let Inner::Method(Method { pending, context, abandoned: Some(abandoned), .. }) =
            std::mem::replace(&mut self.inner, Inner::Taken)
        {
            abandoned(pending, context);
        }
    }
}

impl<T> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Call");
        if let Inner::Method(method) = &self.inner {
            out.field("object", &method.context.handle.type_name()).field("method", &method.context.method);
        }
        out.finish_non_exhaustive()
    }
}
