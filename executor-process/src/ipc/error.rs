//! What can be wrong with the shared memory of a primitive.

use std::io;

use rustix::io::Errno;

/// A primitive could not be made, or what a process was sent is no such primitive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IpcError {
    /// A system call failed.
    #[error("cannot {action} a {what}{}", remedy(.source))]
    System {
        /// What was to be made: `Lock`, `Queue`, ..
        what: &'static str,
        /// What was to be done: `make the memory of`, ..
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The descriptor is something else.
    #[error("a descriptor that was sent is no {what} of this build: {reason}")]
    Foreign {
        /// What was expected.
        what: &'static str,
        /// What was found.
        reason: &'static str,
    },
    /// More was asked for than memory can hold, or than the primitive can count.
    #[error("a {what} cannot have {asked} {of}: at most {most}")]
    TooLarge {
        /// What was to be made.
        what: &'static str,
        /// What was asked for.
        asked: u64,
        /// Of what: `bytes`, `permits`, ..
        of: &'static str,
        /// The most that is possible.
        most: u64,
    },
    /// A name that no file of `/dev/shm` can have.
    #[error(
        "{name:?} cannot name a SharedMemory: a name has 1 to 255 bytes, without `/` and zero, and is not `.` or `..`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// This system lacks what the primitives are made of.
    #[error("the primitives of `ipc` cannot work here: {reason}")]
    Unsupported {
        /// What is missing.
        reason: &'static str,
    },
}

impl IpcError {
    pub(crate) fn system(what: &'static str, action: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self::System { what, action, source: errno.into() }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => {
            ": this process has as many descriptors as it may have; raise its limit (`ulimit -n`) or drop handles"
        }
        Some(Errno::NFILE) => ": the system has as many open files as it may have (`fs.file-max`)",
        Some(Errno::NOMEM | Errno::NOSPC) => ": memory is exhausted, or a limit on it is reached",
        Some(Errno::EXIST) => ": the name exists; if its creator is gone, `SharedMemory::unlink` removes it",
        Some(Errno::NOENT) => ": there is no such name, or no /dev/shm",
        _ => "",
    }
}
