//! What is attached to a value in a frame.
//!
//! ```text
//!   bytes of the value | items | length of the items (u64, the top bit: the value is the last item)
//! ```

use super::WireError;
use crate::attachment::Attachment;
use crate::blob::Blob;
use crate::parcel::{Bytes, Parcel};

/// A serialised value in a frame, and what is attached to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed<'a> {
    /// The value.
    pub bytes: &'a [u8],
    /// [`Item`]s, one after the other.
    pub attached: &'a [u8],
    /// The value is not in `bytes` but is the last of the items.
    pub is_bulk: bool,
}

impl<'a> From<&'a [u8]> for Packed<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, attached: &[], is_bulk: false }
    }
}

const BULK: u64 = 1 << 63;

impl<'a> Packed<'a> {
    /// Whether there is nothing but the bytes.
    #[inline]
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.attached.is_empty()
    }

    #[inline]
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes);
        if !self.is_plain() {
            out.extend_from_slice(self.attached);
            let len = self.attached.len() as u64;
            out.extend_from_slice(&(len | if self.is_bulk { BULK } else { 0 }).to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let (rest, len) = bytes.split_last_chunk()?;
        let word = u64::from_le_bytes(*len);
        let at = rest.len().checked_sub(usize::try_from(word & !BULK).ok()?)?;
        let (bytes, attached) = rest.split_at(at);
        Some(Self { bytes, attached, is_bulk: word & BULK != 0 })
    }

    /// The items.
    ///
    /// # Errors
    ///
    /// If there is something else.
    pub fn items(&self) -> Result<Vec<Item<'a>>, WireError> {
        let mut rest = self.attached;
        let mut items = Vec::new();
        while !rest.is_empty() {
            let item = Item::read(&mut rest);
            items.push(item.ok_or_else(|| WireError::Garbled {
                kind: 0,
                message: "its list of attachments is not one".to_owned(),
            })?);
        }
        Ok(items)
    }
}

/// The items of attachments that all travel in the frame: what a carrier to other machines writes, having refused those
/// that exist on this one only ([`Carrier::check`](crate::Carrier::check)).
#[must_use]
pub fn inline(attachments: &[Attachment]) -> Vec<u8> {
    let mut items = Vec::new();
    for attachment in attachments {
        match attachment {
            Attachment::Blob(blob) => Item::Inline(blob).write(&mut items),
            Attachment::Local(_) => Item::Local(0).write(&mut items),
        }
    }
    items
}

impl<'a> Packed<'a> {
    /// The value, whose attachments have all come in the frame.
    ///
    /// # Errors
    ///
    /// If the list is none, or if something has not.
    pub fn into_parcel(self) -> Result<Parcel<'a>, WireError> {
        let garbled = |message: &str| WireError::Garbled { kind: 0, message: message.to_owned() };
        if self.is_plain() {
            return Ok(Parcel::from(self.bytes));
        }
        let attachments = self.items()?.into_iter().map(|item| match item {
            Item::Inline(bytes) => Ok(Attachment::Blob(Blob::from(bytes))),
            _ => Err(garbled("something of another machine is attached to it")),
        });
        let attachments: Result<Vec<_>, _> = attachments.collect();
        match self.is_bulk {
            true => Err(garbled("a value that is an attachment itself came from another machine")),
            false => Ok(Parcel { bytes: Bytes::Borrowed(self.bytes), attachments: attachments? }),
        }
    }
}

/// How one attachment travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item<'a> {
    /// A blob in the frame.
    Inline(&'a [u8]),
    /// A blob of so many bytes, at the start of a segment that the sender has granted under this name.
    Granted {
        /// The sender's name for the segment.
        id: u64,
        /// The length of the blob.
        len: u64,
        /// It is granted herewith: its descriptor has been sent.
        is_new: bool,
    },
    /// A blob that the receiver itself has sent, in the segment that it has granted under this name.
    Returned {
        /// The receiver's name for the segment.
        id: u64,
        /// The length of the blob.
        len: u64,
    },
    /// Something of this machine, whose descriptors have been sent: so many.
    Local(u8),
}

mod tag {
    pub(super) const INLINE: u8 = 0;
    pub(super) const GRANTED: u8 = 1;
    pub(super) const NEWLY_GRANTED: u8 = 2;
    pub(super) const RETURNED: u8 = 3;
    pub(super) const LOCAL: u8 = 4;
}

impl<'a> Item<'a> {
    /// Appends the item.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut numbers = |tag: u8, a: u64, b: u64| {
            out.push(tag);
            out.extend_from_slice(&a.to_le_bytes());
            out.extend_from_slice(&b.to_le_bytes());
        };
        match *self {
            Self::Inline(bytes) => {
                out.push(tag::INLINE);
                out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Self::Granted { id, len, is_new: false } => numbers(tag::GRANTED, id, len),
            Self::Granted { id, len, is_new: true } => numbers(tag::NEWLY_GRANTED, id, len),
            Self::Returned { id, len } => numbers(tag::RETURNED, id, len),
            Self::Local(count) => out.extend_from_slice(&[tag::LOCAL, count]),
        }
    }

    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let (&tag, after) = rest.split_first()?;
        *rest = after;
        let mut number = || {
            let (bytes, after) = rest.split_first_chunk()?;
            *rest = after;
            Some(u64::from_le_bytes(*bytes))
        };
        Some(match tag {
            tag::INLINE => {
                let len = usize::try_from(number()?).ok()?;
                let (bytes, after) = rest.split_at_checked(len)?;
                *rest = after;
                Self::Inline(bytes)
            }
            tag::GRANTED => Self::Granted { id: number()?, len: number()?, is_new: false },
            tag::NEWLY_GRANTED => Self::Granted { id: number()?, len: number()?, is_new: true },
            tag::RETURNED => Self::Returned { id: number()?, len: number()? },
            tag::LOCAL => {
                let (&count, after) = rest.split_first()?;
                *rest = after;
                Self::Local(count)
            }
            _ => return None,
        })
    }
}
