//! Copies of many bytes.
//!
//! Memory for a large vector comes fresh from the system, which hands it out page by page as it is written: for pages of 4 KiB, that
//! takes some four times as long as the copy. So such memory is asked for in huge pages, where the system leaves it to
//! programs to ask (`/sys/kernel/mm/transparent_hugepage/enabled`). It is an advice; the copy is the same without.

use std::mem::MaybeUninit;

/// From so many bytes on, allocators take a vector's memory from the system for it alone.
const LARGE: usize = 4 << 20;

/// The bytes in a new vector.
pub(crate) fn to_vec(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() < LARGE {
        return bytes.to_vec();
    }
    let mut vec = Vec::with_capacity(bytes.len());
    advise(vec.spare_capacity_mut());
    vec.extend_from_slice(bytes);
    vec
}

/// Asks for huge pages where a whole one fits.
#[cfg(target_os = "linux")]
fn advise(memory: &mut [MaybeUninit<u8>]) {
    /// A huge page of the machines that have them by this advice; of others, a multiple of their pages.
    const HUGE: usize = 2 << 20;
    let range = memory.as_mut_ptr_range();
    let (start, end) = (range.start.addr().next_multiple_of(HUGE), range.end.addr() / HUGE * HUGE);
    if start < end {
        // SAFETY: the pages lie in memory that is borrowed for us alone, and the advice changes nothing of what they hold. If
        // the system does not know it, nothing is lost.
        unsafe { libc::madvise(range.start.with_addr(start).cast(), end - start, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn advise(_: &mut [MaybeUninit<u8>]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_any_size_are_equal() {
        for len in [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 4097] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            assert!(to_vec(&bytes) == bytes, "{len} bytes");
        }
    }
}
