//! A worker process as its parent sees it.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
}

impl Exit {
    /// Someone else reaped the process (a `wait` for any child, or SIGCHLD being ignored), so nobody can say any more.
    pub const UNKNOWN: Self = Self { code: None, signal: None };

    fn from_status(status: &WaitIdStatus) -> Self {
        Self { code: status.exit_status(), signal: status.terminating_signal() }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (_, Some(signal)) => write!(f, "killed by signal {signal}"),
            (Some(code), None) => write!(f, "exited with code {code}"),
            (None, None) => f.write_str("ended in an unknown way"),
        }
    }
}

/// A child process, held by a pidfd.
///
/// Until it is reaped its pid cannot be reused, and it is reaped here only, at most once: by [`try_exit`](Self::try_exit),
/// [`wait`](Self::wait) or `Drop`, whichever comes first. The descriptor is the pidfd; it is readable once the process
/// has ended.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    exit: Option<Exit>,
    /// Whose child it is: a fork of that process may drop its copy of this value, which must not matter.
    parent: Pid,
}

impl Child {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd, exit: None, parent: rustix::process::getpid() }
    }

    /// The process id. It stays this process's until it was reaped.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal. To a process that has ended this does nothing.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a number that is no signal; what `pidfd_send_signal` reports.
    pub fn kill(&self, signal: i32) -> io::Result<()> {
        let signal = Signal::from_named_raw(signal)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("{signal} is no signal")))?;
        self.send(signal)
    }

    /// Sends SIGKILL to what is left of the process group that bears this process's number: what the process has started.
    /// Does nothing once it was reaped, as the number may then be another's.
    pub fn kill_group(&self) {
        if self.exit.is_none() {
            // Nobody is left, or nobody that we may signal: either is fine.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// The exit, if the process has ended; reaps it then. Never waits.
    ///
    /// # Errors
    ///
    /// What `waitid` reports.
    pub fn try_exit(&mut self) -> io::Result<Option<Exit>> {
        self.reap(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
    }

    /// Waits for the process to end and reaps it.
    ///
    /// # Errors
    ///
    /// What `waitid` reports.
    ///
    /// # Blocking
    ///
    /// Until the process has ended.
    pub fn wait(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.reap(WaitIdOptions::EXITED)? {
                return Ok(exit);
            }
        }
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        if self.exit.is_some() {
            return Ok(());
        }
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            // It ended meanwhile (and, if SIGCHLD is ignored, is gone).
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn reap(&mut self, options: WaitIdOptions) -> io::Result<Option<Exit>> {
        if self.exit.is_some() {
            return Ok(self.exit);
        }
        let id = || WaitId::PidFd(self.pidfd.as_fd());
        self.exit = match rustix::io::retry_on_intr(|| rustix::process::waitid(id(), options)) {
            Ok(status) => status.as_ref().map(Exit::from_status),
            Err(Errno::CHILD) => Some(Exit::UNKNOWN),
            Err(error) => return Err(error.into()),
        };
        Ok(self.exit)
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Kills the process if it still runs, and reaps it.
///
/// # Blocking
///
/// For as long as the kernel takes to end a process that got SIGKILL.
impl Drop for Child {
    fn drop(&mut self) {
        let is_ours = self.exit.is_none() && self.parent == rustix::process::getpid();
        if is_ours && self.send(Signal::KILL).is_ok() {
            // An error leaves nothing to be done: there is then no child to reap.
            let _ = self.wait();
        }
    }
}
