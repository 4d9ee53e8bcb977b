//! A place in a queue, in one word.

use std::fmt;

/// Bits of a mark's count.
const COUNT_BITS: u32 = 28;
/// Bits of a mark's ring.
const RING_BITS: u32 = 4;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;

/// The most items that can wait: half of what a mark can count, so that differences are unambiguous.
pub(super) const MAX_ITEMS: u32 = 1 << (COUNT_BITS - 1);

/// A place in the queue: in which ring, at which position, after how many items. All of it is one word, so a put or a get is
/// one store.
///
/// ```text
///  63           32 31  28 27            0
/// ┌───────────────┬──────┬───────────────┐
/// │ position      │ ring │ count         │   position: words since the queue was made, modulo 2^32
/// └───────────────┴──────┴───────────────┘   count: items since the queue was made, modulo 2^28
/// ```
///
/// Positions run on from ring to ring; where a position lies in its ring is the position modulo the ring's length. Every
/// bit pattern is a mark, but not a sensible one: [`Mark::until`] checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) position: u32,
    pub(super) ring: u32,
    pub(super) count: u32,
}

/// What lies between two marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Between {
    pub(super) words: u32,
    pub(super) items: u32,
}

impl Mark {
    #[inline]
    pub(super) fn of(word: u64) -> Self {
        let low = word as u32;
        Self { position: (word >> 32) as u32, ring: low >> COUNT_BITS, count: low & COUNT_MASK }
    }

    #[inline]
    pub(super) fn word(self) -> u64 {
        debug_assert!(
            self.ring < 1 << RING_BITS && self.count <= COUNT_MASK,
            "{self:?} has its fields in range"
        );
        (u64::from(self.position) << 32) | u64::from(self.ring << COUNT_BITS | self.count)
    }

    /// From here to `later`; `None` if they cannot both be marks of one queue at one time, with rings of at most `longest`
    /// words.
    #[inline]
    pub(super) fn until(self, later: Self, longest: u32) -> Option<Between> {
        let words = later.position.wrapping_sub(self.position);
        let items = later.count.wrapping_sub(self.count) & COUNT_MASK;
        (words <= longest && items <= MAX_ITEMS).then_some(Between { words, items })
    }

    /// After `words` more.
    #[inline]
    pub(super) fn advanced(self, words: u32) -> Self {
        Self { position: self.position.wrapping_add(words), ..self }
    }

    /// After one more item of `words`.
    #[inline]
    pub(super) fn after_item(self, words: u32) -> Self {
        Self { count: self.count.wrapping_add(1) & COUNT_MASK, ..self.advanced(words) }
    }

    /// The number of items as `total` counts them, in full, which is less than 2^28 behind this mark.
    #[inline]
    pub(super) fn total_since(self, total: u64) -> u64 {
        total.wrapping_add(u64::from(self.count.wrapping_sub(total as u32) & COUNT_MASK))
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {} at {} in ring {}", self.count, self.position, self.ring)
    }
}
