//! A piece of shared memory with one primitive in it. The module that maps memory; its argument is cited as "rule n".
//!
//! ```text
//! 0        magic, version, kind, size of the body      (Header)
//! 128      body: what the primitive says it is
//! ```
//!
//! 1. The memfd is sealed against shrinking before anybody else gets it, and whoever maps a descriptor that was sent
//!    verifies seal and size first. So every byte of the mapping stays backed for as long as it exists, whatever other
//!    processes do: no access can fault.
//! 2. What is looked at through [`Region::at`] is made of atomics only ([`Shared`]), for which every bit pattern is
//!    valid, zeroes included. Access by other processes, well-behaved or not, is therefore the same as access by other
//!    threads through the same atomics, and at worst a wrong number.
//! 3. The mapping belongs to the `Region` and is unmapped by its `Drop`, unless it is *pinned*: a guard that was
//!    forgotten (`mem::forget`) leaves its lock's node in the list of its thread, whose neighbours write to it. Such a
//!    mapping stays for ever.
//! 4. In one process there is one mapping of one memfd, however often it is received: handles are found by device and inode.
//!
//! A descriptor of another kind, version or size is an error of whoever opens it.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

use super::error::IpcError;
use super::handle::Descriptors;

/// "execipc", and a number that changes with the header or with the meaning of any body.
const MAGIC: u64 = u64::from_le_bytes(*b"execipc\x01");

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// Where the body begins: on a pair of cache lines of its own.
const BODY: usize = 128;

/// What a region holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// The type's name, for messages and for the memory's name in `/proc/PID/maps`.
    pub(crate) name: &'static str,
    /// A number of its own.
    pub(crate) code: u32,
}

#[repr(C)]
struct Header {
    magic: AtomicU64,
    kind: AtomicU32,
    _unused: AtomicU32,
    body: AtomicU64,
}

/// Types that may lie in a region.
///
/// # Safety
///
/// Made of atomics only (rule 2), `repr(C)` or `repr(transparent)`, without `Drop`, and aligned to at most 128.
pub(crate) unsafe trait Shared: Sync + Sized {}

// SAFETY: atomics.
unsafe impl Shared for AtomicU32 {}
// SAFETY: atomics.
unsafe impl Shared for AtomicU64 {}
// SAFETY: atomics.
unsafe impl<T: Shared, const N: usize> Shared for [T; N] {}

/// A piece of shared memory, mapped.
pub(crate) struct Region {
    address: NonNull<u8>,
    /// Of the whole mapping.
    length: usize,
    /// The memfd; sent when a handle is.
    descriptors: Arc<Descriptors>,
    key: Key,
    kind: &'static Kind,
    /// Set by whoever holds the region's one lock, with plain stores: see [`Region::pin_by_lock`].
    locked: AtomicBool,
    /// For `array`: operations on elements that are under way in this process, and [`GUARDED`].
    operations: AtomicUsize,
}

/// The bit of `operations` that keeps new ones out.
const GUARDED: usize = 1 << (usize::BITS - 1);

// SAFETY: the pointer is owned (rule 3) and what is safely reached through it is atomic (rule 2).
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

/// Device and inode of a memfd.
type Key = (u64, u64);

/// Mappings of this process (rule 4). A region takes this lock when it is dropped, so none is dropped under it.
static MAPPED: LazyLock<Mutex<HashMap<Key, Weak<Region>>>> = LazyLock::new(Mutex::default);

impl Region {
    /// A new region with a body of so many bytes, all zero.
    ///
    /// # Errors
    ///
    /// No descriptor or no memory is left; or this kernel or C library lacks what the primitives are made of.
    pub(crate) fn create(kind: &'static Kind, body: usize) -> Result<Arc<Self>, IpcError> {
        super::supported()?;
        let length = body.checked_add(BODY).filter(|length| i64::try_from(*length).is_ok());
        let length = length.ok_or(IpcError::TooLarge {
            what: kind.name,
            asked: body as u64,
            of: "bytes",
            most: i64::MAX as u64 - BODY as u64,
        })?;
        let failed = |action| IpcError::system(kind.name, action);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(format!("executor-{}", kind.name), flags)
            .map_err(failed("make the memory of"))?;
        rustix::fs::ftruncate(&fd, length as u64).map_err(failed("get the memory of"))?;
        rustix::fs::fcntl_add_seals(&fd, SEALS).map_err(failed("seal the memory of"))?;
        let descriptors = Arc::new(Descriptors::new(kind.name, vec![fd]));
        let region = Self::map(descriptors, kind, length)?;
        let header = region.header();
        header.kind.store(kind.code, Ordering::Relaxed);
        header.body.store(body as u64, Ordering::Relaxed);
        header.magic.store(MAGIC, Ordering::Release);
        Ok(Self::enter(region))
    }

    /// The region behind the first of the descriptors, which were sent. One that this process has mapped already is that one.
    ///
    /// # Errors
    ///
    /// [`Foreign`](IpcError::Foreign) if it is something else, and whatever mapping it can fail with.
    pub(crate) fn open(descriptors: &Arc<Descriptors>, kind: &'static Kind) -> Result<Arc<Self>, IpcError> {
        super::supported()?;
        let foreign = |reason| IpcError::Foreign { what: kind.name, reason };
        let failed = |action| IpcError::system(kind.name, action);
        let fd = descriptors.fds().first().ok_or(foreign("no descriptor came with it"))?;
        let stat = rustix::fs::fstat(fd).map_err(failed("look at the memory of"))?;
        let key = (stat.st_dev, stat.st_ino);
        if let Some(region) = mapped(key) {
            return if region.kind == kind { Ok(region) } else { Err(foreign("another kind")) };
        }
        // What has no seals, such as a pipe, answers with an error.
        if !rustix::fs::fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS)) {
            return Err(foreign("no sealed memory"));
        }
        let length = usize::try_from(stat.st_size).ok().filter(|length| *length >= BODY);
        let region = Self::map(Arc::clone(descriptors), kind, length.ok_or(foreign("another size"))?)?;
        let header = region.header();
        if header.magic.load(Ordering::Acquire) != MAGIC {
            return Err(foreign("another mark"));
        }
        if header.kind.load(Ordering::Relaxed) != kind.code {
            return Err(foreign("another kind"));
        }
        if header.body.load(Ordering::Relaxed) != region.body_len() as u64 {
            return Err(foreign("another size"));
        }
        Ok(Self::enter(region))
    }

    /// Puts a new mapping into the list, unless another thread was faster; then that one counts.
    fn enter(region: Self) -> Arc<Self> {
        let region = Arc::new(region);
        let mut mapped = registry();
        if let Some(other) = mapped.get(&region.key).and_then(Weak::upgrade) {
            drop(mapped);
            return other;
        }
        mapped.insert(region.key, Arc::downgrade(&region));
        drop(mapped);
        region
    }

    /// The first of `descriptors` is sealed and has this length (rule 1).
    fn map(descriptors: Arc<Descriptors>, kind: &'static Kind, length: usize) -> Result<Self, IpcError> {
        let failed = |action| IpcError::system(kind.name, action);
        let fd = descriptors.fds()[0].as_fd();
        let stat = rustix::fs::fstat(fd).map_err(failed("look at the memory of"))?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; no existing memory is touched.
        let address =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, fd, 0) }
                .map_err(failed("map the memory of"))?;
        let address =
            NonNull::new(address.cast::<u8>()).ok_or_else(|| failed("map")(rustix::io::Errno::NOMEM))?;
        Ok(Self {
            address,
            length,
            key: (stat.st_dev, stat.st_ino),
            descriptors,
            kind,
            locked: AtomicBool::new(false),
            operations: AtomicUsize::new(0),
        })
    }

    fn header(&self) -> &Header {
        const { assert!(size_of::<Header>() <= BODY) };
        // SAFETY: the mapping is page-aligned and has at least `BODY` bytes that stay backed (rule 1), any content is valid
        // (rule 2), and it lives as long as `self` (rule 3).
        unsafe { self.address.cast::<Header>().as_ref() }
    }

    /// Length of the body in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.length - BODY
    }

    /// The body's bytes, for modules that move plain data and keep others from moving it at the same time.
    pub(crate) fn body(&self) -> NonNull<u8> {
        // SAFETY: inside of the mapping, which has at least `BODY` bytes.
        unsafe { self.address.add(BODY) }
    }

    /// The `T` at an offset of the body.
    ///
    /// # Panics
    ///
    /// If it is not inside of the body, or not aligned there. Offsets come from our own code and from lengths that were
    /// compared with the body's, never from what a region says.
    #[inline]
    pub(crate) fn at<T: Shared>(&self, offset: usize) -> &T {
        &self.slice::<T>(offset, 1)[0]
    }

    /// So many `T` one after the other, from an offset of the body.
    ///
    /// # Panics
    ///
    /// As for [`at`](Self::at).
    #[inline]
    pub(crate) fn slice<T: Shared>(&self, offset: usize, count: usize) -> &[T] {
        const { assert!(align_of::<T>() <= BODY) };
        let end = count.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(offset));
        let fits = end.is_some_and(|end| end <= self.body_len()) && offset.is_multiple_of(align_of::<T>());
        assert!(fits, "{count} words at {offset} of a {} of {} bytes", self.kind.name, self.body_len());
        // SAFETY: inside of the body and aligned, as just checked; the bytes stay backed (rule 1), any content is valid (rule
        // 2, `Shared`), and the mapping lives as long as `self` (rule 3).
        unsafe { std::slice::from_raw_parts(self.body().add(offset).cast::<T>().as_ptr(), count) }
    }

    /// What is sent when a handle is.
    pub(crate) fn descriptors(&self) -> &Arc<Descriptors> {
        &self.descriptors
    }

    /// The memfd.
    #[cfg(test)]
    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptors.fds()[0].as_fd()
    }

    pub(crate) fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// Notes whether a guard of the region's one lock exists in this process (rule 3). A store, not a counter: it is
    /// only called by who holds that lock.
    #[inline]
    pub(crate) fn pin_by_lock(&self, held: bool) {
        self.locked.store(held, Ordering::Relaxed);
    }

    /// The only owner of the region's lock has a guard now that derefs to the data. Waits until no operation is under way,
    /// which takes nanoseconds each.
    pub(crate) fn keep_operations_out(&self) {
        self.operations.fetch_or(GUARDED, Ordering::SeqCst);
        while self.operations.load(Ordering::SeqCst) != GUARDED {
            std::thread::yield_now();
        }
    }

    /// The guard is gone.
    pub(crate) fn let_operations_in(&self) {
        self.operations.fetch_and(!GUARDED, Ordering::SeqCst);
    }

    /// Begins an operation; false if there is a guard. [`leave_operation`](Self::leave_operation) has to follow a true.
    #[inline]
    pub(crate) fn enter_operation(&self) -> bool {
        let is_free = self.operations.fetch_add(1, Ordering::SeqCst) & GUARDED == 0;
        if !is_free {
            self.leave_operation();
        }
        is_free
    }

    #[inline]
    pub(crate) fn leave_operation(&self) {
        self.operations.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        {
            let mut mapped = registry();
            // Not the entry of another mapping that was made since the last handle of this one went.
            if mapped.get(&self.key).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), self)) {
                mapped.remove(&self.key);
            }
        }
        if *self.locked.get_mut() {
            return;
        }
        // SAFETY: exactly the range that `map` got; nobody holds a reference or a link into it (rule 3).
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping failed: {unmapped:?}");
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} bytes", self.kind.name, self.body_len())
    }
}

fn mapped(key: Key) -> Option<Arc<Region>> {
    registry().get(&key).and_then(Weak::upgrade)
}

fn registry() -> std::sync::MutexGuard<'static, HashMap<Key, Weak<Region>>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}
