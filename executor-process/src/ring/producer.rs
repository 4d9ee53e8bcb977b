//! The writing end of a ring.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::memory::{Lane, Word};
use super::{Damaged, WORD, capacity, held, locate};

/// The writing end of a ring. Its position is private, so what the other side writes over it changes nothing here.
#[derive(Debug)]
pub struct Producer<L> {
    lane: L,
    /// Bytes put in, ever; those beyond the shared position are not published yet.
    written: u64,
    /// The bytes of the ring's word at `written` that precede it; the rest is zero.
    partial: u64,
    /// The consumer's position when it was last looked at: a look costs a cache miss, so it is taken only for want of room.
    read: u64,
}

impl<L: Lane> Producer<L> {
    /// The writing end of a fresh ring.
    pub fn new(lane: L) -> Self {
        assert!(lane.data().len().is_power_of_two(), "a position must be found by a mask");
        Self { lane, written: 0, partial: 0, read: 0 }
    }

    /// The bytes that the ring holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        capacity(self.lane.data().len())
    }

    /// How many bytes can be written now, or at least `wanted` if that many can.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if the consumer's position cannot be right.
    #[inline]
    pub fn room(&mut self, wanted: usize) -> Result<usize, Damaged> {
        let words = self.lane.data().len();
        let room = capacity(words) - held(self.written, self.read, words)?;
        if room >= wanted {
            return Ok(room);
        }
        // Acquire: the consumer has copied the bytes out before it lets them be overwritten.
        let read = self.lane.read().load(Acquire);
        let room = capacity(words) - held(self.written, read, words)?;
        self.read = read;
        Ok(room)
    }

    /// Puts in as much of `bytes` as there is room for, and returns how much. The consumer sees it after
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    ///
    /// As [`room`](Self::room).
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Damaged> {
        let len = bytes.len().min(self.room(bytes.len())?);
        self.store(&bytes[..len]);
        self.written += len as u64;
        Ok(len)
    }

    /// Lets the consumer see all that was written.
    #[inline]
    pub fn publish(&mut self) {
        // Release: the bytes before the position that covers them.
        self.lane.written().store(self.written, Release);
    }

    /// Whether the consumer has taken out all that was published, as far as it says.
    pub fn is_drained(&self) -> bool {
        self.lane.read().load(Acquire) == self.written
    }

    /// Stores `bytes`, for which there is room, from the position on.
    #[inline]
    fn store(&mut self, bytes: &[u8]) {
        let ring = self.lane.data();
        let (mut index, offset) = locate(self.written, ring.len());
        let mask = ring.len() - 1;
        let (first, rest) = bytes.split_at(bytes.len().min(WORD - offset));
        let mut word = self.partial | word_of(first) << (8 * offset);
        if offset + first.len() < WORD {
            ring[index].store(word, Relaxed);
            self.partial = word;
            return;
        }
        let (words, tail) = rest.as_chunks::<WORD>();
        for next in words {
            ring[index & mask].store(word, Relaxed);
            index += 1;
            word = u64::from_le_bytes(*next);
        }
        ring[index & mask].store(word, Relaxed);
        self.partial = word_of(tail);
        if !tail.is_empty() {
            ring[(index + 1) & mask].store(self.partial, Relaxed);
        }
    }
}

/// Up to eight bytes as the low end of a word. From pieces that overlap: a copy of any number of bytes is a call, and the load
/// of a word from what was stored by bytes waits for all of them.
#[inline]
fn word_of(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return u64::from(first) | u64::from(last) << (8 * (len - 4));
    }
    let at = |at: usize| u64::from(bytes[at]) << (8 * at);
    match len {
        0 => 0,
        _ => at(0) | at(len / 2) | at(len - 1),
    }
}
