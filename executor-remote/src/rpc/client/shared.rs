//! What the clones of a client, its calls and its driver share: the lock, what is to be sent, and reading and writing.
//!
//! # Sending
//!
//! A call appends its message to `out`, under the lock. Who sends it is decided by who would have to be woken for it:
//!
//! - If nobody else's call is in flight, the caller writes it at once: it is waiting for it, and there is nothing to send
//!   along.
//! - Else the driver is asked to, and while that has not run, further calls are appended: they go out in one write.
//! - A thread in `wait` sends what there is before it waits. So does whoever makes `out` larger than [`LARGE_WRITE`].
//!
//! One party writes at a time ([`Writer`]), and goes on until `out` is empty, so what comes meanwhile is never left behind.
//! If the socket takes no more, what is left is *stuck*, the driver sends it when the socket takes more, and others leave it
//! to the driver.
//!
//! There is room for a call while fewer than [`ClientConfig::calls_in_flight`] are in flight and less than
//! [`ClientConfig::unsent_bytes`] are to be sent. Else the call is held, and sent once there is room, in order.
//!
//! Reading is governed by [`Desk`].
//!
//! # Ending
//!
//! If nothing can be sent any more, the socket is shut down, but answers that have come already are still read; who reads
//! then finds the end. [`fail`](Shared::fail) is the only end of the client itself. It happens once, fails all calls in
//! flight, those that come later fail at once, and the socket is shut down, which ends the read of whoever is reading. The
//! driver is woken and goes.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;

use super::ClientConfig;
use super::desk::{Desk, Seat, Then};
use super::driver;
use super::socket::Socket;
use super::speech::{Answer, Reply, Speech, Whose};
use crate::connection::frame::Inbox;
use crate::patience::Patience;
use crate::rpc::RpcError;
use crate::rpc::in_flight::{Forgotten, InFlight, Waiter};
use crate::rpc::protocol::CallId;
use crate::rpc::transport::{Batch, ReceiveMessages, TransportError};

/// So much is worth a write of its own, even if more is to come. The lowest that did not slow pipelined calls.
const LARGE_WRITE: usize = 32 * 1024;

/// Who writes to the socket.
#[derive(Debug)]
enum Writer {
    Nobody,
    Somebody,
    /// The driver will, as soon as the socket takes more; this is what is left.
    Stuck(Batch),
}

struct State {
    desk: Desk<Answer>,
    out: Batch,
    /// The memory of the batch that was sent last.
    spare: Batch,
    writer: Writer,
    /// How many bytes are with the writer.
    writing: usize,
    /// The driver is to send what is in `out`.
    flush_asked: bool,
    driver_runs: bool,
    /// Nothing can be sent any more. What has come is still to be read; the end of that is the client's.
    broken: Option<RpcError>,
    ended: Option<RpcError>,
}

/// What is only the reader's.
pub(crate) struct Incoming {
    inbox: Inbox,
    patience: Patience,
    replies: Vec<(Whose, Answer)>,
    wake: Vec<Waiter>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Locked by the reader ([`Desk`]) alone, so it is never waited for.
    incoming: Mutex<Incoming>,
    /// None if the client speaks over a transport, which the driver has.
    socket: Option<Socket>,
    driver: AtomicWaker,
    speech: Speech,
    peer: String,
    config: ClientConfig,
}

/// What the driver has to do besides reading.
pub(crate) struct Duties {
    pub(crate) flush: bool,
    pub(crate) stuck: bool,
}

/// What came of reading once.
pub(crate) enum Read {
    /// Something.
    Some,
    /// Something, and for now that was all.
    All,
    /// Nothing, as nothing was there.
    Nothing,
    /// The client has ended.
    Ended,
}

impl Shared {
    pub(crate) fn new(
        socket: Option<Socket>,
        inbox: Inbox,
        speech: Speech,
        peer: String,
        config: ClientConfig,
    ) -> Shared {
        let calls = InFlight::new(speech.matching());
        let desk = if socket.is_some() { Desk::new(calls) } else { Desk::driven(calls) };
        let mut out = Batch::new();
        speech.begin(&mut out);
        let state = State {
            desk,
            out,
            spare: Batch::new(),
            writer: Writer::Nobody,
            writing: 0,
            flush_asked: false,
            // That of a transport is started with the client.
            driver_runs: socket.is_none(),
            broken: None,
            ended: None,
        };
        Shared {
            state: Mutex::new(state),
            incoming: Mutex::new(Incoming {
                inbox,
                patience: Patience::new(),
                replies: Vec::new(),
                wake: Vec::new(),
            }),
            socket,
            driver: AtomicWaker::new(),
            speech,
            peer,
            config,
        }
    }

    pub(crate) fn speech(&self) -> Speech {
        self.speech
    }

    pub(crate) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// How many bytes wait to be sent.
    #[cfg(test)]
    pub(crate) fn unsent(&self) -> usize {
        let state = self.lock();
        state.out.size() + state.writing
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of others runs under it, and each step leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a call, or holds it until there is room.
    pub(crate) fn call(
        self: &Arc<Self>,
        name: &str,
        args: &[u8],
        limit: Option<Duration>,
    ) -> Result<CallId, RpcError> {
        let mut state = self.lock();
        if let Some(ended) = &state.ended {
            return Err(ended.clone());
        }
        let busy = state.desk.unattended() > 0;
        let id = if state.desk.calls.has_held() || !self.has_room(&state) {
            state.desk.calls.insert_held(|id| self.speech.message(id, limit, name, args))
        } else {
            let id = state.desk.calls.insert_sent();
            state.out.push_with(|out| self.speech.write_call(out, id, limit, name, args));
            id
        };
        self.send_soon(state, busy);
        Ok(id)
    }

    fn has_room(&self, state: &State) -> bool {
        let unsent = state.out.size() + state.writing;
        state.desk.calls.due() < self.config.calls_in_flight && unsent < self.config.unsent_bytes
    }

    /// Sends what there is, now or by the driver: see the module documentation.
    fn send_soon(self: &Arc<Self>, mut state: MutexGuard<'_, State>, busy: bool) {
        if state.out.is_empty() || !matches!(state.writer, Writer::Nobody) {
            return;
        }
        if self.socket.is_some() && (!busy || state.out.size() >= LARGE_WRITE) {
            self.write(state);
        } else if !std::mem::replace(&mut state.flush_asked, true) {
            self.wake_driver(state);
        }
    }

    /// Sends what there is, if nobody else is at it.
    pub(crate) fn flush(self: &Arc<Self>) {
        let state = self.lock();
        match self.socket {
            Some(_) => {
                self.write(state);
            }
            None => self.send_soon(state, true),
        }
    }

    /// Goes on with what the socket has not taken; false if it still does not take all.
    pub(crate) fn write_stuck(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        match std::mem::replace(&mut state.writer, Writer::Nobody) {
            Writer::Stuck(mut batch) => {
                // What came meanwhile goes along.
                batch.append(&mut state.out);
                state.out = batch;
                state.writing = 0;
                self.write(state)
            }
            writer => {
                state.writer = writer;
                true
            }
        }
    }

    /// Writes until there is nothing left (true) or the socket takes no more.
    fn write<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State>) -> bool {
        let Some(socket) = &self.socket else { return true };
        loop {
            if !matches!(state.writer, Writer::Nobody) || state.out.is_empty() || state.ended.is_some() {
                return true;
            }
            let spare = std::mem::take(&mut state.spare);
            let mut batch = std::mem::replace(&mut state.out, spare);
            state.writer = Writer::Somebody;
            state.writing = batch.size();
            state.flush_asked = false;
            drop(state);

            let sent = send_all(socket, &mut batch);

            state = self.lock();
            state.writing = batch.size();
            match sent {
                Ok(true) => {
                    state.writer = Writer::Nobody;
                    state.spare = batch;
                    self.send_held(&mut state);
                }
                Ok(false) => {
                    state.writer = Writer::Stuck(batch);
                    self.wake_driver(state);
                    return false;
                }
                Err(error) => {
                    // There is no writer any more, which is as if somebody wrote for ever. Who reads finds the end.
                    state.broken = Some(RpcError::broken(Arc::new(error.into())));
                    drop(state);
                    socket.shut_down();
                    return true;
                }
            }
        }
    }

    fn send_held(&self, state: &mut State) {
        while state.desk.calls.has_held() && self.has_room(state) {
            if let Some(message) = state.desk.calls.send_next_held() {
                state.out.push(&message);
            }
        }
    }

    /// A future asks for its answer.
    pub(crate) fn poll(self: &Arc<Self>, id: CallId, cx: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.lock();
        let (poll, then, replaced) = state.desk.poll(id, cx.waker());
        self.follow(then, state);
        drop(replaced);
        poll
    }

    /// A thread waits for its answer, until `deadline`.
    pub(crate) fn wait(self: &Arc<Self>, id: CallId, deadline: Option<Instant>) -> Option<Answer> {
        self.flush();
        // Should anything in here panic, the role does not stay with a thread that has gone.
        let mut seat = Sitting { shared: self, id, seated: true };
        loop {
            let mut state = self.lock();
            let (next, then, replaced) = state.desk.sit(id, std::thread::current);
            let is_only = state.desk.calls.due() <= 1;
            self.follow(then, state);
            drop(replaced);
            match next {
                Seat::Answered(answer) => {
                    seat.seated = false;
                    return Some(answer);
                }
                Seat::Lead if self.read_as_thread(deadline, is_only) => {}
                Seat::Park if park(deadline) => {}
                Seat::Lead | Seat::Park => return seat.rise(),
            }
        }
    }

    /// False if the deadline came first. Of many answers more come in one read if nobody is in a hurry: who looks is the caller of the
    /// only call.
    fn read_as_thread(self: &Arc<Self>, deadline: Option<Instant>, is_only: bool) -> bool {
        let read = self.read(|socket, patience, buffer| match is_only {
            true => socket.read_patiently(patience, buffer, deadline),
            false => socket.read_until(buffer, deadline),
        });
        !matches!(read, Read::Nothing)
    }

    /// The caller of a call has gone.
    pub(crate) fn forget(self: &Arc<Self>, id: CallId) {
        let mut state = self.lock();
        let (forgotten, waiter) = state.desk.calls.forget(id);
        if forgotten == Forgotten::Sent && state.ended.is_none() {
            let busy = state.desk.unattended() > 0;
            self.speech.write_cancel(&mut state.out, id);
            self.send_held(&mut state);
            self.send_soon(state, busy);
        } else {
            drop(state);
        }
        drop(waiter);
    }

    /// The caller of a call does not want its answer, and wants it to be carried out. False if it has to be waited for, because there
    /// was no room to send it.
    pub(crate) fn abandon(&self, id: CallId) -> bool {
        let (abandoned, waiter) = self.lock().desk.calls.abandon(id);
        drop(waiter);
        abandoned
    }

    /// Whether the connection is of no more use, as far as can be told without reading.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().ended.is_some() || self.socket.as_ref().is_some_and(Socket::is_hung_up)
    }

    /// Reads once, as the reader.
    pub(crate) fn read(
        self: &Arc<Self>,
        read: impl FnOnce(&Socket, &mut Patience, &mut Vec<u8>) -> io::Result<usize>,
    ) -> Read {
        let Some(socket) = &self.socket else { return Read::Ended };
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let Incoming { inbox, patience, .. } = &mut *incoming;
        let spare = inbox.spare();
        let room = spare.capacity() - spare.len();
        let failure = match read(socket, patience, spare) {
            Ok(0) if inbox.is_between_messages() => RpcError::disconnected("the server has closed it"),
            Ok(0) => RpcError::disconnected("the server has closed it in the middle of a message"),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::Nothing,
            Err(error) => RpcError::broken(Arc::new(error.into())),
            Ok(count) => {
                inbox.settle();
                match self.deliver(&mut incoming) {
                    Ok(()) if count < room => return Read::All,
                    Ok(()) => return Read::Some,
                    Err(failure) => failure,
                }
            }
        };
        drop(incoming);
        self.fail(failure);
        Read::Ended
    }

    /// Answers the calls whose answers are in the inbox.
    fn deliver(self: &Arc<Self>, incoming: &mut Incoming) -> Result<(), RpcError> {
        let Incoming { inbox, replies, wake, .. } = incoming;
        let result = loop {
            match inbox.next(usize::MAX) {
                Ok(Some(message)) => {
                    if let Err(error) = self.sort(inbox.bytes(&message), replies) {
                        break Err(error);
                    }
                }
                Ok(None) => break Ok(()),
                Err(error) => {
                    break Err(RpcError::broken(Arc::new(TransportError::Protocol(Box::new(error)))));
                }
            }
        };
        self.answer(replies, wake);
        result
    }

    /// Reads one message.
    fn sort(&self, message: &[u8], replies: &mut Vec<(Whose, Answer)>) -> Result<(), RpcError> {
        match self.speech.read_reply(message)? {
            Reply::Answer(whose, answer) => replies.push((whose, answer)),
            Reply::Nothing => {}
        }
        Ok(())
    }

    /// Gives answers to their calls, and wakes who waits for them.
    fn answer(self: &Arc<Self>, replies: &mut Vec<(Whose, Answer)>, wake: &mut Vec<Waiter>) {
        if !replies.is_empty() {
            let mut state = self.lock();
            for (whose, answer) in replies.drain(..) {
                let calls = &mut state.desk.calls;
                wake.extend(match whose {
                    Whose::Id(id) => calls.answer(id, answer),
                    Whose::Short(place) => calls.answer_place(place, answer),
                    Whose::Oldest => calls.answer_oldest(answer),
                });
            }
            if state.desk.calls.has_held() {
                self.send_held(&mut state);
                self.send_soon(state, true);
            }
        }
        wake.drain(..).for_each(Waiter::wake);
    }

    /// What the driver has to do when it is polled; none if the client has ended.
    pub(crate) fn driver_duties(&self, cx: &Context<'_>) -> Option<Duties> {
        self.driver.register(cx.waker());
        let state = self.lock();
        match state.ended {
            Some(_) => None,
            None => {
                Some(Duties { flush: state.flush_asked, stuck: matches!(state.writer, Writer::Stuck(_)) })
            }
        }
    }

    /// The driver is not registered for readability: whether it has to be.
    pub(crate) fn driver_returns(&self) -> bool {
        self.lock().desk.driver_returns()
    }

    /// The driver finds the socket readable: whether it is the one to read.
    pub(crate) fn driver_begins(&self) -> bool {
        self.lock().desk.driver_begins()
    }

    /// The driver has read what there was.
    pub(crate) fn driver_ends(self: &Arc<Self>) {
        let mut state = self.lock();
        let then = state.desk.driver_ends();
        self.follow(then, state);
    }

    /// The driver's runtime has dropped it.
    pub(crate) fn driver_gone(self: &Arc<Self>) {
        let mut state = self.lock();
        state.driver_runs = false;
        let then = state.desk.driver_gone();
        let needed = state.flush_asked || matches!(state.writer, Writer::Stuck(_));
        if needed && state.ended.is_none() {
            self.wake_driver(state);
            return;
        }
        self.follow(then, state);
    }

    /// What is to be sent over the transport, which the driver has.
    pub(crate) fn take_out(&self, batch: &mut Batch) {
        let mut state = self.lock();
        self.send_held(&mut state);
        batch.append(&mut state.out);
        state.writing = batch.size();
        state.flush_asked = false;
    }

    /// Answers the calls whose answers the transport has received.
    pub(crate) fn deliver_from(self: &Arc<Self>, receiver: &mut dyn ReceiveMessages) -> Result<(), RpcError> {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        let Incoming { replies, wake, .. } = &mut *incoming;
        let mut result = Ok(());
        while let Some(message) = receiver.next() {
            result = self.sort(message, replies);
            if result.is_err() {
                break;
            }
        }
        self.answer(replies, wake);
        result
    }

    /// The connection is of no more use, for this reason.
    pub(crate) fn fail(&self, failure: RpcError) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        let failure = state.broken.take().unwrap_or(failure);
        let waiters = state.desk.calls.fail_all(|sent| Answer::lost(&failure, sent));
        state.ended = Some(failure);
        state.out.clear();
        drop(state);
        if let Some(socket) = &self.socket {
            socket.shut_down();
        }
        self.driver.wake();
        waiters.into_iter().for_each(Waiter::wake);
    }

    fn follow(self: &Arc<Self>, then: Then, state: MutexGuard<'_, State>) {
        match then {
            Then::Nothing => {}
            Then::Unpark(thread) => {
                drop(state);
                thread.unpark();
            }
            Then::WakeDriver => self.wake_driver(state),
        }
    }

    fn wake_driver(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let runs = std::mem::replace(&mut state.driver_runs, true);
        drop(state);
        match runs {
            true => self.driver.wake(),
            false => driver::start(Arc::clone(self)),
        }
    }
}

/// A thread that waits: however it leaves, it gives the role up.
struct Sitting<'a> {
    shared: &'a Arc<Shared>,
    id: CallId,
    seated: bool,
}

impl Sitting<'_> {
    fn rise(&mut self) -> Option<Answer> {
        self.seated = false;
        let mut state = self.shared.lock();
        let (answer, then, replaced) = state.desk.rise(self.id);
        self.shared.follow(then, state);
        drop(replaced);
        answer
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        if self.seated {
            // The answer that may be taken here has no taker: its thread is unwinding.
            drop(self.rise());
        }
    }
}

/// Sends until all is sent (true) or the socket takes no more.
fn send_all(socket: &Socket, batch: &mut Batch) -> io::Result<bool> {
    while !batch.is_empty() {
        match socket.try_write(batch.frames()) {
            Ok(sent) => batch.advance(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Parks the thread, which may return for no reason; false if the deadline has come.
fn park(deadline: Option<Instant>) -> bool {
    match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
        None => std::thread::park(),
        Some(Duration::ZERO) => return false,
        Some(left) => std::thread::park_timeout(left),
    }
    true
}
