//! The monotonic clock as a number, which is cheaper to subtract than an [`Instant`](std::time::Instant).

use std::mem::MaybeUninit;

/// Nanoseconds since some moment, the same for all processes of this machine until it is started anew.
#[inline]
pub(crate) fn monotonic_nanos() -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the pointer is to memory of ours for one `timespec`, of which any bytes are one: so it is whether the call has
    // written it or, which Linux does not know for this clock, has failed.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    // Since the machine was started: neither is negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
