use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::socket::{Done, Socket};
use crate::connection::error::ConnectionError;
use crate::connection::frame::{Inbox, Message};
use crate::io_runtime;
use crate::noise::Opener;

/// Ciphertext that is read by one system call, at most: one record and some.
const CIPHERTEXT: usize = 72 * 1024;

/// The receiving half.
pub(crate) struct ReadHalf {
    socket: Arc<Socket>,
    inbox: Inbox,
    sealed: Option<Box<Sealed>>,
    /// The peer has closed its direction, or the connection or its encryption has failed.
    ended: bool,
    /// How the connection failed: the system says it only once.
    failed: Option<Errno>,
}

/// What an encrypted connection has more.
struct Sealed {
    opener: Opener,
    ciphertext: Vec<u8>,
}

impl ReadHalf {
    pub(crate) fn new(socket: Arc<Socket>, inbox: Inbox, opener: Option<Opener>) -> Self {
        let ended = opener.as_ref().is_some_and(Opener::is_ended);
        let sealed = opener.map(|opener| Box::new(Sealed { opener, ciphertext: Vec::new() }));
        Self { socket, inbox, sealed, ended, failed: None }
    }

    pub(crate) fn into_inner(self) -> (Inbox, Option<Opener>) {
        (self.inbox, self.sealed.map(|sealed| sealed.opener))
    }

    pub(crate) fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    pub(crate) fn bytes<'a>(&'a self, message: &'a Message) -> &'a [u8] {
        self.inbox.bytes(message)
    }

    /// Takes a message that is there already, without a system call.
    pub(crate) fn next(&mut self, max: usize) -> Result<Option<Message>, ConnectionError> {
        Ok(self.inbox.next(max)?)
    }

    /// The next message of up to `max` bytes.
    pub(crate) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<Result<Message, ConnectionError>> {
        loop {
            if let Some(message) = self.inbox.next(max)? {
                return Poll::Ready(Ok(message));
            }
            match self.poll_fill(cx) {
                Poll::Ready(filled) => filled?,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The next message; `None` if the deadline passes before it is complete.
    pub(crate) fn wait_message(
        &mut self,
        max: usize,
        deadline: Option<Instant>,
    ) -> Result<Option<Message>, ConnectionError> {
        loop {
            if let Some(message) = self.inbox.next(max)? {
                return Ok(Some(message));
            }
            if !self.wait_fill(deadline)? {
                return Ok(None);
            }
        }
    }

    /// Whether [`next`](Self::next) would give something: a message or an error.
    pub(crate) fn is_ready(&mut self, max: usize) -> bool {
        self.ended || self.inbox.is_ready(max).unwrap_or(true)
    }

    /// Waits until [`is_ready`](Self::is_ready).
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_ready(usize::MAX) {
            match self.poll_fill(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => break, // the next call says it again
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Receives more bytes, whatever they are. At the end of the stream, the error that says which end it is.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        if self.ended {
            return Poll::Ready(Err(self.end()));
        }
        let socket = Arc::clone(&self.socket);
        let polled = socket.poll_receive(cx, || self.receive(RecvFlags::DONTWAIT));
        if polled.is_ready() {
            io_runtime::has_received();
        }
        polled.map_err(ConnectionError::Io)
    }

    /// Takes the socket out of the watch of its runtime, for [`glance`](Self::glance); see [`watched`](super::watched).
    pub(crate) fn ignore(&self) -> bool {
        !self.ended && self.socket.ignore()
    }

    /// Receives what is there; false if there is nothing, or the end.
    pub(crate) fn glance(&mut self) -> bool {
        if self.ended {
            return false;
        }
        let received = self.receive(RecvFlags::DONTWAIT);
        received.is_ok() && !self.ended
    }

    /// As [`poll_fill`](Self::poll_fill), waiting. False if the deadline passes before there are any bytes.
    pub(crate) fn wait_fill(&mut self, deadline: Option<Instant>) -> Result<bool, ConnectionError> {
        if self.ended {
            return Err(self.end());
        }
        let flags = match deadline {
            Some(_) => RecvFlags::DONTWAIT,
            None => RecvFlags::empty(),
        };
        loop {
            if deadline.is_some()
                && !self.socket.wait(PollFlags::IN, deadline).map_err(ConnectionError::Io)?
            {
                return Ok(false);
            }
            match self.receive(flags) {
                Ok(_) => return Ok(true),
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// One system call. That the stream is over, or its records are broken, shows when what came before is taken.
    fn receive(&mut self, flags: RecvFlags) -> Result<Done, Errno> {
        let fd = self.socket.fd();
        let buffer = match &mut self.sealed {
            Some(sealed) => {
                sealed.ciphertext.clear();
                sealed.ciphertext.reserve_exact(CIPHERTEXT);
                &mut sealed.ciphertext
            }
            None => self.inbox.spare(),
        };
        let room = buffer.capacity() - buffer.len();
        debug_assert!(room > 0, "a message that is complete is taken before more is received");
        let received = match recv(fd, spare_capacity(buffer), flags) {
            Ok((received, _)) => received,
            Err(errno @ (Errno::INTR | Errno::AGAIN)) => return Err(errno),
            Err(errno) => {
                self.failed = Some(errno);
                0
            }
        };
        self.ended = received == 0;
        if let Some(sealed) = &mut self.sealed {
            let Sealed { opener, ciphertext } = &mut **sealed;
            // The opener repeats its error at the end.
            self.ended |= opener.open(ciphertext, self.inbox.spare()).is_err() || opener.is_ended();
        }
        self.inbox.settle();
        Ok(if received < room { Done::All } else { Done::Some })
    }

    fn end(&self) -> ConnectionError {
        if let Some(errno) = self.failed {
            return errno.into();
        }
        match self.sealed.as_ref().map(|sealed| sealed.opener.finish()) {
            Some(Err(error)) => error.into(),
            _ if self.inbox.is_between_messages() => ConnectionError::Closed,
            _ => ConnectionError::Truncated,
        }
    }
}
