//! The worker's side of capture: writes the marks.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::{Edge, Mark, Nonce};
use crate::board::Ticket;

/// Marks the output of tasks in a worker whose parent captures it.
#[derive(Clone, Debug)]
pub struct Capturer {
    nonce: Nonce,
    /// The two pipes by descriptors of our own: a task may close those of the standard streams, and open a file that gets
    /// their number, which is not to be written to.
    pipes: Arc<[OwnedFd; 2]>,
}

impl Capturer {
    /// # Errors
    ///
    /// No descriptors left.
    pub(in crate::sys) fn new(nonce: Nonce) -> io::Result<Self> {
        let own = |stream: BorrowedFd<'_>| stream.try_clone_to_owned();
        let pipes = [own(rustix::stdio::stdout())?, own(rustix::stdio::stderr())?];
        Ok(Self { nonce, pipes: Arc::new(pipes) })
    }

    /// Opens the section of a task. It ends when the value is dropped, which must be **before** the task's result is
    /// committed, and before the next section begins.
    ///
    /// # Blocking
    ///
    /// While the pipes are full; the parent reads them.
    pub fn begin(&self, ticket: Ticket) -> Section<'_> {
        self.mark(Edge::Begin, ticket);
        Section { capturer: self, ticket }
    }

    /// Errors mean that the parent does not read any more: nobody misses the mark.
    fn mark(&self, edge: Edge, ticket: Ticket) {
        flush();
        let mark = Mark { edge, ticket: ticket.to_bits() }.encode(&self.nonce);
        for pipe in &*self.pipes {
            let _ = write_whole(pipe.as_fd(), &mark);
        }
    }
}

/// The section of one task in the worker's output.
#[derive(Debug)]
#[must_use = "the section ends when this is dropped"]
pub struct Section<'a> {
    capturer: &'a Capturer,
    ticket: Ticket,
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.capturer.mark(Edge::End, self.ticket);
    }
}

/// Empties the buffers of Rust's and of C's standard streams.
fn flush() {
    let _ = io::stdout().flush();
    // SAFETY: a null pointer means all of C's output streams; C locks each of them.
    unsafe { libc::fflush(std::ptr::null_mut()) };
}

/// One write, repeated if a task has made the stream non-blocking and it is full. Fewer than PIPE_BUF bytes go into a
/// pipe whole or not at all.
fn write_whole(stream: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
    loop {
        match rustix::io::write(stream, bytes) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
}
