//! The parent's end of a worker's output stream.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::sections::{Captured, Sections};
use super::{Nonce, Tail};
use crate::board::Ticket;

/// Bytes taken from the pipe in one go, so that one noisy worker does not keep the parent from the others.
const READ_BYTES: usize = 16 * 1024;

/// The most that reading "all that is there" takes: the default upper limit for the size of a pipe.
const PIPE_BYTES: usize = 1024 * 1024;

/// Read end of a worker's standard output or standard error, non-blocking, with the last lines that came through it and,
/// if capture is on, the sections of its tasks.
///
/// The pipe may stay open after the worker's death, if a task started processes that live on. So do not wait for its
/// end: call [`read_rest`](Self::read_rest) when the worker is dead, and drop it.
#[derive(Debug)]
pub struct OutputPipe {
    pipe: OwnedFd,
    tail: Tail,
    sections: Option<Sections>,
}

impl OutputPipe {
    /// Without `capture`, everything is forwarded.
    pub(crate) fn new(pipe: OwnedFd, capture: Option<(Nonce, usize)>) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        let sections = capture.map(|(nonce, limit)| Sections::new(nonce, limit));
        Ok(Self { pipe, tail: Tail::default(), sections })
    }

    /// Reads what is there, up to 16 KiB. What belongs to no captured task is passed on to `forward`, whose errors do not
    /// matter here: a worker must not fail because the parent's own standard error is closed. False once the pipe has
    /// ended; then there is nothing to wait for on its descriptor any more.
    ///
    /// # Errors
    ///
    /// What `read` reports.
    pub fn read_some(&mut self, forward: &mut dyn Write) -> io::Result<bool> {
        Ok(!matches!(self.read_once(forward)?, Some(0)))
    }

    /// Reads all that is there; for a worker that has died. Reads no more than a pipe can hold, so a surviving child of
    /// the worker that writes without end does not keep the parent here.
    ///
    /// # Errors
    ///
    /// What `read` reports.
    pub fn read_rest(&mut self, forward: &mut dyn Write) -> io::Result<()> {
        self.read_until(forward, |_| false)?;
        let Self { tail, sections, .. } = self;
        if let Some(sections) = sections {
            sections.finish(&mut |bytes, captured| pass_on(bytes, captured, tail, forward));
        }
        Ok(())
    }

    /// The output of a task whose result has arrived. Reads the pipe as far as that needs. Empty if the worker has not
    /// marked it (capture is off, or the marks could not be written).
    ///
    /// # Errors
    ///
    /// What `read` reports.
    pub fn take(&mut self, ticket: Ticket, forward: &mut dyn Write) -> io::Result<Captured> {
        let mut found = None;
        self.read_until(forward, |sections| {
            found = sections.take(ticket.to_bits());
            found.is_some()
        })?;
        Ok(found.unwrap_or_default())
    }

    /// The output of a task that was running when the worker died, after [`read_rest`](Self::read_rest).
    pub fn take_unfinished(&mut self, ticket: Ticket) -> Captured {
        let bits = ticket.to_bits();
        self.sections
            .as_mut()
            .and_then(|sections| sections.take_open(bits).or_else(|| sections.take(bits)))
            .unwrap_or_default()
    }

    /// The last lines that came through, those of captured tasks included.
    #[must_use]
    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// Reads until `enough`, or until nothing is there, or as much as a pipe can hold. Without sections: the latter two.
    fn read_until(
        &mut self,
        forward: &mut dyn Write,
        mut enough: impl FnMut(&mut Sections) -> bool,
    ) -> io::Result<()> {
        let mut left = PIPE_BYTES;
        while !self.sections.as_mut().is_some_and(&mut enough) && left > 0 {
            match self.read_once(forward)? {
                Some(n @ 1..) => left = left.saturating_sub(n),
                _ => break,
            }
        }
        Ok(())
    }

    /// `None` if nothing is there, 0 at the end.
    fn read_once(&mut self, forward: &mut dyn Write) -> io::Result<Option<usize>> {
        let mut buffer = [0; READ_BYTES];
        let n = match rustix::io::retry_on_intr(|| rustix::io::read(&self.pipe, &mut buffer[..])) {
            Ok(n) => n,
            Err(Errno::AGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Self { tail, sections, .. } = self;
        match sections {
            Some(sections) => {
                sections.push(&buffer[..n], &mut |bytes, captured| pass_on(bytes, captured, tail, forward));
            }
            None => pass_on(&buffer[..n], false, tail, forward),
        }
        Ok(Some(n))
    }
}

fn pass_on(bytes: &[u8], captured: bool, tail: &mut Tail, forward: &mut dyn Write) {
    tail.push(bytes);
    if !captured {
        let _ = forward.write_all(bytes);
    }
}

impl AsFd for OutputPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
