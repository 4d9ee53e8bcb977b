//! The lane beside a channel on which descriptors travel: the control socket between the parent and one worker.
//!
//! 1. One descriptor is one message of one byte. So there is no framing, and a descriptor that the kernel could not
//!    deliver, for want of room in the receiver's table, is a byte without one: it is missed by who wants it and by nobody else.
//! 2. Descriptors are sent before the frame that refers to them is published, and in the order of the frames. The frame says
//!    how many there are; the receiver takes as many.
//! 3. The parent never waits. What its socket does not take is queued, and goes out when the socket is writable; a worker
//!    whose frame has come waits for it.
//! 4. A worker may wait for room, as the parent takes in what is there whenever the socket is readable.
//! 5. A worker that sends more than any frame refers to is expelled at [`MOST_UNCLAIMED`].

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

/// The most descriptors that may wait for the frame which refers to them.
const MOST_UNCLAIMED: usize = 1024;

/// The most descriptors that may wait for the socket to take them.
const MOST_QUEUED: usize = 1024;

/// One end of a lane.
#[derive(Debug)]
pub(crate) struct Lane {
    socket: Arc<OwnedFd>,
    /// It waits: for room, and for descriptors.
    is_patient: bool,
    outgoing: VecDeque<OwnedFd>,
    /// `None` is one that could not be delivered.
    incoming: VecDeque<Option<OwnedFd>>,
}

impl Lane {
    /// The parent's end, which never waits.
    pub(crate) fn of_parent(socket: Arc<OwnedFd>) -> Self {
        Self { socket, is_patient: false, outgoing: VecDeque::new(), incoming: VecDeque::new() }
    }

    /// The worker's end.
    pub(crate) fn of_worker(socket: Arc<OwnedFd>) -> Self {
        Self { is_patient: true, ..Self::of_parent(socket) }
    }

    /// Sends a copy of a descriptor, or queues one.
    ///
    /// # Errors
    ///
    /// The other side is gone, or the queue is full, or no descriptor is left for the copy.
    pub(crate) fn send(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.flush()?;
        if self.outgoing.is_empty() {
            match self.try_send(fd) {
                Err(Errno::AGAIN | Errno::TOOMANYREFS) => {}
                sent => return Ok(sent?),
            }
        }
        if self.outgoing.len() >= MOST_QUEUED {
            return Err(io::Error::other("too many descriptors wait to be taken by the worker"));
        }
        self.outgoing.push_back(fd.try_clone_to_owned()?);
        Ok(())
    }

    /// Sends what is queued, as far as it goes.
    ///
    /// # Errors
    ///
    /// The other side is gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while let Some(fd) = self.outgoing.pop_front() {
            match self.try_send(fd.as_fd()) {
                Ok(()) => {}
                Err(Errno::AGAIN | Errno::TOOMANYREFS) => {
                    self.outgoing.push_front(fd);
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn try_send(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let fds = [fd];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(&fds));
        debug_assert!(fits, "the buffer was made for one descriptor");
        let waits = if self.is_patient { SendFlags::empty() } else { SendFlags::DONTWAIT };
        let flags = waits | SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| {
            rustix::net::sendmsg(&self.socket, &[IoSlice::new(&[0])], &mut control, flags)
        })?;
        Ok(())
    }

    /// Takes in what is there. False if the other side has closed its end.
    ///
    /// # Errors
    ///
    /// The other side sends what nothing refers to, or the system reports an error.
    pub(crate) fn fill(&mut self) -> io::Result<bool> {
        loop {
            match self.receive() {
                Ok(true) if self.incoming.len() > MOST_UNCLAIMED => {
                    return Err(io::Error::other("descriptors come that nothing refers to"));
                }
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(Errno::AGAIN) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next descriptor; `None` if it could not be delivered.
    ///
    /// # Errors
    ///
    /// There is none. It has been sent before it was referred to, so none will come; but a worker waits, as the parent may
    /// have queued it.
    pub(crate) fn take(&mut self) -> io::Result<Option<OwnedFd>> {
        loop {
            if let Some(fd) = self.incoming.pop_front() {
                return Ok(fd);
            }
            match self.receive() {
                Ok(true) => {}
                Ok(false) | Err(Errno::AGAIN) if !self.is_patient => {
                    return Err(io::Error::other("a frame refers to a descriptor that was not sent"));
                }
                Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::AGAIN) => self.wait()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(&*self.socket, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        Ok(())
    }

    /// Receives one message. False at the end of the stream.
    fn receive(&mut self) -> Result<bool, Errno> {
        // Room for more, so that a surplus descriptor is seen and closed rather than cut off.
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let got = rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)
        })?;
        let mut fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fd = fds.next().and_then(|mut fds| fds.next());
        drop(fds);
        if got.bytes == 0 {
            return Ok(false);
        }
        if fd.is_none() && !got.flags.contains(ReturnFlags::CTRUNC) {
            // A task has written to the socket.
            return Err(Errno::PROTO);
        }
        self.incoming.push_back(fd);
        Ok(true)
    }
}
