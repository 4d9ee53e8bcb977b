//! What the messages of one peer lead to: calls that are begun, and answers to be sent. Knows no transport.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::in_flight::{InFlight, Ticket};
use super::registry::Registry;
use crate::object::Codec;
use crate::rpc::dialect::{self, Dialect, Fault, Form, Request, Wish};
use crate::rpc::handler::{Aside, Begun, Running};
use crate::rpc::protocol::{self, CallId, FailureKind, Hello, ProtocolError};
use crate::rpc::transport::Batch;

/// The calls of one peer.
pub(super) struct Calls {
    registry: Arc<Registry>,
    stopping: Arc<AtomicBool>,
    runtime: Handle,
    pub(super) in_flight: Arc<InFlight>,
    /// What is to be sent.
    pub(super) out: Batch,
    /// None until the first message.
    language: Option<Language>,
    /// Numbers the calls of dialects whose calls have no numbers of their own, or some that need not differ.
    next_id: u64,
}

#[derive(Debug, Clone, Copy)]
struct Language {
    dialect: Dialect,
    /// For the native dialect.
    codec: Codec,
}

impl Calls {
    pub(super) fn new(
        registry: Arc<Registry>,
        stopping: Arc<AtomicBool>,
        runtime: Handle,
        in_flight: Arc<InFlight>,
    ) -> Self {
        let language = match registry.config.dialect {
            None | Some(Dialect::Native) => None,
            Some(dialect) => Some(Language { dialect, codec: Codec::default() }),
        };
        Self { registry, stopping, runtime, in_flight, out: Batch::new(), language, next_id: 0 }
    }

    /// Whether no more calls may be begun for now.
    pub(super) fn is_full(&self) -> bool {
        let config = &self.registry.config;
        let in_order = self.language.is_some_and(|language| language.dialect.answers_in_order());
        let calls = if in_order { 1 } else { config.calls_in_flight };
        self.out.size() >= config.unsent_bytes || self.in_flight.running() >= calls
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Does what a message wants.
    ///
    /// # Errors
    ///
    /// What came is nothing that can be answered.
    pub(super) fn handle(&mut self, message: &[u8]) -> Result<(), ProtocolError> {
        let language = match self.language {
            Some(language) => language,
            None => match self.greet(message)? {
                Some(language) => language,
                None => return Ok(()),
            },
        };
        match dialect::read(language.dialect, language.codec, message)? {
            Wish::Call(request) => self.begin(request),
            Wish::Calls(requests) if requests.len() > self.registry.config.calls_in_flight => {
                let limit = self.registry.config.calls_in_flight;
                let message =
                    format!("a message of {} calls, and at most {limit} are allowed", requests.len());
                dialect::refuse_batch(&message, &mut self.out);
                Ok(())
            }
            Wish::Calls(requests) => requests.into_iter().try_for_each(|request| match request {
                Ok(request) => self.begin(request),
                Err((form, fault)) => {
                    form.write_fault(&fault, &mut self.out);
                    Ok(())
                }
            }),
            Wish::Cancel(id) => {
                self.in_flight.cancel(id);
                Ok(())
            }
            Wish::Bad(form, fault) => {
                form.write_fault(&fault, &mut self.out);
                Ok(())
            }
        }
    }

    /// The first message: which language it is, if it is a call in that already.
    fn greet(&mut self, message: &[u8]) -> Result<Option<Language>, ProtocolError> {
        let dialect = self.registry.config.dialect.or_else(|| Dialect::of_first_message(message));
        let Some(dialect) = dialect else { return Err(ProtocolError::not_hello(message)) };
        if dialect != Dialect::Native {
            let language = Language { dialect, codec: Codec::default() };
            self.language = Some(language);
            return Ok(Some(language));
        }
        let hello = Hello::decode(message)?;
        self.out.push_with(|out| Hello::new(hello.codec).encode(out));
        // Known from here on, so that the peer is told what is wrong in its own dialect.
        self.language = Some(Language { dialect, codec: Codec::default() });
        let codec = dialect::codec_from_wire(hello.of_our_version()?.codec)?;
        self.language = Some(Language { dialect, codec });
        Ok(None)
    }

    fn begin(&mut self, request: Request<'_>) -> Result<(), ProtocolError> {
        let Request { name, args, deadline, form } = request;
        if self.is_stopping() {
            let fault =
                Fault::new(FailureKind::Stopping, "the server is stopping, and has not begun the call");
            form.write_fault(&fault, &mut self.out);
            return Ok(());
        }
        let Some(handler) = self.registry.handlers.get(&*name) else {
            form.write_fault(&self.registry.unknown(&name), &mut self.out);
            return Ok(());
        };
        match handler.begin(args, &form, &mut self.out) {
            Begun::Answered => Ok(()),
            Begun::Aside(run) => {
                self.enter(form, |runtime, ticket| run_aside(runtime, ticket, run, deadline))
            }
            Begun::Pending(running) => {
                self.enter(form, |runtime, ticket| run_on(runtime, ticket, running, deadline))
            }
        }
    }

    fn enter(
        &mut self,
        form: Form,
        start: impl FnOnce(&Handle, Ticket) -> AbortHandle,
    ) -> Result<(), ProtocolError> {
        let id = form.cancel_id().unwrap_or_else(|| {
            self.next_id += 1;
            CallId(self.next_id)
        });
        match self.in_flight.enter(id, form, |ticket| start(&self.runtime, ticket)) {
            true => Ok(()),
            false => Err(ProtocolError::Malformed { what: "id: there is a call of this id in flight" }),
        }
    }

    /// Nothing more will come.
    pub(super) fn peer_has_ended(&self) {
        if self.language.is_none_or(|language| language.dialect == Dialect::Native) {
            self.in_flight.cancel_all();
        }
    }

    /// Nothing more is begun, or answered.
    pub(super) fn refuse(&mut self, reason: &ProtocolError) {
        self.in_flight.cancel_all();
        self.say_goodbye(&reason.to_string());
    }

    /// Adds the last message, if the dialect has one.
    pub(super) fn say_goodbye(&mut self, reason: &str) {
        if self.language.is_some_and(|language| language.dialect == Dialect::Native) {
            self.out.push_with(|out| protocol::encode_goodbye(out, reason));
        }
    }
}

fn run_aside(runtime: &Handle, ticket: Ticket, run: Aside, deadline: Option<Duration>) -> AbortHandle {
    let deadline = deadline.and_then(|deadline| Instant::now().checked_add(deadline));
    let running = runtime.spawn_blocking(move || {
        let mut answer = Batch::new();
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            ticket.form().write_fault(&too_late(), &mut answer);
        } else {
            run(ticket.form(), &mut answer);
        }
        ticket.finish(answer);
    });
    running.abort_handle()
}

fn run_on(
    runtime: &Handle,
    ticket: Ticket,
    mut running: Box<dyn Running>,
    deadline: Option<Duration>,
) -> AbortHandle {
    let running = runtime.spawn(async move {
        let mut answer = Batch::new();
        let run = std::future::poll_fn(|cx| running.poll(cx, ticket.form(), &mut answer));
        let in_time = match deadline {
            Some(deadline) => tokio::time::timeout(deadline, run).await.is_ok(),
            None => {
                run.await;
                true
            }
        };
        if !in_time {
            ticket.form().write_fault(&too_late(), &mut answer);
        }
        ticket.finish(answer);
    });
    running.abort_handle()
}

fn too_late() -> Fault {
    Fault::new(FailureKind::DeadlineExceeded, "the call's deadline has passed")
}
