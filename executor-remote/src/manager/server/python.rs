//! The protocol of CPython's `multiprocessing.managers` on one connection.
//!
//! ```text
//! client                                          server
//!   (None, function, args, kwds)              ->
//!                                             <-   ('#RETURN', value) or ('#TRACEBACK', text), and the end;
//!                                                  after `accept_connection` there is no end, but
//!   (id, method, args, kwds)                  ->
//!                                             <-   ('#RETURN', value), ('#ERROR', exception) or ('#TRACEBACK', text)
//! ```
//!
//! Every message is a pickle. An id is a text of hexadecimal digits.
//!
//! 1. The functions are `create`, `incref`, `decref`, `accept_connection`, `get_methods`, `number_of_objects`, `debug_info`,
//!    `dummy` and `shutdown`. Each has a connection of its own, so a reference that a Python process has taken is of no
//!    connection, but of the process (`processes`).
//! 2. Who sends `accept_connection` is one thread of a Python process. Its calls are answered one by one; locks that it holds are
//!    released when its connection ends, which is also when the thread, or the process, has no proxy left.
//! 3. `__iter__` and `__reversed__` answer with an iterator over a copy, where CPython's server keeps a generator and the
//!    client asks for every item.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::native::End;
use super::processes::Processes;
use super::session::{Session, parked};
use crate::io_runtime;
use crate::manager::mention;
use crate::manager::operation::{Args, Given, Outcome, Step};
use crate::manager::raise;
use crate::manager::store::{Entry, Store};
use crate::object::{Exception, Object, pickle};
use crate::rpc::TransportError;
use crate::rpc::transport::{Batch, ReceiveMessages, SendMessages};

/// A connection of a Python program.
pub(super) struct Python {
    processes: Arc<Processes>,
    /// The client's process, if the system tells.
    process: Option<i32>,
    send: Box<dyn SendMessages>,
    receive: Box<dyn ReceiveMessages>,
}

/// What is sent back.
enum Reply {
    Return(Object),
    /// An iterator over these.
    Iterator(Object),
    Raise(Exception),
    /// A text that the client raises as a `RemoteError`.
    Traceback(Exception),
}

/// What a client asks for.
struct Request {
    ident: Object,
    function: String,
    given: Given,
}

impl Python {
    pub(super) fn new(
        processes: Arc<Processes>,
        process: Option<i32>,
        send: Box<dyn SendMessages>,
        receive: Box<dyn ReceiveMessages>,
    ) -> Self {
        Self { processes, process, send, receive }
    }

    /// Serves a connection of which the first message has been received.
    ///
    /// # Errors
    ///
    /// The connection is broken.
    pub(super) async fn serve(&mut self, first: &[u8]) -> Result<End, TransportError> {
        let request = match Request::read(first) {
            Ok(request) => request,
            Err(exception) => {
                self.reply(Reply::Traceback(exception)).await?;
                return Ok(End::Left);
            }
        };
        match request.function.as_str() {
            "accept_connection" => {
                self.reply(Reply::Return(Object::None)).await?;
                self.serve_thread().await
            }
            "shutdown" => {
                self.reply(Reply::Return(Object::None)).await?;
                Ok(End::Shutdown)
            }
            _ => {
                let reply = self.run(request).await.map_or_else(Reply::Traceback, Reply::Return);
                self.reply(reply).await?;
                Ok(End::Left)
            }
        }
    }

    /// Answers the calls of a thread.
    async fn serve_thread(&mut self) -> Result<End, TransportError> {
        let mut session = Session::new(Arc::clone(self.processes.store()));
        while poll_fn(|cx| self.poll_ready(cx)).await? {
            let request = self.receive.next().map(Request::read);
            let reply = match request {
                None => continue,
                Some(Err(exception)) => Reply::Traceback(exception),
                Some(Ok(request)) => match self.call(&mut session, request).await? {
                    Some(reply) => reply,
                    None => return Ok(End::Left),
                },
            };
            self.reply(reply).await?;
        }
        Ok(End::Left)
    }

    /// Waits for a message; false if there is none to come.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        self.receive.poll_receive(cx)
    }
}

impl Python {
    /// The reply to a call of a method; `None` if the client has left while the call waited.
    async fn call(
        &mut self,
        session: &mut Session,
        request: Request,
    ) -> Result<Option<Reply>, TransportError> {
        let entry = match request.object(session.store()) {
            Ok(entry) => entry,
            Err(exception) => return Ok(Some(Reply::Traceback(exception))),
        };
        let method = request.function;
        request.given.visit(&mut |argument| session.store().lease_mentioned(argument));
        match session.call(&entry, &method, request.given) {
            None => Ok(Some(fallback(&entry, &method))),
            Some(Step::Done(outcome)) => Ok(Some(Reply::of(&method, outcome))),
            Some(Step::Wait(wait)) => {
                let outcome = parked(wait, entry, session.id(), Arc::clone(session.store()));
                Ok(self.unless_left(outcome).await.map(|outcome| Reply::of(&method, outcome)))
            }
        }
    }

    /// What comes of `waiting`; `None` if the client leaves before.
    async fn unless_left<T>(&mut self, waiting: impl Future<Output = T>) -> Option<T> {
        let mut waiting = pin!(waiting);
        poll_fn(|cx| {
            if let Poll::Ready(value) = waiting.as_mut().poll(cx) {
                return Poll::Ready(Some(value));
            }
            match self.receive.poll_receive(cx) {
                // A client that does not wait for its answer; it has to.
                Poll::Ready(Ok(true)) | Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(false) | Err(_)) => Poll::Ready(None),
            }
        })
        .await
    }

    /// Runs a function of the server.
    async fn run(&mut self, request: Request) -> Outcome {
        let store = Arc::clone(self.processes.store());
        let mut args = Args::new("the function", request.given);
        match request.function.as_str() {
            "dummy" => Ok(Object::None),
            "create" => {
                let Object::Str(type_name) = args.required("typeid")? else {
                    return Err(raise::type_error("the name of a type is a str"));
                };
                self.create(type_name, args.left()).await
            }
            "incref" => {
                let id = id_of(&args.required("ident")?)?;
                self.processes.keep(self.process, store.incref(id)?);
                Ok(Object::None)
            }
            "decref" => {
                let id = id_of(&args.required("ident")?)?;
                self.processes.give_up(self.process, id)?;
                Ok(Object::None)
            }
            "get_methods" => {
                let token = args.required("token")?;
                let id = mention::token(&token).ok_or_else(|| raise::type_error("a Token is required"))?;
                Ok(names(store.entry(id)?.methods()))
            }
            "number_of_objects" => Ok(store.number_of_objects().into()),
            "debug_info" => Ok(Object::Str(store.debug_info())),
            other => Err(raise::exception("AssertionError", format!("'{other}' unrecognized"))),
        }
    }

    /// Creates an object: its id and its methods, and a reference that the client gives up.
    async fn create(&mut self, type_name: String, given: Given) -> Outcome {
        let store = Arc::clone(self.processes.store());
        given.visit(&mut |argument| store.lease_mentioned(argument));
        let reference = match store.is_user_type(&type_name) {
            false => store.create(&type_name, given)?,
            true => {
                let creating = io_runtime::handle().spawn_blocking(move || store.create(&type_name, given));
                creating.await.map_err(|_| raise::runtime_error("the manager has ended"))??
            }
        };
        let entry = reference.entry();
        let created = Object::Tuple(vec![Object::Str(format!("{:x}", entry.id())), names(entry.methods())]);
        self.processes.keep(self.process, reference);
        Ok(created)
    }

    async fn reply(&mut self, reply: Reply) -> Result<(), TransportError> {
        let mut batch = Batch::new();
        batch.push(&reply.pickle());
        poll_fn(|cx| self.send.poll_send(cx, &mut batch)).await
    }
}

impl Request {
    /// Reads `(ident, function, args, kwds)`.
    fn read(message: &[u8]) -> Result<Self, Exception> {
        let request = pickle::read(message, &pickle::Limits::default())
            .map_err(|error| raise::value_error(format!("the request cannot be read: {error}")))?;
        let malformed = || raise::value_error("a request is a tuple (ident, function, args, kwds)");
        let Object::Tuple(parts) = request else { return Err(malformed()) };
        let [ident, Object::Str(function), args, Object::Dict(keywords)] =
            <[Object; 4]>::try_from(parts).map_err(|_| malformed())?
        else {
            return Err(malformed());
        };
        let (Object::Tuple(positional) | Object::List(positional)) = args else { return Err(malformed()) };
        let keywords = keywords.into_iter().map(|(name, value)| match name {
            Object::Str(name) => Ok((name, value)),
            _ => Err(raise::type_error("keywords must be strings")),
        });
        let given = Given { positional, keywords: keywords.collect::<Result<_, _>>()? };
        Ok(Self { ident, function, given })
    }

    /// The object of which a method is called.
    fn object(&self, store: &Store) -> Result<Arc<Entry>, Exception> {
        store.entry(id_of(&self.ident)?)
    }
}

impl Reply {
    fn of(method: &str, outcome: Outcome) -> Self {
        match (method, outcome) {
            ("__iter__" | "__reversed__", Ok(items @ Object::List(_))) => Self::Iterator(items),
            (_, Ok(value)) => Self::Return(value),
            (_, Err(exception)) => Self::Raise(exception),
        }
    }

    fn pickle(self) -> Vec<u8> {
        let message =
            |kind: &str, value| pickle::write(&Object::Tuple(vec![Object::Str(kind.to_owned()), value]));
        match self {
            Self::Return(value) => message("#RETURN", value),
            Self::Iterator(items) => iterator(&items),
            Self::Raise(exception) => message("#ERROR", exception.into()),
            Self::Traceback(exception) => {
                let text = format!("Traceback (most recent call last):\n  in the manager\n{exception}\n");
                message("#TRACEBACK", Object::Str(text))
            }
        }
    }
}

/// The pickle of `('#RETURN', iter(items))`.
fn iterator(items: &Object) -> Vec<u8> {
    let list = pickle::write(items);
    // Between its protocol, two bytes, and its stop there is what makes the list.
    let list = list.get(2..list.len() - 1).unwrap_or_default();
    [b"\x80\x04\x8c\x07#RETURN\x8c\x08builtins\x8c\x04iter\x93", list, b"\x85R\x86."].concat()
}

/// What every object has in Python, whatever its methods are.
fn fallback(entry: &Entry, method: &str) -> Reply {
    match method {
        "__str__" | "__repr__" => Reply::Return(Object::Str(entry.repr())),
        "#GETVALUE" => entry.value().map_or_else(Reply::Traceback, Reply::Return),
        _ => Reply::Traceback(entry.no_method(method)),
    }
}

fn names(methods: Vec<String>) -> Object {
    Object::Tuple(methods.into_iter().map(Object::Str).collect())
}

/// The number that an id is written for.
fn id_of(ident: &Object) -> Result<u64, Exception> {
    let id = ident.as_str().and_then(|digits| u64::from_str_radix(digits, 16).ok());
    id.ok_or_else(|| raise::key_error(ident.clone()))
}
