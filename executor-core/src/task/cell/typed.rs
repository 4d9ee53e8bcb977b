//! Tasks of this process: function, argument and output have types.

use std::cell::UnsafeCell;
use std::mem::{ManuallyDrop, offset_of};
use std::ptr::NonNull;

use super::super::TaskId;
use super::super::body::{Body, Started};
use super::super::payload::Payload;
use super::super::state::{Content, Kind};
use super::{ErasedOutput, Extra, Header, Notice, Ref, StartedTask, VTable};
use crate::error::TaskError;
use crate::identity::Target;
use crate::panic;
use crate::parcel::Buffer;
#[repr(C)]
pub(super) struct TaskCell<B: Body> {
    header: Header,
    body: B,
    pub(super) slot: UnsafeCell<Slot<B>>,
}

pub(super) union Slot<B: Body> {
    pub(super) arg: ManuallyDrop<B::Arg>,
    encoded: ManuallyDrop<Payload>,
    output: ManuallyDrop<Result<B::Out, Box<TaskError>>>,
}

impl Ref {
    /// A new task with one reference for its job and one for its future.
    pub(in crate::task) fn new<B: Body>(body: B, arg: B::Arg, extra: Option<Box<Extra>>) -> (Ref, Ref) {
        let cell = Box::new(TaskCell {
            header: Header::new(TaskId::next(), Content::Arg, 2, vtable_of::<B>(), extra),
            body,
            slot: UnsafeCell::new(Slot { arg: ManuallyDrop::new(arg) }),
        });
        let header = NonNull::from(Box::leak(cell)).cast();
        (Ref(header), Ref(header))
    }
}

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
pub(super) unsafe fn cell<'a, B: Body>(header: NonNull<Header>) -> &'a TaskCell<B> {
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

/// What a pending task of `u64 -> u64` costs: with the allocator's own word, 96 bytes.
#[cfg(not(loom))]
const _: () = assert!(size_of::<TaskCell<super::super::Call<u64, u64>>>() == 88);
