//! Serialised bytes of a task, kept without an allocation when they are few.

use std::ops::Deref;

use crate::blob::Blob;
use crate::parcel::{Bytes, SMALL as INLINE, Small};

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

impl Payload {
    /// Whether dropping it does nothing.
    #[inline]
    pub(crate) fn is_inline(&self) -> bool {
        matches!(self, Self::Inline { .. })
    }
}

impl From<Small> for Payload {
    #[inline]
    fn from(small: Small) -> Self {
        let (bytes, len) = small.into_padded();
        Self::Inline { len: len as u8, bytes }
    }
}

impl From<&[u8]> for Payload {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() > INLINE {
            return Self::Heap(bytes.into());
        }
        Self::Inline { len: bytes.len() as u8, bytes: padded(bytes) }
    }
}

/// At most [`INLINE`] bytes, and zeros behind. In words that overlap: a call of `memcpy` for any number of bytes, and then
/// loads of words from what it has stored by bytes, take several times as long.
#[inline]
fn padded(bytes: &[u8]) -> [u8; INLINE] {
    let mut all = [0; INLINE];
    let len = bytes.len();
    match len {
        0 => {}
        1..4 => {
            let (first, middle, last) = (bytes[0], bytes[len / 2], bytes[len - 1]);
            (all[0], all[len / 2], all[len - 1]) = (first, middle, last);
        }
        4..8 => overlap::<4>(bytes, &mut all),
        8..16 => overlap::<8>(bytes, &mut all),
        _ => overlap::<16>(bytes, &mut all),
    }
    all
}

/// Copies the first `N` bytes and the last `N`.
#[inline]
fn overlap<const N: usize>(from: &[u8], to: &mut [u8; INLINE]) {
    let last = from.len() - N;
    to[last..last + N].copy_from_slice(&from[last..]);
    to[..N].copy_from_slice(&from[..N]);
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() > INLINE { Self::Heap(bytes.into_boxed_slice()) } else { Self::from(&bytes[..]) }
    }
}

impl Deref for Payload {
    type Target = [u8];
    #[inline]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back() {
        for len in 0..=INLINE + 2 {
            let bytes: Vec<u8> = (1..=len as u8).collect();
            assert_eq!(*Payload::from(&bytes[..]), bytes[..]);
            assert_eq!(*Payload::from(bytes.clone()), bytes[..]);
            assert_eq!(matches!(Payload::from(bytes), Payload::Inline { .. }), len <= INLINE);
        }
    }
}
