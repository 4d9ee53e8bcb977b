//! Descriptors across a Unix socket, by SCM_RIGHTS.

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
    /// Bytes came, but not exactly the expected number with exactly the expected descriptors.
    #[error("expected {expected} bytes with {wanted} descriptors, got {bytes} bytes with {descriptors}")]
    Unexpected {
        /// Bytes that were to come.
        expected: usize,
        /// Descriptors that were to come.
        wanted: usize,
        /// Bytes that came.
        bytes: usize,
        /// Descriptors that came; all were closed.
        descriptors: usize,
    },
}

/// Both ends of a new control socket, close-on-exec. Its end of file tells each side of the end of the other.
///
/// # Errors
///
/// No descriptors left.
pub(crate) fn control_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?)
}

/// The most descriptors of one message.
const MOST: usize = 8;

/// Sends `message`, which must not be empty, and with its first byte a copy of each of `fds`, at most eight.
///
/// # Errors
///
/// What `sendmsg` reports, and `WriteZero` if the message does not go out in one piece.
///
/// # Blocking
///
/// Until the socket has room.
pub fn send_with_fds(socket: impl AsFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // The space may hold one more by chance of alignment, which the receiver would not count on.
    let fits = fds.len() <= MOST && control.push(SendAncillaryMessage::ScmRights(fds));
    if message.is_empty() || !fits {
        let reason = "descriptors travel with at least one byte, and no more than eight at a time";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let iov = [IoSlice::new(message)];
    let sent =
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, &iov, &mut control, SendFlags::NOSIGNAL))?;
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives into the whole of `message`, and returns the `N` descriptors that came along, close-on-exec. Bytes that
/// follow the message stay in the socket.
///
/// # Errors
///
/// [`RecvFdError`].
///
/// # Blocking
///
/// Until the message is there or the other side closes.
pub fn recv_with_fds<const N: usize>(
    socket: impl AsFd,
    message: &mut [u8],
) -> Result<[OwnedFd; N], RecvFdError> {
    let expected = message.len();
    // Room for more, so that a surplus descriptor is seen and closed rather than cut off.
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut iov = [IoSliceMut::new(message)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let got = rustix::io::retry_on_intr(|| rustix::net::recvmsg(&socket, &mut iov, &mut control, flags))
        .map_err(io::Error::from)?;
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let bytes = got.bytes;
    if bytes == 0 && descriptors.is_empty() {
        return Err(RecvFdError::Closed);
    }
    match <[OwnedFd; N]>::try_from(descriptors) {
        Ok(fds) if bytes == expected => Ok(fds),
        Ok(_) => Err(RecvFdError::Unexpected { expected, wanted: N, bytes, descriptors: N }),
        Err(other) => Err(RecvFdError::Unexpected { expected, wanted: N, bytes, descriptors: other.len() }),
    }
}
