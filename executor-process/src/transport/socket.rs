//! The channel over a Unix stream socket pair.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::{FrameReader, OutBuf};

/// What became of the bytes that were to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// All of them are on their way.
    All,
    /// The channel is full; the rest stays in the buffer. Try again when the descriptor is writable.
    Full,
}

/// What was there to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing now. Try again when the descriptor is readable.
    Nothing,
    /// Nothing, ever: the other side has closed its end or is dead.
    Closed,
}

/// A byte channel between the parent and one worker.
///
/// # Contract
///
/// * Bytes arrive in order, whole, once. What [`try_send`](Self::try_send) or [`send`](Self::send) took from the buffer
///   arrives even if this process dies right after.
/// * The descriptor becomes readable when there is something to receive, `Closed` included, and writable when there is
///   room, so that both ends can be waited for by `poll`.
/// * The death of the other side, however it comes about, is seen as `Closed` after its last byte.
/// * `try_` methods never wait. The others do, and are for the worker, whose parent always reads.
pub trait Channel: AsFd + Send {
    /// Sends as much of `out` as fits.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the other side is gone, besides what the system reports.
    fn try_send(&mut self, out: &mut OutBuf) -> io::Result<Sent>;

    /// Receives what is there, at most once around the buffer.
    ///
    /// # Errors
    ///
    /// What the system reports; a peer that is gone is no error but [`Received::Closed`].
    fn try_recv(&mut self, into: &mut FrameReader) -> io::Result<Received>;

    /// Sends all of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    ///
    /// # Blocking
    ///
    /// Until the other side has made room.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Sends as much of `bytes` as fits and returns how many; 0 if the channel is full.
    ///
    /// # Errors
    ///
    /// As [`try_send`](Self::try_send).
    fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Receives at least one byte, or `Closed`; never `Nothing`.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    ///
    /// # Blocking
    ///
    /// Until the other side sends or closes.
    fn recv(&mut self, into: &mut FrameReader) -> io::Result<Received>;
}

/// One end of a socket pair.
///
/// Whether a call waits is chosen per call, so the descriptor's own mode does not matter and is shared with nobody.
/// Sending never raises SIGPIPE.
#[derive(Debug)]
pub struct SocketChannel {
    socket: OwnedFd,
}

impl SocketChannel {
    /// A channel over a connected stream socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Both ends of a new channel, close-on-exec.
    ///
    /// # Errors
    ///
    /// What `socketpair` reports: no descriptors left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Self::new(a), Self::new(b)))
    }

    /// A second handle on the same end, so that one thread may send while another receives. The end is closed when all
    /// its handles are.
    ///
    /// # Errors
    ///
    /// No descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self::new(self.socket.try_clone()?))
    }

    fn send_some(&self, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::send(&self.socket, bytes, flags | SendFlags::NOSIGNAL));
        // A peer that died with unread bytes resets the connection; to the sender that is the same as a closed one.
        sent.map_err(|error| if error == Errno::CONNRESET { Errno::PIPE } else { error })
    }

    fn recv_some(&self, into: &mut FrameReader, flags: RecvFlags) -> io::Result<Received> {
        let spare = into.spare();
        match rustix::io::retry_on_intr(|| rustix::net::recv(&self.socket, &mut *spare, flags)) {
            // A peer that died with unread bytes in its receive buffer resets the connection: still just closed. What it
            // had sent was received before.
            Ok((_, 0)) | Err(Errno::CONNRESET) => Ok(Received::Closed),
            Ok((_, n)) => {
                into.filled(n);
                Ok(Received::Bytes(n))
            }
            Err(Errno::AGAIN) => Ok(Received::Nothing),
            Err(error) => Err(error.into()),
        }
    }
}

impl Channel for SocketChannel {
    fn try_send(&mut self, out: &mut OutBuf) -> io::Result<Sent> {
        while !out.is_empty() {
            match self.try_send_bytes(out.as_slice())? {
                0 => return Ok(Sent::Full),
                n => out.consume(n),
            }
        }
        Ok(Sent::All)
    }

    fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.send_some(bytes, SendFlags::DONTWAIT) {
            Err(Errno::AGAIN) => Ok(0),
            sent => Ok(sent?),
        }
    }

    fn try_recv(&mut self, into: &mut FrameReader) -> io::Result<Received> {
        self.recv_some(into, RecvFlags::DONTWAIT)
    }

    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.send_some(bytes, SendFlags::empty())?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    fn recv(&mut self, into: &mut FrameReader) -> io::Result<Received> {
        self.recv_some(into, RecvFlags::empty())
    }
}

impl AsFd for SocketChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<SocketChannel> for OwnedFd {
    fn from(channel: SocketChannel) -> Self {
        channel.socket
    }
}
