//! One peer of a server: the task that reads its calls, begins them, and sends the answers.
//!
//! # Protocol
//!
//! The task goes round, as long as something progresses:
//!
//! 1. *Send.* What calls that ran elsewhere have answered is added to what is to be sent, and sent as far as the peer takes it.
//! 2. *Stop reading*, if more is unsent than is allowed, or as many calls run as are allowed: the peer is not read from until it
//!    has taken its answers, or calls have ended. What is kept for a peer is so bounded by that limit, the answers of the calls
//!    in flight, and what one read gives.
//! 3. *Begin* the calls that have been read, up to those limits. Answers that are there at once are added to what is to be sent.
//! 4. *Look*, if the one call that was read last has been answered: who calls one by one calls again in a moment, and is
//!    answered sooner by a thread that is awake. It is for the transport to know whether that has paid off lately.
//! 5. *Read*, if there was nothing to begin.
//!
//! So what a peer sends in one go is answered in one go.
//!
//! A peer *leaves* when it has sent its last message, or when the server stops. If the peer has closed its side, calls of the native
//! dialect are cancelled, as nobody can be waiting for them; those of the others, whose clients may have closed their side
//! of the connection alone, are completed and answered. If the server stops, calls that come are refused, those that run are
//! completed, and when all is answered comes the goodbye, and our side is closed. What still comes is read and
//! dropped for a moment, since closing a socket with unread bytes would destroy the answers on their way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use super::calls::Calls;
use crate::rpc::protocol::ProtocolError;
use crate::rpc::transport::{ReceiveMessages, SendMessages, Transport, TransportError};

/// How many rounds a busy peer gets before others have their turn.
const ROUNDS: usize = 16;

/// After so many calls the clock is looked at, and after so long what has been answered is sent, before more are begun.
const TURN: usize = 32;
const TURN_LIMIT: Duration = Duration::from_micros(500);

/// How long a peer that is looked at keeps its thread, before others have their turn.
const LOOKING: Duration = Duration::from_micros(500);

/// How long a peer may take its time to take its last answers.
const LEAVING: Duration = Duration::from_secs(5);

/// How long what a peer still sends is read and dropped.
const LINGERING: Duration = Duration::from_millis(200);

/// A peer as a future, which is ready when the peer has left.
pub(super) struct Peer {
    calls: Calls,
    send: Box<dyn SendMessages>,
    receive: Box<dyn ReceiveMessages>,
    stage: Stage,
    limit: Option<Pin<Box<Sleep>>>,
    /// It has sent one message since it was looked at last.
    calls_singly: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The peer sends no more.
    Ended,
    /// The last message has been written, and is to be sent.
    Leaving,
    /// All is sent, and our side is closed.
    Lingering,
}

impl Peer {
    pub(super) fn new(transport: Box<dyn Transport>, calls: Calls) -> Self {
        let (send, receive) = transport.split();
        Self { calls, send, receive, stage: Stage::Serving, limit: None, calls_singly: false }
    }

    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.calls.in_flight.register(cx.waker());
        if self.limit.as_mut().is_some_and(|limit| limit.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        let mut looking_since = None;
        let mut rounds = 0;
        while rounds < ROUNDS {
            rounds += 1;

            // SEND
            let is_idle = self.calls.in_flight.running() == 0; // before the answers are collected, so that they are all
            self.calls.in_flight.collect(&mut self.calls.out);
            let is_sent =
                self.calls.out.is_empty() || self.send.poll_send(cx, &mut self.calls.out)?.is_ready();

            // LEAVE
            match self.stage {
                Stage::Serving if is_idle && self.calls.is_stopping() => {
                    self.calls.say_goodbye("the server is stopping");
                    self.leave(Stage::Leaving, LEAVING);
                    continue;
                }
                Stage::Serving => {}
                Stage::Ended if is_idle && is_sent => return Poll::Ready(Ok(())),
                Stage::Leaving if is_sent => {
                    ready!(self.send.poll_close(cx))?;
                    self.leave(Stage::Lingering, LINGERING);
                    continue;
                }
                Stage::Ended if is_idle && self.limit.is_none() => {
                    self.leave(Stage::Ended, LEAVING);
                    continue;
                }
                Stage::Ended | Stage::Leaving => return self.poll_limit(cx),
                Stage::Lingering => {
                    while self.receive.next().is_some() {}
                    match self.receive.poll_receive(cx) {
                        Poll::Ready(Ok(true)) => continue,
                        Poll::Ready(_) => return Poll::Ready(Ok(())),
                        Poll::Pending => return self.poll_limit(cx),
                    }
                }
            }

            // STOP READING
            if self.calls.is_full() {
                self.receive.rest();
                return Poll::Pending; // until the peer takes more, or a call is answered
            }

            // BEGIN
            match self.handle_received() {
                Ok(begun @ 1..) => {
                    self.calls_singly = begun == 1;
                    continue;
                }
                Ok(0) => {}
                Err(refusal) => {
                    tracing::debug!(error = &refusal as &dyn std::error::Error, "a peer is refused");
                    self.calls.refuse(&refusal);
                    self.leave(Stage::Leaving, LEAVING);
                    continue;
                }
            }

            // LOOK
            if std::mem::take(&mut self.calls_singly) && is_idle && is_sent && self.receive.look() {
                let since = *looking_since.get_or_insert_with(Instant::now);
                rounds = if since.elapsed() < LOOKING { 0 } else { rounds };
                self.calls_singly = true; // if it was less than a message
                continue;
            }

            // READ
            if !ready!(self.receive.poll_receive(cx))? {
                self.calls.peer_has_ended();
                self.stage = Stage::Ended; // without a limit while calls run
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Begins what has been read, as far as is allowed now. How many messages that was.
    fn handle_received(&mut self) -> Result<usize, ProtocolError> {
        let mut handled = 0;
        let mut begin = None;
        while !self.calls.is_full() {
            let Some(message) = self.receive.next() else { break };
            self.calls.handle(message)?;
            handled += 1;
            if handled % TURN == 0 {
                let begin = *begin.get_or_insert_with(Instant::now);
                if begin.elapsed() > TURN_LIMIT {
                    break;
                }
            }
        }
        Ok(handled)
    }

    fn leave(&mut self, stage: Stage, limit: Duration) {
        self.stage = stage;
        self.limit = Some(Box::pin(tokio::time::sleep(limit)));
    }

    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        match &mut self.limit {
            Some(limit) => limit.as_mut().poll(cx).map(Ok),
            None => Poll::Pending,
        }
    }
}

impl Future for Peer {
    type Output = Result<(), TransportError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_serve(cx)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.calls.in_flight.cancel_all();
    }
}
