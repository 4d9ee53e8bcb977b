//! Reading the bodies of frames.

use std::time::Duration;

use super::{
    ASYNC, ATTACHED, DONE_HEAD, EXTRA, FromWorker, NAMED, NestedFrame, Packed, TASK_HEAD, TaskFrame,
    ToWorker, WireError, kind, outcome,
};
use crate::codec;
use crate::error::TaskError;
use crate::identity::Target;
use crate::shared::ShareId;
use crate::task::TaskId;

/// The number at that place of a head.
#[inline]
fn u64_at<const N: usize>(head: &[u8; N], at: usize) -> u64 {
    head[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Reads a body from the front; every step may find it too short.
struct Reader<'a> {
    kind: u8,
    len: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(body: &'a [u8]) -> Result<Self, WireError> {
        let (&kind, rest) = body.split_first().ok_or(WireError::Truncated { kind: 0, len: 0 })?;
        Ok(Self { kind, len: body.len(), rest })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(self.truncated())?;
        self.rest = rest;
        Ok(*array)
    }

    fn truncated(&self) -> WireError {
        WireError::Truncated { kind: self.kind, len: self.len }
    }

    fn garbled(&self, message: impl Into<String>) -> WireError {
        WireError::Garbled { kind: self.kind, message: message.into() }
    }

    fn byte(&mut self) -> Result<u8, WireError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, WireError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        self.array().map(u64::from_le_bytes)
    }

    fn share_id(&mut self) -> Result<ShareId, WireError> {
        self.array().map(|bytes| ShareId(u128::from_le_bytes(bytes)))
    }

    fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.truncated())?;
        self.rest = rest;
        Ok(bytes)
    }

    fn target(&mut self, flags: u8) -> Result<Target, WireError> {
        if flags & NAMED == 0 {
            return Ok(Target::Image { descriptor: self.u64()?, function: self.u64()? });
        }
        let name = std::str::from_utf8(self.bytes()?).map_err(|it| self.garbled(it.to_string()))?;
        Ok(Target::Named(name.to_owned()))
    }

    /// The value that the rest is.
    fn value(&mut self, is_attached: bool) -> Result<Packed<'a>, WireError> {
        if !is_attached {
            return Ok(Packed::from(self.rest));
        }
        Packed::read(self.rest).ok_or(self.truncated())
    }

    fn share(&mut self) -> Result<(ShareId, Packed<'a>), WireError> {
        let id = self.share_id()?;
        let is_attached = self.byte()? != 0;
        Ok((id, self.value(is_attached)?))
    }

    fn outcome(&mut self) -> Result<Result<Packed<'a>, TaskError>, WireError> {
        match self.byte()? {
            outcome::VALUE => Ok(Ok(self.value(false)?)),
            outcome::ATTACHED => Ok(Ok(self.value(true)?)),
            _ => match codec::decode_message(self.rest) {
                Ok(error) => Ok(Err(error)),
                Err(message) => Err(self.garbled(message)),
            },
        }
    }
}

impl<'a> ToWorker<'a> {
    /// Reads the body of a frame.
    ///
    /// # Errors
    ///
    /// If it is not one that an executor of this version sends.
    #[inline]
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        match body.split_first_chunk::<TASK_HEAD>() {
            Some((head, arg)) if head[0] == kind::TASK && head[1] & !ASYNC == 0 => {
                Ok(Self::Task(TaskFrame {
                    slot: u64_at(head, 2),
                    attempt: u64_at(head, 10) as u32,
                    task: TaskId(u64_at(head, 14)),
                    is_async: head[1] & ASYNC != 0,
                    target: Target::Image { descriptor: u64_at(head, 22), function: u64_at(head, 30) },
                    extra: None,
                    arg: Packed::from(arg),
                }))
            }
            _ => Self::decode_any(body),
        }
    }

    /// As [`decode`](Self::decode), of any frame.
    pub(super) fn decode_any(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body)?;
        Ok(match reader.kind {
            kind::TASK => {
                let flags = reader.byte()?;
                Self::Task(TaskFrame {
                    slot: reader.u64()?,
                    attempt: reader.u32()?,
                    task: TaskId(reader.u64()?),
                    is_async: flags & ASYNC != 0,
                    target: reader.target(flags)?,
                    extra: match flags & EXTRA {
                        0 => None,
                        _ => {
                            let bytes = reader.bytes()?;
                            Some(codec::decode_message(bytes).map_err(|it| reader.garbled(it))?)
                        }
                    },
                    arg: reader.value(flags & ATTACHED != 0)?,
                })
            }
            kind::SHARE => {
                let (id, value) = reader.share()?;
                Self::Share(id, value)
            }
            kind::UNSHARE => Self::Unshare(reader.share_id()?),
            kind::NESTED_DONE => Self::NestedDone(reader.u64()?, reader.outcome()?),
            kind::EXIT => Self::Exit,
            kind::PING => Self::Ping,
            kind::STOP => Self::Stop(reader.u64()?, Duration::from_nanos(reader.u64()?)),
            kind::REVOKE => Self::Revoke(reader.u64()?),
            kind::RELEASE => Self::Release(reader.u64()?, reader.u64()?),
            kind::WITHDRAW => Self::Withdraw(reader.u64()?),
            other => return Err(WireError::UnknownKind(other)),
        })
    }
}

impl<'a> FromWorker<'a> {
    /// The slot, the time and the value, if this is the body of a [`Done`](Self::Done) with a value to which nothing is
    /// attached: what nearly all frames of workers are, for less.
    #[inline]
    #[must_use]
    pub fn plain_value(body: &'a [u8]) -> Option<(u64, Duration, &'a [u8])> {
        let (head, value) = body.split_first_chunk::<DONE_HEAD>()?;
        if head[0] != kind::DONE || head[17] != outcome::VALUE {
            return None;
        }
        Some((u64_at(head, 1), Duration::from_nanos(u64_at(head, 9)), value))
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    ///
    /// If it is not one that a worker of this version sends.
    pub fn decode(body: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(body)?;
        Ok(match reader.kind {
            kind::READY => Self::Ready(reader.u32()?),
            kind::DONE => Self::Done(reader.u64()?, Duration::from_nanos(reader.u64()?), reader.outcome()?),
            kind::NESTED => {
                let flags = reader.byte()?;
                let nested = reader.u64()?;
                let target = reader.target(flags)?;
                let (options, shares) =
                    codec::decode_message(reader.bytes()?).map_err(|it| reader.garbled(it))?;
                Self::Nested(NestedFrame {
                    nested,
                    is_async: flags & ASYNC != 0,
                    target,
                    options,
                    shares,
                    arg: reader.value(flags & ATTACHED != 0)?,
                })
            }
            kind::NESTED_CANCEL => Self::NestedCancel(reader.u64()?),
            kind::NESTED_SHARE => {
                let (id, value) = reader.share()?;
                Self::NestedShare(id, value)
            }
            kind::BLOCKED => Self::Blocked(reader.u64()?),
            kind::UNBLOCKED => Self::Unblocked(reader.u64()?),
            kind::PROGRESS => Self::Progress(reader.u64()?, reader.array().map(f64::from_le_bytes)?),
            kind::REVOKED => Self::Revoked(reader.u64()?, reader.byte()? != 0),
            kind::OUTPUT => Self::Output(reader.u64()?, reader.bytes()?, reader.rest),
            kind::PONG => Self::Pong,
            kind::RELEASED => Self::Release(reader.u64()?, reader.u64()?),
            kind::WITHDRAWN => Self::Withdraw(reader.u64()?),
            other => return Err(WireError::UnknownKind(other)),
        })
    }
}
