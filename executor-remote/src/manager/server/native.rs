//! The native protocol on one connection: see [`protocol`](crate::manager::protocol).
//!
//! One task does all: it reads what has come, runs it in order, and writes all answers there are at once. Calls that wait
//! are futures inside of the task. While the peer does not take its answers and there are many, nothing more is read from
//! it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::Stream;
use futures::future::{AbortHandle, Abortable, Aborted, BoxFuture, FutureExt};
use futures::stream::FuturesUnordered;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::session::{Session, parked};
use crate::io_runtime;
use crate::manager::operation::{Given, Outcome, Step};
use crate::manager::protocol::{
    CALL, CREATE, Created, DEBUG_INFO, DECREF, FIND, INCREF, LEASE, METHODS, NUMBER_OF_OBJECTS, PUBLISH,
    SHUTDOWN, WITHDRAW,
};
use crate::manager::raise;
use crate::manager::store::{Entry, Reference, Store};
use crate::object::{Codec, Exception, Object};
use crate::rpc::TransportError;
use crate::rpc::protocol::{
    Call, CallId, Failure, FailureKind, Hello, ToServer, encode_answer_header, encode_failure,
};
use crate::rpc::transport::{Batch, ReceiveMessages, SendMessages};

/// With so many bytes of answers waiting nothing more is read.
const HIGH_WATER: usize = 256 * 1024;

/// So many calls of a session may wait at a time; more of them are failures. Each costs some hundred bytes.
const MAX_PARKED: usize = 64 * 1024;

/// So many rounds of reading and writing a session has before others have their turn.
const MAX_ROUNDS: usize = 32;

/// Why a session is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The peer has left.
    Left,
    /// The peer wants the server to end.
    Shutdown,
}

/// A session with a Rust program.
pub(super) struct Native {
    send: Box<dyn SendMessages>,
    receive: Box<dyn ReceiveMessages>,
    answers: Batch,
    /// The peer has said that it will send no more.
    is_closed: bool,
    desk: Desk,
}

/// What is done about messages.
struct Desk {
    /// Before `session`, so that what waits is withdrawn before the locks are released.
    parked: FuturesUnordered<Abortable<BoxFuture<'static, Finished>>>,
    aborts: HashMap<CallId, AbortHandle>,
    /// Something was parked since they were last polled.
    has_new: bool,
    /// Something was aborted since they were last polled.
    has_cancelled: bool,
    references: HashMap<u64, Vec<Reference>>,
    session: Session,
    wants_shutdown: bool,
}

/// What was parked is over.
enum Finished {
    Called(CallId, Outcome),
    Created(CallId, Result<Reference, Exception>),
    Late(CallId),
}

impl Native {
    /// A session whose peer has said its hello.
    pub(super) fn new(
        store: Arc<Store>,
        send: Box<dyn SendMessages>,
        receive: Box<dyn ReceiveMessages>,
    ) -> Self {
        let mut answers = Batch::new();
        answers.push_with(|out| Hello::new(Codec::Bincode as u8).encode(out));
        let desk = Desk {
            parked: FuturesUnordered::new(),
            aborts: HashMap::new(),
            has_new: false,
            has_cancelled: false,
            references: HashMap::new(),
            session: Session::new(store),
            wants_shutdown: false,
        };
        Self { send, receive, answers, is_closed: false, desk }
    }

    /// Serves until the peer leaves.
    ///
    /// # Errors
    ///
    /// The connection is broken, or the peer does not keep to the protocol.
    pub(super) fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<Result<End, TransportError>> {
        for _ in 0..MAX_ROUNDS {
            self.desk.poll_parked(cx, &mut self.answers);
            while self.answers.size() < HIGH_WATER {
                let Some(message) = self.receive.next() else { break };
                self.desk.handle(message, &mut self.answers)?;
                if std::mem::take(&mut self.desk.has_cancelled) {
                    // It is dropped by that; until then it could be given what is put next.
                    self.desk.poll_parked(cx, &mut self.answers);
                }
            }
            let is_sent = self.answers.is_empty() || self.send.poll_send(cx, &mut self.answers)?.is_ready();
            if is_sent && self.desk.wants_shutdown {
                return Poll::Ready(Ok(End::Shutdown));
            }
            // Calls that are parked are of no use to a peer that has closed its side: it will never read the answer.
            if is_sent && self.is_closed {
                return Poll::Ready(Ok(End::Left));
            }
            if self.is_closed || (!is_sent && self.answers.size() >= HIGH_WATER) {
                return Poll::Pending;
            }
            match self.receive.poll_receive(cx)? {
                Poll::Ready(true) => {}
                Poll::Ready(false) => self.is_closed = true,
                Poll::Pending if self.desk.has_new => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Desk {
    /// Answers what was parked and is over.
    fn poll_parked(&mut self, cx: &mut Context<'_>, answers: &mut Batch) {
        self.has_new = false;
        while let Poll::Ready(Some(finished)) = Pin::new(&mut self.parked).poll_next(cx) {
            match finished {
                Ok(Finished::Called(id, outcome)) => {
                    self.aborts.remove(&id);
                    answer(answers, id, &outcome);
                }
                Ok(Finished::Created(id, created)) => {
                    self.aborts.remove(&id);
                    let created = created.map(|reference| self.adopt(reference));
                    answer(answers, id, &created);
                }
                Ok(Finished::Late(id)) => {
                    self.aborts.remove(&id);
                    fail(
                        answers,
                        id,
                        FailureKind::DeadlineExceeded,
                        "the deadline of the call has passed in the manager",
                    );
                }
                Err(Aborted) => {}
            }
        }
    }

    /// Does what a message asks for.
    fn handle(&mut self, message: &[u8], answers: &mut Batch) -> Result<(), TransportError> {
        match ToServer::decode(message).map_err(|error| TransportError::Protocol(error.into()))? {
            ToServer::Call(call) => self.handle_call(&call, answers),
            ToServer::Cancel(id) => {
                if let Some(parked) = self.aborts.remove(&id) {
                    parked.abort();
                    self.has_cancelled = true;
                }
            }
        }
        Ok(())
    }

    fn handle_call(&mut self, call: &Call<'_>, answers: &mut Batch) {
        let store = Arc::clone(self.session.store());
        match call.name {
            CALL => {
                if let Some((id, method, args)) = argument::<(u64, String, Vec<Object>)>(call, answers) {
                    self.handle_method(call, id, &method, Given::positional(args), answers);
                }
            }
            CREATE => {
                if let Some((type_name, args)) = argument::<(String, Vec<Object>)>(call, answers) {
                    self.handle_create(call, type_name, Given::positional(args), answers);
                }
            }
            FIND => reply(call, answers, |name: String| Ok(self.adopt(store.find_or_raise(&name)?))),
            INCREF => reply(call, answers, |id: u64| {
                self.adopt(store.incref(id)?);
                Ok(())
            }),
            DECREF => reply(call, answers, |id: u64| self.give_up(id)),
            LEASE => reply(call, answers, |(id, milliseconds): (u64, u64)| {
                store.lease(id, Duration::from_millis(milliseconds), Instant::now())
            }),
            PUBLISH => reply(call, answers, |(name, id): (String, u64)| store.publish(&name, id)),
            WITHDRAW => reply(call, answers, |name: String| Ok(store.withdraw(&name))),
            METHODS => reply(call, answers, |id: u64| Ok(self.entry(id)?.methods())),
            NUMBER_OF_OBJECTS => reply(call, answers, |(): ()| Ok(store.number_of_objects() as u64)),
            DEBUG_INFO => reply(call, answers, |(): ()| Ok(store.debug_info())),
            SHUTDOWN => {
                self.wants_shutdown = true;
                reply(call, answers, |(): ()| Ok(()));
            }
            other => {
                let message = format!("a manager has no function {other}");
                fail(answers, call.id, FailureKind::UnknownName, &message);
            }
        }
    }

    fn handle_method(&mut self, call: &Call<'_>, id: u64, method: &str, given: Given, answers: &mut Batch) {
        let entry = match self.entry(id) {
            Ok(entry) => entry,
            Err(exception) => return answer::<Object>(answers, call.id, &Err(exception)),
        };
        match self.session.call(&entry, method, given) {
            None => answer::<Object>(answers, call.id, &Err(entry.no_method(method))),
            Some(Step::Done(outcome)) => answer(answers, call.id, &outcome),
            Some(Step::Wait(_)) if self.aborts.len() >= MAX_PARKED => {
                let message = format!("{MAX_PARKED} calls of this connection wait already");
                fail(answers, call.id, FailureKind::Error, &message);
            }
            Some(Step::Wait(wait)) => {
                let call_id = call.id;
                let outcome = parked(wait, entry, self.session.id(), Arc::clone(self.session.store()));
                self.park(call, outcome.map(move |outcome| Finished::Called(call_id, outcome)).boxed());
            }
        }
    }

    fn handle_create(&mut self, call: &Call<'_>, type_name: String, given: Given, answers: &mut Batch) {
        let store = Arc::clone(self.session.store());
        if !store.is_user_type(&type_name) {
            let created = store.create(&type_name, given).map(|reference| self.adopt(reference));
            return answer(answers, call.id, &created);
        }
        // User code may take long. If the peer leaves meanwhile, the reference is dropped with the outcome.
        let id = call.id;
        let creating = io_runtime::handle().spawn_blocking(move || store.create(&type_name, given));
        let created = creating.map(move |created| {
            let ended = |_| Err(raise::runtime_error("the manager has ended"));
            Finished::Created(id, created.unwrap_or_else(ended))
        });
        self.park(call, created.boxed());
    }

    fn park(&mut self, call: &Call<'_>, finished: BoxFuture<'static, Finished>) {
        let id = call.id;
        let finished = match call.deadline {
            None => finished,
            Some(deadline) => {
                let limited = tokio::time::timeout(deadline, finished);
                limited.map(move |finished| finished.unwrap_or(Finished::Late(id))).boxed()
            }
        };
        let (abort, registration) = AbortHandle::new_pair();
        self.aborts.insert(id, abort);
        self.parked.push(Abortable::new(finished, registration));
        self.has_new = true;
    }

    fn entry(&self, id: u64) -> Result<Arc<Entry>, Exception> {
        match self.references.get(&id).and_then(|references| references.first()) {
            Some(reference) => Ok(Arc::clone(reference.entry())),
            None => self.session.store().entry(id),
        }
    }

    fn adopt(&mut self, reference: Reference) -> Created {
        let (id, type_name) = (reference.entry().id(), reference.entry().type_name().to_owned());
        self.references.entry(id).or_default().push(reference);
        Created { id, type_name }
    }

    fn give_up(&mut self, id: u64) -> Result<(), Exception> {
        let references = self.references.get_mut(&id);
        let reference = references.and_then(Vec::pop).ok_or_else(|| {
            raise::reference_error(format!("this connection has no reference to the object {id:x}"))
        })?;
        if self.references.get(&id).is_some_and(Vec::is_empty) {
            self.references.remove(&id);
        }
        drop(reference);
        Ok(())
    }
}

/// The argument of a call; `None`, and a failure was answered, if it is another one.
fn argument<A: DeserializeOwned>(call: &Call<'_>, answers: &mut Batch) -> Option<A> {
    match Codec::Bincode.decode(call.body) {
        Ok(argument) => Some(argument),
        Err(error) => {
            let message = format!("the argument of {} does not fit: {error}", call.name);
            fail(answers, call.id, FailureKind::BadArguments, &message);
            None
        }
    }
}

/// Answers a call at once.
fn reply<A: DeserializeOwned, T: Serialize>(
    call: &Call<'_>,
    answers: &mut Batch,
    run: impl FnOnce(A) -> Result<T, Exception>,
) {
    if let Some(argument) = argument(call, answers) {
        answer(answers, call.id, &run(argument));
    }
}

fn answer<T: Serialize>(answers: &mut Batch, id: CallId, outcome: &Result<T, Exception>) {
    let written = answers.try_push_with(|out| {
        encode_answer_header(out, id);
        Codec::Bincode.encode(outcome, out)
    });
    if let Err(error) = written {
        fail(answers, id, FailureKind::Encode, &format!("the value cannot be sent: {error}"));
    }
}

fn fail(answers: &mut Batch, id: CallId, kind: FailureKind, message: &str) {
    answers.push_with(|out| encode_failure(out, id, &Failure::new(kind, message)));
}
