//! Why something was not put, got or counted.

use std::fmt;
use std::io;

use super::MAX_ITEM_BYTES;
use super::records;

/// An item was not put. Has the item.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum PutError<T> {
    /// There is no room, or was none until the time was up.
    #[error("the queue is full")]
    Full(T),
    /// The item's `Serialize` failed or panicked.
    #[error("an item of type {} cannot be encoded: {message}", std::any::type_name::<T>())]
    Encode {
        /// The item.
        item: T,
        /// What `Serialize` said.
        message: String,
    },
    /// The item is larger than any that can be put.
    #[error(
        "an item of {bytes} bytes cannot be put: {} bytes is the most, and the limit on the size of files (`ulimit -f`) may make it less",
        MAX_ITEM_BYTES
    )]
    TooLarge {
        /// The item.
        item: T,
        /// Its length when encoded.
        bytes: usize,
    },
    /// The memory for what waits cannot be mapped into this process.
    #[error("no address space for the memory of the queue")]
    Memory {
        /// The item.
        item: T,
        /// The system's answer.
        source: io::Error,
    },
    /// What stands in the queue's shared memory cannot be right: a process has written there that should not have. The queue is of no
    /// further use.
    #[error("the queue's shared memory is damaged: {reason}; make another queue")]
    Damaged {
        /// The item.
        item: T,
        /// What was found.
        reason: String,
    },
}

impl<T> PutError<T> {
    pub(super) fn from_push(error: records::PushError, item: T, bytes: usize) -> Self {
        match error {
            records::PushError::Full | records::PushError::TimedOut => Self::Full(item),
            records::PushError::TooLarge => Self::TooLarge { item, bytes },
            records::PushError::Map(source) => Self::Memory { item, source },
            records::PushError::Damaged(damage) => Self::Damaged { item, reason: damage.to_string() },
        }
    }

    /// The item that was not put.
    pub fn into_item(self) -> T {
        match self {
            Self::Full(item)
            | Self::Encode { item, .. }
            | Self::TooLarge { item, .. }
            | Self::Memory { item, .. }
            | Self::Damaged { item, .. } => item,
        }
    }
}

/// Without the item, which need not be `Debug`.
impl<T> fmt::Debug for PutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.debug_tuple("Full").finish_non_exhaustive(),
            Self::Encode { message, .. } => {
                f.debug_struct("Encode").field("message", message).finish_non_exhaustive()
            }
            Self::TooLarge { bytes, .. } => {
                f.debug_struct("TooLarge").field("bytes", bytes).finish_non_exhaustive()
            }
            Self::Memory { source, .. } => {
                f.debug_struct("Memory").field("source", source).finish_non_exhaustive()
            }
            Self::Damaged { reason, .. } => {
                f.debug_struct("Damaged").field("reason", reason).finish_non_exhaustive()
            }
        }
    }
}

/// No item was got.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// There is no item, or was none until the time was up.
    #[error("the queue is empty")]
    Empty,
    /// The item that was taken is no value of the type. It is gone; the next `get` takes the next item.
    #[error("an item is not a value of type {type_name}: {message}")]
    Decode {
        /// The type of the queue's items here.
        type_name: &'static str,
        /// What `Deserialize` said.
        message: String,
    },
    /// The memory for what waits cannot be mapped into this process. The item waits on.
    #[error("no memory for what waits in the queue")]
    Memory(#[source] io::Error),
    /// What stands in the queue's shared memory cannot be right: a process has written there that should not have. The queue is of no
    /// further use.
    #[error("the queue's shared memory is damaged: {reason}; make another queue")]
    Damaged {
        /// What was found.
        reason: String,
    },
}

impl GetError {
    pub(super) fn from_pop(error: records::PopError) -> Self {
        match error {
            records::PopError::Empty | records::PopError::TimedOut => Self::Empty,
            records::PopError::Map(source) => Self::Memory(source),
            records::PopError::Damaged(damage) => Self::Damaged { reason: damage.to_string() },
        }
    }
}

/// What was put and what is done cannot be counted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DoneError {
    /// `task_done` was called more often than items were put.
    #[error("all items are done already: call `task_done` once for each item that was got")]
    TooOften,
    /// What stands in the queue's shared memory cannot be right: a process has written there that should not have. The queue is of no
    /// further use.
    #[error("the queue's shared memory is damaged: {reason}; make another queue")]
    Damaged {
        /// What was found.
        reason: String,
    },
}

impl DoneError {
    pub(super) fn from_finish(error: records::DoneError) -> Self {
        match error {
            records::DoneError::TooOften => Self::TooOften,
            // The wait for this lock has no end.
            records::DoneError::TimedOut => Self::Damaged { reason: "a lock is never released".to_owned() },
            records::DoneError::Damaged(damage) => Self::Damaged { reason: damage.to_string() },
        }
    }
}
