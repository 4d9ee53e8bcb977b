//! A serialised value with what is attached to it, on its way from one side to the other.
//!
//! ```text
//!   argument ──► Outlet ──► Parcel ──► (frames, segments, descriptors) ──► Parcel ──► argument
//! ```
//!
//! A [`Carrier`] says what the way between the two can take. Where it takes bulk, a value that turns out to be large is
//! written into memory that the receiver can map, from the first byte that does not fit a small buffer on: it then
//! has its bytes in a [`Blob`].

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attachment::{self, Attachment, Kept};
use crate::blob::{self, Blob, MemoryMut};
use crate::codec;
use crate::error::TaskError;

/// The bytes of a serialised value.
#[derive(Debug, Clone)]
pub enum Bytes<'a> {
    /// Somebody else's.
    Borrowed(&'a [u8]),
    /// In ordinary memory.
    Owned(Vec<u8>),
    /// In memory that other processes can map.
    Bulk(Blob),
}

impl Deref for Bytes<'_> {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Bulk(blob) => blob,
        }
    }
}

/// A serialised value with what is attached to it.
#[derive(Debug, Clone)]
pub struct Parcel<'a> {
    /// The value.
    pub bytes: Bytes<'a>,
    /// What its parts have attached, by their indices.
    pub attachments: Vec<Attachment>,
}

impl Parcel<'_> {
    /// The same, without borrowing.
    pub fn into_owned(self) -> Parcel<'static> {
        let bytes = match self.bytes {
            Bytes::Borrowed(bytes) => Bytes::Owned(bytes.to_vec()),
            Bytes::Owned(bytes) => Bytes::Owned(bytes),
            Bytes::Bulk(blob) => Bytes::Bulk(blob),
        };
        Parcel { bytes, attachments: self.attachments }
    }
}

/// Decodes a value that refers to these attachments.
#[inline]
pub(crate) fn open<T>(attachments: &mut Vec<Attachment>, decode: impl FnOnce() -> T) -> T {
    if attachments.is_empty() { decode() } else { attachment::provide_from(attachments, decode) }
}

impl<'a> From<&'a [u8]> for Parcel<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes: Bytes::Borrowed(bytes), attachments: Vec::new() }
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Parcel<'a> {
    fn from(bytes: &'a [u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl<'a> From<&'a Vec<u8>> for Parcel<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Vec<u8>> for Parcel<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: Bytes::Owned(bytes), attachments: Vec::new() }
    }
}

/// What the way to the receiver takes besides bytes in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carrier {
    /// The most bytes that a value and its attachments may have together.
    limit: usize,
    takes_attachments: bool,
    takes_local: bool,
    takes_bulk: bool,
}

impl Carrier {
    /// Frames and nothing else. A blob is then written by value.
    #[inline]
    #[must_use]
    pub fn bytes(limit: usize) -> Self {
        Self { limit, takes_attachments: false, takes_local: false, takes_bulk: false }
    }

    /// To another machine: blobs, and nothing that exists on this one only.
    #[must_use]
    pub fn remote(limit: usize) -> Self {
        Self { takes_attachments: true, ..Self::bytes(limit) }
    }

    /// To another process of this machine: blobs, things of this machine, and shared memory for large values.
    #[inline]
    #[must_use]
    pub fn local(limit: usize) -> Self {
        Self { takes_attachments: true, takes_local: true, takes_bulk: true, ..Self::bytes(limit) }
    }

    /// The same, without shared memory for large values.
    #[must_use]
    pub fn without_bulk(self) -> Self {
        Self { takes_bulk: false, ..self }
    }

    pub(crate) fn takes_attachments(self) -> bool {
        self.takes_attachments
    }

    pub(crate) fn takes_bulk(self) -> bool {
        self.takes_bulk
    }

    /// Whether a value of so many bytes with these attachments can go.
    ///
    /// # Errors
    ///
    /// [`TaskError::Encode`] if it is too large, and [`TaskError::NotPortable`] if a part of it exists on this machine only.
    #[inline]
    pub fn check(self, what: &str, len: usize, attachments: &[Attachment]) -> Result<(), TaskError> {
        if attachments.is_empty() && len <= self.limit {
            return Ok(());
        }
        self.check_any(what, len, attachments)
    }

    fn check_any(self, what: &str, len: usize, attachments: &[Attachment]) -> Result<(), TaskError> {
        let mut total = len;
        for attachment in attachments {
            match attachment {
                Attachment::Blob(blob) if self.takes_attachments => total = total.saturating_add(blob.len()),
                Attachment::Blob(_) => {
                    return Err(TaskError::encode(what, "it was serialised for another executor"));
                }
                Attachment::Local(_) if self.takes_local => {}
                Attachment::Local(local) => return Err(stays_here(what, local.what())),
            }
        }
        match total > self.limit {
            true => Err(TaskError::over_frame_limit(what, total, self.limit)),
            false => Ok(()),
        }
    }
}

fn stays_here(place: &str, what: &str) -> TaskError {
    TaskError::not_portable(format!(
        "the {place} contains a `{what}`, which exists on this machine only, and the task runs on another; use a manager \
         to share it between machines"
    ))
}

// ---- encoding --------------------------------------------------------------------------------------------------

/// A vector that a value is appended to, and that goes on elsewhere if the value turns out to be large. A small value may
/// be kept aside instead.
pub(crate) struct Buffer<'a> {
    vec: &'a mut Vec<u8>,
    /// All of the value so far, while it is small enough.
    small: Option<Small>,
    /// Where the value begins in the vector.
    start: usize,
    /// Below this length of the vector, nothing has to be decided.
    limit: usize,
    takes_bulk: bool,
    bulk: Option<Bulk>,
}

/// A few bytes, without an allocation.
#[derive(Clone, Copy)]
pub(crate) struct Small {
    bytes: [u8; SMALL],
    len: usize,
}

/// What a task has room for; see [`Payload`](crate::task::Payload).
pub(crate) const SMALL: usize = 22;

impl Small {
    /// Zeros behind so many bytes.
    #[inline]
    pub(crate) fn into_padded(self) -> ([u8; SMALL], usize) {
        (self.bytes, self.len)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// False if there is no room for more.
    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(room) = self.bytes[self.len..].get_mut(..bytes.len()) else { return false };
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        true
    }
}

struct Bulk {
    memory: Box<dyn MemoryMut>,
    len: usize,
}

thread_local! {
    /// A vector that was used before, with its room.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Keeps a vector for the next value that [`Buffer::for_one`] is for.
pub(crate) fn keep(mut vec: Vec<u8>) {
    if vec.capacity() > 0 {
        vec.clear();
        SCRATCH.set(vec);
    }
}

/// How long the vector may become before the value has to go elsewhere.
#[inline]
fn limit(start: usize, takes_bulk: bool) -> usize {
    if takes_bulk { start + blob::BULK } else { usize::MAX }
}

impl<'a> Buffer<'a> {
    #[inline]
    pub(crate) fn new(vec: &'a mut Vec<u8>, takes_bulk: bool) -> Self {
        let start = vec.len();
        Self { vec, small: None, start, limit: limit(start, takes_bulk), takes_bulk, bulk: None }
    }

    /// For a single value: `vec`, which is empty, is used if the value has more than [`SMALL`] bytes.
    #[inline]
    pub(crate) fn for_one(vec: &'a mut Vec<u8>, takes_bulk: bool) -> Self {
        let small = Some(Small { bytes: [0; SMALL], len: 0 });
        Self { vec, small, start: 0, limit: limit(0, takes_bulk), takes_bulk, bulk: None }
    }

    /// The value, if it is complete and small.
    #[inline]
    pub(crate) fn small(&self) -> Option<Small> {
        self.small
    }

    /// The vector itself, for values that are patched together and not written in one go: only before anything else is appended.
    pub(crate) fn vec(&mut self) -> &mut Vec<u8> {
        debug_assert!(self.bulk.is_none(), "a value that is patched together is not in bulk");
        self.use_vec();
        self.vec
    }

    /// Appends bytes of the value. Mostly a few, so many as the caller's code says: hence in line.
    #[inline(always)]
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if let Some(small) = &mut self.small {
            if small.append(bytes) {
                return;
            }
        } else if self.vec.len() + bytes.len() < self.limit {
            return self.vec.extend_from_slice(bytes);
        }
        self.extend_further(bytes);
    }

    #[cold]
    fn extend_further(&mut self, bytes: &[u8]) {
        self.use_vec();
        // Once there is bulk memory, it has all that follows, even if this piece would find room in the vector.
        let is_bulk = self.bulk.is_some() || self.vec.len() - self.start + bytes.len() >= blob::BULK;
        if self.takes_bulk && is_bulk {
            return self.extend_bulk(bytes);
        }
        self.vec.extend_from_slice(bytes);
    }

    /// The value turns out not to be small. Vectors for such are kept by each thread.
    #[cold]
    fn use_vec(&mut self) {
        if let Some(small) = self.small.take() {
            *self.vec = SCRATCH.take();
            self.vec.extend_from_slice(&small.bytes[..small.len]);
        }
    }

    #[cold]
    fn extend_bulk(&mut self, bytes: &[u8]) {
        if self.bulk.is_none() {
            let len = self.vec.len() - self.start;
            let Some(mut memory) = blob::allocate(len + bytes.len()) else {
                (self.takes_bulk, self.limit) = (false, usize::MAX);
                return self.vec.extend_from_slice(bytes);
            };
            memory.bytes_mut()[..len].copy_from_slice(&self.vec[self.start..]);
            self.bulk = Some(Bulk { memory, len });
            self.limit = 0;
        }
        let Some(bulk) = &mut self.bulk else { return };
        if bulk.append(bytes) {
            return;
        }
        // No more of such memory: back to what there is.
        self.vec.truncate(self.start);
        self.vec.extend_from_slice(&bulk.memory.bytes()[..bulk.len]);
        self.vec.extend_from_slice(bytes);
        self.bulk = None;
        (self.takes_bulk, self.limit) = (false, usize::MAX);
    }

    /// The value is complete. If it is in bulk, the vector is as it was.
    #[inline]
    pub(crate) fn finish(self) -> Option<Blob> {
        match self.bulk.is_none() && self.vec.len() < self.start + blob::BULK {
            true => None,
            false => self.finish_large(),
        }
    }

    fn finish_large(mut self) -> Option<Blob> {
        let len = self.vec.len() - self.start;
        if self.bulk.is_none() && self.takes_bulk && len >= blob::BULK {
            // It was patched together.
            let mut memory = blob::allocate(len)?;
            memory.bytes_mut()[..len].copy_from_slice(&self.vec[self.start..]);
            self.bulk = Some(Bulk { memory, len });
        }
        let bulk = self.bulk?;
        self.vec.truncate(self.start);
        Some(Blob::from_memory(bulk.memory.freeze(bulk.len)))
    }

    /// The value is to be forgotten.
    pub(crate) fn abandon(&mut self) {
        self.bulk = None;
        self.small = None;
        self.vec.truncate(self.start);
    }
}

impl Bulk {
    /// False if there is no room for more.
    fn append(&mut self, bytes: &[u8]) -> bool {
        let needed = self.len + bytes.len();
        if needed > self.memory.bytes().len() {
            // Twice as much, so that a value which comes in small pieces is copied a bounded number of times.
            let Some(mut larger) = blob::allocate(needed.max(2 * self.len)) else { return false };
            larger.bytes_mut()[..self.len].copy_from_slice(&self.memory.bytes()[..self.len]);
            self.memory = larger;
        }
        self.memory.bytes_mut()[self.len..needed].copy_from_slice(bytes);
        self.len = needed;
        true
    }
}

/// Where a task's result goes.
pub struct Outlet<'a> {
    carrier: Carrier,
    vec: &'a mut Vec<u8>,
    bulk: Option<Blob>,
    attachments: Vec<Attachment>,
}

impl fmt::Debug for Outlet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet")
            .field("carrier", &self.carrier)
            .field("attachments", &self.attachments)
            .finish()
    }
}

impl<'a> Outlet<'a> {
    /// The result's bytes are appended to `vec`, unless they become bulk.
    #[inline]
    pub fn new(vec: &'a mut Vec<u8>, carrier: Carrier) -> Self {
        Self { carrier, vec, bulk: None, attachments: Vec::new() }
    }

    /// What the result has attached, and its bytes if they are not in the vector.
    #[inline]
    pub fn finish(self) -> (Vec<Attachment>, Option<Blob>) {
        (self.attachments, self.bulk)
    }

    pub(crate) fn carrier(&self) -> Carrier {
        self.carrier
    }

    pub(crate) fn encode_result<T: Serialize + 'static>(&mut self, value: &T) -> Result<(), TaskError> {
        let carrier = self.carrier;
        let mut buffer = Buffer::new(self.vec, carrier.takes_bulk);
        collect(carrier, &mut self.attachments, || codec::encode_result_into(value, &mut buffer))?;
        self.bulk = buffer.finish();
        Ok(())
    }

    /// For a result that is patched together from several values.
    pub(crate) fn patch<T>(&mut self, encode: impl FnOnce(&mut Vec<u8>, &mut Collect<'_>) -> T) -> T {
        let mut buffer = Buffer::new(self.vec, self.carrier.takes_bulk);
        let mut collect = Collect { carrier: self.carrier, attachments: &mut self.attachments };
        let result = encode(buffer.vec(), &mut collect);
        self.bulk = buffer.finish();
        result
    }
}

/// Collects what several values have attached.
pub(crate) struct Collect<'a> {
    carrier: Carrier,
    attachments: &'a mut Vec<Attachment>,
}

impl Collect<'_> {
    pub(crate) fn of<T>(&mut self, encode: impl FnOnce() -> T) -> T {
        collect(self.carrier, self.attachments, encode)
    }
}

#[inline]
fn collect<T>(carrier: Carrier, attachments: &mut Vec<Attachment>, encode: impl FnOnce() -> T) -> T {
    match carrier.takes_attachments {
        true => attachment::collect_more(attachments, encode),
        false => encode(),
    }
}

/// Encodes a result whose function was a future.
pub(crate) fn encode_owned<T: Serialize + 'static>(
    value: &T,
    carrier: Carrier,
) -> Result<Parcel<'static>, TaskError> {
    let mut vec = Vec::new();
    let mut outlet = Outlet::new(&mut vec, carrier);
    outlet.encode_result(value)?;
    let (attachments, bulk) = outlet.finish();
    Ok(Parcel { bytes: bulk.map_or(Bytes::Owned(vec), Bytes::Bulk), attachments })
}

/// Encodes a shared value. What its first task can carry, it can.
pub(crate) fn encode_shared<T: Serialize + 'static>(value: &T) -> Result<(Parcel<'static>, Kept), TaskError> {
    let mut vec = Vec::new();
    let mut buffer = Buffer::new(&mut vec, true);
    // A message of its own: a shared value inside of this one is a part of it, not one of the task's.
    let (encoded, attachments, kept) =
        attachment::collect_shared(|| codec::encode_arg_into(value, &mut buffer));
    encoded?;
    let bulk = buffer.finish();
    Ok((Parcel { bytes: bulk.map_or(Bytes::Owned(vec), Bytes::Bulk), attachments }, kept))
}

/// Decodes a shared value.
pub(crate) fn decode_shared<T: DeserializeOwned + 'static>(parcel: &Parcel<'_>) -> Result<T, TaskError> {
    open(&mut parcel.attachments.clone(), || codec::decode_arg(&parcel.bytes))
}

/// Decodes a result.
pub(crate) fn decode_result<T: DeserializeOwned + 'static>(parcel: Parcel<'_>) -> Result<T, TaskError> {
    let Parcel { bytes, mut attachments } = parcel;
    open(&mut attachments, || codec::decode_result(&bytes))
}

impl<'a> Parcel<'a> {
    /// The bytes without the rest, borrowed where they are not owned.
    pub fn into_bytes(self) -> Cow<'a, [u8]> {
        match self.bytes {
            Bytes::Borrowed(bytes) => Cow::Borrowed(bytes),
            Bytes::Owned(bytes) => Cow::Owned(bytes),
            Bytes::Bulk(blob) => Cow::Owned(blob.into_vec()),
        }
    }
}
