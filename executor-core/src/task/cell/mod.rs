//! The one allocation of a task, and all of its unsafe code.
//!
//! Code outside of this module sees a [`Header`] only behind [`Ref`], and never touches the slot. The rules that the
//! SAFETY comments cite are those of the [module documentation](super).
//!
//! Here is what all tasks have in common. [`typed`] has the tasks of this process, [`relay`] those of another.
//! [`argument`] and [`outcome`] are the job's side, [`future`] is the future's, and [`extra`] what few tasks have.

mod argument;
mod extra;
mod future;
mod outcome;
mod relay;
mod typed;

use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::task::Waker;

pub(super) use self::extra::Extra;
pub(super) use self::outcome::{ErasedOutput, Notice};
pub(super) use self::relay::{Relay, Sink};
use super::body::BodyFuture;
use super::state::{Content, Snapshot, State};
use super::{OwnerId, TaskId};
use crate::error::TaskError;
use crate::identity::Target;
use crate::parcel::Buffer;

/// The part of a task that does not depend on its types. 56 bytes.
#[repr(C)]
pub(super) struct Header {
    state: State,
    /// The registered backend in charge, 0 for none; and [`ENCODED`]. Written by the job only.
    owner: AtomicU32,
    vtable: &'static VTable,
    /// Rule 5.
    waker: UnsafeCell<Option<Waker>>,
    id: TaskId,
    extra: AtomicPtr<Extra>,
    /// The backend's: a queue link or a key.
    word: AtomicU64,
}

/// Of [`Header::owner`]: the argument in the slot is serialised. It need not be in the state word, since nobody but the job
/// asks, and there it would cost a locked instruction.
const ENCODED: u32 = !OwnerId::LAST;

struct VTable {
    is_async: bool,
    /// Calls the function with the argument.
    start: unsafe fn(NonNull<Header>) -> StartedTask,
    /// Serialises the argument in place.
    encode: unsafe fn(NonNull<Header>, &mut Buffer<'_>) -> Result<(), TaskError>,
    target: unsafe fn(NonNull<Header>) -> Result<Target, TaskError>,
    /// Where in the task the slot is, as a payload.
    payload: usize,
    /// Whether a serialised output goes into the slot, as it does but for relayed tasks.
    keeps_output: bool,
    /// Drops what the slot holds, which is the given content.
    clear: unsafe fn(NonNull<Header>, Content),
    /// Writes an output into the empty slot.
    write: unsafe fn(NonNull<Header>, &mut ErasedOutput<'_>, &mut Notice) -> Content,
    /// Moves the output, which is there as the given content, to the address of a `Result<B::Out, TaskError>`.
    take: unsafe fn(NonNull<Header>, Content, *mut ()),
    free: unsafe fn(NonNull<Header>),
}

/// What [`Ref::start`] led to.
pub(super) enum StartedTask {
    /// The body ran and the output has been written.
    Finished,
    /// The body is a future that writes the output at its end.
    Future(BodyFuture<()>),
}

/// One reference to a task.
pub(crate) struct Ref(NonNull<Header>);

// SAFETY: the fields of a header are atomics, or guarded by the protocol of the module documentation, which hands the
// slot and the waker from one thread to another with acquire and release; arguments, outputs and bodies are `Send`
// (bound on `Body`), and bodies, which both sides read, are `Sync` as well.
unsafe impl Send for Ref {}
// SAFETY: as above; every method that is not safe to call from two threads at once says so.
unsafe impl Sync for Ref {}

impl Ref {
    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: a `Ref` keeps the allocation alive, and shared references to the header are all there ever are.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn raw(&self) -> NonNull<Header> {
        self.0
    }

    #[inline]
    pub(super) fn id(&self) -> TaskId {
        self.header().id
    }

    #[inline]
    pub(super) fn word(&self) -> &AtomicU64 {
        &self.header().word
    }

    #[inline]
    pub(crate) fn is_async(&self) -> bool {
        self.header().vtable.is_async
    }

    #[inline]
    pub(super) fn snapshot(&self) -> Snapshot {
        self.header().state.load()
    }

    pub(crate) fn another(&self) -> Ref {
        self.header().state.add_reference();
        Ref(self.0)
    }

    #[inline]
    pub(super) fn as_raw(&self) -> NonNull<()> {
        self.0.cast()
    }

    #[inline]
    pub(super) fn into_raw(self) -> NonNull<()> {
        let raw = self.0.cast();
        std::mem::forget(self);
        raw
    }

    /// # Safety
    ///
    /// `raw` comes from [`into_raw`](Self::into_raw) and is not used again.
    #[inline]
    pub(super) unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Ref(raw.cast())
    }

    // ---- the job's side ----------------------------------------------------------------------------------------

    pub(super) fn set_owner(&self, owner: u32, word: u64) -> bool {
        let header = self.header();
        header.word.store(word, Ordering::Relaxed);
        header.set_owner(owner);
        header.state.transition_to_held()
    }

    /// Only by the job, before it is handed over or when it has come back.
    #[inline]
    pub(super) fn watch(&self, owner: u32) {
        // Published with the job itself: its future can get here only after that.
        self.header().set_owner(owner);
    }

    pub(super) fn set_contested(&self) {
        self.header().state.set_contested();
    }

    #[inline]
    pub(super) fn target(&self) -> Result<Target, TaskError> {
        // SAFETY: the vtable is that of this task; the body is shared and never written.
        unsafe { (self.header().vtable.target)(self.0) }
    }

    /// Begins the body here, in this process, unless the task is resolved. Only by the job.
    #[inline]
    pub(super) fn start(&self) -> Option<StartedTask> {
        let header = self.header();
        let content = header.state.transition_to_begun()?;
        assert_eq!(header.form_of(content), Content::Arg, "a body is begun with its argument");
        // SAFETY: rule 4 has just been obeyed, the job owns the slot, and it holds the argument.
        Some(unsafe { (header.vtable.start)(self.0) })
    }

    /// Marks the task as running elsewhere.
    pub(super) fn mark_begun(&self) {
        self.header().state.mark_begun();
    }
}

impl Drop for Ref {
    #[inline]
    fn drop(&mut self) {
        if self.header().state.drop_reference() {
            // SAFETY: that was the last reference.
            unsafe { (self.header().vtable.free)(self.0) };
        }
    }
}

impl Header {
    fn owner(&self) -> u32 {
        self.owner.load(Ordering::Acquire) & !ENCODED
    }

    /// Only by the job.
    #[inline]
    fn set_owner(&self, owner: u32) {
        let encoded = self.owner.load(Ordering::Relaxed) & ENCODED;
        self.owner.store(owner | encoded, Ordering::Release);
    }

    /// Only by the job.
    #[inline]
    fn set_encoded(&self) {
        let owner = self.owner.load(Ordering::Relaxed);
        // Published with the job itself, or with its reference.
        self.owner.store(owner | ENCODED, Ordering::Release);
    }

    /// What the slot holds. Only by its holder (rule 1).
    #[inline]
    fn content(&self) -> Content {
        self.form_of(self.state.load().content())
    }

    /// What the slot holds if the state says so.
    #[inline]
    fn form_of(&self, content: Content) -> Content {
        match content {
            Content::Arg if self.owner.load(Ordering::Relaxed) & ENCODED != 0 => Content::Encoded,
            other => other,
        }
    }

    #[inline]
    fn new(
        id: TaskId,
        content: Content,
        references: u32,
        vtable: &'static VTable,
        extra: Option<Box<Extra>>,
    ) -> Self {
        Header {
            state: State::new(content, references),
            owner: AtomicU32::new(0),
            vtable,
            waker: UnsafeCell::new(None),
            id,
            extra: AtomicPtr::new(extra.map_or(std::ptr::null_mut(), Box::into_raw)),
            word: AtomicU64::new(0),
        }
    }
}

impl Drop for Header {
    #[inline]
    fn drop(&mut self) {
        let extra = *self.extra.get_mut();
        if !extra.is_null() {
            // SAFETY: made by `Box::into_raw`, and nobody else frees it.
            drop(unsafe { Box::from_raw(extra) });
        }
    }
}
