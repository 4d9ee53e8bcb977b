//! The socket of a client, which whoever has the right to may read, blocking or not.
//!
//! It is in blocking mode, so that a thread that reads for itself needs one system call. Whoever must not block says so with
//! each call (`MSG_DONTWAIT`), which leaves the mode alone: it belongs to the socket and not to the caller.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::patience::Patience;

/// A connected stream socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Socket> {
        rustix::io::ioctl_fionbio(&fd, false)?;
        Ok(Socket(fd))
    }

    /// Appends to `buffer` what there is, up to its capacity; waits until there is something. 0 is the end of the stream.
    pub(crate) fn read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.receive(buffer, RecvFlags::empty())
    }

    /// As [`read_until`](Self::read_until), but looks for a while before it sleeps.
    pub(crate) fn read_patiently(
        &self,
        patience: &mut Patience,
        buffer: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> io::Result<usize> {
        let mut look = patience.begin();
        while patience.offer(&mut look) {
            match self.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if deadline.is_some_and(|deadline| look.has_reached(deadline)) {
                        break;
                    }
                }
                read => {
                    patience.found(&look);
                    return read;
                }
            }
        }
        let read = self.read_until(buffer, deadline);
        patience.slept(&look);
        read
    }

    /// As [`read`](Self::read), but gives up at the deadline, with an error of kind `WouldBlock`.
    pub(crate) fn read_until(&self, buffer: &mut Vec<u8>, deadline: Option<Instant>) -> io::Result<usize> {
        match deadline {
            Some(deadline) if !self.wait_readable(deadline)? => Err(io::ErrorKind::WouldBlock.into()),
            _ => self.read(buffer),
        }
    }

    /// As [`read`](Self::read), but with an error of kind `WouldBlock` instead of waiting.
    pub(crate) fn try_read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        self.receive(buffer, RecvFlags::DONTWAIT)
    }

    fn receive(&self, buffer: &mut Vec<u8>, flags: RecvFlags) -> io::Result<usize> {
        loop {
            match recv(&self.0, spare_capacity(buffer), flags) {
                Ok((_, received)) => return Ok(received),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends some of `bytes`, or fails with the kind `WouldBlock`.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match send(&self.0, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => return Ok(sent),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the peer has closed its side, even if there is more to read.
    pub(crate) fn is_hung_up(&self) -> bool {
        let end = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut watched = [PollFd::new(&self.0, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut watched, Some(&now)).is_ok_and(|_| watched[0].revents().intersects(end))
    }

    /// Waits until there is something to read, or the end; false if `deadline` comes first.
    pub(crate) fn wait_readable(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut watched, Some(&timespec(left))) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends both directions: whoever reads finds the end.
    pub(crate) fn shut_down(&self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Rounded up, so that a wait does not end a little early and is begun again.
fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
