use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::connection::address::Address;
use crate::connection::error::ConnectionError;
use crate::connection::frame::Message;
use crate::connection::handshake::Established;
use crate::connection::stream::not_a_value;
use crate::connection::wire::{JOIN, ReadHalf, Socket, WriteHalf};
use crate::object::Codec;

/// A connection, as the [asynchronous one](crate::connection::Connection).
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
}

impl Connection {
    pub(super) fn new(established: Established) -> Self {
        let Established { fd, kind, peer, inbox, halves, codec } = established;
        let socket = Arc::new(Socket::Plain(fd, kind));
        let (sealer, opener) = halves.unzip();
        let peer = Arc::new(peer);
        let read = ReadHalf::new(Arc::clone(&socket), inbox, opener);
        let write = WriteHalf::new(socket, sealer);
        Self {
            sender: Sender { half: write, peer: Arc::clone(&peer), codec },
            receiver: Receiver { half: read, peer, codec },
        }
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
    pub fn send_bytes(&mut self, message: &[u8]) -> Result<(), ConnectionError> {
        self.sender.send_bytes(message)
    }

    /// As [`Receiver::recv_bytes`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub fn recv_bytes(&mut self, max: usize) -> Result<Vec<u8>, ConnectionError> {
        self.receiver.recv_bytes(max)
    }

    /// As [`Sender::send`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub fn send<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConnectionError> {
        self.sender.send(value)
    }

    /// As [`Receiver::recv`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub fn recv<T: DeserializeOwned>(&mut self) -> Result<T, ConnectionError> {
        self.receiver.recv()
    }

    /// As [`Receiver::poll`].
    #[expect(clippy::missing_errors_doc, reason = "see there")]
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, ConnectionError> {
        self.receiver.poll(timeout)
    }

    /// Two halves, for two threads. The connection is closed when both are dropped; when the sender is, the peer learns that
    /// nothing more comes.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
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
    /// [`Io`](ConnectionError::Io), for which [`is_disconnected`](ConnectionError::is_disconnected) tells whether the peer is gone. The
    /// connection is of no more use then: part of the message may be out.
    ///
    /// # Blocking
    ///
    /// While the peer does not read and the buffers between are full.
    pub fn send_bytes(&mut self, message: &[u8]) -> Result<(), ConnectionError> {
        if message.len() > JOIN && !self.half.is_encrypted() {
            return self.half.wait_gather(message);
        }
        self.half.queue(message);
        self.half.wait_flush(None).map(drop)
    }

    /// Sends a value as a message, made by the codec.
    ///
    /// # Errors
    ///
    /// [`Codec`](ConnectionError::Codec), and nothing is sent; those of [`send_bytes`](Self::send_bytes).
    ///
    /// # Blocking
    ///
    /// As [`send_bytes`](Self::send_bytes).
    pub fn send<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConnectionError> {
        let codec = self.codec;
        self.half.queue_with(|message| codec.encode(value, message))?;
        self.half.wait_flush(None).map(drop)
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
    /// As [the asynchronous one](crate::connection::Receiver::recv_bytes).
    ///
    /// # Blocking
    ///
    /// Until the message is complete.
    pub fn recv_bytes(&mut self, max: usize) -> Result<Vec<u8>, ConnectionError> {
        let message = self.message(max)?;
        Ok(self.half.inbox().into_vec(message))
    }

    fn message(&mut self, max: usize) -> Result<Message, ConnectionError> {
        loop {
            // Without a deadline there always is one.
            if let Some(message) = self.half.wait_message(max, None)? {
                return Ok(message);
            }
        }
    }

    /// Receives a value. Its message may be as long as the connection was configured for.
    ///
    /// # Errors
    ///
    /// [`Codec`](ConnectionError::Codec) if the message is not such a value: it is taken, and the connection goes on.
    /// [`AuthenticationFailed`](ConnectionError::AuthenticationFailed) if it shows that the peer demands a key and this side
    /// gave none. Those of [`recv_bytes`](Self::recv_bytes).
    ///
    /// # Blocking
    ///
    /// Until the message is complete.
    pub fn recv<T: DeserializeOwned>(&mut self) -> Result<T, ConnectionError> {
        let message = self.message(usize::MAX)?;
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
    /// # Blocking
    ///
    /// Up to `timeout`.
    pub fn poll(&mut self, timeout: Duration) -> Result<bool, ConnectionError> {
        let deadline = Instant::now().checked_add(timeout);
        while !self.half.is_ready(usize::MAX) {
            if !self.half.wait_fill(deadline)? {
                return Ok(false);
            }
        }
        Ok(true)
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
