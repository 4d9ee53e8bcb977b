//! One descriptor across a Unix socket, by SCM_RIGHTS.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// Why no descriptor was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvFdError {
    /// A system call failed.
    #[error("cannot receive a descriptor")]
    Io(#[from] io::Error),
    /// The other side is gone.
    #[error("the other side closed the socket before it sent a descriptor")]
    Closed,
    /// Bytes came, but not exactly the expected number with exactly one descriptor.
    #[error("expected {expected} bytes with one descriptor, got {bytes} bytes with {descriptors}")]
    Unexpected {
        /// Bytes that were to come.
        expected: usize,
        /// Bytes that came.
        bytes: usize,
        /// Descriptors that came; all were closed.
        descriptors: usize,
    },
}

/// Sends `message`, which must not be empty, and with its first byte a copy of `fd`.
///
/// # Errors
///
/// What `sendmsg` reports, and `WriteZero` if the message does not go out in one piece.
///
/// # Blocking
///
/// Until the socket has room.
pub fn send_with_fd(socket: impl AsFd, message: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    if message.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a descriptor needs at least one byte to travel with",
        ));
    }
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = control.push(SendAncillaryMessage::ScmRights(&fds));
    debug_assert!(fits, "the buffer was made for one descriptor");
    let iov = [IoSlice::new(message)];
    let sent =
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, &iov, &mut control, SendFlags::NOSIGNAL))?;
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives into the whole of `message`, and returns the descriptor that came along, close-on-exec. Bytes that follow
/// the message stay in the socket.
///
/// # Errors
///
/// [`RecvFdError`].
///
/// # Blocking
///
/// Until the message is there or the other side closes.
pub fn recv_with_fd(socket: impl AsFd, message: &mut [u8]) -> Result<OwnedFd, RecvFdError> {
    let expected = message.len();
    // Room for more than one, so that a surplus descriptor is seen and closed rather than cut off.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(message)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let got = rustix::io::retry_on_intr(|| rustix::net::recvmsg(&socket, &mut iov, &mut control, flags))
        .map_err(io::Error::from)?;
    let mut descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    match descriptors.pop() {
        Some(fd) if got.bytes == expected && descriptors.is_empty() => Ok(fd),
        None if got.bytes == 0 => Err(RecvFdError::Closed),
        last => {
            let descriptors = descriptors.len() + usize::from(last.is_some());
            Err(RecvFdError::Unexpected { expected, bytes: got.bytes, descriptors })
        }
    }
}
