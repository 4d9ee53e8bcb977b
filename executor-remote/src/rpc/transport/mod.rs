//! Whole messages, in order, both ways: what calls travel on.
//!
//! A [`Transport`] is split into a half that sends and a half that receives, each of which one task polls. Both work on many
//! messages at a time: what is to be sent is collected in a [`Batch`], which goes out in as few writes as the transport can
//! make of it, and what was received is handed out message by message from the buffer into which it was read.
//!
//! Back-pressure is the transport's: [`SendMessages::poll_send`] is pending while the peer takes nothing, and nothing is read
//! from a peer unless [`ReceiveMessages::poll_receive`] is called.

use std::io;
use std::task::{Context, Poll};

mod batch;
mod connection;
mod look;
mod memory;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use memory::{MemoryTransport, pair};

/// Something that carries whole messages to one peer and back.
///
/// # Contract
///
/// Messages arrive whole, in the order in which they were sent, once, or the transport fails. The limit on the length of a
/// message, and whatever proves who the peer is, are the transport's to have.
pub trait Transport: Send + 'static {
    /// The two halves.
    fn split(self: Box<Self>) -> (Box<dyn SendMessages>, Box<dyn ReceiveMessages>);

    /// Who the peer is, for people.
    fn peer(&self) -> String;
}

/// The half of a [`Transport`] that sends.
pub trait SendMessages: Send + 'static {
    /// Sends the messages of the batch, and takes them out of it. Ready when the batch is empty and all of it is with the
    /// operating system, or whoever carries it on.
    ///
    /// While it is pending, messages may be added to the batch, and those in it must not be taken away.
    ///
    /// # Errors
    ///
    /// The peer cannot be reached any more. Nothing can be sent after that.
    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), TransportError>>;

    /// Tells the peer that no more messages will come; it can still send.
    ///
    /// # Errors
    ///
    /// As [`poll_send`](Self::poll_send).
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;
}

/// The half of a [`Transport`] that receives.
pub trait ReceiveMessages: Send + 'static {
    /// Waits until [`next`](Self::next) has a message. False if there will be none, because the peer has closed the transport
    /// between messages.
    ///
    /// # Errors
    ///
    /// The transport is broken, or what came is no message. Nothing can be received after that.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>>;

    /// The next message that has arrived, or none if [`poll_receive`](Self::poll_receive) has to be called.
    fn next(&mut self) -> Option<&[u8]>;

    /// Looks on this thread whether something arrives within some 50 µs, if looking has been of use lately: called where a peer
    /// has all its answers and is likely to call again. True if so. After false, or whenever the caller is going to wait, it calls
    /// [`poll_receive`](Self::poll_receive) or [`rest`](Self::rest) before anything else.
    ///
    /// Nothing by default; it is for transports that can be looked at for less than it takes to be woken.
    fn look(&mut self) -> bool {
        false
    }

    /// The caller is going to do something else.
    fn rest(&mut self) {}
}

/// Why a transport carries nothing any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The operating system's error.
    #[error("the peer cannot be reached any more")]
    Io(#[source] io::Error),
    /// The bytes that came are no messages, or no message that is allowed.
    #[error("what the peer sends is not of this protocol")]
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The transport's own reason.
    #[error("the transport has failed")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<io::Error> for TransportError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
