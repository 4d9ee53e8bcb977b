//! Tasks of another process: they are serialised, and stay so.

use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, offset_of};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::TaskId;
use super::super::job::RelaySink;
use super::super::payload::Payload;
use super::super::state::Content;
use super::{ErasedOutput, Extra, Header, Notice, Ref, VTable};
use crate::error::TaskError;
use crate::identity::Target;
use crate::panic;
use crate::parcel::Parcel;
/// Who gets the serialised output of a task of another process.
pub(in crate::task) enum Sink {
    /// A function, called once.
    Function(SinkFunction),
    /// The sink of many tasks, and its name for this one.
    Shared(Arc<dyn RelaySink>, u64),
}

pub(super) type SinkFunction = Box<dyn FnOnce(Result<Parcel<'static>, TaskError>) + Send>;

/// A task submitted by another process: serialised already, with a function that gets the serialised output.
pub(in crate::task) struct Relay {
    pub(in crate::task) id: TaskId,
    pub(in crate::task) target: Target,
    pub(in crate::task) is_async: bool,
    pub(in crate::task) attempts_before: u32,
    pub(in crate::task) sink: Sink,
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

impl Ref {
    pub(in crate::task) fn new_relay(relay: Relay, payload: Payload, extra: Option<Box<Extra>>) -> Ref {
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
    fn as_relay(&self) -> Option<&RelayCell> {
        let vtable = self.header().vtable;
        let is_relay =
            std::ptr::eq(vtable, &raw const RELAY_SYNC) || std::ptr::eq(vtable, &raw const RELAY_ASYNC);
        // SAFETY: the vtable is that of a relay cell, which `self` keeps alive.
        is_relay.then(|| unsafe { relay(self.0) })
    }

    /// Keeps how long the body of a relayed task ran, for its sink. Only by the job, before it completes.
    #[inline]
    pub(in crate::task) fn note_elapsed(&self, elapsed: Duration) {
        if let Some(relay) = self.as_relay() {
            let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
            relay.elapsed.store(nanos, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(in crate::task) fn attempts_before(&self) -> u32 {
        self.as_relay().map_or(0, |relay| relay.attempts_before)
    }
}

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
