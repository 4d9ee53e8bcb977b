use std::io;
use std::path::{Path, PathBuf};

use super::Hash;

/// Why an executable cannot be kept or found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// There is no default folder.
    #[error(
        "no folder for the cache of executables: neither XDG_CACHE_HOME nor HOME is an absolute path; \
         set one of them, or name a folder"
    )]
    NoHome,
    /// A step failed.
    #[error("cannot {step} {}, part of the cache of executables", path.display())]
    Io {
        /// What was to be done.
        step: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Something else has the name of the folder.
    #[error("the cache of executables {} is not a folder", path.display())]
    NotAFolder {
        /// What is there.
        path: PathBuf,
    },
    /// Others may put files into the folder, which would then be run.
    #[error(
        "the cache of executables {folder} belongs to user {owner} with mode {mode:04o}: it must be yours \
         and nobody else may write to it, as its files are run; run `chmod go-w {folder}` or \
         choose another folder",
        folder = folder.display()
    )]
    Exposed {
        /// The folder.
        folder: PathBuf,
        /// The user whom it belongs to.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The executable is larger than the whole cache may be.
    #[error(
        "the executable has {len} bytes, and the cache of executables may hold {limit}: \
         raise its limit, or strip the executable"
    )]
    TooLarge {
        /// Length of the executable.
        len: u64,
        /// Limit of the cache.
        limit: u64,
    },
    /// All that could make room is in use.
    #[error(
        "no room for {len} bytes in the cache of executables {}: {used} of {limit} bytes are in use; \
         raise its limit, or try again when other clients have left",
        folder.display()
    )]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// Length of the executable.
        len: u64,
        /// Limit of the cache.
        limit: u64,
        /// Bytes that are in use or being written.
        used: u64,
    },
    /// The disk is full, or the user's share of it.
    #[error(
        "the disk is full: no room for {len} bytes in the cache of executables {}",
        folder.display()
    )]
    DiskFull {
        /// The folder.
        folder: PathBuf,
        /// Length of the executable.
        len: u64,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// More or fewer bytes came than were announced.
    #[error("the executable was announced with {announced} bytes and came with {came}{}", more(*came, *announced))]
    WrongLen {
        /// Length that was announced.
        announced: u64,
        /// Length that came so far.
        came: u64,
    },
    /// Other bytes came than were announced.
    #[error("the executable was announced with hash {announced} and came with hash {came}")]
    WrongHash {
        /// Hash that was announced.
        announced: Hash,
        /// Hash of what came.
        came: Hash,
    },
}

fn more(came: u64, announced: u64) -> &'static str {
    if came > announced { " or more" } else { "" }
}

impl CacheError {
    /// Wraps an error of the step on that path.
    pub(super) fn io(step: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, path: path.into(), source }
    }
}
