//! Worker processes and what the system says about them. Linux only.
//!
//! Life of a worker, and who does what:
//!
//! ```text
//! parent                                       worker
//! ------                                       ------
//! socketpair; board in a memfd;
//! start-up message (limits + the board's fd) into the socket
//! posix_spawn of /proc/self/exe,
//!   socket as fd 0, mark in the environment
//! pidfd_open                                   enter(): the mark names this very socket?
//!                                              die with the parent; is it still there?
//!                                              ignore SIGINT; socket off fd 0;
//!                                              read the start-up message; map the board
//! ... frames ...                               ... frames ...
//! end of file on the socket = worker gone      end of file on the socket = parent gone: leave
//! pidfd readable: waitid, once = why
//! ```
//!
//! The start-up message is in the socket before the process exists, so neither side ever waits for the other here.
//! Descriptors are close-on-exec throughout: no other child holds a worker's socket open.

mod child;
pub(crate) mod clock;
mod early;
pub(crate) mod fork;
pub mod oom;
mod output;
mod spawn;
mod starter;
pub mod worker;
mod zygote;

pub use child::{Child, Exit};
pub use output::{Captured, Capturer, OutputPipe, Section, Tail};
pub use spawn::{Output, SpawnError, Spawned, WorkerCommand};
pub(crate) use spawn::{program_name, watch_forked, watch_or_end};
pub use starter::{Origin, Starter};
pub(crate) use zygote::require_one_thread;
pub use zygote::{ForkError, ForkPoint};

use std::io;
use std::os::fd::BorrowedFd;

/// Version of what parent and worker say to each other at start-up. The two are the same build wherever this crate
/// starts them; the number makes a mistake visible.
pub const PROTOCOL: u32 = 1;

/// Environment variable that marks a worker: `PROTOCOL:PARENT_PID:SOCKET_INODE:ROLE`.
///
/// The inode names the socket that the worker finds on fd 0. A process that merely inherited the variable does not have
/// that socket there, so a mark that a task's child inherits makes no worker of it.
pub const MARK: &str = "EXECUTOR_WORKER";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    protocol: u32,
    parent: i32,
    inode: u64,
    role: Role,
}

/// What a process was started as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A worker of a pool.
    Worker,
    /// A process that forks workers.
    Zygote,
    /// A process that runs one function.
    Process,
}

impl Role {
    const ALL: [(Self, &str); 3] =
        [(Self::Worker, "worker"), (Self::Zygote, "zygote"), (Self::Process, "process")];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(role, _)| *role)
    }
}

impl Mark {
    pub(crate) fn new(socket: BorrowedFd<'_>, role: Role) -> io::Result<Self> {
        let parent = rustix::process::getpid().as_raw_nonzero().get();
        Ok(Self { protocol: PROTOCOL, parent, inode: rustix::fs::fstat(socket)?.st_ino, role })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(':');
        let mark = Self {
            protocol: fields.next()?.parse().ok()?,
            parent: fields.next()?.parse().ok()?,
            inode: fields.next()?.parse().ok()?,
            role: Role::parse(fields.next()?)?,
        };
        fields.next().is_none().then_some(mark)
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}:{}", self.protocol, self.parent, self.inode, self.role.name())
    }
}

/// What the parent tells the worker before the first frame; the board's descriptor travels with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Startup {
    /// Limit of the address space in bytes.
    address_space: Option<u64>,
    /// The largest result, argument of a nested task or shared value that the worker may send.
    frame_limit: u64,
    /// The beginning of the marks, if output is captured.
    capture: Option<output::Nonce>,
}

impl Startup {
    const SIZE: usize = 8 + 8 + 16;

    /// Zero stands for "none": no limit is 0, and no nonce is drawn 0.
    fn encode(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.address_space.unwrap_or(0).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.frame_limit.to_le_bytes());
        bytes[16..].copy_from_slice(&self.capture.unwrap_or_default());
        bytes
    }

    fn decode(bytes: [u8; Self::SIZE]) -> Self {
        let (limits, nonce) = bytes.split_at(16);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let (limit, frame_limit) = (number(&limits[..8]), number(&limits[8..]));
        let mut capture = output::Nonce::default();
        capture.copy_from_slice(nonce);
        Self {
            address_space: Some(limit).filter(|limit| *limit != 0),
            frame_limit,
            capture: Some(capture).filter(|nonce| *nonce != output::Nonce::default()),
        }
    }
}

/// An error with its causes.
pub(crate) fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_survives_the_environment() {
        for (role, _) in Role::ALL {
            let mark = Mark { protocol: 1, parent: 4242, inode: u64::MAX, role };
            assert_eq!(Mark::parse(&mark.to_string()), Some(mark));
        }
    }

    #[test]
    fn other_text_is_no_mark() {
        for text in
            ["", "1", "1:2", "1:2:3", "1:2:3:", "1:2:3:4", "1:2:3:worker:", "x:2:3:worker", "1:2:-3:worker"]
        {
            assert_eq!(Mark::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn startup_survives_the_socket() {
        for address_space in [None, Some(3 << 30)] {
            for capture in [None, Some(*b"0123456789abcdef")] {
                let startup = Startup { address_space, frame_limit: u64::MAX - 7, capture };
                assert_eq!(Startup::decode(startup.encode()), startup);
            }
        }
    }
}
