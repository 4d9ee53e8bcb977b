//! The result journal: finished results that survive the death of the worker which finished them.
//!
//! The worker's stream of result frames has positions, counted in bytes from its start:
//!
//! ```text
//!       received (parent)     flushed (worker)         committed (shared)
//!  ---------|----------------------|------------------------|--------------> stream
//!           |  in the socket       |  in the ring           |
//! ```
//!
//! 1. A frame is in the ring, whole, before `committed` passes it (Release); `committed` always is a frame boundary.
//! 2. `committed - flushed` never exceeds the ring's capacity, so a byte is overwritten only after the socket took it.
//!    A socket's bytes outlive the process that wrote them.
//! 3. Hence what the parent lacks after reading the socket to its end, `received..committed`, lies in the ring.
//! 4. A frame that is larger than the ring goes to the socket directly, when everything before it is flushed, and
//!    `committed` passes it afterwards ([`Journal::skip`]). A worker killed meanwhile has not finished that task. Before,
//!    `announced` tells how far it reaches ([`Journal::announce`]), so that the parent never receives more than was
//!    committed or announced, unless a task writes to the socket, which is none of its business.
//!
//! The ring is written eight bytes at a time. The last, partly filled word is stored again with more bytes by the next
//! frame; its old bytes keep their values in that store, so committed bytes are never torn. The same word may hold the
//! oldest bytes of the ring in its upper part, which is why one word of the ring stays unused.
//!
//! The worker keeps a private copy of the bytes that are not yet flushed, and writes those to the socket: it never reads
//! the shared memory, and they are contiguous.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::mapping::Mapping;
use super::memory::{Memory, Word};

const WORD: usize = 8;

/// The worker's end of the journal: appends result frames and says what to write to the socket.
///
/// ```text
/// append(frame) --false--> write pending() to the socket, waiting; append again
///                          still false: announce(len); write the frame itself, waiting; skip(len)
/// ```
#[derive(Debug)]
pub struct Journal<M: Memory = Mapping> {
    memory: Arc<M>,
    committed: u64,
    /// The bytes of the ring word at `committed` that precede it; the rest is zero.
    partial: u64,
    /// Committed bytes; those from `start` on are not yet flushed.
    pending: Vec<u8>,
    start: usize,
}

impl<M: Memory> Journal<M> {
    pub(super) fn over(memory: Arc<M>) -> Self {
        // Twice the ring, so that moving the pending bytes to the front costs O(1) per byte even if the socket takes
        // only little at a time.
        let pending = Vec::with_capacity(2 * capacity(&*memory));
        Self { memory, committed: 0, partial: 0, pending, start: 0 }
    }

    /// Commits one whole frame. False, and nothing done, if the ring has no room for it beside what is pending.
    #[must_use = "a frame that was not appended is lost unless it is written to the socket"]
    pub fn append(&mut self, frame: &[u8]) -> bool {
        let pending = self.pending.len() - self.start;
        if frame.len() > capacity(&*self.memory) - pending {
            return false;
        }
        self.write_ring(frame);
        if self.start > 0 && self.pending.len() + frame.len() > self.pending.capacity() {
            self.pending.drain(..self.start);
            self.start = 0;
        }
        self.pending.extend_from_slice(frame);
        self.commit(frame.len());
        true
    }

    /// The committed bytes that the socket has not taken yet.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        &self.pending[self.start..]
    }

    /// Records that the socket took the first `n` bytes of [`pending`](Self::pending).
    ///
    /// # Panics
    ///
    /// If fewer are pending.
    pub fn flushed(&mut self, n: usize) {
        assert!(n <= self.pending().len(), "more bytes flushed than were pending");
        self.start += n;
        if self.start == self.pending.len() {
            self.pending.clear();
            self.start = 0;
        }
    }

    /// Says that a whole frame of `n` bytes is about to be written to the socket past the journal, so that the parent
    /// does not take it for [something else](super::Board::has_announced).
    pub fn announce(&mut self, n: usize) {
        self.memory.announced().store(self.committed + n as u64, Release);
    }

    /// Records that a whole frame of `n` bytes was written to the socket past the journal.
    ///
    /// # Panics
    ///
    /// If bytes are pending: the frame has overtaken them and the stream is broken.
    pub fn skip(&mut self, n: usize) {
        assert!(self.pending().is_empty(), "a frame was written to the socket before those that precede it");
        self.commit(n);
        // The word at the new position holds stale bytes below it, which no `recover` asks for: the socket took them.
        self.partial = 0;
    }

    /// Whether a frame of `n` bytes can ever be appended.
    #[must_use]
    pub fn holds(&self, n: usize) -> bool {
        n <= capacity(&*self.memory)
    }

    fn commit(&mut self, n: usize) {
        self.committed += n as u64;
        // Release: the ring's bytes before the position that covers them (rule 1).
        self.memory.committed().store(self.committed, Release);
    }

    /// Stores `bytes` from position `committed` on.
    fn write_ring(&mut self, bytes: &[u8]) {
        let ring = self.memory.ring();
        let (mut index, offset) = locate(self.committed, ring.len());
        let head = bytes.len().min(WORD - offset);
        let (first, rest) = bytes.split_at(head);
        let mut word = self.partial | word_of(first) << (8 * offset);
        if offset + head < WORD {
            ring[index].store(word, Relaxed);
            self.partial = word;
            return;
        }
        let (words, tail) = rest.as_chunks::<WORD>();
        for next in words {
            ring[index].store(word, Relaxed);
            index = if index + 1 == ring.len() { 0 } else { index + 1 };
            word = u64::from_le_bytes(*next);
        }
        ring[index].store(word, Relaxed);
        self.partial = word_of(tail);
        if !tail.is_empty() {
            index = if index + 1 == ring.len() { 0 } else { index + 1 };
            ring[index].store(self.partial, Relaxed);
        }
    }
}

/// Why the journal of a dead worker could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the result journal is damaged: {committed} bytes committed and {received} received cannot both be right"
)]
pub struct RecoverError {
    /// The position that stands in the mapping.
    pub committed: u64,
    /// The position that the parent has read up to.
    pub received: u64,
}

/// Parent: whether the worker has said that it would write the first `received` bytes.
pub(super) fn has_announced<M: Memory>(memory: &M, received: u64) -> bool {
    // Acquire: what came through the socket was announced before.
    received <= memory.committed().load(Acquire) || received <= memory.announced().load(Acquire)
}

/// Parent: the committed bytes beyond `received`.
///
/// Fewer committed than received is no damage: the worker died between writing a large frame and `skip`, or within that
/// frame, whose part the frame reader will find truncated.
pub(super) fn recover<M: Memory>(memory: &M, received: u64) -> Result<Vec<u8>, RecoverError> {
    // Acquire: pairs with the Release in `commit`.
    let committed = memory.committed().load(Acquire);
    let missing = committed.saturating_sub(received);
    if missing > capacity(memory) as u64 {
        return Err(RecoverError { committed, received });
    }
    let ring = memory.ring();
    let mut bytes = Vec::with_capacity(usize::try_from(missing).unwrap_or(0) + 2 * WORD);
    let (_, skip) = locate(received, ring.len());
    let mut position = received - skip as u64;
    while position < committed {
        let (index, _) = locate(position, ring.len());
        bytes.extend_from_slice(&ring[index].load(Relaxed).to_le_bytes());
        let Some(next) = position.checked_add(WORD as u64) else {
            break;
        };
        position = next;
    }
    bytes.truncate(skip + usize::try_from(missing).unwrap_or(0));
    bytes.drain(..skip.min(bytes.len()));
    Ok(bytes)
}

/// The bytes that the ring holds at most.
fn capacity<M: Memory>(memory: &M) -> usize {
    (memory.ring().len() - 1) * WORD
}

/// The ring's word that holds the byte at `position`, and the byte's place in it.
fn locate(position: u64, words: usize) -> (usize, usize) {
    let word = position / WORD as u64 % words as u64;
    (usize::try_from(word).expect("less than the ring's length"), (position % WORD as u64) as usize)
}

/// Up to eight bytes as the low end of a word.
fn word_of(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
