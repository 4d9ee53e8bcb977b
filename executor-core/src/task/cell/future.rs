//! What the future does with a task.

use std::mem::MaybeUninit;
use std::task::Waker;
use std::time::Instant;

use super::super::state::{Cancel, Content, Published};
use super::super::{CancelOutcome, owner};
use super::Ref;
use crate::error::TaskError;
use crate::parcel;
impl Ref {
    /// Cancels. See [`Owner`](super::Owner) for what `Held` leads to.
    pub(in crate::task) fn cancel(&self) -> CancelOutcome {
        let header = self.header();
        match header.state.transition_to_cancelled() {
            Cancel::TooLate => CancelOutcome::TooLate,
            Cancel::Done(published) => {
                if published == Published::Wake {
                    // SAFETY: rule 5: `DONE` was set by us while `WAKER` was set.
                    if let Some(waker) = unsafe { self.take_waker() } {
                        waker.wake();
                    }
                }
                if let Some(owner) = owner::find(header.owner()) {
                    owner.on_cancelled(&header.word, header.id);
                }
                CancelOutcome::Cancelled
            }
            Cancel::Held => self.ask_owner_to_cancel(),
        }
    }

    /// As [`cancel`](Self::cancel), for a task whose outcome has to go through its job.
    pub(in crate::task) fn cancel_held(&self) -> CancelOutcome {
        if self.snapshot().is_done() {
            return CancelOutcome::TooLate;
        }
        self.header().state.request_cancel();
        self.ask_owner_to_cancel()
    }

    fn ask_owner_to_cancel(&self) -> CancelOutcome {
        let header = self.header();
        match owner::find(header.owner()) {
            Some(owner) => owner.cancel(&header.word, header.id),
            None => CancelOutcome::FlagRaised,
        }
    }

    /// Takes a held task back from its backend, if its body has not begun.
    pub(in crate::task) fn revoke(&self) -> bool {
        let header = self.header();
        owner::find(header.owner()).is_some_and(|owner| owner.revoke(&header.word, header.id))
    }

    pub(in crate::task) fn has_begun_at_owner(&self) -> bool {
        let header = self.header();
        owner::find(header.owner()).is_some_and(|owner| owner.has_begun(&header.word, header.id))
    }

    /// Has the backend look for outcomes on this thread; whether this one is there then.
    pub(in crate::task) fn look_at_owner(&self, is_done: &dyn Fn() -> bool, until: Instant) -> bool {
        owner::find(self.header().owner()).is_some_and(|owner| owner.look(is_done, until))
    }

    pub(in crate::task) fn owner_progress(&self) -> Option<f64> {
        let header = self.header();
        owner::find(header.owner())?.progress(&header.word, header.id)
    }

    pub(in crate::task) fn request_cancel(&self) {
        self.header().state.request_cancel();
    }

    pub(in crate::task) fn set_cancel_on_drop(&self) {
        self.header().state.set_cancel_on_drop();
    }

    /// Registers the future's waker. False if the outcome is there. Only by the future.
    #[inline]
    pub(in crate::task) fn register(&self, waker: &Waker) -> bool {
        let header = self.header();
        if header.state.has_waker() {
            if !header.state.try_unset_waker() {
                return false;
            }
            // SAFETY: rule 5: the bit was cleared by us.
            let current = unsafe { &mut *header.waker.get() };
            if !current.as_ref().is_some_and(|it| it.will_wake(waker)) {
                *current = Some(waker.clone());
            }
        } else {
            // SAFETY: rule 5: the bit is clear, and only the future sets it.
            unsafe { *header.waker.get() = Some(waker.clone()) };
        }
        header.state.try_set_waker()
    }

    /// Takes the output. Only by the future, after `DONE`.
    ///
    /// # Safety
    ///
    /// `R` is the body's output type.
    ///
    /// # Panics
    ///
    /// If the output has been taken already.
    #[inline]
    pub(in crate::task) unsafe fn take<R>(&self) -> Result<R, TaskError> {
        let header = self.header();
        let snapshot = header.state.load();
        debug_assert!(snapshot.is_done(), "an output is taken after the task is done");
        if snapshot.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let content = snapshot.content();
        assert!(
            matches!(content, Content::Output | Content::EncodedOutput),
            "the task's output has been taken already"
        );
        header.state.set_content(content, Content::Empty);
        let take = || {
            let mut output = MaybeUninit::<Result<R, TaskError>>::uninit();
            // SAFETY: rule 1: from `DONE` on the slot is the future's, and it held this content, which nobody sees any
            // more. The type is right by the caller's word, and `take` writes the whole of it.
            unsafe {
                (header.vtable.take)(self.0, content, output.as_mut_ptr().cast());
                output.assume_init()
            }
        };
        match self.extra() {
            Some(extra) if content == Content::EncodedOutput => {
                // SAFETY: rule 2: written with the output, which is the future's by now.
                let mut attachments = std::mem::take(unsafe { &mut *extra.output_attachments.get() });
                parcel::open(&mut attachments, take)
            }
            _ => take(),
        }
    }
}
