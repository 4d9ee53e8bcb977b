//! The state word of a task: one atomic `u32` that says who may touch what.
//!
//! See the module documentation of [`task`](super) for the protocol; this file holds one function per transition and
//! no other code writes the word.

use std::fmt;

use crate::sync::{AtomicU32, Ordering};

/// What the task's slot holds at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing: the argument has been moved out, or the output has been taken.
    Empty,
    /// The argument, as it was given.
    Arg,
    /// The argument, serialised.
    Encoded,
    /// The output: a value of `Result<R, Box<TaskError>>`.
    Output,
    /// The output, serialised; it is decoded by whoever takes it.
    EncodedOutput,
}

const CONTENT: u32 = 0b111;
/// A backend has taken charge: only it (not the future) may still decide that the task is cancelled.
const HELD: u32 = 1 << 3;
/// Somebody has won the right to write the output.
const LOCKED: u32 = 1 << 4;
/// The outcome is visible, and the slot belongs to the future.
const DONE: u32 = 1 << 5;
/// The outcome is "cancelled", decided by the future; the slot still belongs to the job.
const CANCELLED: u32 = 1 << 6;
/// The cooperative flag.
const CANCEL_REQUESTED: u32 = 1 << 7;
/// The waker slot is filled and belongs to whoever sets `DONE`. It stays set then: a future that polls again at that moment
/// must see that the slot is not its own.
const WAKER: u32 = 1 << 8;
/// The future wants the task cancelled when it is dropped.
const CANCEL_ON_DROP: u32 = 1 << 9;
/// There is a second completer (a time limit), so that the output must be fought for.
const CONTESTED: u32 = 1 << 10;
/// The body has begun.
const BEGUN: u32 = 1 << 11;
/// The outcome is an error.
const FAILED: u32 = 1 << 12;
/// The outcome is "cancelled", decided by the backend; it is in the slot as any other.
const CANCELLED_BY_BACKEND: u32 = 1 << 13;
const REF_ONE: u32 = 1 << 16;

/// A snapshot of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot(u32);

impl Snapshot {
    #[inline]
    pub(super) fn content(self) -> Content {
        match self.0 & CONTENT {
            0 => Content::Empty,
            1 => Content::Arg,
            2 => Content::Encoded,
            3 => Content::Output,
            4 => Content::EncodedOutput,
            other => unreachable!("content {other} is never stored"),
        }
    }
    #[inline]
    pub(super) fn is_done(self) -> bool {
        self.0 & DONE != 0
    }
    /// Whether the future has decided that the outcome is "cancelled".
    #[inline]
    pub(super) fn is_cancelled(self) -> bool {
        self.0 & CANCELLED != 0
    }
    /// Whether the outcome is "cancelled", whoever has decided so.
    pub(super) fn has_been_cancelled(self) -> bool {
        self.0 & (CANCELLED | CANCELLED_BY_BACKEND) != 0 && self.is_done()
    }
    pub(super) fn is_cancel_requested(self) -> bool {
        self.0 & (CANCEL_REQUESTED | CANCELLED) != 0
    }
    pub(super) fn has_begun(self) -> bool {
        self.0 & BEGUN != 0
    }
    /// Whether the outcome is there and known to be an error.
    pub(super) fn is_failed(self) -> bool {
        self.0 & DONE != 0 && self.0 & (FAILED | CANCELLED) != 0
    }
    #[inline]
    pub(super) fn cancels_on_drop(self) -> bool {
        self.0 & CANCEL_ON_DROP != 0
    }
    #[inline]
    fn references(self) -> u32 {
        self.0 / REF_ONE
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("content", &self.content())
            .field("held", &(self.0 & HELD != 0))
            .field("begun", &self.has_begun())
            .field("done", &self.is_done())
            .field("cancelled", &self.is_cancelled())
            .field("waker", &(self.0 & WAKER != 0))
            .field("references", &self.references())
            .finish()
    }
}

/// What a cancel by the future led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Cancel {
    /// The task is resolved as cancelled and will never begin.
    Done(Published),
    /// A backend is in charge; the flag has been raised, and the backend must be asked.
    Held,
    /// Too late: the task is resolved already.
    TooLate,
}

/// What kind of output is being made visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Value,
    Error,
    Cancelled,
}

/// What is to be done after the output has been made visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Published {
    /// The waker slot is the caller's: take the waker and wake it.
    Wake,
    /// Nobody waits.
    Quiet,
}

/// What came of making an output visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Finish {
    /// It is visible.
    Published(Published),
    /// It is visible, and the caller's reference has been given up.
    Left,
    /// The running task was killed meanwhile: the output is nobody's, and the slot is still the job's.
    Killed,
}

pub(super) struct State(AtomicU32);

impl State {
    /// A new task: the slot holds `content`, and there are `references` references.
    #[inline]
    pub(super) fn new(content: Content, references: u32) -> Self {
        Self(AtomicU32::new(content as u32 | (references * REF_ONE)))
    }

    #[inline]
    pub(super) fn load(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// The backend takes charge: from here on a cancel has to ask it. False if the task is cancelled already.
    #[must_use]
    pub(super) fn transition_to_held(&self) -> bool {
        self.update_unless(DONE, |word| word | HELD).is_some()
    }

    /// The body begins on this thread: what the slot held, which is returned, is the caller's to move out; from here
    /// on the slot counts as empty. `None` if the task is resolved already (rule 4).
    #[must_use]
    #[inline]
    pub(super) fn transition_to_begun(&self) -> Option<Content> {
        self.update_unless(DONE | LOCKED, |word| (word & !CONTENT) | HELD | BEGUN).map(Snapshot::content)
    }

    /// The body has begun elsewhere. The slot is as it was. False if the task is resolved already.
    pub(super) fn mark_begun(&self) -> bool {
        self.update_unless(DONE | LOCKED, |word| word | HELD | BEGUN).is_some()
    }

    /// Changes the word unless one of the forbidden bits is set; gives the word before.
    #[inline]
    fn update_unless(&self, forbidden: u32, change: impl Fn(u32) -> u32) -> Option<Snapshot> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & forbidden != 0 {
                return None;
            }
            match self.0.compare_exchange_weak(word, change(word), Ordering::AcqRel, Ordering::Relaxed) {
                Ok(before) => return Some(Snapshot(before)),
                Err(actual) => word = actual,
            }
        }
    }

    /// The slot holds something else now. Only the holder of the slot (rule 1) calls this.
    #[inline]
    pub(super) fn set_content(&self, from: Content, to: Content) {
        // The content bits are only ever changed by the holder, so that a difference can be added.
        let change = from as u32 ^ to as u32;
        let word = self.0.load(Ordering::Acquire);
        debug_assert_eq!(
            Snapshot(word).content(),
            from,
            "the slot's content is not what its holder believes"
        );
        if Snapshot(word).references() == 1 {
            // Ours is the only reference, so that nobody else can write the word: no need of a locked instruction.
            self.0.store(word ^ change, Ordering::Release);
        } else {
            self.0.fetch_xor(change, Ordering::AcqRel);
        }
    }

    /// There is going to be a second completer.
    pub(super) fn set_contested(&self) {
        self.0.fetch_or(CONTESTED, Ordering::AcqRel);
    }

    /// Fights for the right to write the output. True for exactly one caller; none if the future has cancelled.
    #[must_use]
    #[inline]
    pub(super) fn try_lock_output(&self) -> bool {
        let word = self.0.load(Ordering::Acquire);
        if word & (HELD | CONTESTED | DONE | LOCKED) == HELD {
            // Held by one backend and nobody else writes an output. A kill, which writes none, may still come; it is
            // found out by `transition_to_done`.
            return true;
        }
        self.update_unless(DONE | LOCKED, |word| word | LOCKED | HELD).is_some()
    }

    /// Makes the output visible. Only after [`try_lock_output`](Self::try_lock_output).
    #[inline]
    pub(super) fn transition_to_done(&self, from: Content, to: Content, kind: Kind) -> Finish {
        self.finish(from, to, kind, false)
    }

    /// Makes the output visible, and gives the caller's reference up in the same step if that leaves nothing to do: it
    /// is not the last, and nobody is to be woken. Then the answer is [`Finish::Left`], and the task may be gone.
    #[inline]
    pub(super) fn transition_to_done_and_leave(&self, from: Content, to: Content, kind: Kind) -> Finish {
        self.finish(from, to, kind, true)
    }

    #[inline]
    fn finish(&self, from: Content, to: Content, kind: Kind, may_leave: bool) -> Finish {
        let failed = match kind {
            Kind::Value => 0,
            Kind::Error => FAILED,
            Kind::Cancelled => FAILED | CANCELLED_BY_BACKEND,
        };
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & DONE != 0 {
                return Finish::Killed;
            }
            debug_assert_eq!(
                Snapshot(word).content(),
                from,
                "the slot's content is not what its holder believes"
            );
            let leaves = may_leave && word & WAKER == 0 && Snapshot(word).references() > 1;
            let next = (word & !(CONTENT | LOCKED)) | to as u32 | DONE | failed;
            let next = if leaves { next - REF_ONE } else { next };
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                // From here on `self` may be gone.
                Ok(_) if leaves => return Finish::Left,
                Ok(before) if before & WAKER != 0 => return Finish::Published(Published::Wake),
                Ok(_) => return Finish::Published(Published::Quiet),
                Err(actual) => word = actual,
            }
        }
    }

    /// The backend gives a task up whose body may be running here. `None` if it is resolved, or about to be.
    ///
    /// The outcome is in the word alone, so that the slot stays the job's (rule 1) and the body may go on.
    pub(super) fn transition_to_killed(&self) -> Option<Published> {
        let before = self.update_unless(DONE | LOCKED, |word| word | DONE | CANCELLED | CANCEL_REQUESTED)?;
        Some(if before.0 & WAKER != 0 { Published::Wake } else { Published::Quiet })
    }

    /// The future cancels.
    pub(super) fn transition_to_cancelled(&self) -> Cancel {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (next, outcome) = if word & (DONE | LOCKED) != 0 {
                return Cancel::TooLate;
            } else if word & HELD != 0 {
                (word | CANCEL_REQUESTED, Cancel::Held)
            } else {
                let published = match word & WAKER {
                    0 => Published::Quiet,
                    _ => Published::Wake,
                };
                (word | DONE | CANCELLED, Cancel::Done(published))
            };
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return outcome,
                Err(actual) => word = actual,
            }
        }
    }

    /// Raises the cooperative flag.
    pub(super) fn request_cancel(&self) {
        self.0.fetch_or(CANCEL_REQUESTED, Ordering::AcqRel);
    }

    pub(super) fn set_cancel_on_drop(&self) {
        self.0.fetch_or(CANCEL_ON_DROP, Ordering::AcqRel);
    }

    /// Takes the waker slot back for the future. False if the outcome is there: then the slot is the completer's.
    #[must_use]
    pub(super) fn try_unset_waker(&self) -> bool {
        self.update_unless(DONE, |word| word & !WAKER).is_some()
    }

    /// Publishes the waker slot. False if the outcome is there meanwhile: then the slot is still the future's.
    #[must_use]
    #[inline]
    pub(super) fn try_set_waker(&self) -> bool {
        self.update_unless(DONE, |word| word | WAKER).is_some()
    }

    #[inline]
    pub(super) fn has_waker(&self) -> bool {
        self.0.load(Ordering::Relaxed) & WAKER != 0
    }

    pub(super) fn add_reference(&self) {
        let before = self.0.fetch_add(REF_ONE, Ordering::Relaxed);
        assert!(Snapshot(before).references() < u32::from(u16::MAX), "too many handles of one task");
    }

    /// Gives a reference up. True for the last one.
    #[must_use]
    #[inline]
    pub(super) fn drop_reference(&self) -> bool {
        // The only reference: nobody is left to make another one, or to see the count.
        if self.load().references() == 1 {
            return true;
        }
        let before = self.0.fetch_sub(REF_ONE, Ordering::AcqRel);
        debug_assert!(Snapshot(before).references() > 0, "reference count underflow");
        Snapshot(before).references() == 1
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.load().fmt(f)
    }
}
