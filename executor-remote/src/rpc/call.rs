//! A call that has been made.
//!
//! # Who ends a call
//!
//! A [`Call`] owns its id in the table of its client: it alone takes the answer, or forgets the call. So the races come
//! down to the order in which the answer and the caller's leaving reach the table's lock:
//!
//! - The answer is first: it waits in the table until it is taken, or dropped along with the call.
//! - The caller is first (it drops the `Call`, or the deadline passes): the call leaves the table, and the server is told to
//!   cancel it. The answer may be on its way already; it is dropped when it comes, and cannot be taken for another call's
//!   (rules 2 and 3 of `in_flight`).
//! - The deadline passes while the answer arrives: whichever reaches the lock first. An answer that is there is given,
//!   however late.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::time::Sleep;

use super::client::Owner;
use super::client::body::{Body, Name};
use super::client::speech::{Answer, Speech};
use super::error::RpcError;
use super::protocol::CallId;
use crate::io_runtime;

/// A value that a server will send, or has sent. Made by [`RpcClient::call`](super::RpcClient::call).
///
/// It is a future, which can be polled in any runtime; without one, take [`wait`](Self::wait). Dropping it cancels the call:
/// the server is told, if the protocol knows of that, and stops what it can.
///
/// # Cancel safety
///
/// The future can be polled, left alone, moved and polled again; the value is not lost until the `Call` is dropped.
///
/// # Panics
///
/// If it is polled or waited for after it gave its value.
#[must_use = "dropping a call cancels it"]
pub struct Call<R> {
    name: Name,
    state: State,
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    finish: Option<Finish<R>>,
}

enum State {
    Sent {
        owner: Arc<Owner>,
        id: CallId,
    },
    /// It was never sent.
    Failed(RpcError),
    Done,
}

/// The value of an answer, before it is decoded.
struct Answered {
    speech: Speech,
    body: Body,
}

/// What makes the value of the answer. It may run the caller's code.
enum Finish<R> {
    Direct(fn(&Name, Answered) -> Result<R, RpcError>),
    With(Box<Finisher<R>>),
}

type Finisher<R> = dyn FnOnce(&Name, Result<Answered, RpcError>) -> Result<R, RpcError> + Send;

impl<R> Finish<R> {
    fn finish(self, name: &Name, answered: Result<Answered, RpcError>) -> Result<R, RpcError> {
        match self {
            Finish::Direct(decode) => decode(name, answered?),
            Finish::With(finish) => finish(name, answered),
        }
    }
}

impl<R> Call<R> {
    fn new(
        name: Name,
        sent: Result<(Arc<Owner>, CallId), RpcError>,
        deadline: Option<Instant>,
        finish: Finish<R>,
    ) -> Call<R> {
        let state = match sent {
            Ok((owner, id)) => State::Sent { owner, id },
            Err(error) => State::Failed(error),
        };
        Call { name, state, deadline, timer: None, finish: Some(finish) }
    }

    pub(crate) fn decoding(
        name: Name,
        sent: Result<(Arc<Owner>, CallId), RpcError>,
        deadline: Option<Instant>,
    ) -> Call<R>
    where
        R: DeserializeOwned,
    {
        let decode: fn(&Name, Answered) -> Result<R, RpcError> =
            |name, answered| answered.speech.decode(name, answered.body.as_slice());
        Call::new(name, sent, deadline, Finish::Direct(decode))
    }

    /// Sets when this call is given up, counted from now; then it gives [`RpcError::DeadlineExceeded`], and the server is
    /// told to cancel it. An earlier deadline that it has already is kept.
    /// [`RpcClient::with_deadline`](super::RpcClient::with_deadline) tells the server beforehand.
    pub fn deadline(mut self, limit: Duration) -> Call<R> {
        let new = Instant::now().checked_add(limit);
        self.deadline = match (self.deadline, new) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        self.timer = None;
        self
    }

    /// The same call with its value passed through `map`, which runs where the value is taken.
    pub fn map<U>(self, map: impl FnOnce(R) -> U + Send + 'static) -> Call<U>
    where
        R: 'static,
    {
        self.then(|result| result.map(map))
    }

    /// The same call with its outcome passed through `then`, which runs where the outcome is taken, and may make an error of
    /// a value or a value of an error.
    pub fn then<U>(
        mut self,
        then: impl FnOnce(Result<R, RpcError>) -> Result<U, RpcError> + Send + 'static,
    ) -> Call<U>
    where
        R: 'static,
    {
        let finish = self.finish.take().expect("a call that gave its value is polled no more");
        let finish = move |name: &Name, answered| then(finish.finish(name, answered));
        Call {
            name: self.name.clone(),
            state: std::mem::replace(&mut self.state, State::Done),
            deadline: self.deadline,
            timer: self.timer.take(),
            finish: Some(Finish::With(Box::new(finish))),
        }
    }

    /// Lets the call be carried out without waiting for it. Its value, or its error, is dropped when it comes.
    ///
    /// If the client and its last call are dropped right after, what the connection takes at once is still sent; a server that
    /// has stopped reading never sees the rest.
    pub fn detach(mut self)
    where
        R: Send + 'static,
    {
        if let State::Sent { owner, id } = std::mem::replace(&mut self.state, State::Done) {
            if self.deadline.is_none() && self.timer.is_none() && owner.shared().abandon(id) {
                return;
            }
            self.state = State::Sent { owner, id };
            io_runtime::handle().spawn(self);
        }
    }

    /// Blocks the thread until the value is there. The thread reads the connection itself if no other does.
    ///
    /// # Errors
    ///
    /// Those of [`RpcError`].
    ///
    /// # Blocking
    ///
    /// Until the answer comes, the deadline passes or the connection ends. In async code, `.await` the call instead.
    pub fn wait(mut self) -> Result<R, RpcError> {
        let answer = self.wait_until(self.deadline);
        self.settle(answer)
    }

    /// As [`wait`](Self::wait), for at most `limit`. `None` means that there is no answer yet; the call goes on, and can be
    /// waited for again.
    ///
    /// # Panics
    ///
    /// If the value has been taken already.
    pub fn wait_timeout(&mut self, limit: Duration) -> Option<Result<R, RpcError>> {
        let until = Instant::now().checked_add(limit);
        let (until, is_deadline) = match (self.deadline, until) {
            (Some(deadline), Some(until)) if deadline <= until => (Some(deadline), true),
            (Some(deadline), None) => (Some(deadline), true),
            (_, until) => (until, false),
        };
        match self.wait_until(until) {
            None if !is_deadline => None,
            answer => Some(self.settle(answer)),
        }
    }

    fn wait_until(&mut self, until: Option<Instant>) -> Option<Result<Answer, RpcError>> {
        match &self.state {
            State::Sent { owner, id } => owner.shared().wait(*id, until).map(Ok),
            State::Failed(error) => Some(Err(error.clone())),
            State::Done => panic!("the value of the call of {} has been taken", self.name),
        }
    }

    /// The outcome, of no answer in time if there is none.
    fn settle(&mut self, answer: Option<Result<Answer, RpcError>>) -> Result<R, RpcError> {
        let state = std::mem::replace(&mut self.state, State::Done);
        let answered = match (answer, state) {
            (Some(Ok(answer)), State::Sent { owner, .. }) => {
                let speech = owner.shared().speech();
                answer.into_result(&self.name).map(|body| Answered { speech, body })
            }
            (Some(Err(error)), _) => Err(error),
            (None, State::Sent { owner, id }) => {
                owner.shared().forget(id);
                Err(RpcError::DeadlineExceeded { name: self.name.to_string() })
            }
            (_, State::Failed(error)) => Err(error),
            (_, State::Done) => panic!("the value of the call of {} has been taken", self.name),
        };
        let finish = self.finish.take().expect("it is taken along with the state");
        finish.finish(&self.name, answered)
    }

    /// Whether the deadline has passed; else the task is woken when it does.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| {
            // The caller may be in no runtime, or in one without timers.
            let runtime = io_runtime::handle();
            let _entered = runtime.enter();
            Box::pin(tokio::time::sleep_until(deadline.into()))
        });
        timer.as_mut().poll(cx)
    }
}

impl Call<Vec<u8>> {
    pub(crate) fn bytes(
        name: Name,
        sent: Result<(Arc<Owner>, CallId), RpcError>,
        deadline: Option<Instant>,
    ) -> Call<Vec<u8>> {
        Call::new(name, sent, deadline, Finish::Direct(|_, answered| Ok(answered.body.into_vec())))
    }
}

impl<R> Future for Call<R> {
    type Output = Result<R, RpcError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let call = self.get_mut();
        let answer = match &call.state {
            State::Sent { owner, id } => match owner.shared().poll(*id, cx) {
                Poll::Ready(answer) => Some(Ok(answer)),
                Poll::Pending if call.poll_deadline(cx).is_ready() => None,
                Poll::Pending => return Poll::Pending,
            },
            State::Failed(error) => Some(Err(error.clone())),
            State::Done => panic!("the value of the call of {} has been taken", call.name),
        };
        Poll::Ready(call.settle(answer))
    }
}

impl<R> Drop for Call<R> {
    /// See the module documentation for the races.
    fn drop(&mut self) {
        if let State::Sent { owner, id } = &self.state {
            owner.shared().forget(*id);
        }
    }
}

impl<R> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Sent { .. } => "sent",
            State::Failed(_) => "failed",
            State::Done => "done",
        };
        f.debug_struct("Call")
            .field("name", &self.name.to_string())
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
