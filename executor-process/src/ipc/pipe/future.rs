//! The async twins: they try, and have the reactor wait for the socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::End;
use super::error::{Failure, RecvError, SendError};
use super::message::Message;
use super::reactor::Wait;
use super::socket::{self, Direction};

/// Polls `attempt` until it has something, or until it can be left to the reactor to tell when to try again.
fn poll<R>(
    wait: &mut Option<Wait>,
    end: &End,
    direction: Direction,
    context: &Context<'_>,
    attempt: impl FnOnce() -> Option<R>,
) -> Poll<io::Result<R>> {
    if wait.as_ref().is_some_and(|wait| wait.goes_on(context.waker())) {
        return Poll::Pending;
    }
    *wait = None;
    if let Some(result) = attempt() {
        return Poll::Ready(Ok(result));
    }
    // If the socket has become ready since, the reactor finds it so at once.
    match Wait::new(end, direction, context.waker()) {
        Ok(new) => {
            *wait = Some(new);
            Poll::Pending
        }
        Err(error) => Poll::Ready(Err(error)),
    }
}

/// A send that is waited for; see [`PipeWriter::send_async`](super::PipeWriter::send_async).
#[must_use = "nothing is sent unless it is awaited"]
pub struct Send<T> {
    end: End,
    /// Taken by the poll that is ready.
    value: Option<T>,
    /// `None` once its failure was reported.
    message: Option<Result<Message, Failure>>,
    wait: Option<Wait>,
}

/// The value is never pinned.
impl<T> Unpin for Send<T> {}

impl<T: Serialize + 'static> Send<T> {
    pub(super) fn new(end: End, value: T) -> Self {
        let message = Some(Message::encode(&value));
        Self { end, value: Some(value), message, wait: None }
    }
}

impl<T> Future for Send<T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let result = match &this.message {
            Some(Ok(message)) => {
                let end = &this.end;
                let polled = poll(&mut this.wait, end, Direction::Out, context, || {
                    match socket::try_send(end.fd(), message) {
                        Err(Failure::Full) => None,
                        done => Some(done),
                    }
                });
                match polled {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(result) => result.map_err(Failure::Io).flatten(),
                }
            }
            _ => this.message.take().map_or(Ok(()), |message| message.map(drop)),
        };
        let value = this.value.take().expect("a future is not polled after it was ready");
        Poll::Ready(result.map_err(|failure| failure.with(value)))
    }
}

impl<T> fmt::Debug for Send<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send").field("wait", &self.wait).finish_non_exhaustive()
    }
}

/// A receive that is waited for; see [`PipeReader::recv_async`](super::PipeReader::recv_async).
#[must_use = "nothing is received unless it is awaited"]
pub struct Recv<T> {
    end: End,
    wait: Option<Wait>,
    value: PhantomData<fn() -> T>,
}

impl<T> Recv<T> {
    pub(super) fn new(end: End) -> Self {
        Self { end, wait: None, value: PhantomData }
    }
}

impl<T: DeserializeOwned + 'static> Future for Recv<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let end = &this.end;
        let polled = poll(&mut this.wait, end, Direction::In, context, || match socket::try_recv(end.fd()) {
            Err(RecvError::Empty) => None,
            done => Some(done),
        });
        polled.map(|result| result.map_err(RecvError::Io).flatten()?.decode())
    }
}

impl<T> fmt::Debug for Recv<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recv").field("wait", &self.wait).finish_non_exhaustive()
    }
}
