//! An answer to come, whoever brings it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::error::ManagerError;
use crate::io_runtime;
use crate::object::Exception;
use crate::rpc;

/// What a function of a manager answers: a value, or what it raised.
pub(super) type Answer<R> = Result<R, Exception>;

/// A call on a session whose answer is to come.
pub(super) struct Pending<R> {
    state: State<R>,
    /// For errors.
    address: Arc<str>,
}

enum State<R> {
    /// It is on its way.
    Sent(rpc::Call<Answer<R>>),
    /// It will be, when the session is connected.
    Deferred(oneshot::Receiver<Result<rpc::Call<Answer<R>>, ManagerError>>),
    /// Somebody else awaits the answer, and brings it here.
    Brought(oneshot::Receiver<Result<Answer<R>, ManagerError>>),
    /// It was not sent.
    Failed(Option<ManagerError>),
}

impl<R: DeserializeOwned + Send + 'static> Pending<R> {
    pub(super) fn sent(address: Arc<str>, call: rpc::Call<Answer<R>>) -> Self {
        Self { state: State::Sent(call), address }
    }

    pub(super) fn deferred(
        address: Arc<str>,
        call: oneshot::Receiver<Result<rpc::Call<Answer<R>>, ManagerError>>,
    ) -> Self {
        Self { state: State::Deferred(call), address }
    }

    pub(super) fn brought(
        address: Arc<str>,
        answer: oneshot::Receiver<Result<Answer<R>, ManagerError>>,
    ) -> Self {
        Self { state: State::Brought(answer), address }
    }

    pub(super) fn failed(address: Arc<str>, error: ManagerError) -> Self {
        Self { state: State::Failed(Some(error)), address }
    }

    /// Waits on this thread.
    pub(super) fn wait(self) -> Result<Answer<R>, ManagerError> {
        match self.state {
            State::Sent(call) => call.wait().map_err(|error| ManagerError::from_rpc(&self.address, error)),
            State::Failed(Some(error)) => Err(error),
            state => io_runtime::block_on(Self { state, address: self.address }),
        }
    }

    /// Lets it be carried out, and drops its answer.
    pub(super) fn detach(self) {
        match self.state {
            State::Sent(call) => call.detach(),
            State::Failed(_) => {}
            // Whoever brings the answer is not told that nobody wants it.
            State::Brought(_) => {}
            State::Deferred(_) => drop(io_runtime::handle().spawn(self)),
        }
    }
}

impl<R: DeserializeOwned + Send + 'static> Future for Pending<R> {
    type Output = Result<Answer<R>, ManagerError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let this = &mut *self;
            match &mut this.state {
                State::Sent(call) => {
                    let answer = ready!(Pin::new(call).poll(cx));
                    return Poll::Ready(answer.map_err(|error| ManagerError::from_rpc(&this.address, error)));
                }
                State::Deferred(receiver) => match ready!(Pin::new(receiver).poll(cx)) {
                    Ok(Ok(call)) => this.state = State::Sent(call),
                    Ok(Err(error)) => return Poll::Ready(Err(error)),
                    Err(_) => return Poll::Ready(Err(this.abandoned())),
                },
                State::Brought(receiver) => {
                    let answer = ready!(Pin::new(receiver).poll(cx));
                    return Poll::Ready(answer.unwrap_or_else(|_| Err(this.abandoned())));
                }
                State::Failed(error) => {
                    let error = error.take();
                    return Poll::Ready(Err(error.unwrap_or_else(|| this.abandoned())));
                }
            }
        }
    }
}

impl<R> Pending<R> {
    /// Whoever was to go on with the call has gone.
    fn abandoned(&self) -> ManagerError {
        ManagerError::Disconnected { address: self.address.to_string(), source: Arc::new(Abandoned) }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the session was ended before the call could be sent")]
struct Abandoned;

impl<R> Unpin for Pending<R> {}
