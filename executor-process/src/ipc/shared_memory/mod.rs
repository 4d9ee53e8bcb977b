//! [`SharedMemory`].
//!
//! Anonymous memory is a region like any other. Named memory is a file in `/dev/shm`, with nothing in it but the bytes, so that
//! other programs can map it as well; it cannot be sealed, see the type's documentation. Its name is removed by the creator's last
//! handle, or when the creator dies without dropping it, by a [`watcher`].

mod watcher;

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::IpcError;
use super::handle::{self, Descriptors};
use super::region::{Kind, Region};
use watcher::Watcher;

const KIND: &Kind = &Kind { name: "SharedMemory", code: 10 };

/// Where names are.
const FOLDER: &str = "/dev/shm";

/// Bytes that processes share.
///
/// [`new`](Self::new) makes anonymous memory: it travels as an argument or result of tasks of a process pool, alone or inside of
/// other values, and is gone with its last handle, however the processes end. [`create`](Self::create) gives it a name, by which any
/// process of the user can [`open`](Self::open) it, Python's `multiprocessing.shared_memory` included.
///
/// Nothing keeps others from writing while one reads: bring a [`Lock`](super::Lock), or use
/// [`atomics`](Self::atomics). [`read`](Self::read) and [`write`](Self::write) copy; for references in place, there are
/// [`as_slice`](Self::as_slice) and [`as_mut_slice`](Self::as_mut_slice), whose caller has to know that nobody writes.
///
/// # What becomes of a name
///
/// It is removed when the last handle of the process that created it is dropped, and when that process ends in any other way, `SIGKILL`
/// included: a small process that it has started watches it. A name is left in `/dev/shm` only if both are killed at the same
/// time, as the kernel does if memory is exhausted; [`unlink`](Self::unlink) removes it then. Whoever has the memory open
/// keeps it, with or without name.
///
/// Named memory cannot be sealed. A program that truncates the file takes the memory away from all who have it, and whoever touches it
/// then is killed by the kernel (`SIGBUS`). Those of this library never do.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::SharedMemory;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = SharedMemory::new(10)?;
/// memory.write(0, &[22, 33, 44, 55]);
/// let mut bytes = [0; 4];
/// memory.read(1, &mut bytes);
/// assert_eq!(bytes, [33, 44, 55, 0]);
///
/// let name = format!("example-{}", std::process::id());
/// let named = SharedMemory::create(&name, 10)?;
/// SharedMemory::open(&name)?.write(9, b"!");
/// assert_eq!(named.atomics()[9].load(std::sync::atomic::Ordering::Relaxed), b'!');
/// drop(named);
/// assert!(SharedMemory::open(&name).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    memory: Arc<Memory>,
}

enum Memory {
    Anonymous(Arc<Region>),
    Named(Named),
}

/// A file, mapped.
struct Named {
    name: String,
    address: NonNull<u8>,
    length: usize,
    descriptors: Arc<Descriptors>,
    /// Of the creator.
    watcher: Option<Watcher>,
}

// SAFETY: the mapping is owned, and reached safely through atomics only.
unsafe impl Send for Named {}
// SAFETY: as above.
unsafe impl Sync for Named {}

impl SharedMemory {
    /// Anonymous memory of so many bytes, all zero. It is taken from the system when it is first touched.
    ///
    /// # Errors
    ///
    /// No descriptor or memory is left, or this system lacks what is needed (Linux 5.16, glibc).
    pub fn new(length: usize) -> Result<Self, IpcError> {
        let region = Region::create(KIND, length)?;
        Ok(Self { memory: Arc::new(Memory::Anonymous(region)) })
    }

    /// Memory of so many bytes, all zero, with a name.
    ///
    /// # Errors
    ///
    /// The name exists, or cannot be one: it is that of a file in `/dev/shm`, without `/`. There is no `/dev/shm`, or no room in
    /// it; no descriptor or process is left.
    pub fn create(name: &str, length: usize) -> Result<Self, IpcError> {
        let path = path(name)?;
        let failed = |action| IpcError::system(KIND.name, action);
        // Pages of the file are accounted when it is made, so that no access to them can fail for want of room.
        let room = u64::try_from(length.max(1)).ok().filter(|bytes| i64::try_from(*bytes).is_ok());
        let room = room.ok_or_else(|| failed("find the room in /dev/shm for")(Errno::NOSPC))?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(failed("create the file in /dev/shm of"))?;
        let made = rustix::fs::fallocate(&fd, FallocateFlags::empty(), 0, room)
            .and_then(|()| rustix::fs::ftruncate(&fd, length as u64))
            .map_err(failed("find the room in /dev/shm for"))
            .and_then(|()| Watcher::start(&path).map_err(failed("start the watcher of")))
            .and_then(|watcher| Named::map(name.to_owned(), fd, length, Some(watcher)));
        match made {
            Ok(named) => Ok(Self { memory: Arc::new(Memory::Named(named)) }),
            Err(error) => {
                // What was made by this call; a watcher that was started has done the same.
                let _ = rustix::fs::unlink(&path);
                Err(error)
            }
        }
    }

    /// The memory of this name.
    ///
    /// # Errors
    ///
    /// There is none, or it is another user's; no descriptor or memory is left.
    pub fn open(name: &str) -> Result<Self, IpcError> {
        let failed = |action| IpcError::system(KIND.name, action);
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::open(path(name)?, flags, Mode::empty())
            .map_err(failed("open the file in /dev/shm of"))?;
        let size = rustix::fs::fstat(&fd).map_err(failed("look at the file of"))?.st_size;
        let length = usize::try_from(size).map_err(|_| failed("map the memory of")(Errno::NOMEM))?;
        let named = Named::map(name.to_owned(), fd, length, None)?;
        Ok(Self { memory: Arc::new(Memory::Named(named)) })
    }

    /// Removes a name. Who has the memory open keeps it.
    ///
    /// # Errors
    ///
    /// There is none, or it is another user's.
    pub fn unlink(name: &str) -> Result<(), IpcError> {
        rustix::fs::unlink(path(name)?).map_err(IpcError::system(KIND.name, "remove the name of"))
    }

    /// The name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        match &*self.memory {
            Memory::Anonymous(_) => None,
            Memory::Named(named) => Some(&named.name),
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match &*self.memory {
            Memory::Anonymous(region) => region.body_len(),
            Memory::Named(named) => named.length,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first byte; they are aligned to 128. Valid as long as this handle.
    pub fn as_ptr(&self) -> *mut u8 {
        match &*self.memory {
            Memory::Anonymous(region) => region.body().as_ptr(),
            Memory::Named(named) => named.address.as_ptr(),
        }
    }

    /// The bytes, for atomic operations.
    pub fn atomics(&self) -> &[AtomicU8] {
        // SAFETY: so many bytes are mapped as long as `self`, and stay backed: they are sealed, or nobody truncates them, as the
        // documentation of the type demands; atomics may be accessed by anybody.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast::<AtomicU8>(), self.len()) }
    }

    /// Copies bytes out, from an offset. What others write at the same time may be there in parts.
    ///
    /// # Panics
    ///
    /// If there are not so many bytes from there on.
    #[track_caller]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        let (head, words, tail) = self.parts(offset, bytes.len());
        let (first, rest) = bytes.split_at_mut(head.len());
        let (middle, last) = rest.split_at_mut(words.len() * size_of::<u64>());
        for (to, from) in first.iter_mut().zip(head).chain(last.iter_mut().zip(tail)) {
            *to = from.load(Relaxed);
        }
        for (to, from) in middle.as_chunks_mut().0.iter_mut().zip(words) {
            *to = from.load(Relaxed).to_ne_bytes();
        }
    }

    /// Copies bytes in, from an offset.
    ///
    /// # Panics
    ///
    /// If there are not so many bytes from there on.
    #[track_caller]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let (head, words, tail) = self.parts(offset, bytes.len());
        let (first, rest) = bytes.split_at(head.len());
        let (middle, last) = rest.split_at(words.len() * size_of::<u64>());
        for (from, to) in first.iter().zip(head).chain(last.iter().zip(tail)) {
            to.store(*from, Relaxed);
        }
        for (from, to) in middle.as_chunks().0.iter().zip(words) {
            to.store(u64::from_ne_bytes(*from), Relaxed);
        }
    }

    /// The bytes in place.
    ///
    /// # Safety
    ///
    /// Nobody, in no process, writes to them while the reference exists.
    pub unsafe fn as_slice(&self) -> &[u8] {
        // SAFETY: mapped as long as `self`; nobody writes, as the caller says.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// The bytes in place, to write to.
    ///
    /// # Safety
    ///
    /// Nobody else, in no process, reads or writes them while the reference exists.
    #[expect(clippy::mut_from_ref, reason = "that there is no other is the caller's promise")]
    pub unsafe fn as_mut_slice(&self) -> &mut [u8] {
        // SAFETY: mapped as long as `self`; nobody else has access, as the caller says.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr(), self.len()) }
    }

    /// A range, cut where words of eight bytes begin and end.
    #[track_caller]
    fn parts(&self, offset: usize, length: usize) -> (&[AtomicU8], &[AtomicU64], &[AtomicU8]) {
        let range = offset.checked_add(length).and_then(|end| self.atomics().get(offset..end));
        let Some(range) = range else {
            panic!("{length} bytes from {offset} on of a SharedMemory of {} bytes", self.len())
        };
        // SAFETY: any eight bytes are an `AtomicU64`, if they are aligned.
        unsafe { range.align_to::<AtomicU64>() }
    }
}

impl Named {
    fn map(name: String, fd: OwnedFd, length: usize, watcher: Option<Watcher>) -> Result<Self, IpcError> {
        let descriptors = Arc::new(Descriptors::new(KIND.name, vec![fd]));
        Self::map_shared(name, descriptors, length, watcher)
    }

    fn map_shared(
        name: String,
        descriptors: Arc<Descriptors>,
        length: usize,
        watcher: Option<Watcher>,
    ) -> Result<Self, IpcError> {
        let failed = || IpcError::system(KIND.name, "map the memory of");
        let fd = descriptors
            .fds()
            .first()
            .ok_or(IpcError::Foreign { what: KIND.name, reason: "no descriptor came with it" })?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; no existing memory is touched.
        let address = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), length.max(1), protection, MapFlags::SHARED, fd.as_fd(), 0)
        };
        let address = NonNull::new(address.map_err(failed())?.cast::<u8>());
        let address = address.ok_or_else(|| failed()(Errno::NOMEM))?;
        Ok(Self { name, address, length, descriptors, watcher })
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.end();
        }
        // SAFETY: exactly the range that was mapped, of which nobody has references any more.
        let unmapped = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.length.max(1)) };
        debug_assert!(unmapped.is_ok(), "munmap of an own mapping failed: {unmapped:?}");
    }
}

/// The file of a name.
fn path(name: &str) -> Result<String, IpcError> {
    let is_one =
        !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\0']) && name != "." && name != "..";
    match is_one {
        true => Ok(format!("{FOLDER}/{name}")),
        false => Err(IpcError::Name { name: name.to_owned() }),
    }
}

impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.memory {
            Memory::Anonymous(region) => handle::serialize(region, &None::<(&str, usize)>, serializer),
            Memory::Named(named) => {
                let meta = Some((&named.name, named.length));
                handle::serialize_with(&named.descriptors, &meta, serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Meta = Option<(String, usize)>;
        let (descriptors, meta) = handle::deserialize_with::<Meta, D>(KIND.name, deserializer)?;
        let memory = match meta {
            None => Region::open(&descriptors, KIND).map(Memory::Anonymous),
            Some((name, length)) => {
                let size = descriptors.fds().first().and_then(|fd| rustix::fs::fstat(fd).ok());
                if size.is_none_or(|stat| u64::try_from(stat.st_size) != Ok(length as u64)) {
                    return Err(de::Error::custom("what came is a SharedMemory of another size"));
                }
                Named::map_shared(name, descriptors, length, None).map(Memory::Named)
            }
        };
        Ok(Self { memory: Arc::new(memory.map_err(de::Error::custom)?) })
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").field("name", &self.name()).field("len", &self.len()).finish()
    }
}
