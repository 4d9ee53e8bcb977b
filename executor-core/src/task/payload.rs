//! Serialised bytes of a task, kept without an allocation when they are few.

use std::ops::Deref;

use crate::blob::Blob;
use crate::parcel::Bytes;

/// How many bytes fit without an allocation.
const INLINE: usize = 22;

/// Bytes of an argument or a result.
///
/// Up to 22 bytes live in the value itself: most arguments and results of small tasks, whose cost an allocation
/// would double.
pub(crate) enum Payload {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(Box<[u8]>),
    Bulk(Blob),
}

const _: () = assert!(size_of::<Payload>() == 24, "a payload is three words");

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE {
            return Self::Heap(bytes.into());
        }
        let mut inline = [0; INLINE];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self::Inline { len: bytes.len() as u8, bytes: inline }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() > INLINE { Self::Heap(bytes.into_boxed_slice()) } else { Self::from(&bytes[..]) }
    }
}

impl Deref for Payload {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Self::Heap(bytes) => bytes,
            Self::Bulk(blob) => blob,
        }
    }
}

impl From<Bytes<'_>> for Payload {
    fn from(bytes: Bytes<'_>) -> Self {
        match bytes {
            Bytes::Borrowed(bytes) => Self::from(bytes),
            Bytes::Owned(bytes) => Self::from(bytes),
            Bytes::Bulk(blob) => Self::Bulk(blob),
        }
    }
}
