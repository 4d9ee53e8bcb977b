//! The blocking driver: a handshake over a socket within a deadline, then two independent halves.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::error::{HandshakeError, RecordError, SecureError, Stage};
use super::handshake::Handshake;
use super::record::{Opener, Sealer};
use crate::key::ClusterKey;

#[cfg(test)]
mod tests;

/// How long a refused peer may take to read why, within the deadline.
const LINGER: Duration = Duration::from_secs(1);
/// Plaintext that is sealed before it is written: bounds the buffer, and lets the network work on one
/// piece while the next is sealed.
const PIECE: usize = 256 * 1024;
/// Holds several records, so that a busy connection needs few system calls.
const READ_BUFFER: usize = 256 * 1024;

/// A connected socket.
pub trait Stream: Read + Write + Sized {
    /// Makes the socket block, and send small messages at once.
    ///
    /// # Errors
    ///
    /// What the operating system says; so for all methods.
    fn prepare(&self) -> io::Result<()>;
    /// Bounds each read. `None` waits for ever.
    #[expect(clippy::missing_errors_doc, reason = "see prepare")]
    fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()>;
    /// Bounds each write. `None` waits for ever.
    #[expect(clippy::missing_errors_doc, reason = "see prepare")]
    fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()>;
    /// A second handle on the same socket.
    #[expect(clippy::missing_errors_doc, reason = "see prepare")]
    fn try_clone(&self) -> io::Result<Self>;
    /// Closes one or both directions, for all handles.
    #[expect(clippy::missing_errors_doc, reason = "see prepare")]
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn prepare(&self) -> io::Result<()> {
        self.set_nonblocking(false)?;
        self.set_nodelay(true)
    }

    fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        TcpStream::set_read_timeout(self, limit)
    }

    fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        TcpStream::set_write_timeout(self, limit)
    }

    fn try_clone(&self) -> io::Result<Self> {
        TcpStream::try_clone(self)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
    }
}

impl Stream for UnixStream {
    fn prepare(&self) -> io::Result<()> {
        self.set_nonblocking(false)
    }

    fn set_read_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        UnixStream::set_read_timeout(self, limit)
    }

    fn set_write_timeout(&self, limit: Option<Duration>) -> io::Result<()> {
        UnixStream::set_write_timeout(self, limit)
    }

    fn try_clone(&self) -> io::Result<Self> {
        UnixStream::try_clone(self)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        UnixStream::shutdown(self, how)
    }
}

/// A connection whose peer has proved that it holds the key, if there is one.
pub struct Secure<S> {
    /// Receives. May go to a thread of its own.
    pub reader: SecureReader<S>,
    /// Sends. May go to a thread of its own.
    pub writer: SecureWriter<S>,
}

/// Speaks first, as the side that dialled. With a key the connection is encrypted and the peer must
/// hold the same key; without one it is not, which only suits loopback (see
/// [`address`](crate::address)).
///
/// # Errors
///
/// [`HandshakeError`]. The socket is closed then.
///
/// # Blocking
///
/// Until `deadline` at most, however the peer spreads its bytes.
pub fn connect<S: Stream>(
    stream: S,
    key: Option<&ClusterKey>,
    deadline: Instant,
) -> Result<Secure<S>, HandshakeError> {
    drive(stream, Handshake::initiator(key)?, deadline)
}

/// Speaks second, as the side that listened. What it returns has proved to hold `key`; before that
/// nothing but a few hundred bytes is allocated for it. A listener bounds how many of
/// these calls it has under way.
///
/// # Errors
///
/// [`HandshakeError`]. The peer has been told if it speaks this protocol, and the socket is closed.
///
/// # Blocking
///
/// Until `deadline` at most, however the peer spreads its bytes.
pub fn accept<S: Stream>(
    stream: S,
    key: Option<&ClusterKey>,
    deadline: Instant,
) -> Result<Secure<S>, HandshakeError> {
    drive(stream, Handshake::responder(key), deadline)
}

fn drive<S: Stream>(
    stream: S,
    mut handshake: Handshake,
    deadline: Instant,
) -> Result<Secure<S>, HandshakeError> {
    let mut wire = Wire { stream, deadline };
    let io_error = |source| HandshakeError::Io { waiting_for: Stage::Send, source };
    wire.stream.prepare().map_err(io_error)?;
    let mut buffer = Vec::new();
    loop {
        handshake.poll_transmit(&mut buffer);
        wire.send(&buffer)?;
        buffer.clear();
        if let Some((sealer, opener)) = handshake.take_halves() {
            return wire.into_secure(sealer, opener).map_err(io_error);
        }
        let mut incoming = [0; 64];
        let wanted = handshake.wanted().min(incoming.len());
        let read = wire.receive(&mut incoming[..wanted], handshake.stage())?;
        if let Err(error) = handshake.handle_bytes(&incoming[..read]) {
            handshake.poll_transmit(&mut buffer);
            wire.refuse(&buffer);
            return Err(error);
        }
    }
}

struct Wire<S> {
    stream: S,
    deadline: Instant,
}

impl<S: Stream> Wire<S> {
    fn remaining(&self, waiting_for: Stage) -> Result<Option<Duration>, HandshakeError> {
        match self.deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Err(HandshakeError::TimedOut { waiting_for }),
            remaining => Ok(Some(remaining)),
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<(), HandshakeError> {
        let waiting_for = Stage::Send;
        while !bytes.is_empty() {
            let limit = self.remaining(waiting_for)?;
            let written = self
                .stream
                .set_write_timeout(limit)
                .and_then(|()| self.stream.write(bytes))
                .map(|written| bytes = &bytes[written..]);
            unless_interrupted(written, waiting_for)?;
        }
        Ok(())
    }

    /// At least one byte.
    fn receive(&mut self, buffer: &mut [u8], waiting_for: Stage) -> Result<usize, HandshakeError> {
        loop {
            let limit = self.remaining(waiting_for)?;
            let read = self.stream.set_read_timeout(limit).and_then(|()| self.stream.read(buffer));
            match unless_interrupted(read, waiting_for)? {
                Some(0) => return Err(HandshakeError::Closed { waiting_for }),
                Some(read) => return Ok(read),
                None => {}
            }
        }
    }

    /// Tells the peer why, as far as that is possible.
    fn refuse(mut self, answer: &[u8]) {
        if answer.is_empty() || self.send(answer).is_err() {
            return;
        }
        // To close a socket that holds unread bytes would reset the connection, and could take the
        // answer with it. So let the peer close first, for a while.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.deadline = self.deadline.min(Instant::now() + LINGER);
        let mut ignored = [0; 1024];
        for _ in 0..16 {
            if self.receive(&mut ignored, Stage::Hello).is_err() {
                return;
            }
        }
    }

    fn into_secure(self, sealer: Sealer, opener: Opener) -> io::Result<Secure<S>> {
        let stream = self.stream;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        let reader = SecureReader { stream: stream.try_clone()?, opener, buffer: Vec::new() };
        let writer = SecureWriter { stream, sealer, buffer: Vec::new() };
        Ok(Secure { reader, writer })
    }
}

/// `None` if the operation is to be tried again, within what is left of the deadline.
fn unless_interrupted<T>(result: io::Result<T>, waiting_for: Stage) -> Result<Option<T>, HandshakeError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) => match error.kind() {
            // A socket's time-out is the first of these on Linux, the second elsewhere.
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Ok(None),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Err(HandshakeError::Closed { waiting_for }),
            _ => Err(HandshakeError::Io { waiting_for, source: error }),
        },
    }
}

/// The receiving half of a connection.
pub struct SecureReader<S> {
    stream: S,
    opener: Opener,
    buffer: Vec<u8>,
}

impl<S: Stream> SecureReader<S> {
    /// Appends what the peer sent to `out`, as soon as there is any, and returns how many bytes.
    /// 0 says that the peer has closed the stream.
    ///
    /// # Errors
    ///
    /// [`SecureError::Io`], a passed read time-out among them, after which the call may be repeated;
    /// [`SecureError::Record`] if the connection was cut or its bytes changed.
    ///
    /// # Blocking
    ///
    /// Until bytes come.
    pub fn receive(&mut self, out: &mut Vec<u8>) -> Result<usize, SecureError> {
        self.buffer.resize(READ_BUFFER, 0); // once
        let before = out.len();
        while out.len() == before && !self.opener.is_ended() {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => {
                    self.opener.finish()?;
                }
                Ok(read) => self.opener.open(&self.buffer[..read], out)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(out.len() - before)
    }

    /// The socket, to set time-outs or to close it.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The parts, for a driver that does its own IO.
    pub fn into_parts(self) -> (S, Opener) {
        (self.stream, self.opener)
    }
}

/// The sending half of a connection.
pub struct SecureWriter<S> {
    stream: S,
    sealer: Sealer,
    buffer: Vec<u8>,
}

impl<S: Stream> SecureWriter<S> {
    /// Sends `plaintext`. One call with many small frames is far cheaper than many calls.
    ///
    /// # Errors
    ///
    /// [`SecureError`]. After any the connection is of no more use: part of a record may be out.
    ///
    /// # Blocking
    ///
    /// While the peer does not read and the buffers between are full.
    pub fn send(&mut self, plaintext: &[u8]) -> Result<(), SecureError> {
        for piece in plaintext.chunks(PIECE) {
            self.buffer.clear();
            self.sealer.seal(piece, &mut self.buffer)?;
            self.stream.write_all(&self.buffer)?;
        }
        Ok(())
    }

    /// Ends the stream, so that the peer knows that nothing is missing.
    ///
    /// # Errors
    ///
    /// [`SecureError`]; nothing if it was ended before.
    ///
    /// # Blocking
    ///
    /// As [`send`](Self::send).
    pub fn close(&mut self) -> Result<(), SecureError> {
        self.buffer.clear();
        self.sealer.close(&mut self.buffer)?;
        self.stream.write_all(&self.buffer)?;
        match self.stream.shutdown(Shutdown::Write) {
            // The peer, or the other half, was quicker.
            Err(error) if error.kind() != ErrorKind::NotConnected => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The socket, to set time-outs or to close it.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The parts, for a driver that does its own IO.
    pub fn into_parts(self) -> (S, Sealer) {
        (self.stream, self.sealer)
    }
}

impl From<SecureError> for io::Error {
    fn from(error: SecureError) -> Self {
        match error {
            SecureError::Io(error) => error,
            SecureError::Record(error @ (RecordError::Cut | RecordError::Truncated { .. })) => {
                Self::new(ErrorKind::UnexpectedEof, error)
            }
            SecureError::Record(error) => Self::new(ErrorKind::InvalidData, error),
        }
    }
}
