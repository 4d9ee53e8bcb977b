//! Why a message was not sent or received.

use std::fmt;
use std::io;

use super::MAX_MESSAGE_BYTES;

/// A message was not sent. Has the message.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum SendError<T> {
    /// All who could receive it are gone: their handles were dropped, or their processes ended.
    #[error("nobody is left who could receive from the pipe")]
    Closed(T),
    /// There is no room, or was none until the time was up.
    #[error("the pipe is full")]
    Full(T),
    /// The message's `Serialize` failed or panicked.
    #[error("a message of type {} cannot be encoded: {reason}", std::any::type_name::<T>())]
    Encode {
        /// The message.
        message: T,
        /// What `Serialize` said.
        reason: String,
    },
    /// The message is larger than any that can be sent.
    #[error("a message of {bytes} bytes cannot be sent: {MAX_MESSAGE_BYTES} bytes is the most")]
    TooLarge {
        /// The message.
        message: T,
        /// Its length when encoded, blobs included.
        bytes: usize,
    },
    /// The message carries more descriptors than the kernel passes on at once.
    #[error("a message with {descriptors} descriptors of handles cannot be sent: {most} is the most")]
    TooManyHandles {
        /// The message.
        message: T,
        /// Of the handles in it.
        descriptors: usize,
        /// What the kernel allows.
        most: usize,
    },
    /// A system call failed: no descriptor or no memory is left for what follows a long message.
    #[error("a message cannot be sent")]
    Io {
        /// The message.
        message: T,
        /// The system's answer.
        source: io::Error,
    },
}

/// The same without the message.
#[derive(Debug)]
pub(super) enum Failure {
    Closed,
    Full,
    Encode(String),
    TooLarge(usize),
    TooManyHandles { descriptors: usize, most: usize },
    Io(io::Error),
}

impl Failure {
    pub(super) fn with<T>(self, message: T) -> SendError<T> {
        match self {
            Self::Closed => SendError::Closed(message),
            Self::Full => SendError::Full(message),
            Self::Encode(reason) => SendError::Encode { message, reason },
            Self::TooLarge(bytes) => SendError::TooLarge { message, bytes },
            Self::TooManyHandles { descriptors, most } => {
                SendError::TooManyHandles { message, descriptors, most }
            }
            Self::Io(source) => SendError::Io { message, source },
        }
    }
}

impl<T> SendError<T> {
    /// The message that was not sent.
    pub fn into_message(self) -> T {
        match self {
            Self::Closed(message)
            | Self::Full(message)
            | Self::Encode { message, .. }
            | Self::TooLarge { message, .. }
            | Self::TooManyHandles { message, .. }
            | Self::Io { message, .. } => message,
        }
    }
}

/// Without the message, which need not be `Debug`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.debug_tuple("Closed").finish_non_exhaustive(),
            Self::Full(_) => f.debug_tuple("Full").finish_non_exhaustive(),
            Self::Encode { reason, .. } => {
                f.debug_struct("Encode").field("reason", reason).finish_non_exhaustive()
            }
            Self::TooLarge { bytes, .. } => {
                f.debug_struct("TooLarge").field("bytes", bytes).finish_non_exhaustive()
            }
            Self::TooManyHandles { descriptors, .. } => {
                f.debug_struct("TooManyHandles").field("descriptors", descriptors).finish_non_exhaustive()
            }
            Self::Io { source, .. } => f.debug_struct("Io").field("source", source).finish_non_exhaustive(),
        }
    }
}

/// No message was received.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// There is no message, or was none until the time was up.
    #[error("no message is in the pipe")]
    Empty,
    /// Everything was received, and all who could send more are gone: their handles were dropped, or their processes ended.
    #[error("the pipe has ended: nobody is left who could send into it")]
    Closed,
    /// The message ends before its end: whoever sent it did not send all of it. It is gone; the next one may be whole.
    #[error("a message was cut off: {bytes} bytes came of {expected}")]
    Truncated {
        /// Bytes that came.
        bytes: u64,
        /// Bytes that were announced.
        expected: u64,
    },
    /// The message is none of ours. It is gone.
    #[error("what came through the pipe is no message: {reason}")]
    Foreign {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The message is no value of the type. It is gone; the next call receives the next one.
    #[error("a message is not a value of type {type_name}: {reason}")]
    Decode {
        /// The type of messages here.
        type_name: &'static str,
        /// What `Deserialize` said.
        reason: String,
    },
    /// Descriptors that came with the message could not be taken, and it is gone with them.
    #[error(
        "a message with handles was lost, because this process has as many descriptors as it may have: raise its limit \
         (`ulimit -n`) or drop handles"
    )]
    NoDescriptors,
    /// A system call failed, or there is no memory for a long message.
    #[error("a message cannot be received")]
    Io(#[from] io::Error),
}
