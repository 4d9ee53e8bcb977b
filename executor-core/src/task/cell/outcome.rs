//! The outcome: written into the slot, made visible, told to who waits (rules 2, 5 and 6).

use std::sync::Arc;
use std::task::Waker;

use super::super::job::RelaySink;
use super::super::payload::Payload;
use super::super::state::{Content, Finish, Kind, Published};
use super::Ref;
use super::relay::SinkFunction;
use crate::error::TaskError;
use crate::panic;
use crate::parcel::Parcel;

/// An output whose type is known to the cell only.
pub(in crate::task) enum ErasedOutput<'a> {
    Error(Box<TaskError>),
    Encoded(Parcel<'a>),
}

impl ErasedOutput<'_> {
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Encoded(Parcel::from(&[])))
    }
}

/// Who is to be told that a task is resolved. The outcome is visible already.
///
/// Small: it is moved through several hands for every task.
pub(in crate::task) enum Notice {
    Nobody,
    Waker(Waker),
    Sink(Box<(SinkFunction, Result<Parcel<'static>, TaskError>)>),
    /// It has the output.
    Flush(Arc<dyn RelaySink>),
}

/// An output that has been written and is to be made visible.
struct Written {
    /// What the slot held, according to the state.
    before: Content,
    content: Content,
    kind: Kind,
}

impl Notice {
    /// A relayed task has a sink and no waker.
    #[inline]
    pub(super) fn or_waker(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            debug_assert!(matches!(self, Self::Nobody), "somebody waits for a relayed task");
            *self = Self::Waker(waker);
        }
    }

    pub(in crate::task) fn give(self) {
        match self {
            Self::Nobody => {}
            Self::Waker(waker) => waker.wake(),
            Self::Sink(delivery) => {
                let (sink, output) = *delivery;
                panic::quietly(|| sink(output));
            }
            Self::Flush(sink) => sink.flush(),
        }
    }
}

impl Ref {
    /// Writes the output, unless the task is resolved, and tells who waits. Only by the job, or by a second completer of
    /// a begun body.
    pub(in crate::task) fn complete(&self, output: ErasedOutput<'_>) -> bool {
        match self.complete_deferred(output) {
            Some(notice) => {
                notice.give();
                true
            }
            None => false,
        }
    }

    /// Writes the output, unless the task is resolved. Who waits is told by the notice.
    fn complete_deferred(&self, mut output: ErasedOutput<'_>) -> Option<Notice> {
        let mut notice = Notice::Nobody;
        let Written { before, content, kind } = self.write_output(&mut output, &mut notice)?;
        let finish = self.header().state.transition_to_done(before, content, kind);
        notice.or_waker(self.published(finish, before, content));
        Some(notice)
    }

    /// The same, and gives the job's reference up.
    pub(in crate::task) fn complete_and_leave(self, mut output: ErasedOutput<'_>) -> Notice {
        let mut notice = Notice::Nobody;
        let Some(Written { before, content, kind }) = self.write_output(&mut output, &mut notice) else {
            self.abandon_job();
            return notice;
        };
        match self.header().state.transition_to_done_and_leave(before, content, kind) {
            Finish::Left => std::mem::forget(self),
            finish => notice.or_waker(self.published(finish, before, content)),
        }
        notice
    }

    /// As [`complete_and_leave`](Self::complete_and_leave), of a result that is its bytes and nothing else: nearly all
    /// results that come from elsewhere, for tasks of nothing but a few bytes.
    #[inline]
    pub(in crate::task) fn complete_plain_and_leave(self, bytes: &[u8]) -> Notice {
        let header = self.header();
        if !header.vtable.keeps_output || self.extra().is_some() || !header.state.try_lock_output() {
            return self.complete_and_leave(ErasedOutput::Encoded(Parcel::from(bytes)));
        }
        let before = header.state.load().content();
        let form = header.form_of(before);
        // SAFETY: rule 2: we hold the right to write the output. The slot still belongs to the job's side, and a second
        // completer gets here only when it is empty.
        unsafe {
            if !(form == Content::Encoded && self.payload().as_ref().is_inline()) {
                (header.vtable.clear)(self.0, form);
            }
            self.payload().write(Payload::from(bytes));
        }
        let content = Content::EncodedOutput;
        match header.state.transition_to_done_and_leave(before, content, Kind::Value) {
            Finish::Left => {
                std::mem::forget(self);
                Notice::Nobody
            }
            finish => match self.published(finish, before, content) {
                Some(waker) => Notice::Waker(waker),
                None => Notice::Nobody,
            },
        }
    }

    /// Writes the output into the slot, unless the task is resolved. The sink of a relayed task is in the notice then.
    fn write_output(&self, output: &mut ErasedOutput<'_>, notice: &mut Notice) -> Option<Written> {
        let header = self.header();
        if !header.state.try_lock_output() {
            return None;
        }
        let before = header.state.load().content();
        let form = header.form_of(before);
        let kind = match output {
            ErasedOutput::Error(error) if matches!(**error, TaskError::Cancelled) => Kind::Cancelled,
            ErasedOutput::Error(_) => Kind::Error,
            ErasedOutput::Encoded(_) => Kind::Value,
        };
        if form == Content::Encoded
            && let Some(extra) = self.extra()
        {
            // SAFETY: rule 1: the argument is still the job's side's, and goes away now with what is attached to it.
            drop(unsafe {
                (std::mem::take(&mut *extra.attachments.get()), std::mem::take(&mut *extra.kept.get()))
            });
        }
        if header.vtable.keeps_output
            && let ErasedOutput::Encoded(parcel) = output
            && !parcel.attachments.is_empty()
        {
            // SAFETY: rule 2: this belongs to the output.
            unsafe {
                *self.extra_or_new().output_attachments.get() = std::mem::take(&mut parcel.attachments);
            }
        }
        // SAFETY: rule 2: we hold the right to write the output. The slot still belongs to the job's side, and a
        // second completer gets here only when it is empty.
        let content = unsafe {
            (header.vtable.clear)(self.0, form);
            (header.vtable.write)(self.0, output, notice)
        };
        Some(Written { before, content, kind })
    }

    /// What follows when an output that the slot holds as `content` has been made visible, or could not be. The waker of
    /// who waits is the caller's to wake.
    #[must_use]
    #[inline]
    pub(super) fn published(&self, finish: Finish, before: Content, content: Content) -> Option<Waker> {
        let header = self.header();
        match finish {
            // SAFETY: rule 5: `DONE` was set by us while `WAKER` was set.
            Finish::Published(Published::Wake) => unsafe { self.take_waker() },
            Finish::Published(Published::Quiet) | Finish::Left => None,
            Finish::Killed => {
                // SAFETY: rule 1: the slot is still ours, and it holds what has just been written.
                unsafe { (header.vtable.clear)(self.0, content) };
                header.state.set_content(before, Content::Empty);
                None
            }
        }
    }

    /// Gives the task up although its body may be running in this process: resolves it as cancelled. False if it is
    /// resolved already, or about to be. Only by the backend that runs the job.
    pub(in crate::task) fn kill(&self) -> bool {
        match self.header().state.transition_to_killed() {
            None => return false,
            Some(Published::Wake) => {
                // SAFETY: rule 5: `DONE` was set by us while `WAKER` was set.
                if let Some(waker) = unsafe { self.take_waker() } {
                    waker.wake();
                }
            }
            Some(Published::Quiet) => {}
        }
        true
    }

    /// # Safety
    ///
    /// The waker slot belongs to the caller (rule 5).
    pub(super) unsafe fn take_waker(&self) -> Option<Waker> {
        // SAFETY: passed on.
        unsafe { (*self.header().waker.get()).take() }
    }

    /// The job goes away. What is left of its argument is dropped; an unresolved task is closed.
    #[inline]
    pub(in crate::task) fn abandon_job(&self) {
        let snapshot = self.snapshot();
        if !snapshot.is_done() {
            self.complete(ErasedOutput::Error(Box::new(TaskError::Closed)));
        } else if snapshot.is_cancelled() && snapshot.content() != Content::Empty {
            // SAFETY: rule 1: after a cancel by the future the slot still belongs to the job.
            unsafe { (self.header().vtable.clear)(self.0, self.header().form_of(snapshot.content())) };
            self.header().state.set_content(snapshot.content(), Content::Empty);
        }
    }
}
