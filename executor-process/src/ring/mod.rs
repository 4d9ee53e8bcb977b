//! A ring of bytes in shared memory between two processes, and how each wakes the other.
//!
//! One [`Producer`] and one [`Consumer`], each in a process of its own, over one [`Lane`]: a ring of words and two
//! positions. Every word is an atomic, and every number that the other side has written is checked before it is used, so
//! whatever the other process does, at any moment, is at worst a [`Damaged`] ring.
//!
//! ```text
//!             read (consumer)            written (producer)
//!  --------------|------------------------------|---------------> stream of bytes
//!                |   readable, in the ring      |
//!                |<---- at most the capacity -->|
//! ```
//!
//! [`Doze`] is the word by which a side that goes to sleep asks to be woken, so that nobody makes a system call for a side
//! that is awake. The states, the steps and the lost-wake-up argument are in `README.md` beside this file; the loom models
//! in `tests/loom.rs` check it.

mod consumer;
mod doze;
mod memory;
mod producer;

#[cfg(test)]
mod tests;

pub use consumer::Consumer;
pub use doze::{Doze, Need};
pub use memory::{Lane, Word};
pub use producer::Producer;

/// Bytes in a word of the ring.
const WORD: usize = 8;

/// The positions of a ring cannot both be right: the other side's memory was overwritten. The ring is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ring is damaged: written up to {written} and read up to {read} cannot both be right")]
pub struct Damaged {
    /// The producer's position.
    pub written: u64,
    /// The consumer's position.
    pub read: u64,
}

/// The bytes that a ring of so many words holds at most.
///
/// One word stays unused: the word at the producer's position, partly filled, is stored again with more bytes, and must not
/// hold the oldest bytes of the ring as well.
fn capacity(words: usize) -> usize {
    (words - 1) * WORD
}

/// The ring's word that holds the byte at `position`, and the byte's place in it.
#[inline]
fn locate(position: u64, words: usize) -> (usize, usize) {
    let word = position / WORD as u64 % words as u64;
    // Less than the number of words, which is a `usize`.
    (word as usize, (position % WORD as u64) as usize)
}

/// How many bytes are in the ring.
#[inline]
fn held(written: u64, read: u64, words: usize) -> Result<usize, Damaged> {
    match written.checked_sub(read) {
        Some(held) if held <= capacity(words) as u64 => Ok(held as usize),
        _ => Err(Damaged { written, read }),
    }
}
