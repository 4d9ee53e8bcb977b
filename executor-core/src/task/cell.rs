//! The one allocation of a task, and all of its unsafe code.
//!
//! Code outside this file sees a [`Header`] only behind [`Ref`], and never touches the slot. The rules that the
//! SAFETY comments cite are those of the [module documentation](super).

use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, MaybeUninit, offset_of};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;
use std::time::Instant;

use super::body::{Body, BodyFuture, Started};
use super::job::RelaySink;
use super::options::{DEFAULT, Printed, TaskOptions};
use super::payload::Payload;
use super::state::{Cancel, Content, Finish, Kind, Published, Snapshot, State};
use super::{OwnerId, TaskId, owner};
use crate::attachment::{self, Attachment, Collected};
use crate::blob::Blob;
use crate::error::TaskError;
use crate::identity::Target;
use crate::panic;
use crate::parcel::{self, Buffer, Bytes, Carrier, Parcel};
use crate::shared::ShareBlob;

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

/// What few tasks have.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) options: TaskOptions,
    /// Shared values that the serialised argument refers to. Written while the job is being encoded.
    shares: UnsafeCell<Vec<Arc<ShareBlob>>>,
    /// What is attached to the serialised argument. The job's, as the argument in the slot is (rule 1).
    attachments: UnsafeCell<Vec<Attachment>>,
    /// What is attached to the serialised output. Written with the output (rule 2), taken with it by the future.
    output_attachments: UnsafeCell<Vec<Attachment>>,
    /// What the task last told about its progress: bits of an `f64`, plus one; 0 for nothing yet.
    progress: AtomicU64,
    /// What the task printed, if that was captured. Its job may be late, after a kill or a time limit.
    printed: OnceLock<Printed>,
}

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

/// An output whose type is known to the cell only.
pub(super) enum ErasedOutput<'a> {
    Error(Box<TaskError>),
    Encoded(Parcel<'a>),
}

impl ErasedOutput<'_> {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Encoded(Parcel::from(&[])))
    }
}

#[repr(C)]
struct TaskCell<B: Body> {
    header: Header,
    body: B,
    slot: UnsafeCell<Slot<B>>,
}

union Slot<B: Body> {
    arg: ManuallyDrop<B::Arg>,
    encoded: ManuallyDrop<Payload>,
    output: ManuallyDrop<Result<B::Out, Box<TaskError>>>,
}

/// Who gets the serialised output of a task of another process.
pub(super) enum Sink {
    /// A function, called once.
    Function(SinkFunction),
    /// The sink of many tasks, and its name for this one.
    Shared(Arc<dyn RelaySink>, u64),
}

type SinkFunction = Box<dyn FnOnce(Result<Parcel<'static>, TaskError>) + Send>;

/// Who is to be told that a task is resolved. The outcome is visible already.
///
/// Small: it is moved through several hands for every task.
pub(super) enum Notice {
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
    fn or_waker(&mut self, waker: Option<Waker>) {
        if let Some(waker) = waker {
            debug_assert!(matches!(self, Self::Nobody), "somebody waits for a relayed task");
            *self = Self::Waker(waker);
        }
    }

    pub(super) fn give(self) {
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

/// A task submitted by another process: serialised already, with a function that gets the serialised output.
pub(super) struct Relay {
    pub(super) id: TaskId,
    pub(super) target: Target,
    pub(super) is_async: bool,
    pub(super) attempts_before: u32,
    pub(super) sink: Sink,
}

#[repr(C)]
struct RelayCell {
    header: Header,
    target: Target,
    /// There while the state says so.
    payload: UnsafeCell<MaybeUninit<Payload>>,
    sink: UnsafeCell<Option<Sink>>,
    attempts_before: u32,
    /// How long the body ran, in nanoseconds.
    elapsed: AtomicU64,
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
    /// A new task with one reference for its job and one for its future.
    pub(super) fn new<B: Body>(body: B, arg: B::Arg, extra: Option<Box<Extra>>) -> (Ref, Ref) {
        let cell = Box::new(TaskCell {
            header: Header::new(TaskId::next(), Content::Arg, 2, vtable_of::<B>(), extra),
            body,
            slot: UnsafeCell::new(Slot { arg: ManuallyDrop::new(arg) }),
        });
        let header = NonNull::from(Box::leak(cell)).cast();
        (Ref(header), Ref(header))
    }

    pub(super) fn new_relay(relay: Relay, payload: Payload, extra: Option<Box<Extra>>) -> Ref {
        let vtable = if relay.is_async { &RELAY_ASYNC } else { &RELAY_SYNC };
        let cell = Box::new(RelayCell {
            header: Header::new(relay.id, Content::Encoded, 1, vtable, extra),
            target: relay.target,
            payload: UnsafeCell::new(MaybeUninit::new(payload)),
            sink: UnsafeCell::new(Some(relay.sink)),
            attempts_before: relay.attempts_before,
            elapsed: AtomicU64::new(0),
        });
        Ref(NonNull::from(Box::leak(cell)).cast())
    }

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

    // ---- options -----------------------------------------------------------------------------------------------

    #[inline]
    fn extra(&self) -> Option<&Extra> {
        // SAFETY: once set, the pointer is valid until the allocation is freed.
        unsafe { self.header().extra.load(Ordering::Acquire).as_ref() }
    }

    fn extra_or_new(&self) -> &Extra {
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
    pub(super) fn set_options(&self, options: TaskOptions) {
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
    pub(super) fn options(&self) -> &TaskOptions {
        self.extra().map_or(&DEFAULT, |extra| &extra.options)
    }

    pub(super) fn progress(&self) -> Option<f64> {
        match self.extra()?.progress.load(Ordering::Relaxed) {
            0 => None,
            bits => Some(f64::from_bits(bits - 1)),
        }
    }

    pub(super) fn set_progress(&self, fraction: f64) {
        let bits = fraction.to_bits().saturating_add(1);
        self.extra_or_new().progress.store(bits, Ordering::Relaxed);
    }

    /// The first word counts.
    pub(super) fn set_printed(&self, printed: Printed) {
        let _ = self.extra_or_new().printed.set(printed);
    }

    /// What the task printed, once it is resolved.
    pub(super) fn printed(&self) -> Option<&Printed> {
        if !self.snapshot().is_done() {
            return None;
        }
        self.extra()?.printed.get()
    }

    fn as_relay(&self) -> Option<&RelayCell> {
        let vtable = self.header().vtable;
        let is_relay =
            std::ptr::eq(vtable, &raw const RELAY_SYNC) || std::ptr::eq(vtable, &raw const RELAY_ASYNC);
        // SAFETY: the vtable is that of a relay cell, which `self` keeps alive.
        is_relay.then(|| unsafe { relay(self.0) })
    }

    /// Keeps how long the body of a relayed task ran, for its sink. Only by the job, before it completes.
    pub(super) fn note_elapsed(&self, elapsed: Duration) {
        if let Some(relay) = self.as_relay() {
            let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
            relay.elapsed.store(nanos, Ordering::Relaxed);
        }
    }

    pub(super) fn attempts_before(&self) -> u32 {
        self.as_relay().map_or(0, |relay| relay.attempts_before)
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

    /// Serialises the argument in place, and drops it.
    ///
    /// Only by the job, before the body begins. On an error the argument is still there.
    pub(super) fn encode(&self, carrier: Carrier) -> Result<(), TaskError> {
        let header = self.header();
        let content = header.content();
        if content != Content::Arg {
            debug_assert_eq!(content, Content::Encoded, "only an argument can be encoded");
            return check_sizes(carrier, self.encoded().len(), self.attachments(), self.shares());
        }
        let mut large = Vec::new();
        let payload = self.encode_into(&mut large, carrier);
        parcel::keep(large);
        let payload = payload?;
        // SAFETY: rule 1: the job owns the slot, and it holds an argument.
        unsafe {
            (header.vtable.clear)(self.0, Content::Arg);
            self.payload().write(payload);
        }
        header.set_encoded();
        Ok(())
    }

    /// Serialises the argument, and keeps what it refers to. Only by [`encode`](Self::encode).
    #[inline]
    fn encode_into(&self, large: &mut Vec<u8>, carrier: Carrier) -> Result<Payload, TaskError> {
        let header = self.header();
        let mut buffer = Buffer::for_one(large, carrier.takes_bulk());
        let (encoded, collected) =
            // SAFETY: rule 1: the job owns the slot, and it holds an argument.
            attachment::collect_job(carrier.takes_attachments(), || unsafe {
                (header.vtable.encode)(self.0, &mut buffer)
            });
        encoded?;
        let Collected { attachments, shares } = collected;
        if let Some(small) = buffer.small() {
            check_sizes(carrier, small.len(), &attachments, &shares)?;
            self.set_carried(shares, attachments);
            return Ok(Payload::from(small));
        }
        let bulk = buffer.finish();
        let len = bulk.as_ref().map_or(large.len(), |bulk| bulk.len());
        if let Err(error) = check_sizes(carrier, len, &attachments, &shares) {
            if len > LARGE {
                *large = Vec::new();
            }
            return Err(error);
        }
        self.set_carried(shares, attachments);
        Ok(match (bulk, large.len()) {
            (Some(bulk), _) => Payload::Bulk(bulk),
            // A large buffer is kept by the task instead of being copied.
            (None, LARGE..) => Payload::from(std::mem::take(large)),
            (None, _) => Payload::from(&large[..]),
        })
    }

    /// Moves the argument out of a job that was not taken, if it is still there as it was given. Only by the job.
    ///
    /// # Safety
    ///
    /// The task was made with a `B`.
    pub(super) unsafe fn reclaim<B: Body>(&self) -> Option<B::Arg> {
        let header = self.header();
        if header.content() != Content::Arg {
            return None;
        }
        // The slot counts as empty before it is: the argument is dropped once, whatever happens.
        header.state.set_content(Content::Arg, Content::Empty);
        // SAFETY: the type is right by the caller's word; rule 1: the job owns the slot, and it held the argument.
        Some(unsafe { ManuallyDrop::take(&mut (*cell::<B>(self.0).slot.get()).arg) })
    }

    /// The serialised argument. Only by the job, after [`encode`](Self::encode).
    #[inline]
    pub(super) fn encoded(&self) -> &[u8] {
        self.argument()
    }

    /// The serialised argument, if it is in bulk. Only by the job, after [`encode`](Self::encode).
    pub(super) fn bulk(&self) -> Option<&Blob> {
        match self.argument() {
            Payload::Bulk(blob) => Some(blob),
            _ => None,
        }
    }

    #[inline]
    fn argument(&self) -> &Payload {
        assert_eq!(self.header().content(), Content::Encoded, "the argument has not been encoded");
        // SAFETY: rule 1: the job owns the slot until it is completed, and completing needs the job by value.
        unsafe { self.payload().as_ref() }
    }

    /// The slot as a payload. What may be done with the address is up to rule 1.
    #[inline]
    fn payload(&self) -> NonNull<Payload> {
        // SAFETY: in bounds of the task's allocation, as its vtable says.
        unsafe { self.0.byte_add(self.header().vtable.payload).cast() }
    }

    /// What is attached to the serialised argument. Only by the job.
    pub(super) fn attachments(&self) -> &[Attachment] {
        match self.extra() {
            // SAFETY: written in `set_carried` and with the output only, all of which need the job, the only caller here.
            Some(extra) => unsafe { &*extra.attachments.get() },
            None => &[],
        }
    }

    #[inline]
    pub(super) fn shares(&self) -> &[Arc<ShareBlob>] {
        match self.extra() {
            // SAFETY: written in `set_carried` only, by the job, which is the only caller here too.
            Some(extra) => unsafe { &*extra.shares.get() },
            None => &[],
        }
    }

    /// Only by the job, before it is handed over.
    #[inline]
    pub(super) fn set_carried(&self, shares: Vec<Arc<ShareBlob>>, attachments: Vec<Attachment>) {
        if shares.is_empty() && attachments.is_empty() {
            return;
        }
        let extra = self.extra_or_new();
        // SAFETY: only the job touches these fields before the output is written, and only here and in their
        // getters, without overlap.
        unsafe {
            *extra.shares.get() = shares;
            *extra.attachments.get() = attachments;
        }
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

    /// Writes the output, unless the task is resolved, and tells who waits. Only by the job, or by a second completer of
    /// a begun body.
    pub(super) fn complete(&self, output: ErasedOutput<'_>) -> bool {
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
    pub(super) fn complete_and_leave(self, mut output: ErasedOutput<'_>) -> Notice {
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

    /// Writes the output into the slot, unless the task is resolved. The sink of a relayed task is in the notice then.
    #[inline]
    fn write_output(&self, output: &mut ErasedOutput<'_>, notice: &mut Notice) -> Option<Written> {
        let header = self.header();
        if !header.state.try_lock_output() {
            return None;
        }
        let before = header.state.load().content();
        let form = header.form_of(before);
        // Nearly all results that come from elsewhere are plain bytes, for a task of nothing but a few bytes.
        if let ErasedOutput::Encoded(Parcel { bytes: Bytes::Borrowed(bytes), attachments }) = output
            && attachments.is_empty()
            && header.vtable.keeps_output
            && self.extra().is_none()
        {
            // SAFETY: rule 2: we hold the right to write the output. The slot still belongs to the job's side, and a
            // second completer gets here only when it is empty.
            unsafe {
                if !(form == Content::Encoded && self.payload().as_ref().is_inline()) {
                    (header.vtable.clear)(self.0, form);
                }
                self.payload().write(Payload::from(*bytes));
            }
            return Some(Written { before, content: Content::EncodedOutput, kind: Kind::Value });
        }
        Some(self.write_any_output(before, form, output, notice))
    }

    #[cold]
    fn write_any_output(
        &self,
        before: Content,
        form: Content,
        output: &mut ErasedOutput<'_>,
        notice: &mut Notice,
    ) -> Written {
        let header = self.header();
        let kind = match output {
            ErasedOutput::Error(error) if matches!(**error, TaskError::Cancelled) => Kind::Cancelled,
            ErasedOutput::Error(_) => Kind::Error,
            ErasedOutput::Encoded(_) => Kind::Value,
        };
        if form == Content::Encoded
            && let Some(extra) = self.extra()
        {
            // SAFETY: rule 1: the argument is still the job's side's, and goes away now with what is attached to it.
            drop(unsafe { std::mem::take(&mut *extra.attachments.get()) });
        }
        if self.as_relay().is_none()
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
        Written { before, content, kind }
    }

    /// What follows when an output that the slot holds as `content` has been made visible, or could not be. The waker of
    /// who waits is the caller's to wake.
    #[must_use]
    #[inline]
    fn published(&self, finish: Finish, before: Content, content: Content) -> Option<Waker> {
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
    pub(super) fn kill(&self) -> bool {
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
    unsafe fn take_waker(&self) -> Option<Waker> {
        // SAFETY: passed on.
        unsafe { (*self.header().waker.get()).take() }
    }

    /// The job goes away. What is left of its argument is dropped; an unresolved task is closed.
    #[inline]
    pub(super) fn abandon_job(&self) {
        let snapshot = self.snapshot();
        if !snapshot.is_done() {
            self.complete(ErasedOutput::Error(Box::new(TaskError::Closed)));
        } else if snapshot.is_cancelled() && snapshot.content() != Content::Empty {
            // SAFETY: rule 1: after a cancel by the future the slot still belongs to the job.
            unsafe { (self.header().vtable.clear)(self.0, self.header().form_of(snapshot.content())) };
            self.header().state.set_content(snapshot.content(), Content::Empty);
        }
    }

    // ---- the future's side -------------------------------------------------------------------------------------

    /// Cancels. See [`Owner`](super::Owner) for what `Held` leads to.
    pub(super) fn cancel(&self) -> super::CancelOutcome {
        let header = self.header();
        match header.state.transition_to_cancelled() {
            Cancel::TooLate => super::CancelOutcome::TooLate,
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
                super::CancelOutcome::Cancelled
            }
            Cancel::Held => self.ask_owner_to_cancel(),
        }
    }

    /// As [`cancel`](Self::cancel), for a task whose outcome has to go through its job.
    pub(super) fn cancel_held(&self) -> super::CancelOutcome {
        if self.snapshot().is_done() {
            return super::CancelOutcome::TooLate;
        }
        self.header().state.request_cancel();
        self.ask_owner_to_cancel()
    }

    fn ask_owner_to_cancel(&self) -> super::CancelOutcome {
        let header = self.header();
        match owner::find(header.owner()) {
            Some(owner) => owner.cancel(&header.word, header.id),
            None => super::CancelOutcome::FlagRaised,
        }
    }

    /// Takes a held task back from its backend, if its body has not begun.
    pub(super) fn revoke(&self) -> bool {
        let header = self.header();
        owner::find(header.owner()).is_some_and(|owner| owner.revoke(&header.word, header.id))
    }

    pub(super) fn has_begun_at_owner(&self) -> bool {
        let header = self.header();
        owner::find(header.owner()).is_some_and(|owner| owner.has_begun(&header.word, header.id))
    }

    /// Has the backend look for outcomes on this thread; whether this one is there then.
    pub(super) fn look_at_owner(&self, is_done: &dyn Fn() -> bool, until: Instant) -> bool {
        owner::find(self.header().owner.load(Ordering::Acquire))
            .is_some_and(|owner| owner.look(is_done, until))
    }

    pub(super) fn owner_progress(&self) -> Option<f64> {
        let header = self.header();
        owner::find(header.owner())?.progress(&header.word, header.id)
    }

    pub(super) fn request_cancel(&self) {
        self.header().state.request_cancel();
    }

    pub(super) fn set_cancel_on_drop(&self) {
        self.header().state.set_cancel_on_drop();
    }

    /// Registers the future's waker. False if the outcome is there. Only by the future.
    #[inline]
    pub(super) fn register(&self, waker: &Waker) -> bool {
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
    pub(super) unsafe fn take<R>(&self) -> Result<R, TaskError> {
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

impl Extra {
    pub(super) fn new(options: TaskOptions) -> Box<Self> {
        Box::new(Self { options, ..Self::default() })
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

/// From this size on a serialised argument keeps the buffer that it was written into.
const LARGE: usize = 64 * 1024;

/// Whether an argument and what it refers to can be sent.
fn check_sizes(
    carrier: Carrier,
    arg: usize,
    attachments: &[Attachment],
    shares: &[Arc<ShareBlob>],
) -> Result<(), TaskError> {
    carrier.check("argument", arg, attachments)?;
    shares
        .iter()
        .try_for_each(|share| carrier.check("shared value", share.bytes().len(), share.attachments()))
}

// ---- typed cells -----------------------------------------------------------------------------------------------

fn vtable_of<B: Body>() -> &'static VTable {
    const {
        &VTable {
            is_async: B::IS_ASYNC,
            start: start::<B>,
            encode: encode::<B>,
            target: target::<B>,
            payload: offset_of!(TaskCell<B>, slot),
            keeps_output: true,
            clear: clear::<B>,
            write: write::<B>,
            take: take::<B>,
            free: free::<B>,
        }
    }
}

/// # Safety
///
/// `header` is that of a live `TaskCell<B>`.
unsafe fn cell<'a, B: Body>(header: NonNull<Header>) -> &'a TaskCell<B> {
    // SAFETY: the header is the first field of a `repr(C)` cell.
    unsafe { header.cast().as_ref() }
}

/// # Safety
///
/// As for [`cell`]; called by the job when the task has just begun (rule 4), with the argument still in the slot.
unsafe fn start<B: Body>(header: NonNull<Header>) -> StartedTask {
    // SAFETY: passed on.
    let cell = unsafe { cell::<B>(header) };
    // SAFETY: the slot holds the argument and is the job's; the state already says that it is empty.
    let arg = unsafe { ManuallyDrop::take(&mut (*cell.slot.get()).arg) };
    match panic::catch(|| cell.body.start(arg)) {
        // SAFETY: passed on; the slot is empty.
        Ok(Started::Ready(value)) => unsafe { finish::<B>(header, Ok(value)) },
        // SAFETY: as above.
        Ok(Started::Failed(error)) | Err(error) => unsafe { finish::<B>(header, Err(error)) },
        Ok(Started::Future(future)) => {
            cell.header.state.add_reference();
            let task = Ref(header);
            return StartedTask::Future(Box::pin(async move {
                let output = panic::catch_future(future).await;
                // SAFETY: `task` keeps the cell alive; the job's side is this future now, and the slot is empty.
                unsafe { finish::<B>(task.raw(), output) };
            }));
        }
    }
    StartedTask::Finished
}

/// # Safety
///
/// As for [`cell`]; called by the job's side after the body, with an empty slot.
#[inline]
unsafe fn finish<B: Body>(header: NonNull<Header>, output: Result<B::Out, TaskError>) {
    // SAFETY: passed on.
    let cell = unsafe { cell::<B>(header) };
    if !cell.header.state.try_lock_output() {
        // A time limit was faster; the value is of no use to anybody.
        panic::quietly(|| drop(output));
        return;
    }
    let kind = if output.is_ok() { Kind::Value } else { Kind::Error };
    // SAFETY: rule 2.
    unsafe {
        (*cell.slot.get()).output = ManuallyDrop::new(output.map_err(Box::new));
    }
    let task = ManuallyDrop::new(Ref(header));
    let finish = cell.header.state.transition_to_done(Content::Empty, Content::Output, kind);
    if let Some(waker) = task.published(finish, Content::Empty, Content::Output) {
        waker.wake();
    }
}

/// # Safety
///
/// As for [`cell`], and the slot holds an argument that the caller owns (rule 1).
unsafe fn encode<B: Body>(header: NonNull<Header>, out: &mut Buffer<'_>) -> Result<(), TaskError> {
    // SAFETY: passed on.
    let arg = unsafe { &(*cell::<B>(header).slot.get()).arg };
    B::encode_arg(arg, out)
}

/// # Safety
///
/// As for [`cell`].
unsafe fn target<B: Body>(header: NonNull<Header>) -> Result<Target, TaskError> {
    // SAFETY: passed on.
    unsafe { cell::<B>(header) }.body.target()
}

/// # Safety
///
/// As for [`cell`]; the slot holds `content` and is the caller's.
#[inline]
unsafe fn clear<B: Body>(header: NonNull<Header>, content: Content) {
    // SAFETY: passed on.
    let slot = unsafe { &mut *cell::<B>(header).slot.get() };
    // SAFETY: the caller says what the slot holds. A destructor that panics must not leave the task half-way.
    panic::quietly(|| unsafe {
        match content {
            Content::Empty => {}
            Content::Arg => ManuallyDrop::drop(&mut slot.arg),
            Content::Encoded | Content::EncodedOutput => ManuallyDrop::drop(&mut slot.encoded),
            Content::Output => ManuallyDrop::drop(&mut slot.output),
        }
    });
}

/// # Safety
///
/// As for [`cell`]; the slot is empty and the caller holds the right to write the output (rule 2).
unsafe fn write<B: Body>(header: NonNull<Header>, output: &mut ErasedOutput<'_>, _: &mut Notice) -> Content {
    // SAFETY: passed on.
    let slot = unsafe { &mut *cell::<B>(header).slot.get() };
    match output.take() {
        ErasedOutput::Error(error) => {
            slot.output = ManuallyDrop::new(Err(error));
            Content::Output
        }
        ErasedOutput::Encoded(parcel) => {
            slot.encoded = ManuallyDrop::new(Payload::from(parcel.bytes));
            Content::EncodedOutput
        }
    }
}

/// # Safety
///
/// As for [`cell`]; the slot is the caller's and holds `content`, one of the two forms of an output, which is moved
/// out; `to` is valid for a write of `Result<B::Out, TaskError>`.
unsafe fn take<B: Body>(header: NonNull<Header>, content: Content, to: *mut ()) {
    // SAFETY: passed on.
    let slot = unsafe { &mut *cell::<B>(header).slot.get() };
    // SAFETY: the caller says which form it is.
    let output = unsafe {
        if content == Content::Output {
            ManuallyDrop::take(&mut slot.output).map_err(|error| *error)
        } else {
            B::decode_out(&ManuallyDrop::take(&mut slot.encoded))
        }
    };
    // SAFETY: passed on.
    unsafe { to.cast::<Result<B::Out, TaskError>>().write(output) };
}

/// # Safety
///
/// As for [`cell`]; that was the last reference.
unsafe fn free<B: Body>(header: NonNull<Header>) {
    // SAFETY: the cell was leaked from a box of this type, and nobody else has it any more.
    unsafe {
        let content = header.as_ref().content();
        clear::<B>(header, content);
        let cell = Box::from_raw(header.cast::<TaskCell<B>>().as_ptr());
        panic::quietly(|| drop(cell));
    }
}

// ---- relayed tasks ---------------------------------------------------------------------------------------------

static RELAY_SYNC: VTable = relay_vtable(false);
static RELAY_ASYNC: VTable = relay_vtable(true);

const fn relay_vtable(is_async: bool) -> VTable {
    VTable {
        is_async,
        start: |_| unreachable!("a relayed task runs in a worker"),
        encode: |_, _| unreachable!("a relayed task is serialised already"),
        target: |header| {
            // SAFETY: as for `relay`.
            Ok(unsafe { relay(header) }.target.clone())
        },
        payload: offset_of!(RelayCell, payload),
        keeps_output: false,
        clear: |header, content| {
            if content == Content::Encoded {
                // SAFETY: as for `relay`, and the slot is the caller's and holds its payload.
                panic::quietly(|| unsafe { (*relay(header).payload.get()).assume_init_drop() });
            }
        },
        take: |_, _, _| unreachable!("a relayed task has no future"),
        write: |header, output, notice| {
            // SAFETY: as for `relay`; the caller holds the right to write the output.
            let sink = unsafe { (*relay(header).sink.get()).take() };
            *notice = match sink {
                None => Notice::Nobody,
                Some(Sink::Function(function)) => {
                    let output = match output.take() {
                        ErasedOutput::Error(error) => Err(*error),
                        ErasedOutput::Encoded(parcel) => Ok(parcel.into_owned()),
                    };
                    Notice::Sink(Box::new((function, output)))
                }
                Some(Sink::Shared(shared, token)) => {
                    let output = match output {
                        ErasedOutput::Error(error) => Err(&**error),
                        ErasedOutput::Encoded(parcel) => Ok(&*parcel),
                    };
                    // SAFETY: as for `relay`.
                    let elapsed = unsafe { relay(header) }.elapsed.load(Ordering::Relaxed);
                    panic::quietly(|| shared.complete(token, output, Duration::from_nanos(elapsed)));
                    Notice::Flush(shared)
                }
            };
            Content::Empty
        },
        free: |header| {
            // SAFETY: leaked from a box of this type, and nobody else has it any more.
            unsafe {
                let vtable = header.as_ref().vtable;
                (vtable.clear)(header, header.as_ref().content());
                drop(Box::from_raw(header.cast::<RelayCell>().as_ptr()));
            }
        },
    }
}

/// # Safety
///
/// `header` is that of a live `RelayCell`.
unsafe fn relay<'a>(header: NonNull<Header>) -> &'a RelayCell {
    // SAFETY: the header is the first field of a `repr(C)` cell.
    unsafe { header.cast().as_ref() }
}

/// What a pending task of `u64 -> u64` costs: with the allocator's own word, 96 bytes.
#[cfg(not(loom))]
const _: () = assert!(size_of::<TaskCell<super::Call<u64, u64>>>() == 88);
