//! The memory of a queue on the heap, with rings of some words and locks that a death frees: for models, by loom's types or the
//! standard ones.

use std::fmt;
use std::io;
use std::ops::Range;

#[cfg(loom)]
use loom::sync::{
    Condvar, Mutex,
    atomic::{AtomicU32, AtomicU64},
};
#[cfg(not(loom))]
use std::sync::{
    Condvar, Mutex,
    atomic::{AtomicU32, AtomicU64},
};

use super::super::memory::{Bell, LockError, Memory, Side};
use crate::ipc::futex::Deadline;

/// The kernel's side of one futex, or of one lock: who sleeps, and a value under it.
struct Gate {
    value: Mutex<u32>,
    changed: Condvar,
}

impl Gate {
    fn new() -> Self {
        Self { value: Mutex::new(0), changed: Condvar::new() }
    }
}

pub(super) struct Heap {
    capacity: u32,
    lengths: Vec<u32>,
    rings: Vec<Vec<AtomicU64>>,
    words: [AtomicU64; 6],
    halves: [AtomicU32; 5],
    bells: [Bell<AtomicU32>; 3],
    locks: [Gate; 3],
    /// Wake-ups of each event, so that a model can sleep on it.
    events: [Gate; 3],
    /// What was discarded.
    pub(super) discarded: std::sync::Mutex<Vec<(u32, Range<u32>)>>,
}

impl fmt::Debug for Heap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heap")
    }
}

impl Heap {
    pub(super) fn new(capacity: u32, lengths: &[u32]) -> Self {
        Self {
            capacity,
            lengths: lengths.to_vec(),
            rings: lengths.iter().map(|&length| (0..length).map(|_| AtomicU64::new(0)).collect()).collect(),
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            halves: std::array::from_fn(|_| AtomicU32::new(0)),
            bells: std::array::from_fn(|_| Bell { wanted: AtomicU32::new(0), event: AtomicU32::new(0) }),
            locks: std::array::from_fn(|_| Gate::new()),
            events: std::array::from_fn(|_| Gate::new()),
            discarded: std::sync::Mutex::default(),
        }
    }

    /// Every 64-bit word outside of the rings.
    pub(super) fn words(&self) -> &[AtomicU64] {
        &self.words
    }

    /// Futex wait, for the models: sleeps while the event of the side is `seen`.
    #[cfg(loom)]
    pub(super) fn sleep(&self, side: Side, seen: u32) {
        let gate = &self.events[side as usize];
        let mut woken = gate.value.lock().expect("no panic while it is held");
        if self.bells[side as usize].event.load(std::sync::atomic::Ordering::Acquire) != seen {
            return;
        }
        let before = *woken;
        while *woken == before {
            woken = gate.changed.wait(woken).expect("no panic while it is held");
        }
    }
}

impl Memory for Heap {
    type Half = AtomicU32;
    type Word = AtomicU64;

    const KEPT_WORDS: u32 = 16;
    const STEP_WORDS: u32 = 8;

    fn capacity(&self) -> u32 {
        self.capacity
    }

    fn rings(&self) -> u32 {
        self.rings.len() as u32
    }

    fn ring_words(&self, ring: u32) -> u32 {
        self.lengths[ring as usize]
    }

    fn tail(&self) -> &AtomicU64 {
        &self.words[0]
    }

    fn head(&self) -> &AtomicU64 {
        &self.words[1]
    }

    fn done(&self) -> &AtomicU64 {
        &self.words[2]
    }

    fn seen_head(&self) -> &AtomicU64 {
        &self.words[3]
    }

    fn seen_tail(&self) -> &AtomicU64 {
        &self.words[4]
    }

    fn total(&self) -> &AtomicU64 {
        &self.words[5]
    }

    fn left(&self, ring: u32) -> &AtomicU32 {
        &self.halves[2 + ring as usize]
    }

    fn slack(&self) -> &AtomicU32 {
        &self.halves[0]
    }

    fn used_rings(&self) -> &AtomicU32 {
        &self.halves[1]
    }

    fn bell(&self, side: Side) -> &Bell<AtomicU32> {
        &self.bells[side as usize]
    }

    fn ring(&self, ring: u32) -> io::Result<&[AtomicU64]> {
        Ok(&self.rings[ring as usize])
    }

    fn discard(&self, ring: u32, words: Range<u32>) {
        assert!(words.end <= self.ring_words(ring), "{words:?} lies in ring {ring}");
        for word in &self.rings[ring as usize][words.start as usize..words.end as usize] {
            word.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        self.discarded.lock().expect("no panic while it is held").push((ring, words));
    }

    fn lock(&self, side: Side, _deadline: Deadline) -> Result<(), LockError> {
        let gate = &self.locks[side as usize];
        let mut held = gate.value.lock().expect("no panic while it is held");
        while *held != 0 {
            held = gate.changed.wait(held).expect("no panic while it is held");
        }
        *held = 1;
        Ok(())
    }

    fn lock_asleep(&self, side: Side, deadline: Deadline) -> Result<(), LockError> {
        self.lock(side, deadline)
    }
    fn unlock(&self, side: Side) {
        let gate = &self.locks[side as usize];
        *gate.value.lock().expect("no panic while it is held") = 0;
        gate.changed.notify_all();
    }

    fn wake_all(&self, event: &AtomicU32) {
        let gates = self.bells.iter().zip(&self.events);
        for (_, gate) in gates.filter(|(bell, _)| std::ptr::eq(&raw const bell.event, event)) {
            *gate.value.lock().expect("no panic while it is held") += 1;
            gate.changed.notify_all();
        }
    }
}
