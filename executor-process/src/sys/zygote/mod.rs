//! Processes that fork workers.
//!
//! ```text
//! program                                     zygote (one thread, for ever)              worker
//! -------                                     -----------------------------              ------
//! start it: spawned (`forkserver`), or
//!   forked from the program (`fork`)          follows the program's death
//! Prepare{hook} ────────────────────────────► runs the hook; counts its threads
//!              ◄──────────────────────────── Ready, or Failed{reason} and exits
//! channel with start-up message;
//! Worker{request} + channel + pipes ────────► forks a *sibling* ───────────────────────► follows the program's death
//!              ◄──────────────────────────── Forked{request, pid} ◄────────────────────  Forked{request, pid}
//! pidfd_open; the worker is the program's                                                own process group; pipes as
//!   own child, as a spawned one is                                                       stdout, stderr; title;
//!                                                                                        settles as a spawned one does
//! end of the link ──────────────────────────► exits
//! ```
//!
//! * A worker is the program's child and not the zygote's ([`fork::Sibling`](super::fork::Sibling)): it lives on when the
//!   zygote dies, and dies with the program.
//! * `Forked` is said twice, and the second one ignored: whichever of the two processes is killed in between, the program
//!   learns of its child. When the link is at its end, both are gone or have said it.
//! * The zygote of `fork` is itself forked, from a *fork point*: a fork of the program that waits, and forks zygotes. So a
//!   zygote that dies can be replaced by an equal one, though the program has threads by then.

mod link;
mod point;
mod serve;
mod title;

use std::time::Instant;

use super::{Child, SpawnError, WorkerCommand};
pub(super) use link::{FromZygote, Received};
use link::{Link, ToZygote};
pub(crate) use point::require_one_thread;
pub use point::{ForkError, ForkPoint};
pub(super) use serve::Zygote;
pub(super) use title::Title;

/// A zygote as the program sees it.
pub(super) struct ZygoteHandle {
    pub(super) link: Link,
    /// `None` until it has told its number.
    pub(super) child: Option<Child>,
    pub(super) started: Instant,
    pub(super) is_ready: bool,
}

impl ZygoteHandle {
    /// Spawns a zygote, which runs the hook and then says that it is ready.
    pub(super) fn spawn(command: &WorkerCommand, preload: Option<&str>) -> Result<Self, SpawnError> {
        let (link, theirs) = Link::pair().map_err(SpawnError::Channel)?;
        let message = ToZygote::Prepare { preload: preload.unwrap_or_default().to_owned() };
        link.send(&message, &[]).map_err(SpawnError::Channel)?;
        let child = command.spawn_zygote(theirs)?;
        Ok(Self { link, child: Some(child), started: Instant::now(), is_ready: false })
    }

    /// Forks a zygote off a fork point.
    pub(super) fn fork(command: &WorkerCommand, point: &ForkPoint) -> Result<Self, SpawnError> {
        let (link, theirs) = Link::pair().map_err(SpawnError::Channel)?;
        point.fork_zygote(command.variables().collect(), theirs)?;
        Ok(Self { link, child: None, started: Instant::now(), is_ready: false })
    }

    /// Asks for a worker.
    pub(super) fn ask(
        &self,
        request: u64,
        name: &str,
        channel: std::os::fd::BorrowedFd<'_>,
        stdout: Option<std::os::fd::BorrowedFd<'_>>,
        stderr: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> std::io::Result<()> {
        let message = ToZygote::Worker {
            request,
            has_stdout: stdout.is_some(),
            has_stderr: stderr.is_some(),
            name: name.to_owned(),
        };
        let descriptors: Vec<_> = [Some(channel), stdout, stderr].into_iter().flatten().collect();
        self.link.send(&message, &descriptors)
    }

    pub(super) fn receive(&self, wait: bool) -> std::io::Result<Received<FromZygote>> {
        self.link.receive(wait)
    }
}
