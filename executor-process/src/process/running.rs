//! A process that was started, as its parent sees it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use executor_core::{Job, Notice, TaskError, WorkerLoss};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::message::{self, Left};
use crate::sys::{Child, Exit, OutputPipe};

/// How many of its last lines an error quotes.
const TAIL_LINES: usize = 100;

/// Shared by the handle and, if it has to look after the process, the keeper.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: i32,
    /// Its end makes it readable. The child in `io` has another of its own, so that this one is there without the lock.
    pidfd: OwnedFd,
    /// Killed rather than waited for when the program ends.
    pub(super) is_daemon: bool,
    /// Whose child it is: a fork of that process may have a copy of this value, and nothing to say.
    pub(super) parent: u32,
    io: Mutex<Io>,
}

/// What is read from, until it has ended.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) child: Child,
    pub(super) stdout: Option<Stream>,
    pub(super) stderr: Option<Stream>,
    pub(super) file: File,
    pub(super) socket: OwnedFd,
    /// Bytes of the argument in the file.
    pub(super) argument: u64,
    /// Resolved at the end.
    pub(super) job: Option<Job>,
    pub(super) exit: Option<Exit>,
}

/// A stream of its output that comes through a pipe.
#[derive(Debug)]
pub(super) struct Stream {
    pipe: OutputPipe,
    /// There is something to wait for. The pipe is kept for its last lines.
    is_open: bool,
}

impl Stream {
    pub(super) fn new(pipe: OutputPipe) -> Self {
        Self { pipe, is_open: true }
    }
}

impl Running {
    pub(super) fn new(io: Io, is_daemon: bool) -> io::Result<Self> {
        Ok(Self {
            pid: io.child.id(),
            pidfd: io.child.as_fd().try_clone_to_owned()?,
            is_daemon,
            parent: std::process::id(),
            io: Mutex::new(io),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What makes something happen: the end, and output.
    pub(super) fn with_descriptors(
        &self,
        mut each: impl FnMut(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        each(self.pidfd.as_fd())?;
        self.lock().open_pipes().try_for_each(each)
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended, which is what the signal is for.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Ends it, and what it has started in its process group.
    pub(super) fn kill_all(&self) {
        if let Ok(io) = self.io.try_lock() {
            io.child.kill_group();
        }
        // Somebody may be waiting for its end, with the lock.
        self.signal(Signal::KILL);
    }

    /// Whether it has ended, without reaping it.
    pub(super) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0)
    }

    /// Reads what it has printed. Looks whether it has ended, and resolves its future then. `on_close` gets the pipes
    /// that have nothing more to give.
    pub(super) fn look(&self, on_close: impl FnMut(BorrowedFd<'_>)) -> Option<Exit> {
        let mut io = self.lock();
        if io.exit.is_some() {
            return io.exit;
        }
        io.forward(on_close);
        let exit = match io.child.try_exit() {
            Ok(exit) => exit?,
            // It is no child of ours any more.
            Err(_) => Exit::UNKNOWN,
        };
        io.exit = Some(exit);
        let notice = io.finish(self.pid, exit);
        drop(io);
        if let Some(notice) = notice {
            notice.give();
        }
        Some(exit)
    }

    /// Waits for its end.
    ///
    /// # Blocking
    ///
    /// Until then, or until the deadline.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Option<Exit> {
        loop {
            if let Some(exit) = self.look(|_| {}) {
                return Some(exit);
            }
            let io = self.lock();
            let mut fds: Vec<_> = std::iter::once(self.pidfd.as_fd())
                .chain(io.open_pipes())
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            let timeout = left.map(|left| Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            // Interrupted, or a poll that fails: look again.
            let _ = poll(&mut fds, timeout.as_ref());
        }
    }
}

impl Io {
    fn open_pipes(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let streams = [&self.stdout, &self.stderr].into_iter().flatten();
        streams.filter(|stream| stream.is_open).map(|stream| stream.pipe.as_fd())
    }

    fn forward(&mut self, mut on_close: impl FnMut(BorrowedFd<'_>)) {
        let mut forward = |stream: &mut Option<Stream>, to: &mut dyn io::Write| {
            if let Some(stream) = stream.as_mut().filter(|stream| stream.is_open)
                && !stream.pipe.read_some(to).unwrap_or(false)
            {
                stream.is_open = false;
                on_close(stream.pipe.as_fd());
            }
        };
        forward(&mut self.stdout, &mut io::stdout());
        forward(&mut self.stderr, &mut io::stderr());
    }

    /// Reads what is left of it.
    fn finish(&mut self, pid: i32, exit: Exit) -> Option<Notice> {
        if let Some(stream) = &mut self.stdout {
            let _ = stream.pipe.read_rest(&mut io::stdout());
        }
        if let Some(stream) = &mut self.stderr {
            let _ = stream.pipe.read_rest(&mut io::stderr());
        }
        let job = self.job.take()?;
        let left = message::read_outcome(&self.file, self.argument);
        let reason = match (left, exit.code) {
            (Ok(Left::Outcome(frame)), _) => {
                return Some(message::complete(job, &frame, self.socket.as_fd()));
            }
            (Ok(Left::Unread), _) => {
                "it ended before it ran its function; is `executor::init()` the first line of main?"
                    .to_owned()
            }
            (Ok(Left::Nothing), Some(_)) => "it exited before its function had returned".to_owned(),
            (Ok(Left::Nothing), None) => String::new(),
            (Err(error), _) => format!("reading its outcome failed: {error}"),
        };
        Some(
            job.fail_deferred(TaskError::worker_lost(
                WorkerLoss {
                    worker: format!("process {pid}"),
                    exit: exit.code,
                    signal: exit.signal,
                    reason,
                    stderr_tail: self
                        .stderr
                        .as_ref()
                        .map(|stream| stream.pipe.tail().last_lines(TAIL_LINES))
                        .unwrap_or_default(),
                },
                1,
            )),
        )
    }
}
