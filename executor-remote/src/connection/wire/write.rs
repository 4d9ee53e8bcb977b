use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, Shutdown, send, sendmsg, shutdown};

use super::socket::{Done, Socket};
use crate::connection::error::ConnectionError;
use crate::connection::frame::Header;
use crate::noise::Sealer;

/// Messages up to this length, in bytes, are copied behind their header: one buffer costs the system less than two. Python
/// draws the line here as well.
pub(crate) const JOIN: usize = 16 * 1024;
/// Plaintext that is sealed before it is written.
const PIECE: usize = 256 * 1024;
/// A buffer that was needed for long messages is given back when it is larger than this.
const KEEP: usize = 256 * 1024;

/// The sending half.
pub(crate) struct WriteHalf {
    socket: Arc<Socket>,
    /// Messages with their headers, that have been accepted.
    frames: Pending,
    /// An encrypted connection writes records of them.
    sealed: Option<Box<Sealed>>,
    /// Nothing is to be done when it is dropped.
    finished: bool,
}

struct Sealed {
    sealer: Sealer,
    records: Pending,
}

/// Bytes, of which some are dealt with.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    at: usize,
}

impl Pending {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    fn advance(&mut self, more: usize) {
        self.at += more;
        if self.is_empty() {
            self.at = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        }
    }
}

impl WriteHalf {
    pub(crate) fn new(socket: Arc<Socket>, sealer: Option<Sealer>) -> Self {
        let sealed = sealer.map(|sealer| Box::new(Sealed { sealer, records: Pending::default() }));
        Self { socket, frames: Pending::default(), sealed, finished: false }
    }

    /// The parts of a half that has nothing to write.
    pub(crate) fn into_inner(mut self) -> (Arc<Socket>, Option<Sealer>) {
        self.finished = true;
        (Arc::clone(&self.socket), self.sealed.take().map(|sealed| sealed.sealer))
    }

    /// How many bytes wait to be written.
    pub(crate) fn pending(&self) -> usize {
        self.frames.rest().len() + self.sealed.as_ref().map_or(0, |sealed| sealed.records.rest().len())
    }

    /// Accepts a message: it is written by the next flush.
    pub(crate) fn queue(&mut self, message: &[u8]) {
        self.frames.bytes.extend_from_slice(Header::new(message.len()).as_bytes());
        self.frames.bytes.extend_from_slice(message);
    }

    /// Accepts the message that `encode` appends, unless it fails.
    pub(crate) fn queue_with<E>(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let bytes = &mut self.frames.bytes;
        let before = bytes.len();
        let short = Header::new(0);
        bytes.extend_from_slice(short.as_bytes());
        let start = bytes.len();
        if let Err(error) = encode(bytes) {
            bytes.truncate(before);
            return Err(error);
        }
        let header = Header::new(bytes.len() - start);
        bytes.splice(before..start, header.as_bytes().iter().copied());
        Ok(())
    }

    /// Accepts bytes as they are, without a header.
    pub(crate) fn queue_raw(&mut self, bytes: &[u8]) {
        self.frames.bytes.extend_from_slice(bytes);
    }

    /// Writes all that was accepted.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let socket = Arc::clone(&self.socket);
        while self.prepare()? {
            let pending = self.outgoing();
            let polled = socket.poll_send(cx, || write(&socket, pending, SendFlags::DONTWAIT));
            match polled {
                Poll::Ready(written) => written.map_err(ConnectionError::Io)?,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes of messages with their headers what the socket takes by one system call, without a copy. How many bytes that was. For
    /// a connection that is not encrypted, and has nothing else to write.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        frames: &[u8],
    ) -> Poll<Result<usize, ConnectionError>> {
        debug_assert!(self.sealed.is_none() && self.frames.is_empty(), "nothing is overtaken");
        let mut written = 0;
        let polled = self.socket.poll_send(cx, || {
            written = send(self.socket.fd(), frames, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
            Ok(done(written, frames.len()))
        });
        polled.map(|polled| polled.map(|()| written).map_err(ConnectionError::Io))
    }

    /// As [`poll_flush`](Self::poll_flush), waiting. False if the deadline passes before.
    pub(crate) fn wait_flush(&mut self, deadline: Option<Instant>) -> Result<bool, ConnectionError> {
        let flags = match deadline {
            Some(_) => SendFlags::DONTWAIT,
            None => SendFlags::empty(),
        };
        while self.prepare()? {
            let socket = &*self.socket;
            let pending = match &mut self.sealed {
                Some(sealed) => &mut sealed.records,
                None => &mut self.frames,
            };
            match write(socket, pending, flags) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !socket.wait(PollFlags::OUT, deadline).map_err(ConnectionError::Io)? {
                        return Ok(false);
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }

    /// Writes what the socket takes now. Whether that was all.
    pub(crate) fn try_flush(&mut self) -> Result<bool, ConnectionError> {
        while self.prepare()? {
            let socket = Arc::clone(&self.socket);
            match write(&socket, self.outgoing(), SendFlags::DONTWAIT) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }

    /// Writes a message without a copy, as far as it is not written: `at` counts its bytes and those of its header.
    pub(crate) fn poll_gather(
        &mut self,
        cx: &mut Context<'_>,
        message: &[u8],
        at: &mut usize,
    ) -> Poll<Result<(), ConnectionError>> {
        debug_assert!(self.sealed.is_none() && self.frames.is_empty(), "nothing is overtaken");
        let header = Header::new(message.len());
        while *at < header.as_bytes().len() + message.len() {
            let polled =
                self.socket.poll_send(cx, || gather(&self.socket, &header, message, at, SendFlags::DONTWAIT));
            match polled {
                Poll::Ready(written) => written.map_err(ConnectionError::Io)?,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// As [`poll_gather`](Self::poll_gather), waiting.
    pub(crate) fn wait_gather(&mut self, message: &[u8]) -> Result<(), ConnectionError> {
        let header = Header::new(message.len());
        let mut at = 0;
        while at < header.as_bytes().len() + message.len() {
            match gather(&self.socket, &header, message, &mut at, SendFlags::empty()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Accepts what [`poll_gather`](Self::poll_gather) has left of a message that it has begun.
    pub(crate) fn queue_rest(&mut self, message: &[u8], at: usize) {
        let header = Header::new(message.len());
        let header = header.as_bytes();
        self.frames.bytes.extend_from_slice(&header[at.min(header.len())..]);
        self.frames.bytes.extend_from_slice(&message[at.saturating_sub(header.len())..]);
    }

    pub(crate) fn peer_process(&self) -> Option<i32> {
        self.socket.peer_process()
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.sealed.is_some()
    }

    /// Closes this direction behind what was accepted, as far as the socket takes that at once.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let flushed = self.try_flush().unwrap_or(false);
        if let (true, Some(sealed)) = (flushed, &mut self.sealed) {
            // The peer may be gone already, and then nobody misses the record.
            if sealed.sealer.close(&mut sealed.records.bytes).is_ok() {
                let _ = write(&self.socket, &mut sealed.records, SendFlags::DONTWAIT);
            }
        }
        let _ = shutdown(self.socket.fd(), Shutdown::Write);
    }

    fn outgoing(&mut self) -> &mut Pending {
        match &mut self.sealed {
            Some(sealed) => &mut sealed.records,
            None => &mut self.frames,
        }
    }

    /// Whether there is something to write; seals it.
    fn prepare(&mut self) -> Result<bool, ConnectionError> {
        let Some(sealed) = &mut self.sealed else { return Ok(!self.frames.is_empty()) };
        if sealed.records.is_empty() && !self.frames.is_empty() {
            let rest = self.frames.rest();
            let piece = rest.len().min(PIECE);
            sealed.sealer.seal(&rest[..piece], &mut sealed.records.bytes).map_err(ConnectionError::Record)?;
            self.frames.advance(piece);
        }
        Ok(!sealed.records.is_empty())
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        self.finish();
    }
}

/// One system call.
fn write(socket: &Socket, pending: &mut Pending, flags: SendFlags) -> Result<Done, Errno> {
    let rest = pending.rest();
    let written = send(socket.fd(), rest, flags | SendFlags::NOSIGNAL)?;
    let done = done(written, rest.len());
    pending.advance(written);
    Ok(done)
}

/// One system call.
fn gather(
    socket: &Socket,
    header: &Header,
    message: &[u8],
    at: &mut usize,
    flags: SendFlags,
) -> Result<Done, Errno> {
    let header = header.as_bytes();
    let parts = [
        IoSlice::new(&header[(*at).min(header.len())..]),
        IoSlice::new(&message[at.saturating_sub(header.len())..]),
    ];
    let mut control = SendAncillaryBuffer::default();
    let written = sendmsg(socket.fd(), &parts, &mut control, flags | SendFlags::NOSIGNAL)?;
    let done = done(written, parts.iter().map(|part| part.len()).sum());
    *at += written;
    Ok(done)
}

/// A socket that takes only a part is full.
fn done(written: usize, offered: usize) -> Done {
    if written < offered { Done::All } else { Done::Some }
}
