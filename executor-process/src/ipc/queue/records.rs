//! The steps of putting, getting and counting, without waiting. The protocol is in `README.md`.
//!
//! Every number read from the memory is checked before it is used as an index or a length; what cannot be right is
//! [`Damage`].

use std::io;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::mark::{Between, Mark};
use super::memory::{LockError, Locked, Memory, Side, Word};
use crate::ipc::futex::Deadline;

/// An item of `length` bytes follows; the low half is the length.
const ITEM: u64 = 0x4954_454d << 32;
/// The next record is in the ring that the low half says.
const JUMP: u64 = 0x4a55_4d50 << 32;
const KIND: u64 = !(u32::MAX as u64);

/// After so many puts that needed a quarter of the ring at most, a smaller ring is used.
const SLACK: u32 = 256;

/// What in the shared memory cannot be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("the ends of the queue do not fit together")]
    Ends,
    #[error("a ring is named that does not exist")]
    Ring,
    #[error("where an item should begin, there is something else")]
    Record,
    #[error("an item is longer than what was put")]
    Length,
    #[error(transparent)]
    Lock(LockError),
}

/// Why nothing was put.
#[derive(Debug, thiserror::Error)]
pub(super) enum PushError {
    #[error("full")]
    Full,
    #[error("larger than the queue's memory")]
    TooLarge,
    #[error("timed out")]
    TimedOut,
    #[error(transparent)]
    Damaged(Damage),
    #[error("the queue's memory cannot be mapped")]
    Map(#[from] io::Error),
}

/// Why nothing was got.
#[derive(Debug, thiserror::Error)]
pub(super) enum PopError {
    #[error("empty")]
    Empty,
    #[error("timed out")]
    TimedOut,
    #[error(transparent)]
    Damaged(Damage),
    #[error("the queue's memory cannot be mapped")]
    Map(#[from] io::Error),
}

/// Why nothing was counted as done.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum DoneError {
    #[error("called more often than there were items")]
    TooOften,
    #[error("timed out")]
    TimedOut,
    #[error(transparent)]
    Damaged(Damage),
}

macro_rules! from_lock {
    ($($error:ident)*) => { $(
        impl From<LockError> for $error {
            fn from(error: LockError) -> Self {
                match error {
                    LockError::TimedOut => Self::TimedOut,
                    error => Self::Damaged(Damage::Lock(error)),
                }
            }
        }
        impl From<Damage> for $error {
            fn from(damage: Damage) -> Self {
                Self::Damaged(damage)
            }
        }
    )* };
}

from_lock!(PushError PopError DoneError);

/// Words of the record of an item.
fn words_of(bytes: usize) -> Option<u32> {
    u32::try_from(bytes.div_ceil(8)).ok()?.checked_add(1)
}

/// The same, if some ring can hold it together with a jump.
fn fitting_words<M: Memory>(memory: &M, bytes: usize) -> Option<u32> {
    words_of(bytes)
        .filter(|&words| fits(Between { words: 0, items: 0 }, words.saturating_add(1), longest(memory)))
}

fn longest<M: Memory>(memory: &M) -> u32 {
    memory.ring_words(memory.rings() - 1)
}

fn ring_of<M: Memory>(memory: &M, mark: Mark) -> Result<u32, Damage> {
    if mark.ring < memory.rings() { Ok(mark.ring) } else { Err(Damage::Ring) }
}

/// A word of a ring, by position. `words.len()` is a power of two.
#[inline]
fn at<W>(words: &[W], position: u32) -> &W {
    &words[position as usize & (words.len() - 1)]
}

/// Puts one item.
///
/// # Errors
///
/// [`PushError`]; nothing was put then.
pub(super) fn push<M: Memory>(memory: &M, item: &[u8], deadline: Deadline) -> Result<(), PushError> {
    let words = fitting_words(memory, item.len()).ok_or(PushError::TooLarge)?;
    let locked = Locked::take(memory, Side::Tail, deadline)?;
    let tail = Mark::of(memory.tail().load(Relaxed));
    let total = tail.total_since(memory.total().load(Relaxed));
    let start = place(&locked, tail, words)?;
    write(memory, start, item)?;
    locked.ring_bell();
    let end = start.after_item(words);
    memory.tail().store(end.word(), Release);
    // Release: who sees this total also sees the tail that belongs to it, or a later one.
    memory.total().store(end.total_since(total), Release);
    Ok(())
}

/// Finds room for a record of `words`; jumps to another ring if need be. Nothing of it counts until the tail moves.
fn place<M: Memory>(locked: &Locked<'_, M>, tail: Mark, words: u32) -> Result<Mark, PushError> {
    let memory = locked.memory();
    let longest = longest(memory);
    let ring = ring_of(memory, tail)?;
    let room = memory.ring_words(ring);
    // What putters saw last is behind the real head, which can only leave less room than there is.
    let seen = Mark::of(memory.seen_head().load(Relaxed));
    if let Some(used) = seen.until(tail, longest)
        && used.items < memory.capacity()
        && fits(used, words, room)
        && ring == 0
    {
        return Ok(tail);
    }
    let word = memory.head().load(Acquire);
    memory.seen_head().store(word, Relaxed);
    let used = Mark::of(word).until(tail, longest).ok_or(Damage::Ends)?;
    if used.items >= memory.capacity() {
        return Err(PushError::Full);
    }
    let target = if fits(used, words, room) {
        if !is_slack(memory, ring, used, words) {
            return Ok(tail);
        }
        ring - 1
    } else {
        // One word more than for the record: the jump itself.
        match (ring + 1..memory.rings()).find(|&ring| fits(used, words + 1, memory.ring_words(ring))) {
            Some(target) => target,
            None => return Err(PushError::Full),
        }
    };
    jump(memory, tail, target)
}

/// Whether the record fits, with one word to spare, in which a jump can be written.
fn fits(used: Between, words: u32, room: u32) -> bool {
    u64::from(used.words) + u64::from(words) < u64::from(room)
}

/// Whether the next smaller ring has been enough for long.
fn is_slack<M: Memory>(memory: &M, ring: u32, used: Between, words: u32) -> bool {
    if ring == 0 {
        return false;
    }
    let smaller = memory.ring_words(ring - 1);
    if !fits(used, words + 1, smaller / 2) {
        memory.slack().store(0, Relaxed);
        return false;
    }
    let slack = memory.slack().load(Relaxed).saturating_add(1);
    memory.slack().store(slack, Relaxed);
    slack > SLACK
}

/// Writes a jump; the place behind it, in ring `target`.
fn jump<M: Memory>(memory: &M, from: Mark, target: u32) -> Result<Mark, PushError> {
    // Mapped first, so that nothing is changed if that fails.
    memory.ring(target)?;
    at(memory.ring(from.ring)?, from.position).store(JUMP | u64::from(target), Relaxed);
    memory.left(from.ring).store(from.position, Relaxed);
    memory.slack().store(0, Relaxed);
    let used = memory.used_rings().load(Relaxed);
    memory.used_rings().store(used | 1 << from.ring | 1 << target, Relaxed);
    Ok(Mark { ring: target, ..from.advanced(1) })
}

fn write<M: Memory>(memory: &M, start: Mark, item: &[u8]) -> Result<(), PushError> {
    let ring = memory.ring(start.ring)?;
    at(ring, start.position).store(ITEM | item.len() as u64, Relaxed);
    let (whole, rest) = item.as_chunks::<8>();
    let mut position = start.position.wrapping_add(1);
    let mut whole = whole.iter();
    // In the two pieces that the ring's end makes of it.
    while !whole.as_slice().is_empty() {
        let begin = position as usize & (ring.len() - 1);
        let mut count = 0;
        for (word, bytes) in ring[begin..].iter().zip(&mut whole) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
            count += 1;
        }
        position = position.wrapping_add(count);
    }
    if !rest.is_empty() {
        let mut bytes = [0; 8];
        bytes[..rest.len()].copy_from_slice(rest);
        at(ring, position).store(u64::from_le_bytes(bytes), Relaxed);
    }
    Ok(())
}

/// Takes the next item, whose bytes replace what is in `item`.
///
/// # Errors
///
/// [`PopError`]; nothing was taken then.
pub(super) fn pop<M: Memory>(memory: &M, item: &mut Vec<u8>, deadline: Deadline) -> Result<(), PopError> {
    let locked = Locked::take(memory, Side::Head, deadline)?;
    let head = Mark::of(memory.head().load(Relaxed));
    let longest = longest(memory);
    let mut tail = Mark::of(memory.seen_tail().load(Relaxed));
    let mut ahead = head.until(tail, longest);
    if ahead.is_none_or(|ahead| ahead.items == 0) {
        let word = memory.tail().load(Acquire);
        memory.seen_tail().store(word, Relaxed);
        tail = Mark::of(word);
        ahead = head.until(tail, longest);
    }
    let mut ahead = ahead.ok_or(Damage::Ends)?;
    if ahead.items == 0 {
        return Err(PopError::Empty);
    }
    let mut start = head;
    let mut words = memory.ring(ring_of(memory, start)?)?;
    let mut header = first_word(words, start, ahead)?;
    // Each jump takes one of the words that lie ahead, so this ends.
    while header & KIND == JUMP {
        start = Mark { ring: header as u32, ..start.advanced(1) };
        ahead.words -= 1;
        words = memory.ring(ring_of(memory, start)?)?;
        header = first_word(words, start, ahead)?;
    }
    if header & KIND != ITEM {
        return Err(Damage::Record.into());
    }
    let bytes = header as u32 as usize;
    let record = words_of(bytes).filter(|&record| record <= ahead.words).ok_or(Damage::Length)?;
    read(words, start, bytes, item)?;
    let end = start.after_item(record);
    locked.ring_bell();
    memory.head().store(end.word(), Release);
    drop(locked);
    if gives_back(memory, head, end) {
        // Of no concern to who gets the item; the next one will do it.
        let _ = give_back(memory, deadline);
    }
    Ok(())
}

fn first_word<W: Word<u64>>(words: &[W], start: Mark, ahead: Between) -> Result<u64, Damage> {
    if ahead.words == 0 {
        return Err(Damage::Ends);
    }
    Ok(at(words, start.position).load(Relaxed))
}

/// The caller has checked that so many bytes were put, which is at most what the longest ring holds.
fn read<W: Word<u64>>(words: &[W], start: Mark, bytes: usize, item: &mut Vec<u8>) -> Result<(), PopError> {
    item.clear();
    let count = bytes.div_ceil(8);
    if count >= words.len() {
        return Err(Damage::Length.into());
    }
    item.try_reserve(count * 8).map_err(|_| {
        io::Error::new(io::ErrorKind::OutOfMemory, format!("no memory for an item of {bytes} bytes"))
    })?;
    let begin = start.position.wrapping_add(1) as usize & (words.len() - 1);
    let first = &words[begin..words.len().min(begin + count)];
    let second = &words[..count - first.len()];
    for word in first.iter().chain(second) {
        item.extend_from_slice(&word.load(Relaxed).to_le_bytes());
    }
    item.truncate(bytes);
    Ok(())
}

/// Whether a get from `head` to `end` has made pages superfluous: it followed a jump, or has gone through a step's worth of a
/// long ring.
fn gives_back<M: Memory>(memory: &M, head: Mark, end: Mark) -> bool {
    head.ring != end.ring
        || (memory.ring_words(end.ring) > M::KEPT_WORDS
            && head.position / M::STEP_WORDS != end.position / M::STEP_WORDS)
}

/// Gives the pages back that hold nothing. Under the tail's lock, so nothing is put meanwhile; what is got meanwhile only makes
/// more free.
fn give_back<M: Memory>(memory: &M, deadline: Deadline) -> Result<(), PopError> {
    let _locked = Locked::take(memory, Side::Tail, deadline)?;
    let tail = Mark::of(memory.tail().load(Relaxed));
    let head = Mark::of(memory.head().load(Acquire));
    let waiting = head.until(tail, longest(memory)).ok_or(Damage::Ends)?.words;
    let tail_ring = ring_of(memory, tail)?;
    let before = memory.used_rings().load(Relaxed);
    let mut used = before;
    for ring in (0..memory.rings()).filter(|ring| before & (1 << ring) != 0) {
        let room = memory.ring_words(ring);
        // What waits in this ring ends at its last jump, which may wait itself, or at the tail; and a step behind the tail is
        // kept, as it will be needed first.
        let (end, kept) = match ring == tail_ring {
            true => (tail.position, M::STEP_WORDS),
            false => (memory.left(ring).load(Relaxed).wrapping_add(1), 0),
        };
        let after = tail.position.wrapping_sub(end);
        if ring != tail_ring && after >= waiting {
            used &= !(1 << ring);
            if ring > 0 {
                memory.discard(ring, 0..room);
            }
        } else if room > M::KEPT_WORDS {
            let free = room.saturating_sub(waiting.saturating_sub(after)).saturating_sub(kept);
            let begin = end.wrapping_add(kept) & (room - 1);
            let first = free.min(room - begin);
            memory.discard(ring, begin..begin + first);
            memory.discard(ring, 0..free - first);
        }
    }
    memory.used_rings().store(used, Relaxed);
    Ok(())
}

/// Items that wait.
pub(super) fn len<M: Memory>(memory: &M) -> u32 {
    // The head first: it cannot overtake a tail that is read later.
    let head = Mark::of(memory.head().load(Acquire));
    let tail = Mark::of(memory.tail().load(Acquire));
    head.until(tail, u32::MAX).map_or(0, |between| between.items.min(memory.capacity()))
}

/// Whether a get would find something, or damage.
pub(super) fn has_items<M: Memory>(memory: &M) -> bool {
    Mark::of(memory.head().load(Acquire)).count != Mark::of(memory.tail().load(Acquire)).count
}

/// Whether a put of an item of so many bytes would find room, or an error.
pub(super) fn has_room<M: Memory>(memory: &M, bytes: usize) -> bool {
    let Some(words) = fitting_words(memory, bytes) else { return true };
    let head = Mark::of(memory.head().load(Acquire));
    let tail = Mark::of(memory.tail().load(Acquire));
    let longest = longest(memory);
    head.until(tail, longest)
        .is_none_or(|used| used.items < memory.capacity() && fits(used, words + 1, longest))
}

/// All items that were ever put.
fn total<M: Memory>(memory: &M) -> u64 {
    let total = memory.total().load(Acquire);
    Mark::of(memory.tail().load(Acquire)).total_since(total)
}

/// Counts one item as done.
pub(super) fn finish<M: Memory>(memory: &M, deadline: Deadline) -> Result<(), DoneError> {
    let locked = Locked::take(memory, Side::Done, deadline)?;
    let done = memory.done().load(Relaxed);
    let total = total(memory);
    if done >= total {
        return Err(DoneError::TooOften);
    }
    if done + 1 == total {
        locked.ring_bell();
    }
    memory.done().store(done + 1, Release);
    Ok(())
}

/// Whether all that was put is done.
pub(super) fn is_all_done<M: Memory>(memory: &M) -> bool {
    memory.done().load(Acquire) >= total(memory)
}

/// Asks for the bell of a side, unless it is not needed: the value of the event to sleep on. `ready` is asked under the side's lock.
pub(super) fn listen<M: Memory>(
    memory: &M,
    side: Side,
    deadline: Deadline,
    ready: impl FnOnce(&M) -> bool,
) -> Result<Option<u32>, LockError> {
    // One who rings the bell has the lock, and was perhaps interrupted by the very one whom it has woken.
    let locked = Locked::take_asleep(memory, side, deadline)?;
    Ok(if ready(memory) { None } else { Some(locked.want_bell()) })
}
