use std::io;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::Handle;

use super::watched::Watched;
use crate::io_runtime;

/// Of which family a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketKind {
    Tcp,
    Unix,
}

/// A connected socket, of which the halves of a connection hold one each.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Known to no runtime.
    Plain(OwnedFd, SocketKind),
    Tcp(TcpStream),
    Unix(UnixStream),
    /// That of a connection.
    Watched(Watched, SocketKind, Option<i32>),
}

impl Socket {
    /// Registers the socket with the tokio runtime of the caller, or with [ours](io_runtime).
    ///
    /// # Panics
    ///
    /// If the caller is in a tokio runtime that has no IO enabled.
    pub(crate) fn register(fd: OwnedFd, kind: SocketKind) -> io::Result<Self> {
        let runtime = Handle::try_current().or_else(|_| io_runtime::start())?;
        if kind == SocketKind::Tcp {
            return Ok(Self::Watched(Watched::new(fd, runtime)?, kind, None));
        }
        let (fd, process) = {
            let _context = runtime.enter();
            let socket = Self::register_here(fd, kind)?;
            let process = socket.peer_process();
            (socket.into_fd()?.0, process)
        };
        rustix::io::ioctl_fionbio(&fd, false)?;
        Ok(Self::Watched(Watched::new(fd, runtime)?, kind, process))
    }

    /// The process at the other end of a Unix socket; `None` if it is of another pid namespace.
    pub(crate) fn peer_process(&self) -> Option<i32> {
        match self {
            Self::Unix(stream) => stream.peer_cred().ok()?.pid().filter(|pid| *pid > 0),
            Self::Watched(_, _, process) => *process,
            Self::Tcp(_) | Self::Plain(..) => None,
        }
    }

    /// Registers the socket with the runtime that is current.
    pub(crate) fn register_here(fd: OwnedFd, kind: SocketKind) -> io::Result<Self> {
        // tokio insists on it, see rule 2.
        rustix::io::ioctl_fionbio(&fd, true)?;
        let socket = match kind {
            SocketKind::Tcp => Self::Tcp(TcpStream::from_std(StdTcpStream::from(fd))?),
            SocketKind::Unix => Self::Unix(UnixStream::from_std(StdUnixStream::from(fd))?),
        };
        rustix::io::ioctl_fionbio(socket.fd(), false)?;
        Ok(socket)
    }

    /// Takes the socket back from its runtime.
    pub(crate) fn into_fd(self) -> io::Result<(OwnedFd, SocketKind)> {
        Ok(match self {
            Self::Plain(fd, kind) => (fd, kind),
            Self::Tcp(stream) => (stream.into_std()?.into(), SocketKind::Tcp),
            Self::Unix(stream) => (stream.into_std()?.into(), SocketKind::Unix),
            Self::Watched(watched, kind, _) => (watched.into_fd(), kind),
        })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(fd, _) => fd.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Watched(watched, ..) => watched.fd(),
        }
    }

    /// Has nobody woken for this socket until it is polled and would wait; see [`watched`](super::watched). False if that cannot be.
    pub(super) fn ignore(&self) -> bool {
        match self {
            Self::Watched(watched, ..) => {
                watched.ignore();
                true
            }
            Self::Plain(..) | Self::Tcp(_) | Self::Unix(_) => false,
        }
    }

    /// Runs `receive`, which does not block, when there may be something to be received.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        receive: impl FnMut() -> Result<Done, Errno>,
    ) -> Poll<io::Result<()>> {
        self.poll_io(cx, Interest::READABLE, receive)
    }

    /// Runs `send`, which does not block, when there may be room.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        send: impl FnMut() -> Result<Done, Errno>,
    ) -> Poll<io::Result<()>> {
        self.poll_io(cx, Interest::WRITABLE, send)
    }

    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut act: impl FnMut() -> Result<Done, Errno>,
    ) -> Poll<io::Result<()>> {
        if let Self::Watched(watched, ..) = self {
            return watched.poll_io(cx, interest.is_readable(), act);
        }
        loop {
            match self.poll_ready(cx, interest) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            let mut done = Err(Errno::AGAIN);
            // That nothing is left is said by `WouldBlock`: then the runtime waits for the next event, also when
            // this call has found that out by the way, and what it did counts.
            let _ = self.try_io(interest, || {
                done = act();
                match done {
                    Ok(Done::All) | Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(()),
                }
            });
            match done {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }

    fn poll_ready(&self, cx: &mut Context<'_>, interest: Interest) -> Poll<io::Result<()>> {
        let reads = interest.is_readable();
        match self {
            Self::Plain(..) | Self::Watched(..) => {
                Poll::Ready(Err(io::Error::other("the socket is registered with no runtime")))
            }
            Self::Tcp(stream) if reads => stream.poll_read_ready(cx),
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) if reads => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    fn try_io(&self, interest: Interest, act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Plain(..) | Self::Watched(..) => act(),
            Self::Tcp(stream) => stream.try_io(interest, act),
            Self::Unix(stream) => stream.try_io(interest, act),
        }
    }

    /// Waits until something can be received, or sent. False if the deadline passed before.
    pub(super) fn wait(&self, flags: PollFlags, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
            match poll(&mut [PollFd::new(&self.fd(), flags)], left.as_ref()) {
                Ok(ready) => return Ok(ready > 0),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// How a system call that did not block ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// There may be more to be received, or more room.
    Some,
    /// There is no more at present.
    All,
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
