//! What few tasks have: options, what comes beside their bytes, what they tell about themselves.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::super::options::{DEFAULT, Printed, TaskOptions};
use super::Ref;
use crate::attachment::{Attachment, Collected, Kept};
use crate::shared::ShareBlob;
/// What few tasks have.
#[derive(Default)]
pub(in crate::task) struct Extra {
    pub(in crate::task) options: TaskOptions,
    /// Shared values that the serialised argument refers to. Written while the job is being encoded.
    shares: UnsafeCell<Vec<Arc<ShareBlob>>>,
    /// What is attached to the serialised argument. The job's, as the argument in the slot is (rule 1).
    pub(super) attachments: UnsafeCell<Vec<Attachment>>,
    /// What the serialised argument keeps alive. The job's likewise.
    pub(super) kept: UnsafeCell<Kept>,
    /// What is attached to the serialised output. Written with the output (rule 2), taken with it by the future.
    pub(super) output_attachments: UnsafeCell<Vec<Attachment>>,
    /// What the task last told about its progress: bits of an `f64`, plus one; 0 for nothing yet.
    progress: AtomicU64,
    /// What the task printed, if that was captured. Its job may be late, after a kill or a time limit.
    printed: OnceLock<Printed>,
}

impl Extra {
    pub(in crate::task) fn new(options: TaskOptions) -> Box<Self> {
        Box::new(Self { options, ..Self::default() })
    }
}

impl Ref {
    #[inline]
    pub(super) fn extra(&self) -> Option<&Extra> {
        // SAFETY: once set, the pointer is valid until the allocation is freed.
        unsafe { self.header().extra.load(Ordering::Acquire).as_ref() }
    }

    pub(super) fn extra_or_new(&self) -> &Extra {
        if let Some(extra) = self.extra() {
            return extra;
        }
        let new = Box::into_raw(Box::<Extra>::default());
        match self.header().extra.compare_exchange(
            std::ptr::null_mut(),
            new,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            // SAFETY: just made, and from here on freed with the task only.
            Ok(_) => unsafe { &*new },
            Err(theirs) => {
                // SAFETY: nobody has seen ours; theirs is valid as in `extra`.
                unsafe {
                    drop(Box::from_raw(new));
                    &*theirs
                }
            }
        }
    }

    /// Only by the job, before it is handed over, and once.
    pub(in crate::task) fn set_options(&self, options: TaskOptions) {
        let extra = Box::into_raw(Extra::new(options));
        let before = self.header().extra.swap(extra, Ordering::AcqRel);
        debug_assert!(before.is_null(), "options are set once, before anything else of the kind");
        if !before.is_null() {
            // SAFETY: made by `Box::into_raw`; no reference to it outlives the calls of this type's methods, and before
            // the job is handed over there are none.
            drop(unsafe { Box::from_raw(before) });
        }
    }

    #[inline]
    pub(in crate::task) fn options(&self) -> &TaskOptions {
        self.extra().map_or(&DEFAULT, |extra| &extra.options)
    }

    pub(in crate::task) fn progress(&self) -> Option<f64> {
        match self.extra()?.progress.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(f64::from_bits(bits - 1)),
        }
    }

    pub(in crate::task) fn set_progress(&self, fraction: f64) {
        let bits = fraction.to_bits().saturating_add(1);
        self.extra_or_new().progress.store(bits, Ordering::Relaxed);
    }

    /// The first word counts.
    pub(in crate::task) fn set_printed(&self, printed: Printed) {
        let _ = self.extra_or_new().printed.set(printed);
    }

    /// What the task printed, once it is resolved.
    pub(in crate::task) fn printed(&self) -> Option<&Printed> {
        if !self.snapshot().is_done() {
            return None;
        }
        self.extra()?.printed.get()
    }

    // ---- what goes with the argument -----------------------------------------------------------------------------

    /// What is attached to the serialised argument. Only by the job.
    pub(in crate::task) fn attachments(&self) -> &[Attachment] {
        match self.extra() {
            // SAFETY: written in `set_carried` and with the output only, all of which need the job, the only caller here.
            Some(extra) => unsafe { &*extra.attachments.get() },
            None => &[],
        }
    }

    #[inline]
    pub(in crate::task) fn shares(&self) -> &[Arc<ShareBlob>] {
        match self.extra() {
            // SAFETY: written in `set_carried` only, by the job, which is the only caller here too.
            Some(extra) => unsafe { &*extra.shares.get() },
            None => &[],
        }
    }

    /// Only by the job, before it is handed over.
    #[inline]
    pub(in crate::task) fn set_carried(&self, collected: Collected) {
        if collected.is_empty() {
            return;
        }
        let Collected { attachments, shares, kept } = collected;
        let extra = self.extra_or_new();
        // SAFETY: only the job touches these fields before the output is written, and only here and in their
        // getters, without overlap.
        unsafe {
            *extra.shares.get() = shares;
            *extra.attachments.get() = attachments;
            *extra.kept.get() = kept;
        }
    }
}
