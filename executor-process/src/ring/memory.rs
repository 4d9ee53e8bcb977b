//! Where the atomics of a ring live: a shared mapping, or loom's memory in the models.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The operations on one atomic word that the steps of the shared-memory protocols are made of.
pub trait Word<T>: Send + Sync {
    /// Reads the word.
    fn load(&self, order: Ordering) -> T;
    /// Writes the word.
    fn store(&self, value: T, order: Ordering);
    /// Writes the word and gives what was there.
    fn swap(&self, value: T, order: Ordering) -> T;
    /// Replaces `current` by `new`; the word found is the error.
    fn compare_exchange(&self, current: T, new: T, success: Ordering, failure: Ordering) -> Result<T, T>;
}

/// The words of one ring.
pub trait Lane: Debug + Send + Sync + 'static {
    /// Word of the ring.
    type Cell: Word<u64>;

    /// How many bytes the producer has put in, ever. Written by the producer alone.
    fn written(&self) -> &Self::Cell;
    /// How many bytes the consumer has taken out, ever. Written by the consumer alone.
    fn read(&self) -> &Self::Cell;
    /// The ring; a power of two of words.
    fn data(&self) -> &[Self::Cell];
}

macro_rules! word {
    ($atomic:ty, $value:ty) => {
        impl Word<$value> for $atomic {
            #[inline]
            fn load(&self, order: Ordering) -> $value {
                self.load(order)
            }

            #[inline]
            fn store(&self, value: $value, order: Ordering) {
                self.store(value, order);
            }

            #[inline]
            fn swap(&self, value: $value, order: Ordering) -> $value {
                self.swap(value, order)
            }

            #[inline]
            fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.compare_exchange(current, new, success, failure)
            }
        }
    };
}

word!(AtomicU32, u32);
word!(AtomicU64, u64);
#[cfg(all(test, loom))]
word!(loom::sync::atomic::AtomicU32, u32);
#[cfg(all(test, loom))]
word!(loom::sync::atomic::AtomicU64, u64);

/// A fence between a store of this side and a load of what the other side stores.
#[inline]
pub(super) fn full_fence() {
    #[cfg(all(test, loom))]
    loom::sync::atomic::fence(Ordering::SeqCst);
    #[cfg(not(all(test, loom)))]
    std::sync::atomic::fence(Ordering::SeqCst);
}
