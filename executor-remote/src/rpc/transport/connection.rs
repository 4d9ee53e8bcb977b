//! [`Connection`] as a transport: its messages are the messages, a batch is written as it is, and messages are handed out where
//! they were received.

use std::task::{Context, Poll, ready};

use super::look::Looker;
use super::{Batch, ReceiveMessages, SendMessages, Transport, TransportError};
use crate::connection::frame::Message;
use crate::connection::wire::{ReadHalf, WriteHalf};
use crate::connection::{Connection, ConnectionError};

/// What is given to an encrypted connection at a time, in bytes: a record.
const PIECE: usize = 64 * 1024;

impl Transport for Connection {
    fn split(self: Box<Self>) -> (Box<dyn SendMessages>, Box<dyn ReceiveMessages>) {
        let (write, read) = self.into_parts();
        (
            Box::new(Sending { half: write, sealing: 0 }),
            Box::new(Receiving { half: read, current: None, looker: Looker::new() }),
        )
    }

    fn peer(&self) -> String {
        self.peer_addr().to_string()
    }
}

struct Sending {
    half: WriteHalf,
    /// How many bytes at the front of the batch the encrypted half has been given, and has not written yet.
    sealing: usize,
}

impl SendMessages for Sending {
    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), TransportError>> {
        while !batch.is_empty() {
            let sent = match self.half.is_encrypted() {
                true => ready!(self.poll_seal(cx, batch.frames()))?,
                false => ready!(self.half.poll_write(cx, batch.frames()))?,
            };
            batch.advance(sent);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.half.finish();
        Poll::Ready(Ok(()))
    }
}

impl Sending {
    fn poll_seal(&mut self, cx: &mut Context<'_>, frames: &[u8]) -> Poll<Result<usize, ConnectionError>> {
        if self.sealing == 0 {
            self.sealing = frames.len().min(PIECE);
            self.half.queue_raw(&frames[..self.sealing]);
        }
        ready!(self.half.poll_flush(cx))?;
        Poll::Ready(Ok(std::mem::take(&mut self.sealing)))
    }
}

struct Receiving {
    half: ReadHalf,
    /// The message that was handed out last.
    current: Option<Message>,
    looker: Looker,
}

impl ReceiveMessages for Receiving {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        loop {
            if self.half.inbox().is_ready(usize::MAX).map_err(ConnectionError::from)? {
                return Poll::Ready(Ok(true));
            }
            self.looker.rest();
            match ready!(self.half.poll_fill(cx)) {
                Ok(()) => self.looker.has_received(),
                Err(ConnectionError::Closed) => return Poll::Ready(Ok(false)),
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        // An error stays, and is what `poll_receive` says.
        self.current = self.half.next(usize::MAX).ok()?;
        self.current.as_ref().map(|message| self.half.bytes(message))
    }

    fn look(&mut self) -> bool {
        self.looker.look(&mut self.half)
    }

    fn rest(&mut self) {
        self.looker.rest();
    }
}

impl From<ConnectionError> for TransportError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Io(source) => Self::Io(source),
            error @ (ConnectionError::TooLong { .. }
            | ConnectionError::BadLength { .. }
            | ConnectionError::Record(_)) => Self::Protocol(Box::new(error)),
            error => Self::Other(Box::new(error)),
        }
    }
}
