//! Memory that two processes map: an anonymous file, which the helper finds as its standard input.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// What may lie in shared memory.
///
/// # Safety
///
/// Any bytes are a valid value, zeros among them; nothing needs to be dropped; and what the other process may write
/// while a `&Self` exists is in atomics or an `UnsafeCell`.
pub unsafe trait Shareable: Sync {}

/// A `T` in memory that another process maps too.
pub struct SharedMemory<T: Shareable> {
    value: NonNull<T>,
}

// SAFETY: it owns the mapping, whose address does not depend on the thread, and `T` may be used from any.
unsafe impl<T: Shareable> Send for SharedMemory<T> {}

impl<T: Shareable> SharedMemory<T> {
    /// New memory, all zeros, and the file for the other process.
    ///
    /// # Errors
    ///
    /// When there is no memory.
    pub fn create() -> io::Result<(Self, OwnedFd)> {
        let file = memfd_create("benches", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, size_of::<T>() as u64)?;
        Ok((Self::map(file.as_fd())?, file))
    }

    /// The memory that another process has created.
    ///
    /// # Errors
    ///
    /// When the file is not such memory.
    pub fn open(file: BorrowedFd<'_>) -> io::Result<Self> {
        let size = fstat(file)?.st_size;
        if size != size_of::<T>() as i64 {
            return Err(io::Error::other(format!("shared memory of {size} bytes is another's")));
        }
        Self::map(file)
    }

    fn map(file: BorrowedFd<'_>) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing is mapped, and `file` is as long as a `T`, or
        // longer if the other process extends it; it never becomes shorter.
        let start = unsafe { mmap(std::ptr::null_mut(), size_of::<T>(), access, MapFlags::SHARED, file, 0)? };
        let value = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address zero"))?;
        Ok(Self { value })
    }
}

impl<T: Shareable> Deref for SharedMemory<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the mapping is there until the drop, page-aligned, and valid as a `T` whatever is written to it,
        // which is what `Shareable` says.
        unsafe { self.value.as_ref() }
    }
}

impl<T: Shareable> Drop for SharedMemory<T> {
    fn drop(&mut self) {
        // SAFETY: the range is what was mapped, and nobody borrows from a value that is being dropped. It fails
        // only for a range that is no mapping.
        let _ = unsafe { munmap(self.value.as_ptr().cast(), size_of::<T>()) };
    }
}

/// Ends this helper with the sample that started it: memory has no end of file.
///
/// # Errors
///
/// When the kernel refuses, or the sample, which wrote its process number as `parent`, has ended already.
pub fn end_with(parent: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if Pid::as_raw(getppid()) == parent as i32 {
        Ok(())
    } else {
        Err(io::Error::other("the sample has ended"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Words<const N: usize>([AtomicU64; N]);

    // SAFETY: atomics only.
    unsafe impl<const N: usize> Shareable for Words<N> {}

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let (one, file) = SharedMemory::<Words<2>>::create().unwrap();
        let other = SharedMemory::<Words<2>>::open(file.as_fd()).unwrap();
        one.0[1].store(7, Ordering::Relaxed);
        assert_eq!((other.0[0].load(Ordering::Relaxed), other.0[1].load(Ordering::Relaxed)), (0, 7));
    }

    #[test]
    fn memory_of_another_size_is_refused() {
        let (_one, file) = SharedMemory::<Words<2>>::create().unwrap();
        let error = SharedMemory::<Words<3>>::open(file.as_fd()).err().unwrap().to_string();
        assert_eq!(error, "shared memory of 16 bytes is another's");
    }
}
