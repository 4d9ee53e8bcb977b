//! A board in a memfd. The only unsafe code of the board.
//!
//! The argument, to which the SAFETY comments refer:
//!
//! 1. The memfd has exactly the size of [`Layout`] and is sealed against shrinking (and growing), which [`Mapping::of`]
//!    verifies on the descriptor before it maps. So every byte of the mapping stays backed for as long as it exists,
//!    whatever other processes do: no access can fault.
//! 2. `Layout` consists of atomics only, for which every bit pattern is valid, zeroes included. Access by other
//!    processes, well-behaved or not, is therefore the same as access by other threads through the same atomics.
//! 3. The mapping belongs to the `Mapping` value and is unmapped by its `Drop`, and references into it are only given
//!    out bound to `&Mapping`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::memory::Memory;
use super::{RING_BYTES, WINDOW};
use crate::ring::Lane;

/// "execboar", and a number that changes with `Layout` or with the meaning of its words.
const MAGIC: u64 = u64::from_le_bytes(*b"execbrd\x03");

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// What lies in the memfd. Words that different sides write have cache lines of their own, two each, because processors
/// fetch lines in pairs; the arrays start on pages of their own.
#[repr(C, align(4096))]
struct Layout {
    magic: AtomicU64,
    to_worker: Positions,
    from_worker: Positions,
    dozes: [OwnLine<AtomicU32>; Dozer::ALL],
    claims: OwnPages<[AtomicU32; WINDOW]>,
    progress: [AtomicU64; WINDOW],
    to_ring: OwnPages<[AtomicU64; RING_BYTES / 8]>,
    from_ring: OwnPages<[AtomicU64; RING_BYTES / 8]>,
}

#[repr(C, align(128))]
struct OwnLine<T>(T);

#[repr(C)]
struct Positions {
    written: OwnLine<AtomicU64>,
    read: OwnLine<AtomicU64>,
}

/// Who sleeps, and for what: each has a word by which it asks to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dozer {
    /// The worker, for frames.
    WorkerInput,
    /// The worker, for room in the ring of its answers.
    WorkerRoom,
    /// The parent, for answers.
    ParentInput,
    /// The parent, for room in the ring of frames.
    ParentRoom,
}

impl Dozer {
    const ALL: usize = 4;
}

#[repr(C, align(4096))]
struct OwnPages<T>(T);

/// Why a descriptor was not accepted as a board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// A system call failed.
    #[error("cannot map the board that the parent shares with this worker")]
    Io(#[from] io::Error),
    /// The descriptor is another file, or the board of another version.
    #[error("the descriptor is not a board of this version: {reason}")]
    Foreign {
        /// What was found.
        reason: &'static str,
    },
}

/// A board in shared memory.
#[derive(Debug)]
pub struct Mapping {
    layout: NonNull<Layout>,
}

// SAFETY: the pointer is owned (rule 3) and everything behind it is atomic (rule 2).
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` gives nothing but `&` to atomics.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Makes the memory of a board, zeroed, and maps it.
    pub(super) fn create() -> io::Result<(Self, OwnedFd)> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"executor-board", flags)?;
        rustix::fs::ftruncate(&fd, size_of::<Layout>() as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SEALS)?;
        let mapping = Self::map(fd.as_fd())?;
        mapping.layout().magic.store(MAGIC, Ordering::Release);
        Ok((mapping, fd))
    }

    /// Maps the board behind `fd`, which the parent sent.
    pub(super) fn of(fd: OwnedFd) -> Result<Self, MapError> {
        let size = rustix::fs::fstat(&fd).map_err(io::Error::from)?.st_size;
        if u64::try_from(size) != Ok(size_of::<Layout>() as u64) {
            return Err(MapError::Foreign { reason: "another size" });
        }
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(io::Error::from)?;
        if !seals.contains(SEALS) {
            return Err(MapError::Foreign { reason: "not sealed" });
        }
        let mapping = Self::map(fd.as_fd())?;
        if mapping.layout().magic.load(Ordering::Acquire) != MAGIC {
            return Err(MapError::Foreign { reason: "another mark" });
        }
        Ok(mapping)
    }

    /// `fd` is sealed and has the size of `Layout` (rule 1).
    fn map(fd: std::os::fd::BorrowedFd<'_>) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; no existing memory is touched.
        let address = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), size_of::<Layout>(), protection, MapFlags::SHARED, fd, 0)?
        };
        let layout = NonNull::new(address.cast::<Layout>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { layout })
    }

    fn layout(&self) -> &Layout {
        // SAFETY: mmap returns page-aligned addresses and `Layout` needs no more; the memory is as large as `Layout` and
        // stays backed (rule 1), any content is valid (rule 2), and it lives as long as `self` (rule 3).
        unsafe { self.layout.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` got; nobody holds a reference into it (rule 3).
        let unmapped = unsafe { rustix::mm::munmap(self.layout.as_ptr().cast(), size_of::<Layout>()) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping failed: {unmapped:?}");
    }
}

impl Memory for Mapping {
    type Claim = AtomicU32;
    type Cell = AtomicU64;

    #[inline]
    fn claims(&self) -> &[AtomicU32] {
        &self.layout().claims.0
    }

    #[inline]
    fn progress(&self) -> &[AtomicU64] {
        &self.layout().progress
    }
}

impl Mapping {
    /// The word by which a side asks to be woken. A futex, for the worker's.
    #[inline]
    pub(crate) fn doze(&self, who: Dozer) -> &AtomicU32 {
        &self.layout().dozes[who as usize].0
    }
}

/// The ring of frames for the worker.
#[derive(Clone, Debug)]
pub struct ToWorker(pub(crate) Arc<Mapping>);

/// The ring of the worker's answers: a result is in it, or is not finished.
#[derive(Clone, Debug)]
pub struct FromWorker(pub(crate) Arc<Mapping>);

macro_rules! lane {
    ($lane:ty, $positions:ident, $ring:ident) => {
        impl Lane for $lane {
            type Cell = AtomicU64;

            #[inline]
            fn written(&self) -> &AtomicU64 {
                &self.0.layout().$positions.written.0
            }

            #[inline]
            fn read(&self) -> &AtomicU64 {
                &self.0.layout().$positions.read.0
            }

            #[inline]
            fn data(&self) -> &[AtomicU64] {
                &self.0.layout().$ring.0
            }
        }
    };
}

lane!(ToWorker, to_worker, to_ring);
lane!(FromWorker, from_worker, from_ring);
