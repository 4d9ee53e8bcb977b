//! Segments as memory. The only unsafe code of the module.
//!
//! The argument, to which the SAFETY comments refer:
//!
//! 1. The memfd is sealed against shrinking, and has the size that is mapped, both of which are checked on a descriptor that
//!    comes from elsewhere. So every byte of the mapping stays backed, whatever other processes do: no access can fault.
//! 2. The owner writes through `&mut Segment` only, of which there is one; while peers or handles read, there is no such.
//! 3. A peer's mapping is read-only. That its content does not change while it is read is the owner's promise (rule 1 of the
//!    [module](super)); owner and peer are the same executable. An owner that breaks it has overwritten its own memory at
//!    random, and what its peers read is as wrong as that.
//! 4. A mapping is unmapped by the `Drop` of its value, and slices of it are bound to that.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Names a segment within this process, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SegmentId(u64);

impl SegmentId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// How many segments have gone away in this process, ever: a book that holds them weakly looks for dead ones when this has changed.
pub(super) static GONE: AtomicU64 = AtomicU64::new(0);

/// Counts a segment that has gone away.
#[derive(Debug)]
struct Alive;

impl Drop for Alive {
    fn drop(&mut self) {
        GONE.fetch_add(1, Ordering::Release);
    }
}

/// A mapping of a memfd.
#[derive(Debug)]
struct Mapping {
    address: NonNull<u8>,
    len: usize,
}

// SAFETY: the pointer is owned (rule 4); what is behind it is bytes, accessed by the rules 2 and 3.
unsafe impl Send for Mapping {}
// SAFETY: as above; `&Mapping` only reads.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `fd` is sealed and has `len` bytes, which are not 0 (rule 1).
    fn new(fd: BorrowedFd<'_>, len: usize, protection: ProtFlags) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice; no existing memory is touched.
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, 0)? };
        let address = NonNull::new(address.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address, len })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped, backed (rule 1) and initialised, and not written meanwhile (rules 2 and 3).
        unsafe { std::slice::from_raw_parts(self.address.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `new` got; no slice of it is left (rule 4).
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping failed: {unmapped:?}");
    }
}

/// A segment of this process, and the only handle of it.
#[derive(Debug)]
pub(super) struct Segment {
    id: SegmentId,
    fd: OwnedFd,
    mapping: Mapping,
    alive: Arc<Alive>,
    /// How much of it has ever been used: what its pages take.
    touched: usize,
    /// The process that has made it. After a fork there are two, and the child has no say.
    pid: u32,
}

impl Segment {
    /// `len` bytes, rounded up by the caller.
    pub(super) fn create(len: usize) -> io::Result<Self> {
        let fd =
            rustix::fs::memfd_create(c"executor-segment", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, len as u64)?;
        rustix::fs::fcntl_add_seals(&fd, SEALS)?;
        let mapping = Mapping::new(fd.as_fd(), len, ProtFlags::READ | ProtFlags::WRITE)?;
        let (id, alive, pid) = (SegmentId::next(), Arc::new(Alive), std::process::id());
        Ok(Self { id, fd, mapping, alive, touched: 0, pid })
    }

    pub(super) fn len(&self) -> usize {
        self.mapping.len
    }

    pub(super) fn touched(&self) -> usize {
        self.touched
    }

    pub(super) fn is_ours(&self) -> bool {
        self.pid == std::process::id()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: mapped for writing, backed (rule 1), and ours alone (rule 2).
        unsafe { std::slice::from_raw_parts_mut(self.mapping.address.as_ptr(), self.mapping.len) }
    }

    pub(super) fn note_touched(&mut self, len: usize) {
        self.touched = self.touched.max(len);
    }

    /// Gives the memory back although others may still have it mapped.
    pub(super) fn punch(&self) {
        if self.is_ours() {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Should that fail, the memory goes with the last mapping.
            let _ = rustix::fs::fallocate(&self.fd, flags, 0, self.len() as u64);
        }
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source { id: self.id, fd: self.fd.as_fd(), alive: Sign(Arc::downgrade(&self.alive)) }
    }
}

/// What a book has to know to grant a segment.
pub(super) struct Source<'a> {
    pub(super) id: SegmentId,
    pub(super) fd: BorrowedFd<'a>,
    pub(super) alive: Sign,
}

/// Whether a segment still exists.
#[derive(Debug, Clone)]
pub(super) struct Sign(Weak<Alive>);

impl Sign {
    pub(super) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

/// A segment of another process.
#[derive(Debug)]
pub(super) struct Foreign {
    id: SegmentId,
    mapping: Mapping,
    alive: Arc<Alive>,
    /// Kept if it may have to be granted further.
    fd: Option<OwnedFd>,
}

impl Foreign {
    /// Maps what a peer has sent. It is kept open to be granted further if `keep` says so.
    pub(super) fn map(fd: OwnedFd, keep: bool) -> io::Result<Self> {
        let refuse = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|_| refuse("a segment is no memfd"))?;
        if !seals.contains(SealFlags::SHRINK) {
            return Err(refuse("a segment is not sealed"));
        }
        let size = rustix::fs::fstat(&fd)?.st_size;
        let len =
            usize::try_from(size).ok().filter(|len| *len > 0).ok_or_else(|| refuse("a segment is empty"))?;
        let mapping = Mapping::new(fd.as_fd(), len, ProtFlags::READ)?;
        Ok(Self { id: SegmentId::next(), mapping, alive: Arc::new(Alive), fd: keep.then_some(fd) })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.mapping.bytes()
    }

    /// `None` if it cannot be granted further.
    pub(super) fn source(&self) -> Option<Source<'_>> {
        let fd = self.fd.as_ref()?.as_fd();
        Some(Source { id: self.id, fd, alive: Sign(Arc::downgrade(&self.alive)) })
    }
}
