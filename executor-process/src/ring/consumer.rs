//! The reading end of a ring.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::memory::{Lane, Word};
use super::{Damaged, WORD, held, locate};

/// The reading end of a ring. Its position is private, so what the other side writes over it changes nothing here.
#[derive(Debug)]
pub struct Consumer<L> {
    lane: L,
    /// Bytes taken out, ever.
    read: u64,
}

impl<L: Lane> Consumer<L> {
    /// The reading end of a fresh ring.
    pub fn new(lane: L) -> Self {
        assert!(lane.data().len().is_power_of_two(), "a position must be found by a mask");
        Self { lane, read: 0 }
    }

    /// Bytes taken out, ever.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.read
    }

    /// Whether there is something to read, a damaged position included.
    #[inline]
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.lane.written().load(Acquire) != self.read
    }

    /// Takes out as many bytes as there are and as fit, and returns how many.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if the producer's position cannot be right. Nothing is taken out then.
    #[inline]
    pub fn read(&mut self, into: &mut [u8]) -> Result<usize, Damaged> {
        let ring = self.lane.data();
        // Acquire: pairs with the Release of `publish`, which comes after the bytes.
        let written = self.lane.written().load(Acquire);
        let len = held(written, self.read, ring.len())?.min(into.len());
        if len == 0 {
            return Ok(0);
        }
        copy_out(ring, self.read, &mut into[..len]);
        self.read += len as u64;
        // Release: the bytes are copied before the producer may overwrite them.
        self.lane.read().store(self.read, Release);
        Ok(len)
    }
}

/// Copies the ring's bytes from `position` on.
#[inline]
fn copy_out<C: Word<u64>>(ring: &[C], position: u64, into: &mut [u8]) {
    let mask = ring.len() - 1;
    let (mut index, offset) = locate(position, ring.len());
    let (first, rest) = into.split_at_mut(into.len().min(WORD - offset));
    let word = ring[index].load(Relaxed).to_le_bytes();
    first.copy_from_slice(&word[offset..offset + first.len()]);
    let (words, tail) = rest.as_chunks_mut::<WORD>();
    for next in words {
        index += 1;
        *next = ring[index & mask].load(Relaxed).to_le_bytes();
    }
    if !tail.is_empty() {
        let word = ring[(index + 1) & mask].load(Relaxed).to_le_bytes();
        tail.copy_from_slice(&word[..tail.len()]);
    }
}
