//! A bounded queue of pointers, first in first out, for any number of pushers and poppers.
//!
//! # The protocol
//!
//! Each push takes the next number from `tail`, each pop the next from `head`. Number `i` lives in segment `i / SLOTS`, at slot
//! `i % SLOTS`. Segments are never freed while the queue lives, only used again; which one holds which numbers, the
//! *directory* tells: its entry for segment number `s` is at `s % directory length` and names `s`, the segment's place
//! in the *arena*, and the *tag* of this use.
//!
//! 1. **Push.** A compare-and-swap of `tail` takes the number, if the queue is neither closed (lowest bit) nor full. Then the slot is
//!    written: the pointer, with the tag in its lowest bit, with release.
//! 2. **Written or not.** A segment changes its tag with each use, and each slot is written once a use. So a slot whose
//!    tag is not that of the directory's entry has not been written yet. A pop that finds such a slot says that the queue is empty; the
//!    push that is on its way there calls for a popper after its write, as every push does.
//! 3. **Pop.** The slot is read first; then a compare-and-swap of `head` makes its content the popper's. If it succeeds, `head` has not
//!    moved since it was read, so that the segment was in this use all the time; if not, what was read, possibly of
//!    another use, is forgotten. Nothing is written to the slot.
//! 4. **Segments.** Whoever pops the last number of a segment clears the directory entry and gives the segment back. By 3
//!    nobody needs it any more: all its numbers have been popped, so all have been written. Whoever pushes first to a
//!    segment number installs one. Both are done under a mutex, once in `SLOTS` operations.
//!
//! Memory: 8 bytes for each task of the longest queue there ever was.

use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use crate::sync::{AtomicPtr, AtomicU64, Mutex, Ordering, Padded, give_way, lock};

/// Slots of a segment: 32 KiB. Larger ones cost small pools memory, smaller ones take the mutex more often.
#[cfg(not(loom))]
const SLOTS: u64 = 4096;
#[cfg(loom)]
const SLOTS: u64 = 2;

/// The largest capacity: as many segments as an entry can name, less two for the half-used ones at both ends.
pub(crate) const MAX_CAPACITY: usize = ((1 << ARENA_BITS) - 2) * SLOTS as usize;

const ARENA_BITS: u32 = 15;
const CLOSED: u64 = 1;

/// Why a push was refused; the pointer is still the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

pub(crate) struct Queue {
    tail: Padded<Tail>,
    head: Padded<AtomicU64>,
    directory: Box<[AtomicU64]>,
    arena: Box<[OnceLock<Segment>]>,
    spares: Mutex<Spares>,
}

struct Tail {
    /// The next number to push, times two; the lowest bit says that the queue is closed.
    next: AtomicU64,
    /// A value that `head` once had, so that a push need not read the poppers' cache line.
    head_seen: AtomicU64,
}

struct Segment {
    slots: Box<[AtomicPtr<()>]>,
}

#[derive(Default)]
struct Spares {
    /// Places in the arena, each with the tag of its last use.
    free: Vec<(u64, u64)>,
    used: u64,
}

/// What a directory entry tells; 0 is no entry.
#[derive(Clone, Copy)]
struct Entry(u64);

impl Entry {
    fn new(segment: u64, place: u64, tag: u64) -> Self {
        Self((segment + 1) << (ARENA_BITS + 1) | place << 1 | tag)
    }
    fn is_for(self, segment: u64) -> bool {
        self.0 >> (ARENA_BITS + 1) == segment + 1
    }
    fn place(self) -> u64 {
        self.0 >> 1 & ((1 << ARENA_BITS) - 1)
    }
    fn tag(self) -> usize {
        (self.0 & 1) as usize
    }
}

impl Queue {
    /// For a queue in which at least `capacity` pointers fit, at most [`MAX_CAPACITY`].
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(capacity <= MAX_CAPACITY, "the capacity is checked by the configuration");
        let segments = capacity.div_ceil(SLOTS as usize) + 2;
        let segments = segments.next_power_of_two();
        Self {
            tail: Padded(Tail { next: AtomicU64::new(0), head_seen: AtomicU64::new(0) }),
            head: Padded(AtomicU64::new(0)),
            directory: (0..segments).map(|_| AtomicU64::new(0)).collect(),
            arena: (0..segments).map(|_| OnceLock::new()).collect(),
            spares: Mutex::default(),
        }
    }

    /// How many pointers fit.
    pub(crate) fn capacity(&self) -> u64 {
        (self.directory.len() as u64 - 2) * SLOTS
    }

    /// Appends, unless there are `limit` pointers already; never more than fit. `pointer` is aligned to at least 2.
    #[inline]
    pub(crate) fn push(&self, pointer: NonNull<()>, limit: u64) -> Result<(), Refused> {
        debug_assert_eq!(pointer.addr().get() & 1, 0, "the lowest bit holds the tag");
        let number = self.take_number(limit.min(self.capacity()))?;
        let (segment, slot) = (number / SLOTS, number % SLOTS);
        let entry = self.installed(segment);
        let tagged = pointer.as_ptr().map_addr(|address| address | entry.tag());
        self.slot(entry, slot).store(tagged, Ordering::Release);
        Ok(())
    }

    #[inline]
    fn take_number(&self, limit: u64) -> Result<u64, Refused> {
        let mut next = self.tail.next.load(Ordering::Relaxed);
        loop {
            if next & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            let number = next / 2;
            if number.saturating_sub(self.tail.head_seen.load(Ordering::Relaxed)) >= limit {
                let head = self.head.load(Ordering::SeqCst);
                self.tail.head_seen.store(head, Ordering::Relaxed);
                if number.saturating_sub(head) >= limit {
                    return Err(Refused::Full);
                }
            }
            match self.tail.next.compare_exchange_weak(next, next + 2, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Ok(number),
                Err(actual) => next = actual,
            }
        }
    }

    /// Takes the oldest. `None` if there is none, or if the push that is to give it has not written it yet.
    #[inline]
    pub(crate) fn pop(&self) -> Option<NonNull<()>> {
        let mut number = self.head.load(Ordering::Acquire);
        loop {
            let Some(pointer) = self.written(number) else {
                match self.head.load(Ordering::Acquire) {
                    same if same == number => return None,
                    moved => number = moved,
                }
                continue;
            };
            match self.head.compare_exchange_weak(number, number + 1, Ordering::SeqCst, Ordering::Acquire) {
                Ok(_) => {
                    if (number + 1).is_multiple_of(SLOTS) {
                        self.give_back(number / SLOTS);
                    }
                    return Some(pointer);
                }
                Err(actual) => number = actual,
            }
        }
    }

    /// What slot `number` holds, if it has been written; worth something only if `head` is still `number` afterwards.
    #[inline]
    fn written(&self, number: u64) -> Option<NonNull<()>> {
        let entry = self.entry(number / SLOTS)?;
        let tagged = self.slot(entry, number % SLOTS).load(Ordering::Acquire);
        if tagged.addr() & 1 != entry.tag() {
            return None;
        }
        NonNull::new(tagged.map_addr(|address| address & !1))
    }

    /// Whether a pop would find something.
    pub(crate) fn has_written(&self) -> bool {
        loop {
            let number = self.head.load(Ordering::SeqCst);
            if self.written(number).is_some() {
                return true;
            }
            if self.head.load(Ordering::SeqCst) == number {
                return false;
            }
        }
    }

    /// How many numbers have been pushed, or are just being, and not popped.
    pub(crate) fn len(&self) -> u64 {
        let head = self.head.load(Ordering::SeqCst);
        (self.tail.next.load(Ordering::SeqCst) / 2).saturating_sub(head)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.tail.next.load(Ordering::SeqCst) & CLOSED != 0
    }

    /// Later pushes are refused.
    pub(crate) fn close(&self) {
        self.tail.next.fetch_or(CLOSED, Ordering::SeqCst);
    }

    #[inline]
    fn entry(&self, segment: u64) -> Option<Entry> {
        let entry = Entry(self.directory_entry(segment).load(Ordering::Acquire));
        entry.is_for(segment).then_some(entry)
    }

    #[inline]
    fn directory_entry(&self, segment: u64) -> &AtomicU64 {
        &self.directory[segment as usize & (self.directory.len() - 1)]
    }

    #[inline]
    fn slot(&self, entry: Entry, slot: u64) -> &AtomicPtr<()> {
        let segment = self.arena[entry.place() as usize].get();
        &segment.expect("an entry is made after its segment").slots[slot as usize]
    }

    #[inline]
    fn installed(&self, segment: u64) -> Entry {
        loop {
            if let Some(entry) = self.entry(segment) {
                return entry;
            }
            self.install(segment);
        }
    }

    #[cold]
    fn install(&self, segment: u64) {
        let mut spares = lock(&self.spares);
        match self.directory_entry(segment).load(Ordering::Acquire) {
            0 => {}
            entry if Entry(entry).is_for(segment) => return,
            _ => {
                // The numbers before, a directory's length ago, have all been popped, or there would have been no room for
                // ours; whoever popped the last is about to clear the entry.
                drop(spares);
                give_way();
                return;
            }
        }
        let (place, tag) = match spares.free.pop() {
            Some((place, tag)) => (place, 1 - tag),
            None => {
                self.arena[spares.used as usize].get_or_init(Segment::new);
                spares.used += 1;
                // Fresh slots are null, which counts as tag 0: not written yet in a use of tag 1.
                (spares.used - 1, 1)
            }
        };
        self.directory_entry(segment).store(Entry::new(segment, place, tag).0, Ordering::Release);
    }

    #[cold]
    fn give_back(&self, segment: u64) {
        let mut spares = lock(&self.spares);
        let entry = Entry(self.directory_entry(segment).load(Ordering::Relaxed));
        self.directory_entry(segment).store(0, Ordering::Release);
        spares.free.push((entry.place(), entry.tag() as u64));
    }
}

impl Segment {
    fn new() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicPtr::new(ptr::null_mut())).collect() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
