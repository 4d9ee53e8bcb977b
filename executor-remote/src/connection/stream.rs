use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::auth::{AuthFailure, is_challenge};
use super::error::ConnectionError;
use super::frame::Inbox;
use super::handshake::Established;
use super::wire::{JOIN, ReadHalf, Socket, WriteHalf};
use crate::io_runtime;
use crate::object::{Codec, CodecError};

/// A connection, as `multiprocessing.connection.Connection`: it carries messages, in both directions.
///
/// Its socket is driven by the tokio runtime that was current when it was made, which must go on then, or, where there was none, by
/// a thread of this crate; its futures can be polled anywhere.
///
/// When it is dropped the peer receives what was sent, and then learns that the connection [is
/// closed](ConnectionError::Closed).
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    pub(super) fn new(established: Established) -> Result<Self, ConnectionError> {
        let Established { fd, kind, peer, inbox, halves, codec } = established;
        let socket = Arc::new(Socket::register(fd, kind).map_err(ConnectionError::Io)?);
        let (sealer, opener) = halves.unzip();
        let peer = Arc::new(peer);
        let read = ReadHalf::new(Arc::clone(&socket), inbox, opener);
        let write = WriteHalf::new(socket, sealer);
        Ok(Self {
            sender: Sender { half: write, peer: Arc::clone(&peer), codec },
            receiver: Receiver { half: read, peer, codec },
        })
    }

    /// The peer: the address that was connected to, or what the system says of a peer that was accepted.
    #[must_use]
    pub fn peer_addr(&self) -> &Address {
        &self.receiver.peer
    }

    /// How objects become messages.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.sender.codec
    }

    /// Lets objects become messages in another way from here on. Both sides have to agree on it: nothing on the wire says it.
    pub fn set_codec(&mut self, codec: Codec) {
        self.sender.codec = codec;
        self.receiver.codec = codec;
    }

    /// As [`set_codec`](Self::set_codec), by value.
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.set_codec(codec);
        self
    }

    /// As [`Sender::send_bytes`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub async fn send_bytes(&mut self, message: &[u8]) -> Result<(), ConnectionError> {
        self.sender.send_bytes(message).await
    }

    /// As [`Receiver::recv_bytes`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub async fn recv_bytes(&mut self, max: usize) -> Result<Vec<u8>, ConnectionError> {
        self.receiver.recv_bytes(max).await
    }

    /// As [`Sender::send`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub async fn send<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConnectionError> {
        self.sender.send(value).await
    }

    /// As [`Receiver::recv`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<T, ConnectionError> {
        self.receiver.recv().await
    }

    /// As [`Receiver::poll`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub async fn poll(&mut self, timeout: Duration) -> Result<bool, ConnectionError> {
        self.receiver.poll(timeout).await
    }

    /// Two halves, for two tasks. The connection is closed when both are dropped; when the sender is, the peer learns that
    /// nothing more comes.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }

    /// The process at the other end, as the system knows it of Unix sockets.
    pub(crate) fn peer_process(&self) -> Option<i32> {
        self.sender.half.peer_process()
    }

    /// The socket, which belongs to no runtime then, and what has been received and not been taken. Gives the connection back if it is
    /// encrypted, or has something left to send.
    pub(crate) fn into_socket(self) -> Result<(io::Result<OwnedFd>, Inbox), Box<Self>> {
        if self.sender.half.is_encrypted() || self.sender.half.pending() > 0 {
            return Err(Box::new(self));
        }
        let (inbox, _) = self.receiver.half.into_inner();
        let (socket, _) = self.sender.half.into_inner();
        let socket = Arc::into_inner(socket).expect("the two halves had it, and they are gone");
        Ok((socket.into_fd().map(|(fd, _)| fd), inbox))
    }

    /// The halves below, for drivers of their own.
    pub(crate) fn into_parts(self) -> (WriteHalf, ReadHalf) {
        (self.sender.half, self.receiver.half)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer_addr", self.peer_addr()).finish_non_exhaustive()
    }
}

/// The sending half of a [`Connection`].
pub struct Sender {
    half: WriteHalf,
    peer: Arc<Address>,
    codec: Codec,
}

impl Sender {
    /// Sends a message. It is done when the operating system has it.
    ///
    /// # Errors
    ///
    /// [`Io`](ConnectionError::Io), for which [`is_disconnected`](ConnectionError::is_disconnected) tells whether the peer is gone.
    ///
    /// # Cancel safety
    ///
    /// The peer receives all of the message or nothing. When the future is dropped half-way, the rest is sent before the
    /// next message, or by [`close`](Self::close).
    pub async fn send_bytes(&mut self, message: &[u8]) -> Result<(), ConnectionError> {
        self.flush().await?;
        if message.len() <= JOIN || self.half.is_encrypted() {
            self.half.queue(message);
            return self.flush().await;
        }
        Gather { half: &mut self.half, message, at: 0 }.await
    }

    /// Sends a value as a message, made by the codec.
    ///
    /// # Errors
    ///
    /// [`Codec`](ConnectionError::Codec), and nothing is sent; those of [`send_bytes`](Self::send_bytes).
    ///
    /// # Cancel safety
    ///
    /// As [`send_bytes`](Self::send_bytes).
    pub async fn send<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConnectionError> {
        self.flush().await?;
        let codec = self.codec;
        self.half.queue_with(|message| codec.encode(value, message))?;
        self.flush().await
    }

    async fn flush(&mut self) -> Result<(), ConnectionError> {
        poll_fn(|cx| self.half.poll_flush(cx)).await
    }

    /// Sends what was left by a future that was dropped, and closes this direction. The peer receives everything, and then
    /// [`Closed`](ConnectionError::Closed).
    ///
    /// # Errors
    ///
    /// As [`send_bytes`](Self::send_bytes).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped the direction is closed, and the last message may be truncated.
    pub async fn close(mut self) -> Result<(), ConnectionError> {
        self.flush().await
    }

    /// As [`Connection::peer_addr`].
    #[must_use]
    pub fn peer_addr(&self) -> &Address {
        &self.peer
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("peer_addr", self.peer_addr()).finish_non_exhaustive()
    }
}

/// Sends a long message without a copy; the rest is copied if it is dropped half-way.
struct Gather<'a> {
    half: &'a mut WriteHalf,
    message: &'a [u8],
    /// Of the header and the message.
    at: usize,
}

impl Future for Gather<'_> {
    type Output = Result<(), ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { half, message, at } = &mut *self;
        half.poll_gather(cx, message, at)
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        if self.at > 0 {
            self.half.queue_rest(self.message, self.at);
        }
    }
}

/// The receiving half of a [`Connection`].
pub struct Receiver {
    half: ReadHalf,
    peer: Arc<Address>,
    codec: Codec,
}

impl Receiver {
    /// Receives a message of up to `max` bytes.
    ///
    /// # Errors
    ///
    /// [`Closed`](ConnectionError::Closed) and [`Truncated`](ConnectionError::Truncated) at the end of the stream, again and again;
    /// [`TooLong`](ConnectionError::TooLong), after which the message is still there;
    /// [`BadLength`](ConnectionError::BadLength), [`Record`](ConnectionError::Record), [`Io`](ConnectionError::Io).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv_bytes(&mut self, max: usize) -> Result<Vec<u8>, ConnectionError> {
        let message = poll_fn(|cx| self.half.poll_message(cx, max)).await?;
        Ok(self.half.inbox().into_vec(message))
    }

    /// Receives a value. Its message may be as long as the connection was configured for.
    ///
    /// # Errors
    ///
    /// [`Codec`](ConnectionError::Codec) if the message is not such a value: it is taken, and the connection goes on.
    /// [`AuthenticationFailed`](ConnectionError::AuthenticationFailed) if it shows that the peer demands a key and this side
    /// gave none. Those of [`recv_bytes`](Self::recv_bytes).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn recv<T: DeserializeOwned>(&mut self) -> Result<T, ConnectionError> {
        let message = poll_fn(|cx| self.half.poll_message(cx, usize::MAX)).await?;
        let bytes = self.half.bytes(&message);
        self.codec.decode(bytes).map_err(|error| not_a_value(error, bytes, &self.peer))
    }

    /// Waits until a message can be received without waiting, or an error or the end of the stream, for at most `timeout`.
    /// Whether there is one.
    ///
    /// # Errors
    ///
    /// [`Io`](ConnectionError::Io) if the system does not let it wait.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn poll(&mut self, timeout: Duration) -> Result<bool, ConnectionError> {
        let runtime = io_runtime::start().map_err(ConnectionError::Io)?;
        let sleep = {
            let _context = runtime.enter();
            tokio::time::sleep(timeout)
        };
        let mut sleep = std::pin::pin!(sleep);
        poll_fn(|cx| {
            if self.half.poll_ready(cx).is_ready() {
                return Poll::Ready(Ok(true));
            }
            sleep.as_mut().poll(cx).map(|()| Ok(false))
        })
        .await
    }

    /// As [`Connection::peer_addr`].
    #[must_use]
    pub fn peer_addr(&self) -> &Address {
        &self.peer
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("peer_addr", self.peer_addr()).finish_non_exhaustive()
    }
}

/// What a message that is not the wanted value means. A peer that demands a key challenges before anything else.
pub(super) fn not_a_value(error: CodecError, message: &[u8], peer: &Address) -> ConnectionError {
    match is_challenge(message) {
        true => {
            let (peer, reason) = (peer.clone(), AuthFailure::KeyRequired);
            ConnectionError::AuthenticationFailed { peer, reason }
        }
        false => error.into(),
    }
}
