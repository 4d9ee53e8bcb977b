//! Plain data in shared memory, moved in and out without references to it.
//!
//! Others may write at the same time, so every access is atomic, in units as large as the size of the data has them. Whole data
//! is in one piece only under a lock, or if it is one unit, as integers are.

use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use bytemuck::Pod;

/// The largest power of two, up to 8, that divides the size.
const fn unit(size: usize) -> usize {
    let zeros = size.trailing_zeros();
    1 << if zeros > 3 { 3 } else { zeros }
}

/// The data at a place.
///
/// # Safety
///
/// The place is shared memory, as large as `T`, aligned to 8, and accessed by atomics of the same unit only while this runs.
#[inline]
pub(super) unsafe fn read<T: Pod>(from: NonNull<u8>) -> T {
    let mut value = T::zeroed();
    let unit = unit(size_of::<T>());
    for (index, bytes) in bytemuck::bytes_of_mut(&mut value).chunks_exact_mut(unit).enumerate() {
        // SAFETY: inside of the place, and aligned to the unit.
        unsafe {
            let at = from.add(index * unit).as_ptr();
            match unit {
                8 => bytes.copy_from_slice(&AtomicU64::from_ptr(at.cast()).load(Relaxed).to_ne_bytes()),
                4 => bytes.copy_from_slice(&AtomicU32::from_ptr(at.cast()).load(Relaxed).to_ne_bytes()),
                2 => bytes.copy_from_slice(&AtomicU16::from_ptr(at.cast()).load(Relaxed).to_ne_bytes()),
                _ => bytes[0] = AtomicU8::from_ptr(at).load(Relaxed),
            }
        }
    }
    value
}

/// Puts data into a place.
///
/// # Safety
///
/// As for [`read`].
#[inline]
pub(super) unsafe fn write<T: Pod>(to: NonNull<u8>, value: &T) {
    let unit = unit(size_of::<T>());
    for (index, bytes) in bytemuck::bytes_of(value).chunks_exact(unit).enumerate() {
        // SAFETY: inside of the place, and aligned to the unit.
        unsafe {
            let at = to.add(index * unit).as_ptr();
            match unit {
                8 => AtomicU64::from_ptr(at.cast()).store(bytemuck::pod_read_unaligned(bytes), Relaxed),
                4 => AtomicU32::from_ptr(at.cast()).store(bytemuck::pod_read_unaligned(bytes), Relaxed),
                2 => AtomicU16::from_ptr(at.cast()).store(bytemuck::pod_read_unaligned(bytes), Relaxed),
                _ => AtomicU8::from_ptr(at).store(bytes[0], Relaxed),
            }
        }
    }
}
