//! Where the atomics of a board live: a shared mapping, or loom's memory in the models.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The operations on one atomic word that the board's steps are made of.
pub trait Word<T>: Send + Sync {
    /// Reads the word.
    fn load(&self, order: Ordering) -> T;
    /// Writes the word.
    fn store(&self, value: T, order: Ordering);
    /// Replaces `current` by `new`; the word found is the error.
    fn compare_exchange(&self, current: T, new: T, success: Ordering, failure: Ordering) -> Result<T, T>;
}

/// The words of one board.
pub trait Memory: Debug + Send + Sync + 'static {
    /// Word of a claim slot.
    type Claim: Word<u32>;
    /// Word of the journal, and of a progress value.
    type Cell: Word<u64>;

    /// The claim slots.
    fn claims(&self) -> &[Self::Claim];
    /// One progress value per claim slot.
    fn progress(&self) -> &[Self::Cell];
    /// The journal's position: bytes of whole frames since the worker's start.
    fn committed(&self) -> &Self::Cell;
    /// Where the frame ends that is being written to the socket past the journal; behind `committed` if none is.
    fn announced(&self) -> &Self::Cell;
    /// The journal's ring, eight bytes to a word.
    fn ring(&self) -> &[Self::Cell];
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
