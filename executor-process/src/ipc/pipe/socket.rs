//! Packets with descriptors, over a Unix socket.
//!
//! Every call to the kernel is one that does not wait (`MSG_DONTWAIT`); waiting is `poll`. So nothing depends on a mode of the
//! socket, which would be shared with all other processes that have it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sockopt,
};

use super::error::{Failure, RecvError};
use super::message::{MOST_DESCRIPTORS, MOST_PACKET, Message, Packet};
use crate::ipc::futex::Deadline;

/// The default of most systems, so that some packets fit also where it is less.
const BUFFER: usize = 212_992;

/// What one waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// Something to receive, or the end.
    In,
    /// Room to send, or nobody to send to.
    Out,
}

impl Direction {
    pub(super) fn flags(self) -> PollFlags {
        match self {
            Self::In => PollFlags::IN,
            Self::Out => PollFlags::OUT,
        }
    }
}

pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    for socket in [&one, &other] {
        if sockopt::socket_send_buffer_size(socket)? < BUFFER {
            // As much as the system allows.
            sockopt::set_socket_send_buffer_size(socket, BUFFER)?;
        }
    }
    Ok((one, other))
}

/// Whether it is a socket as [`pair`] makes it.
pub(super) fn is_ours(fd: impl AsFd) -> bool {
    sockopt::socket_type(&fd) == Ok(SocketType::SEQPACKET)
        && sockopt::socket_domain(&fd) == Ok(AddressFamily::UNIX)
}

/// Waits for the socket; false if the time is up.
pub(super) fn wait(socket: BorrowedFd<'_>, direction: Direction, deadline: Deadline) -> bool {
    loop {
        let mut fds = [PollFd::new(&socket, direction.flags())];
        match rustix::event::poll(&mut fds, deadline.left().as_ref()) {
            Ok(0) => return false,
            Err(Errno::INTR) => {}
            // Of anything else, the call that follows has more to say.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// Sends a message when there is room.
pub(super) fn send(socket: BorrowedFd<'_>, message: &Message, deadline: Deadline) -> Result<(), Failure> {
    loop {
        match try_send(socket, message) {
            Err(Failure::Full) if wait(socket, Direction::Out, deadline) => {}
            done => return done,
        }
    }
}

/// Sends a message if there is room.
pub(super) fn try_send(socket: BorrowedFd<'_>, message: &Message) -> Result<(), Failure> {
    let descriptors: Vec<_> = message.descriptors().collect();
    let mut space = Vec::new();
    if !descriptors.is_empty() {
        space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(descriptors.len()))];
    }
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
        debug_assert!(fits, "the buffer was made for {} descriptors", descriptors.len());
    }
    let packet = [IoSlice::new(message.packet())];
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    loop {
        return match rustix::net::sendmsg(socket, &packet, &mut control, flags) {
            Ok(bytes) if bytes == message.packet().len() => Ok(()),
            Ok(_) => Err(Failure::Io(io::ErrorKind::WriteZero.into())),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => Err(Failure::Full),
            // The other side has closed; the former, if it had not received everything.
            Err(Errno::CONNRESET | Errno::PIPE | Errno::NOTCONN) => Err(Failure::Closed),
            Err(errno) => Err(Failure::Io(errno.into())),
        };
    }
}

/// Receives a packet when there is one.
pub(super) fn recv(socket: BorrowedFd<'_>, deadline: Deadline) -> Result<Packet, RecvError> {
    loop {
        match try_recv(socket) {
            Err(RecvError::Empty) if wait(socket, Direction::In, deadline) => {}
            done => return done,
        }
    }
}

/// Receives a packet if there is one.
pub(super) fn try_recv(socket: BorrowedFd<'_>) -> Result<Packet, RecvError> {
    let mut bytes = vec![0; MOST_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let (received, descriptors) = loop {
        let mut control = RecvAncillaryBuffer::new(&mut space);
        match rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
            Ok(received) => {
                let rights = control.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                    _ => None,
                });
                break (received, rights.flatten().collect::<Vec<_>>());
            }
            // The other side has closed without having received everything. What it has sent is still there.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => return Err(RecvError::Empty),
            Err(errno) => return Err(RecvError::Io(errno.into())),
        }
    };
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(RecvError::NoDescriptors);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(RecvError::Foreign { reason: "it is longer than any message" });
    }
    if received.bytes == 0 {
        return Err(RecvError::Closed);
    }
    bytes.truncate(received.bytes);
    Ok(Packet { bytes, descriptors })
}
