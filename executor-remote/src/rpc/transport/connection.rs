//! [`Connection`] as a transport: its messages are the messages, and a batch is written as it is.

use std::task::{Context, Poll, ready};

use super::{Batch, ReceiveMessages, SendMessages, Transport, TransportError};
use crate::connection::frame::Message;
use crate::connection::wire::{ReadHalf, WriteHalf};
use crate::connection::{Connection, ConnectionError};

impl Transport for Connection {
    fn split(self: Box<Self>) -> (Box<dyn SendMessages>, Box<dyn ReceiveMessages>) {
        let (write, read) = self.into_parts();
        (Box::new(Sending(write)), Box::new(Receiving { half: read, current: None }))
    }

    fn peer(&self) -> String {
        self.peer_addr().to_string()
    }
}

struct Sending(WriteHalf);

impl SendMessages for Sending {
    fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<Result<(), TransportError>> {
        loop {
            ready!(self.0.poll_flush(cx)).map_err(transport_error)?;
            if batch.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.0.queue_raw(batch.frames());
            batch.clear();
        }
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        ready!(self.0.poll_flush(cx)).map_err(transport_error)?;
        self.0.finish();
        Poll::Ready(Ok(()))
    }
}

struct Receiving {
    half: ReadHalf,
    /// The message that was handed out last.
    current: Option<Message>,
}

impl ReceiveMessages for Receiving {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        loop {
            let is_ready = self.half.inbox().is_ready(usize::MAX);
            if is_ready.map_err(|error| transport_error(error.into()))? {
                return Poll::Ready(Ok(true));
            }
            match ready!(self.half.poll_fill(cx)) {
                Ok(()) => {}
                Err(ConnectionError::Closed) => return Poll::Ready(Ok(false)),
                Err(error) => return Poll::Ready(Err(transport_error(error))),
            }
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        // An error stays, and is what `poll_receive` says.
        self.current = self.half.next(usize::MAX).ok()?;
        self.current.as_ref().map(|message| self.half.bytes(message))
    }
}

fn transport_error(error: ConnectionError) -> TransportError {
    match error {
        ConnectionError::Io(source) => TransportError::Io(source),
        error @ (ConnectionError::TooLong { .. } | ConnectionError::BadLength { .. } | ConnectionError::Record(_)) => {
            TransportError::Protocol(error.into())
        }
        error => TransportError::Other(error.into()),
    }
}
