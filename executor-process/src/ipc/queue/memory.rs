//! Where the words of a queue live, and what its steps ask of the kernel: a shared mapping with futexes, or loom's memory
//! and a model of both.

use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::ipc::futex::Deadline;

/// The operations on one atomic word.
pub(super) trait Word<T>: Send + Sync {
    fn load(&self, order: Ordering) -> T;
    fn store(&self, value: T, order: Ordering);
}

/// The three sides of a queue, each with a lock of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Putting.
    Tail,
    /// Getting.
    Head,
    /// Counting what is done.
    Done,
}

/// What every side has, besides its lock.
///
/// `event` and `wanted` are written under the side's lock only; `event` is what the others sleep on.
#[derive(Debug)]
pub(super) struct Bell<W> {
    /// Non-zero if somebody may sleep until this side makes progress.
    pub(super) wanted: W,
    /// Changed before the sleepers are woken.
    pub(super) event: W,
}

/// The memory of one queue, and the kernel's part in it.
pub(super) trait Memory: Debug + Send + Sync + 'static {
    /// A word of 32 bits.
    type Half: Word<u32>;
    /// A word of 64 bits.
    type Word: Word<u64>;

    /// Rings of up to so many words keep their pages, so that steady traffic finds them warm. A power of two.
    const KEPT_WORDS: u32;
    /// In longer rings, pages are given back in steps of so many words. A power of two, less than the length of these.
    const STEP_WORDS: u32;

    /// How many items may wait; fixed at creation.
    fn capacity(&self) -> u32;
    /// How many rings may be used: those behind are not in the memory.
    fn rings(&self) -> u32;
    /// The number of words of a ring, a power of two; it grows with `ring`.
    fn ring_words(&self, ring: u32) -> u32;

    /// The mark up to which items were put.
    fn tail(&self) -> &Self::Word;
    /// The mark up to which items were taken.
    fn head(&self) -> &Self::Word;
    /// How many items are done.
    fn done(&self) -> &Self::Word;
    /// The head as putters have last seen it. Under the tail's lock.
    fn seen_head(&self) -> &Self::Word;
    /// The tail as getters have last seen it. Under the head's lock.
    fn seen_tail(&self) -> &Self::Word;
    /// All items that were ever put, or one less. Under the tail's lock.
    fn total(&self) -> &Self::Word;
    /// Where the last jump out of a ring stands, as a position. Under the tail's lock.
    fn left(&self, ring: u32) -> &Self::Half;
    /// How many times in a row a smaller ring would have done. Under the tail's lock.
    fn slack(&self) -> &Self::Half;
    /// A bit for each ring that was used since its pages were last given back. Under the tail's lock.
    fn used_rings(&self) -> &Self::Half;
    /// The bell of a side.
    fn bell(&self, side: Side) -> &Bell<Self::Half>;

    /// The words of a ring.
    ///
    /// # Errors
    ///
    /// If it cannot be mapped.
    fn ring(&self, ring: u32) -> io::Result<&[Self::Word]>;
    /// Gives the pages of a part of a ring back. What is read there afterwards is zero, or as before.
    fn discard(&self, ring: u32, words: std::ops::Range<u32>);

    /// Takes the lock of a side. Whoever held it may have died; there is nothing to repair then.
    ///
    /// # Errors
    ///
    /// If it takes beyond the deadline, or the lock is damaged.
    fn lock(&self, side: Side, deadline: Deadline) -> Result<(), LockError>;
    /// The same, without spinning: whoever has it may wait for this very core.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    fn lock_asleep(&self, side: Side, deadline: Deadline) -> Result<(), LockError>;
    /// Releases it.
    fn unlock(&self, side: Side);
    /// Wakes all who sleep on an event.
    fn wake_all(&self, event: &Self::Half);
}

/// Why a lock was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LockError {
    #[error("the time is up")]
    TimedOut,
    #[error("the lock says that this very thread holds it")]
    HeldByItself,
}

/// The lock of a side, held.
#[derive(Debug)]
pub(super) struct Locked<'a, M: Memory>(&'a M, Side);

impl<'a, M: Memory> Locked<'a, M> {
    pub(super) fn take(memory: &'a M, side: Side, deadline: Deadline) -> Result<Self, LockError> {
        memory.lock(side, deadline)?;
        Ok(Self(memory, side))
    }

    /// As [`take`](Self::take), without spinning.
    pub(super) fn take_asleep(memory: &'a M, side: Side, deadline: Deadline) -> Result<Self, LockError> {
        memory.lock_asleep(side, deadline)?;
        Ok(Self(memory, side))
    }

    pub(super) fn memory(&self) -> &'a M {
        self.0
    }

    /// Wakes who sleeps until this side makes progress. Call it before the step that is the progress: README, "No wake-up is
    /// lost".
    #[inline]
    pub(super) fn ring_bell(&self) {
        let bell = self.0.bell(self.1);
        if bell.wanted.load(Ordering::Relaxed) != 0 {
            self.ring_wanted_bell(bell);
        }
    }

    #[cold]
    fn ring_wanted_bell(&self, bell: &Bell<M::Half>) {
        let event = bell.event.load(Ordering::Relaxed);
        bell.event.store(event.wrapping_add(1), Ordering::Release);
        self.0.wake_all(&bell.event);
        // Last: who dies before this leaves the bell wanted, and the next one rings it again.
        bell.wanted.store(0, Ordering::Relaxed);
    }

    /// Asks for the bell; the value of the event to sleep on.
    pub(super) fn want_bell(&self) -> u32 {
        let bell = self.0.bell(self.1);
        bell.wanted.store(1, Ordering::Relaxed);
        bell.event.load(Ordering::Relaxed)
    }
}

impl<M: Memory> Drop for Locked<'_, M> {
    fn drop(&mut self) {
        self.0.unlock(self.1);
    }
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
        }
    };
}

word!(AtomicU32, u32);
word!(AtomicU64, u64);
#[cfg(all(test, loom))]
word!(loom::sync::atomic::AtomicU32, u32);
#[cfg(all(test, loom))]
word!(loom::sync::atomic::AtomicU64, u64);
