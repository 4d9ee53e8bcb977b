//! The argument, in either form. All of this is the job's.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;

use super::super::body::Body;
use super::super::payload::Payload;
use super::super::state::Content;
use super::Ref;
use super::typed::cell;
use crate::attachment::{self, Attachment, Collected};
use crate::blob::Blob;
use crate::error::TaskError;
use crate::parcel::{self, Buffer, Carrier};
use crate::shared::ShareBlob;

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

impl Ref {
    /// Serialises the argument in place, and drops it.
    ///
    /// Only by the job, before the body begins. On an error the argument is still there.
    pub(in crate::task) fn encode(&self, carrier: Carrier) -> Result<(), TaskError> {
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
        let collected = match (buffer.small(), collected) {
            (Some(small), None) => {
                carrier.check("argument", small.len(), &[])?;
                return Ok(Payload::from(small));
            }
            (Some(small), Some(collected)) => {
                check_sizes(carrier, small.len(), &collected.attachments, &collected.shares)?;
                self.set_carried(collected);
                return Ok(Payload::from(small));
            }
            (None, collected) => collected.unwrap_or_default(),
        };
        let bulk = buffer.finish();
        self.keep_large(large, bulk, collected, carrier)
    }

    /// What [`encode_into`](Self::encode_into) does with an argument of more than a few bytes, which is in one of the two.
    fn keep_large(
        &self,
        large: &mut Vec<u8>,
        bulk: Option<Blob>,
        collected: Collected,
        carrier: Carrier,
    ) -> Result<Payload, TaskError> {
        let len = bulk.as_ref().map_or(large.len(), |bulk| bulk.len());
        if let Err(error) = check_sizes(carrier, len, &collected.attachments, &collected.shares) {
            if len > LARGE {
                *large = Vec::new();
            }
            return Err(error);
        }
        self.set_carried(collected);
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
    pub(in crate::task) unsafe fn reclaim<B: Body>(&self) -> Option<B::Arg> {
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
    pub(in crate::task) fn encoded(&self) -> &[u8] {
        self.argument()
    }

    /// Whether the serialised argument is its bytes and nothing else. Only by the job, after [`encode`](Self::encode).
    #[inline]
    pub(in crate::task) fn is_plain(&self) -> bool {
        self.extra().is_none() && !matches!(self.argument(), Payload::Bulk(_))
    }

    /// The serialised argument, if it is in bulk. Only by the job, after [`encode`](Self::encode).
    #[inline]
    pub(in crate::task) fn bulk(&self) -> Option<&Blob> {
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
    pub(super) fn payload(&self) -> NonNull<Payload> {
        // SAFETY: in bounds of the task's allocation, as its vtable says.
        unsafe { self.0.byte_add(self.header().vtable.payload).cast() }
    }
}
