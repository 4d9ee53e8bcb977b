//! Sending, for both kinds of sockets.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use zeromq::{SocketSend, ZmqMessage, ZmqResult};

use super::room::{Charge, Room};
use super::{OVERHEAD, failed};
use crate::rpc::transport::{Batch, SendMessages, TransportError};

/// How many bytes may be with the socket and not yet with the operating system, for each peer. Picked to be more than a batch
/// of small answers, and little beside the buffers of a socket.
const UNSENT_MAX: usize = 1024 * 1024;

/// A message of which the room knows until the socket has written and dropped it.
struct Charged {
    bytes: Vec<u8>,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The half that sends, with the envelope that each message gets.
///
/// The queue of the crate `zeromq` is bounded by a count of messages, 100,000, whatever their size. So what is handed to it is
/// counted in bytes here, until it is dropped, which is when it has been copied to what is written next.
pub(super) struct Outgoing<S> {
    envelope: Vec<Bytes>,
    room: Arc<Room>,
    state: State<S>,
}

enum State<S> {
    Idle(S),
    Sending(BoxFuture<'static, (S, ZmqResult<()>)>),
    /// Closed, or between two of the others.
    Closed,
}

impl<S: SocketSend + Send + 'static> Outgoing<S> {
    pub(super) fn new(socket: S, envelope: Vec<Bytes>) -> Self {
        Self { envelope, room: Room::new(UNSENT_MAX), state: State::Idle(socket) }
    }

    /// Waits until the last message is with the socket.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let State::Sending(sending) = &mut self.state else { return Poll::Ready(Ok(())) };
        let (socket, sent) = ready!(sending.poll_unpin(cx));
        self.state = State::Idle(socket);
        Poll::Ready(sent.map_err(failed))
    }

    fn begin(&mut self, message: &[u8]) {
        let charge = self.room.charge(message.len() + OVERHEAD);
        let mut frames =
            ZmqMessage::from(Bytes::from_owner(Charged { bytes: message.to_vec(), _charge: charge }));
        for frame in self.envelope.iter().rev() {
            frames.push_front(frame.clone());
        }
        if let State::Idle(mut socket) = std::mem::replace(&mut self.state, State::Closed) {
            let sending = async move {
                let sent = socket.send(frames).await;
                (socket, sent)
            };
            self.state = State::Sending(sending.boxed());
        }
    }
}

impl<S: SocketSend + Send + 'static> SendMessages for Outgoing<S> {
    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), TransportError>> {
        loop {
            ready!(self.poll_idle(cx))?;
            if batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            if matches!(self.state, State::Closed) {
                return Poll::Ready(Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()));
            }
            ready!(self.room.poll_free(cx));
            if let Some(message) = batch.pop() {
                self.begin(message);
            }
        }
    }

    /// There is no end of the stream for one of many peers of a socket, so this only drops the socket: the last one to do so
    /// closes it, after what was sent before.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.poll_idle(cx))?;
        self.state = State::Closed;
        Poll::Ready(Ok(()))
    }
}
