//! A queue in a memfd. The only unsafe code of the queue.
//!
//! The argument, to which the SAFETY comments refer:
//!
//! 1. The memfd has exactly the size that [`size_of_rings`] gives for its number of rings and is sealed against shrinking (and
//!    growing), which `Mapping::open` verifies on the descriptor before it maps. So every byte of the mappings stays backed
//!    for as long as they exist, whatever other processes do: no access can fault. Punched holes read as zeroes.
//! 2. `Layout` and the rings consist of atomics only, for which every bit pattern is valid. Access by other processes,
//!    well-behaved or not, is therefore the same as access by other threads through the same atomics.
//! 3. Each mapping belongs to its [`Pages`] and is unmapped by their `Drop`, and references into it are only given out bound to
//!    them.
//!
//! The memfd is sparse: pages exist where something was written. The longer rings are mapped when they are first used, so
//! that neither a limit of the address space nor `mlockall` is troubled by a queue that stays small.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

use super::mark::MAX_ITEMS;
use super::memory::{Bell, LockError, Memory, Side};
use super::spin::Spin;
use crate::ipc::IpcError;
use crate::ipc::futex::{self, Deadline};
use crate::ipc::handle::Descriptors;
use crate::ipc::robust::{NotTaken, RobustLock};

/// A number that changes with `Layout` or with the meaning of its words.
const MAGIC: u64 = u64::from_le_bytes(*b"execque\x01");

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::SEAL);

/// The most rings: 64 KiB, and each four times as long as the one before, up to 16 GiB.
pub(super) const MOST_RINGS: u32 = 10;
const FIRST_WORDS: u32 = 1 << 13;
/// So many rings, 1.3 MiB, are mapped together with the layout.
const MAPPED_RINGS: u32 = 3;

/// What stands before the rings. What one side writes all the time has cache lines to itself.
#[repr(C, align(4096))]
struct Layout {
    magic: AtomicU64,
    capacity: AtomicU32,
    putting: Putting,
    tail: OwnLine<AtomicU64>,
    getting: Getting,
    head: OwnLine<AtomicU64>,
    finishing: Finishing,
}

#[repr(C, align(128))]
struct OwnLine<T>(T);

#[repr(C, align(128))]
struct Putting {
    lock: RobustLock,
    bell: Bell<AtomicU32>,
    slack: AtomicU32,
    used_rings: AtomicU32,
    seen_head: AtomicU64,
    total: AtomicU64,
    left: [AtomicU32; MOST_RINGS as usize],
}

#[repr(C, align(128))]
struct Getting {
    lock: RobustLock,
    bell: Bell<AtomicU32>,
    seen_tail: AtomicU64,
}

#[repr(C, align(128))]
struct Finishing {
    lock: RobustLock,
    bell: Bell<AtomicU32>,
    done: AtomicU64,
}

const fn words_of_ring(ring: u32) -> u32 {
    FIRST_WORDS << (2 * ring)
}

/// Where a ring begins, in bytes: all before it are together a third of it, less a third of the first.
const fn offset_of_ring(ring: u32) -> usize {
    size_of::<Layout>() + (words_of_ring(ring) - FIRST_WORDS) as usize / 3 * 8
}

/// Of the memfd of so many rings.
const fn size_of_rings(rings: u32) -> usize {
    offset_of_ring(rings - 1) + words_of_ring(rings - 1) as usize * 8
}

/// Mapped memory.
#[derive(Debug)]
struct Pages {
    address: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is owned (rule 3) and everything in it is atomic (rule 2).
unsafe impl Send for Pages {}
// SAFETY: as above; `&Pages` gives nothing but `&` to atomics.
unsafe impl Sync for Pages {}

impl Pages {
    /// `fd` is sealed and not shorter than `offset + bytes` (rule 1).
    fn map(fd: BorrowedFd<'_>, offset: usize, bytes: usize) -> io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; no existing memory is touched.
        let address = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), bytes, protection, MapFlags::SHARED, fd, offset as u64)?
        };
        let address = NonNull::new(address.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { address, bytes })
    }

    fn layout(&self) -> &Layout {
        debug_assert!(self.bytes >= size_of::<Layout>(), "only the first pages have the layout");
        // SAFETY: the first pages begin with the layout, at an address that mmap has aligned to a page; they stay backed (rule 1), any
        // content is valid (rule 2), and they live as long as `self` (rule 3).
        unsafe { self.address.cast::<Layout>().as_ref() }
    }

    /// The words from a byte on.
    ///
    /// # Panics
    ///
    /// If they are not within the pages, or the offset is not a multiple of 8.
    fn words(&self, offset: usize, count: u32) -> &[AtomicU64] {
        let inside = offset.is_multiple_of(8) && offset + count as usize * 8 <= self.bytes;
        assert!(inside, "{count} words at {offset} are within {} bytes", self.bytes);
        // SAFETY: within the pages, and aligned, as has just been checked; and as for the layout, rules 1 to 3.
        unsafe { std::slice::from_raw_parts(self.address.add(offset).cast().as_ptr(), count as usize) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly the range that `map` got; nobody holds a reference into it (rule 3).
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping failed: {unmapped:?}");
    }
}

/// A queue in shared memory.
#[derive(Debug)]
pub(super) struct Mapping {
    descriptors: Arc<Descriptors>,
    place: (u64, u64),
    capacity: u32,
    rings: u32,
    first: Pages,
    longer: [OnceLock<Pages>; (MOST_RINGS - MAPPED_RINGS) as usize],
    spins: [Spin; 3],
}

/// What it is to the user.
pub(super) const WHAT: &str = "Queue";

fn failed(action: &'static str) -> impl FnOnce(Errno) -> IpcError {
    IpcError::system(WHAT, action)
}

/// The queues of this process by device and inode: one that is received twice, or comes home, is mapped once.
static MAPPED: Mutex<BTreeMap<(u64, u64), Weak<Mapping>>> = Mutex::new(BTreeMap::new());

impl Mapping {
    /// Makes the memory of an empty queue of so many items, which are 1 to [`MAX_ITEMS`].
    pub(super) fn create(capacity: u32) -> Result<Arc<Self>, IpcError> {
        let rings = rings_within_limit()?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"executor-Queue", flags).map_err(failed("make the memory of"))?;
        rustix::fs::ftruncate(&fd, size_of_rings(rings) as u64).map_err(failed("get the memory of"))?;
        rustix::fs::fcntl_add_seals(&fd, SEALS).map_err(failed("seal the memory of"))?;
        let mapping = Self::map(Arc::new(Descriptors::new(WHAT, vec![fd])), rings, |layout| {
            layout.capacity.store(capacity, Ordering::Relaxed);
            layout.magic.store(MAGIC, Ordering::Release);
        })?;
        let mapping = Arc::new(mapping);
        mapped().insert(mapping.place, Arc::downgrade(&mapping));
        Ok(mapping)
    }

    /// The queue behind the first of the descriptors, which another process sent. One that this process has mapped already is that one.
    pub(super) fn open(descriptors: &Arc<Descriptors>) -> Result<Arc<Self>, IpcError> {
        let foreign = |reason| IpcError::Foreign { what: WHAT, reason };
        let fd = descriptors.fds().first().ok_or(foreign("no descriptor came with it"))?;
        let stat = rustix::fs::fstat(fd).map_err(failed("look at the memory of"))?;
        let mut mapped = mapped();
        if let Some(known) = mapped.get(&(stat.st_dev, stat.st_ino)).and_then(Weak::upgrade) {
            return Ok(known);
        }
        // What has no seals, such as a pipe, answers with an error.
        if !rustix::fs::fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS)) {
            return Err(foreign("no sealed memory"));
        }
        let size = usize::try_from(stat.st_size).unwrap_or(0);
        let rings = (1..=MOST_RINGS).find(|&rings| size_of_rings(rings) == size);
        let mapping = Self::map(Arc::clone(descriptors), rings.ok_or(foreign("another size"))?, |_| {})?;
        if mapping.first.layout().magic.load(Ordering::Acquire) != MAGIC {
            return Err(foreign("another mark"));
        }
        if !(1..=MAX_ITEMS).contains(&mapping.capacity) {
            return Err(foreign("an impossible capacity"));
        }
        let mapping = Arc::new(mapping);
        mapped.insert(mapping.place, Arc::downgrade(&mapping));
        Ok(mapping)
    }

    /// The first of `descriptors` is sealed and has the size of so many rings (rule 1).
    fn map(
        descriptors: Arc<Descriptors>,
        rings: u32,
        prepare: impl FnOnce(&Layout),
    ) -> Result<Self, IpcError> {
        crate::ipc::supported()?;
        let fd = &descriptors.fds()[0];
        let stat = rustix::fs::fstat(fd).map_err(failed("look at the memory of"))?;
        let first = Pages::map(fd.as_fd(), 0, size_of_rings(rings.min(MAPPED_RINGS)))
            .map_err(|source| IpcError::System { what: WHAT, action: "map the memory of", source })?;
        prepare(first.layout());
        let capacity = first.layout().capacity.load(Ordering::Relaxed);
        let place = (stat.st_dev, stat.st_ino);
        Ok(Self {
            descriptors,
            place,
            capacity,
            rings,
            first,
            longer: Default::default(),
            spins: std::array::from_fn(|_| Spin::new()),
        })
    }

    /// What is sent when a handle is.
    pub(super) fn descriptors(&self) -> &Arc<Descriptors> {
        &self.descriptors
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.descriptors.fds()[0].as_fd()
    }

    /// The word on which one sleeps until a side makes progress.
    pub(super) fn event(&self, side: Side) -> &AtomicU32 {
        &self.bell(side).event
    }

    /// How long to spin for progress of a side, in this process.
    pub(super) fn spin(&self, side: Side) -> &Spin {
        &self.spins[side as usize]
    }

    fn lock_of(&self, side: Side) -> &RobustLock {
        let layout = self.first.layout();
        match side {
            Side::Tail => &layout.putting.lock,
            Side::Head => &layout.getting.lock,
            Side::Done => &layout.finishing.lock,
        }
    }

    /// The word of a lock, for tests that play a process that writes garbage.
    #[cfg(test)]
    pub(super) fn lock_word(&self, side: Side) -> &AtomicU64 {
        let offset = std::ptr::from_ref(self.lock_of(side)).addr() - self.first.address.addr().get();
        &self.first.words(offset, 1)[0]
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let mut mapped = mapped();
        // Not the entry of another mapping that was made since the last handle of this one went.
        if mapped.get(&self.place).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), self)) {
            mapped.remove(&self.place);
        }
    }
}

fn mapped() -> MutexGuard<'static, BTreeMap<(u64, u64), Weak<Mapping>>> {
    MAPPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// With as many rings as the limit on the size of files lets a memfd have.
fn rings_within_limit() -> Result<u32, IpcError> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current.unwrap_or(u64::MAX);
    (1..=MOST_RINGS).rev().find(|&rings| size_of_rings(rings) as u64 <= limit).ok_or(IpcError::TooLarge {
        what: WHAT,
        asked: size_of_rings(1) as u64,
        of: "bytes of memory, because of the limit on the size of files (`ulimit -f`)",
        most: limit,
    })
}

/// How long to wait for the holder of a lock before asking whether it exists at all. Locks are held for some hundred
/// nanoseconds, or while a large item is copied.
const SUSPICIOUS: Duration = Duration::from_secs(1);

impl Mapping {
    #[cold]
    fn lock_patiently(
        &self,
        side: Side,
        deadline: Deadline,
        lock_once: impl Fn(&RobustLock, Deadline) -> Result<(), NotTaken>,
    ) -> Result<(), LockError> {
        let lock = self.lock_of(side);
        loop {
            match lock_once(lock, deadline.or_after(SUSPICIOUS)) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Mine) => return Err(LockError::HeldByItself),
                Err(_) if deadline.has_passed() => return Err(LockError::TimedOut),
                // The kernel frees the locks of the dead. What it did not free was written by somebody who never held it.
                Err(_) => lock.check_owner(),
            }
        }
    }
}

impl Memory for Mapping {
    type Half = AtomicU32;
    type Word = AtomicU64;

    /// 4 MiB.
    const KEPT_WORDS: u32 = 1 << 19;
    /// 1 MiB.
    const STEP_WORDS: u32 = 1 << 17;

    #[inline]
    fn capacity(&self) -> u32 {
        self.capacity
    }

    #[inline]
    fn rings(&self) -> u32 {
        self.rings
    }

    #[inline]
    fn ring_words(&self, ring: u32) -> u32 {
        words_of_ring(ring)
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        &self.first.layout().tail.0
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        &self.first.layout().head.0
    }

    #[inline]
    fn done(&self) -> &AtomicU64 {
        &self.first.layout().finishing.done
    }

    #[inline]
    fn seen_head(&self) -> &AtomicU64 {
        &self.first.layout().putting.seen_head
    }

    #[inline]
    fn seen_tail(&self) -> &AtomicU64 {
        &self.first.layout().getting.seen_tail
    }

    #[inline]
    fn total(&self) -> &AtomicU64 {
        &self.first.layout().putting.total
    }

    #[inline]
    fn left(&self, ring: u32) -> &AtomicU32 {
        &self.first.layout().putting.left[ring as usize]
    }

    #[inline]
    fn slack(&self) -> &AtomicU32 {
        &self.first.layout().putting.slack
    }

    #[inline]
    fn used_rings(&self) -> &AtomicU32 {
        &self.first.layout().putting.used_rings
    }

    #[inline]
    fn bell(&self, side: Side) -> &Bell<AtomicU32> {
        let layout = self.first.layout();
        match side {
            Side::Tail => &layout.putting.bell,
            Side::Head => &layout.getting.bell,
            Side::Done => &layout.finishing.bell,
        }
    }

    #[inline]
    fn ring(&self, ring: u32) -> io::Result<&[AtomicU64]> {
        debug_assert!(ring < self.rings, "ring {ring} of {}", self.rings);
        let words = words_of_ring(ring);
        if ring < MAPPED_RINGS {
            return Ok(self.first.words(offset_of_ring(ring), words));
        }
        let cell = &self.longer[(ring - MAPPED_RINGS) as usize];
        if cell.get().is_none() {
            // If another thread is faster, its mapping stays and this one goes.
            let _ = cell.set(Pages::map(self.fd(), offset_of_ring(ring), words as usize * 8)?);
        }
        let pages = cell.get().ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(pages.words(0, words))
    }

    fn discard(&self, ring: u32, words: std::ops::Range<u32>) {
        if words.is_empty() || ring >= self.rings {
            return;
        }
        let offset = offset_of_ring(ring) + words.start as usize * 8;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // Pages that cannot be given back are merely kept.
        let _ =
            rustix::fs::fallocate(self.fd(), flags, offset as u64, u64::from(words.end - words.start) * 8);
    }

    #[inline]
    fn lock(&self, side: Side, deadline: Deadline) -> Result<(), LockError> {
        match self.lock_of(side).try_lock_briefly() {
            Ok(()) => Ok(()),
            Err(_) => self.lock_patiently(side, deadline, RobustLock::lock_briefly),
        }
    }

    fn lock_asleep(&self, side: Side, deadline: Deadline) -> Result<(), LockError> {
        self.lock_patiently(side, deadline, RobustLock::lock_briefly_asleep)
    }

    #[inline]
    fn unlock(&self, side: Side) {
        self.lock_of(side).unlock_briefly();
    }

    fn wake_all(&self, event: &AtomicU32) {
        futex::wake_all(event);
    }
}
