//! The claim slots: who gets to decide about an offered task, the worker or the parent.
//!
//! One word per slot:
//!
//! ```text
//!   31                               3   2    1 0
//!  +----------------------------------+---+-----+
//!  |            generation            | C | St  |
//!  +----------------------------------+---+-----+
//!
//!        offer            claim (worker)
//!  any ---------> READY ----------------> BEGUN
//!  but READY        |
//!                   +-------------------> REVOKED
//!                     revoke (parent)
//! ```
//!
//! 1. `offer` is the parent's alone and starts a new generation; it is a plain store, because in every state but READY
//!    the worker writes nothing to the word.
//! 2. READY is left once per generation, by compare-and-swap: to BEGUN by the worker, to REVOKED by the parent.
//! 3. C, the cancel flag, is set by the parent alone, in READY or BEGUN, and cleared by the next `offer`.
//! 4. Every operation but `offer` names the generation by its [`Ticket`] and does nothing to any other generation. So a
//!    message that is still in the socket when its task was revoked, and the slot offered again, claims nothing.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::WINDOW;
use super::memory::Memory;
use crate::ring::Word;

/// Right to one generation of one claim slot; travels with the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket {
    slot: u16,
    generation: u32,
}

const SLOT_BITS: u32 = WINDOW.trailing_zeros();
const GENERATION_BITS: u32 = 29;

impl Ticket {
    /// The slot's index, below [`WINDOW`].
    #[must_use]
    pub fn slot(self) -> usize {
        usize::from(self.slot)
    }

    /// The ticket as a number for a message; small for young boards, at most 39 bits.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        u64::from(self.generation) << SLOT_BITS | u64::from(self.slot)
    }

    /// The ticket that [`to_bits`](Self::to_bits) made a number of; `None` if no ticket has that number.
    #[must_use]
    pub fn from_bits(bits: u64) -> Option<Self> {
        let slot = u16::try_from(bits % WINDOW as u64).ok()?;
        let generation = u32::try_from(bits >> SLOT_BITS).ok()?;
        (generation >> GENERATION_BITS == 0).then_some(Self { slot, generation })
    }
}

/// What has become of an offered task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SlotState {
    /// The worker has not begun it; after the worker's death: it never will.
    Offered,
    /// The worker has begun it.
    Begun,
    /// The parent took it back; the worker will never begin it.
    Revoked,
    /// The word is none that the protocol writes for this ticket: the slot was offered again, or the worker's memory was
    /// overwritten. A task in this state has to be treated as begun.
    Damaged,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Free,
    Ready,
    Begun,
    Revoked,
}

/// The word, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    generation: u32,
    cancel: bool,
    phase: Phase,
}

impl Claim {
    #[inline]
    fn ready(generation: u32) -> Self {
        Self { generation, cancel: false, phase: Phase::Ready }
    }

    #[inline]
    fn decode(word: u32) -> Self {
        let phase = match word & 0b11 {
            0 => Phase::Free,
            1 => Phase::Ready,
            2 => Phase::Begun,
            _ => Phase::Revoked,
        };
        Self { generation: word >> 3, cancel: word & 0b100 != 0, phase }
    }

    #[inline]
    fn encode(self) -> u32 {
        self.generation << 3 | u32::from(self.cancel) << 2 | self.phase as u32
    }
}

#[inline]
fn load<M: Memory>(memory: &M, ticket: Ticket) -> Option<Claim> {
    let claim = Claim::decode(memory.claims()[ticket.slot()].load(Acquire));
    (claim.generation == ticket.generation).then_some(claim)
}

/// Moves the ticket's word along by `step` until that succeeds or `step` declines (`None`).
///
/// The first attempt assumes what is nearly always so, READY without flag, instead of looking: a look would fetch the
/// word's cache line twice, once to read and once to write.
#[inline]
fn advance<M: Memory>(memory: &M, ticket: Ticket, step: impl Fn(Claim) -> Option<Claim>) -> bool {
    let word = &memory.claims()[ticket.slot()];
    let mut claim = Claim::ready(ticket.generation);
    loop {
        if claim.generation != ticket.generation {
            return false;
        }
        let Some(next) = step(claim) else {
            return false;
        };
        // Release on success: what this side did before (the worker: committed results; the parent: nothing that the
        // worker needs) is visible to whoever sees the new state. Acquire: the other side's moves are seen in order.
        match word.compare_exchange(claim.encode(), next.encode(), AcqRel, Acquire) {
            Ok(_) => return true,
            Err(found) => claim = Claim::decode(found),
        }
    }
}

/// Parent: READY in a new generation.
#[inline]
pub(super) fn offer<M: Memory>(memory: &M, slot: usize) -> Ticket {
    assert!(slot < memory.claims().len(), "slot {slot} is outside the board");
    let word = &memory.claims()[slot];
    // Relaxed: only the parent's own writes matter, and those of one slot are ordered by whatever hands the slot from
    // one of its threads to the next. A worker that scribbles here spoils its own tasks' tickets, nothing else.
    let last = Claim::decode(word.load(Relaxed));
    let generation = last.generation.wrapping_add(1) & ((1 << GENERATION_BITS) - 1);
    word.store(Claim::ready(generation).encode(), Release);
    Ticket { slot: u16::try_from(slot).expect("WINDOW fits u16"), generation }
}

/// Parent: READY -> REVOKED.
#[inline]
pub(super) fn revoke<M: Memory>(memory: &M, ticket: Ticket) -> bool {
    advance(memory, ticket, |claim| {
        (claim.phase == Phase::Ready).then_some(Claim { phase: Phase::Revoked, ..claim })
    })
}

/// Worker: READY -> BEGUN.
#[inline]
pub(super) fn claim<M: Memory>(memory: &M, ticket: Ticket) -> bool {
    // The last task's progress, before anybody can take it for this one's. Only the worker writes progress, and no task
    // of this slot is running in it now.
    let progress = &memory.progress()[ticket.slot()];
    if progress.load(Relaxed) != NO_PROGRESS {
        progress.store(NO_PROGRESS, Relaxed);
    }
    advance(memory, ticket, |claim| {
        (claim.phase == Phase::Ready).then_some(Claim { phase: Phase::Begun, ..claim })
    })
}

/// Parent: raises C.
pub(super) fn request_cancel<M: Memory>(memory: &M, ticket: Ticket) -> bool {
    advance(memory, ticket, |claim| {
        matches!(claim.phase, Phase::Ready | Phase::Begun).then_some(Claim { cancel: true, ..claim })
    })
}

/// Worker: is C up? A slot that was given to another task means that nobody waits for this one, hence true.
#[inline]
pub(super) fn cancel_requested<M: Memory>(memory: &M, ticket: Ticket) -> bool {
    load(memory, ticket).is_none_or(|claim| claim.cancel)
}

pub(super) fn state<M: Memory>(memory: &M, ticket: Ticket) -> SlotState {
    match load(memory, ticket).map(|claim| claim.phase) {
        Some(Phase::Ready) => SlotState::Offered,
        Some(Phase::Begun) => SlotState::Begun,
        Some(Phase::Revoked) => SlotState::Revoked,
        Some(Phase::Free) | None => SlotState::Damaged,
    }
}

/// Progress is stored as the bits of the number, inverted, so that the zeroed mapping says "none": the number whose
/// inverted bits are zero is a NaN, and NaN is never stored.
const NO_PROGRESS: u64 = 0;

/// Worker: stores the progress of a task that it is running. NaN is ignored.
#[inline]
pub(super) fn report_progress<M: Memory>(memory: &M, ticket: Ticket, value: f64) {
    if !value.is_nan() {
        memory.progress()[ticket.slot()].store(!value.to_bits(), Relaxed);
    }
}

pub(super) fn progress<M: Memory>(memory: &M, ticket: Ticket) -> Option<f64> {
    let begun = || state(memory, ticket) == SlotState::Begun;
    if !begun() {
        return None;
    }
    let bits = memory.progress()[ticket.slot()].load(Relaxed);
    let value = f64::from_bits(!bits);
    (bits != NO_PROGRESS && !value.is_nan()).then_some(value)
}
