//! The messages between an executor and its workers, without IO.
//!
//! A frame is its length (`u32`, little endian, of what follows) and its body; the body begins with a byte that says
//! what it is. The two frames of the hot path, [`ToWorker::Task`] and [`FromWorker::Done`], are laid out by hand and
//! borrowed when read; errors and options go through the codec. All numbers are little endian.
//!
//! A serialised value is [`Packed`] with what is attached to it, which comes behind it; where nothing is attached, it is its bytes
//! and nothing else. How an attachment travels is between the two sides: in the frame, or by a segment or descriptors
//! that the frame names ([`Item`]).
//!
//! A *slot* names a task between one worker and its executor: the executor chooses it, and may use it again after the
//! task's answer.

mod attached;
mod decode;
#[cfg(test)]
mod tests;

pub use attached::{Item, Packed, inline};

use std::time::Duration;

use crate::codec;
use crate::error::TaskError;
use crate::identity::Target;
use crate::shared::ShareId;
use crate::task::{TaskId, TaskOptions};

/// The version of these messages. It is part of the build id.
pub const PROTOCOL: u32 = 2;

/// The bytes of a frame's length.
pub const LENGTH: usize = 4;

/// A frame that cannot be what a peer of this version sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The body is shorter than its kind demands.
    #[error("frame of kind {kind} is truncated at {len} bytes")]
    Truncated {
        /// The first byte.
        kind: u8,
        /// The length of the body.
        len: usize,
    },
    /// No such message exists.
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    /// A part that goes through the codec does not decode.
    #[error("frame of kind {kind} has a part that does not decode: {message}")]
    Garbled {
        /// The first byte.
        kind: u8,
        /// The codec's message.
        message: String,
    },
}

/// A task on its way to a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFrame<'a> {
    /// The name of the task between the two sides.
    pub slot: u64,
    /// The id that the submitter knows.
    pub task: TaskId,
    /// Counting from 1.
    pub attempt: u32,
    /// Whether the body is a future.
    pub is_async: bool,
    /// How the function is found.
    pub target: Target,
    /// What only an agent needs: it keeps the time limit, and passes shared values on to its own workers.
    pub extra: Option<TaskExtra>,
    /// The serialised argument.
    pub arg: Packed<'a>,
}

/// The rarer parts of a [`TaskFrame`].
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TaskExtra {
    /// How long the attempt may run.
    pub timeout: Option<Duration>,
    /// The task's name.
    pub name: Option<String>,
    /// Run on the agent's worker with this index and on no other.
    pub worker: Option<u32>,
    /// Shared values that the argument refers to; they have been sent before.
    pub shares: Vec<ShareId>,
}

/// A task that a running task submits to the executor of its worker.
#[derive(Debug, Clone, PartialEq)]
pub struct NestedFrame<'a> {
    /// The worker's name for it.
    pub nested: u64,
    /// Whether the body is a future.
    pub is_async: bool,
    /// How the function is found.
    pub target: Target,
    /// What the submitter asked for.
    pub options: TaskOptions,
    /// Shared values that the argument refers to; the worker has sent them before, or has got them from the executor.
    pub shares: Vec<ShareId>,
    /// The serialised argument.
    pub arg: Packed<'a>,
}

/// From an executor to its worker (a worker process, or an agent).
#[derive(Debug, Clone, PartialEq)]
pub enum ToWorker<'a> {
    /// Run this.
    Task(TaskFrame<'a>),
    /// Keep this value for later tasks.
    Share(ShareId, Packed<'a>),
    /// Forget the value.
    Unshare(ShareId),
    /// The result of a nested task.
    NestedDone(u64, Result<Packed<'a>, TaskError>),
    /// Leave, after what you have been given.
    Exit,
    /// Answer with [`FromWorker::Pong`]. To agents only.
    Ping,
    /// Raise the task's cooperative flag, and end it after this grace. To agents only.
    Stop(u64, Duration),
    /// Give the task back if it has not begun; answered with [`FromWorker::Revoked`]. To agents only.
    Revoke(u64),
    /// Of the segment that the worker has granted under this name, so many references are used no more; none if it has to be
    /// granted anew. To processes only.
    Release(u64, u64),
    /// Forget the segment that the executor has granted under this name. To processes only.
    Withdraw(u64),
}

/// From a worker (a worker process, or an agent) to its executor.
#[derive(Debug, Clone, PartialEq)]
pub enum FromWorker<'a> {
    /// Ready for tasks. A process says 1; an agent says how many slots it has.
    Ready(u32),
    /// The task in this slot has ended, after this time.
    Done(u64, Duration, Result<Packed<'a>, TaskError>),
    /// Run this for one of my tasks; answered with [`ToWorker::NestedDone`].
    Nested(NestedFrame<'a>),
    /// Cancel the nested task.
    NestedCancel(u64),
    /// A value that nested tasks refer to.
    NestedShare(ShareId, Packed<'a>),
    /// The task in this slot waits for a nested one.
    Blocked(u64),
    /// It waits no more.
    Unblocked(u64),
    /// How far the task in this slot is. From agents only; a process has other means.
    Progress(u64, f64),
    /// Whether the task in this slot was given back (it will never begin), or had begun. From agents only.
    Revoked(u64, bool),
    /// What the task in this slot wrote to its standard output and standard error; comes before its `Done`.
    Output(u64, &'a [u8], &'a [u8]),
    /// Alive. From agents only.
    Pong,
    /// Of the segment that the executor has granted under this name, so many references are used no more; none if it has to be
    /// granted anew. From processes only.
    Release(u64, u64),
    /// Forget the segment that the worker has granted under this name. From processes only.
    Withdraw(u64),
}

mod kind {
    pub(super) const TASK: u8 = 1;
    pub(super) const SHARE: u8 = 2;
    pub(super) const UNSHARE: u8 = 3;
    pub(super) const NESTED_DONE: u8 = 4;
    pub(super) const EXIT: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const STOP: u8 = 7;
    pub(super) const REVOKE: u8 = 8;
    pub(super) const RELEASE: u8 = 9;
    pub(super) const WITHDRAW: u8 = 10;

    pub(super) const READY: u8 = 65;
    pub(super) const DONE: u8 = 66;
    pub(super) const NESTED: u8 = 67;
    pub(super) const NESTED_CANCEL: u8 = 68;
    pub(super) const NESTED_SHARE: u8 = 69;
    pub(super) const BLOCKED: u8 = 70;
    pub(super) const UNBLOCKED: u8 = 71;
    pub(super) const PROGRESS: u8 = 72;
    pub(super) const REVOKED: u8 = 73;
    pub(super) const OUTPUT: u8 = 74;
    pub(super) const PONG: u8 = 75;
    pub(super) const RELEASED: u8 = 76;
    pub(super) const WITHDRAWN: u8 = 77;
}

/// Bytes of a task's body before its argument, if its function is in the image and nothing is extra: as nearly all tasks
/// are. These are written and read in one piece.
const TASK_HEAD: usize = 1 + 1 + 8 + 4 + 8 + 8 + 8;

/// Bytes of the body of a task that has ended before its value.
const DONE_HEAD: usize = 1 + 8 + 8 + 1;

const ASYNC: u8 = 1;
const NAMED: u8 = 2;
const EXTRA: u8 = 4;
const ATTACHED: u8 = 8;

/// The first byte of an outcome.
mod outcome {
    pub(super) const VALUE: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ATTACHED: u8 = 2;
}

/// Appends one frame: reserves its length, lets `body` write, fills the length in.
fn frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    body(out);
    let len = length_of(out.len() - start - LENGTH);
    out[start..start + LENGTH].copy_from_slice(&len);
}

#[inline]
fn length_of(body: usize) -> [u8; LENGTH] {
    // A frame over 4 GiB is refused by the frame limit long before.
    u32::try_from(body).expect("a frame is shorter than 4 GiB").to_le_bytes()
}

fn write_target(out: &mut Vec<u8>, target: &Target) {
    match target {
        Target::Image { descriptor, function } => {
            out.extend_from_slice(&descriptor.to_le_bytes());
            out.extend_from_slice(&function.to_le_bytes());
        }
        Target::Named(name) => write_bytes(out, name.as_bytes()),
    }
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn write_outcome(out: &mut Vec<u8>, outcome: &Result<Packed<'_>, TaskError>) {
    match outcome {
        Ok(value) => {
            out.push(if value.is_plain() { outcome::VALUE } else { outcome::ATTACHED });
            value.write(out);
        }
        Err(error) => {
            out.push(outcome::ERROR);
            codec::encode_message(error, out);
        }
    }
}

#[inline]
fn flags(is_async: bool, target: &Target, arg: &Packed<'_>) -> u8 {
    let named = match target {
        Target::Image { .. } => 0,
        Target::Named(_) => NAMED,
    };
    let attached = if arg.is_plain() { 0 } else { ATTACHED };
    named | attached | if is_async { ASYNC } else { 0 }
}

fn write_share(out: &mut Vec<u8>, id: ShareId, value: &Packed<'_>) {
    out.extend_from_slice(&id.0.to_le_bytes());
    out.push(u8::from(!value.is_plain()));
    value.write(out);
}

/// A `Duration` as whole nanoseconds; 584 years are the most.
#[inline]
fn nanos(time: Duration) -> [u8; 8] {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes()
}

impl TaskFrame<'_> {
    /// Appends the frame.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Target::Image { descriptor, function } = self.target else { return self.encode_any(out) };
        if self.extra.is_some() || !self.arg.is_plain() {
            return self.encode_any(out);
        }
        let mut frame = [0; LENGTH + TASK_HEAD];
        frame[..LENGTH].copy_from_slice(&length_of(TASK_HEAD + self.arg.bytes.len()));
        let head = &mut frame[LENGTH..];
        head[0] = kind::TASK;
        head[1] = if self.is_async { ASYNC } else { 0 };
        head[2..10].copy_from_slice(&self.slot.to_le_bytes());
        head[10..14].copy_from_slice(&self.attempt.to_le_bytes());
        head[14..22].copy_from_slice(&self.task.get().to_le_bytes());
        head[22..30].copy_from_slice(&descriptor.to_le_bytes());
        head[30..38].copy_from_slice(&function.to_le_bytes());
        out.extend_from_slice(&frame);
        out.extend_from_slice(self.arg.bytes);
    }

    /// As [`encode`](Self::encode), of any task.
    fn encode_any(&self, out: &mut Vec<u8>) {
        frame(out, kind::TASK, |out| {
            let extra = if self.extra.is_some() { EXTRA } else { 0 };
            out.push(flags(self.is_async, &self.target, &self.arg) | extra);
            out.extend_from_slice(&self.slot.to_le_bytes());
            out.extend_from_slice(&self.attempt.to_le_bytes());
            out.extend_from_slice(&self.task.get().to_le_bytes());
            write_target(out, &self.target);
            if let Some(extra) = &self.extra {
                let mut bytes = Vec::new();
                codec::encode_message(extra, &mut bytes);
                write_bytes(out, &bytes);
            }
            self.arg.write(out);
        });
    }
}

impl ToWorker<'_> {
    /// Whether a frame is a task or the order to leave: what a worker deals with one after the other.
    #[inline]
    pub fn is_for_main(body: &[u8]) -> bool {
        matches!(body.first(), Some(&(kind::TASK | kind::EXIT)))
    }

    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Task(task) => task.encode(out),
            Self::Share(id, value) => frame(out, kind::SHARE, |out| write_share(out, *id, value)),
            Self::Unshare(id) => frame(out, kind::UNSHARE, |out| {
                out.extend_from_slice(&id.0.to_le_bytes());
            }),
            Self::NestedDone(nested, outcome) => frame(out, kind::NESTED_DONE, |out| {
                out.extend_from_slice(&nested.to_le_bytes());
                write_outcome(out, outcome);
            }),
            Self::Exit => frame(out, kind::EXIT, |_| {}),
            Self::Ping => frame(out, kind::PING, |_| {}),
            Self::Stop(slot, grace) => frame(out, kind::STOP, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&nanos(*grace));
            }),
            Self::Revoke(slot) => frame(out, kind::REVOKE, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
            }),
            Self::Release(id, count) => frame(out, kind::RELEASE, |out| {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }),
            Self::Withdraw(id) => frame(out, kind::WITHDRAW, |out| {
                out.extend_from_slice(&id.to_le_bytes());
            }),
        }
    }
}

/// The end of a task whose value has been appended to its frame.
#[derive(Debug, Clone, Default)]
pub struct Finished {
    /// How long it took.
    pub elapsed: Duration,
    /// What is attached to the value; see [`Packed`].
    pub attached: Vec<u8>,
    /// The value is not in the frame but the last of what is attached.
    pub is_bulk: bool,
}

/// Appends the frame of a task that has ended with a value, whose bytes `write` appends: no copy in between.
///
/// If `write` fails, nothing is appended.
///
/// # Errors
///
/// Those of `write`.
#[inline]
pub fn encode_done<E>(
    out: &mut Vec<u8>,
    slot: u64,
    write: impl FnOnce(&mut Vec<u8>) -> Result<Finished, E>,
) -> Result<(), E> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH + DONE_HEAD]);
    let finished = match write(out) {
        Ok(finished) => finished,
        Err(error) => {
            out.truncate(start);
            return Err(error);
        }
    };
    let rest = Packed { bytes: &[], attached: &finished.attached, is_bulk: finished.is_bulk };
    rest.write(out);
    let len = length_of(out.len() - start - LENGTH);
    let frame = &mut out[start..start + LENGTH + DONE_HEAD];
    frame[..LENGTH].copy_from_slice(&len);
    let head = &mut frame[LENGTH..];
    head[0] = kind::DONE;
    head[1..9].copy_from_slice(&slot.to_le_bytes());
    head[9..17].copy_from_slice(&nanos(finished.elapsed));
    head[17] = if rest.is_plain() { outcome::VALUE } else { outcome::ATTACHED };
    Ok(())
}

impl FromWorker<'_> {
    /// Appends the frame.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ready(slots) => frame(out, kind::READY, |out| {
                out.extend_from_slice(&slots.to_le_bytes());
            }),
            Self::Done(slot, time, outcome) => frame(out, kind::DONE, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&nanos(*time));
                write_outcome(out, outcome);
            }),
            Self::Nested(task) => frame(out, kind::NESTED, |out| {
                out.push(flags(task.is_async, &task.target, &task.arg));
                out.extend_from_slice(&task.nested.to_le_bytes());
                write_target(out, &task.target);
                let mut options = Vec::new();
                codec::encode_message(&(&task.options, &task.shares), &mut options);
                write_bytes(out, &options);
                task.arg.write(out);
            }),
            Self::NestedCancel(nested) => frame(out, kind::NESTED_CANCEL, |out| {
                out.extend_from_slice(&nested.to_le_bytes());
            }),
            Self::NestedShare(id, value) => {
                frame(out, kind::NESTED_SHARE, |out| write_share(out, *id, value));
            }
            Self::Blocked(slot) => frame(out, kind::BLOCKED, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
            }),
            Self::Unblocked(slot) => frame(out, kind::UNBLOCKED, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
            }),
            Self::Progress(slot, fraction) => frame(out, kind::PROGRESS, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
                out.extend_from_slice(&fraction.to_le_bytes());
            }),
            Self::Revoked(slot, taken) => frame(out, kind::REVOKED, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
                out.push(u8::from(*taken));
            }),
            Self::Output(slot, stdout, stderr) => frame(out, kind::OUTPUT, |out| {
                out.extend_from_slice(&slot.to_le_bytes());
                write_bytes(out, stdout);
                out.extend_from_slice(stderr);
            }),
            Self::Pong => frame(out, kind::PONG, |_| {}),
            Self::Release(id, count) => frame(out, kind::RELEASED, |out| {
                out.extend_from_slice(&id.to_le_bytes());
                out.extend_from_slice(&count.to_le_bytes());
            }),
            Self::Withdraw(id) => frame(out, kind::WITHDRAWN, |out| {
                out.extend_from_slice(&id.to_le_bytes());
            }),
        }
    }
}
