//! Bytes that are moved, not encoded: [`Blob`], and [`BlobMut`] to write them where they are to be read.
//!
//! A blob is a handle; what it refers to never changes and is freed with the last handle. Its memory is ordinary, or such as a backend
//! has made: once a pool of processes has been opened, and in its workers, large blobs are made in memory
//! that other processes can map ([`Allocate`]), so that handing them over copies nothing. Ordinary memory that is handed over
//! is copied into such memory once, however many tasks it goes to.
//!
//! The core performs no IO: it asks the allocator that a backend has [set](set_allocator), and does without where there is none.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attachment::{self, Attachment};
use crate::pages;

/// Bytes that are moved, not encoded.
///
/// An argument or a result, or a part of one, that is a `Blob` travels beside the message: to the processes of this machine
/// through shared memory, where the receiver reads what the sender has written, without a copy; to other machines as it
/// is, without being encoded. Within one process it is not moved at all.
///
/// Cloning is cheap and gives another handle of the same bytes. It derefs to `[u8]`. Small blobs travel with the message, like any value.
///
/// Serialised by other means than a task's (as JSON, say) it is its bytes.
///
/// # Memory
///
/// The bytes are freed when the last handle is dropped, in whatever process: a worker that keeps a blob keeps the sender's memory.
/// [`Blob::from`] a vector keeps the vector if it is small or no process pool has been opened yet, and otherwise copies it once
/// into shared memory. To save that copy, write into a [`BlobMut`].
///
/// # Examples
///
/// ```
/// use executor_core::{Blob, ExecutorExt, Serial};
/// let ex = Serial::new();
/// let image = Blob::from(vec![7; 1000]);
/// let sum = ex.submit(|image: Blob| image.iter().map(|it| u64::from(*it)).sum::<u64>(), image.clone());
/// assert_eq!(sum.wait(), Ok(7000));
/// ```
#[derive(Clone, Default)]
pub struct Blob {
    /// `None` is empty.
    memory: Option<Arc<dyn Memory>>,
}

const _: () = assert!(size_of::<Blob>() == 16, "a blob is two words");

/// Ordinary memory.
struct Heap {
    bytes: Vec<u8>,
    /// The same bytes in an allocator's memory, once they have been handed over.
    copy: OnceLock<Arc<dyn Memory>>,
}

impl Memory for Heap {
    fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Memory of a blob. Never changes while it exists.
pub trait Memory: Any + Send + Sync {
    /// The bytes; always the same.
    fn bytes(&self) -> &[u8];
}

/// Memory of an allocator that is being written.
pub trait MemoryMut: Send + Sync {
    /// All of it.
    fn bytes(&self) -> &[u8];

    /// All of it, to be written.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// The first `len` bytes, from now on unchanged. `len` is at most the length of all of it.
    fn freeze(self: Box<Self>, len: usize) -> Arc<dyn Memory>;
}

/// Where large blobs are made; see [`set_allocator`].
pub trait Allocate: Send + Sync {
    /// Blobs of fewer bytes are made in ordinary memory.
    fn threshold(&self) -> usize;

    /// At least `len` bytes of any content, or `None` if they cannot be had: then the blob is made in ordinary memory.
    fn allocate(&self, len: usize) -> Option<Box<dyn MemoryMut>>;
}

static ALLOCATOR: OnceLock<&'static dyn Allocate> = OnceLock::new();

/// Sets where large blobs of this process are made from here on. The first call counts.
pub fn set_allocator(allocator: &'static dyn Allocate) {
    let _ = ALLOCATOR.set(allocator);
}

/// Memory for a large blob, if an allocator is there.
pub(crate) fn allocate(len: usize) -> Option<Box<dyn MemoryMut>> {
    let allocator = ALLOCATOR.get()?;
    if len < allocator.threshold() {
        return None;
    }
    allocator.allocate(len).filter(|memory| memory.bytes().len() >= len)
}

/// From so many bytes on, a serialised value is written into an allocator's memory rather than into a buffer.
pub(crate) const BULK: usize = 128 * 1024;

/// Blobs of fewer bytes are written by value with everything else: for a frame that is copied anyway, that is the least.
pub(crate) const BY_VALUE: usize = 16 * 1024;

impl Blob {
    /// The bytes of memory that a backend has made.
    pub fn from_memory(memory: Arc<dyn Memory>) -> Self {
        Self { memory: Some(memory) }
    }

    /// The memory, for the backend that has made it. `None` if the blob is empty.
    pub fn memory(&self) -> Option<&Arc<dyn Memory>> {
        self.memory.as_ref()
    }

    fn from_heap(bytes: Vec<u8>) -> Self {
        match bytes.is_empty() {
            true => Self::default(),
            false => Self::from_memory(Arc::new(Heap { bytes, copy: OnceLock::new() })),
        }
    }

    /// The same bytes where other processes can have them: copied there at the first call if need be, and the copy is kept.
    /// This blob itself if it is small, or if there is no such memory.
    #[must_use]
    pub fn to_shared(&self) -> Blob {
        let memory: Option<&dyn Any> = self.memory.as_ref().map(|memory| &**memory as &dyn Any);
        let Some(heap) = memory.and_then(|memory| memory.downcast_ref::<Heap>()) else {
            return self.clone();
        };
        if let Some(copy) = heap.copy.get() {
            return Self::from_memory(Arc::clone(copy));
        }
        let Some(copy) = copied(&heap.bytes) else { return self.clone() };
        // Of two threads that copy at once, one copies in vain.
        Self::from_memory(Arc::clone(heap.copy.get_or_init(|| copy)))
    }

    /// Whether the two are handles of the same bytes.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }

    /// The bytes as a vector: without a copy if this is the only handle and the memory is ordinary.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        let Some(memory) = self.memory else { return Vec::new() };
        if !(&*memory as &dyn Any).is::<Heap>() {
            return pages::to_vec(memory.bytes());
        }
        let any: Arc<dyn Any + Send + Sync> = memory;
        match any.downcast::<Heap>().map(Arc::try_unwrap) {
            Ok(Ok(heap)) => heap.bytes,
            Ok(Err(heap)) => heap.bytes.clone(),
            Err(_) => unreachable!("the type has just been looked at"),
        }
    }
}

/// A copy of the bytes in an allocator's memory.
fn copied(bytes: &[u8]) -> Option<Arc<dyn Memory>> {
    let mut memory = allocate(bytes.len())?;
    memory.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    Some(memory.freeze(bytes.len()))
}

impl Deref for Blob {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| memory.bytes())
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        match copied(&bytes) {
            Some(memory) => Self::from_memory(memory),
            None => Self::from_heap(bytes),
        }
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        match copied(bytes) {
            Some(memory) => Self::from_memory(memory),
            None => Self::from_heap(pages::to_vec(bytes)),
        }
    }
}

impl<const N: usize> From<&[u8; N]> for Blob {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || **self == **other
    }
}

impl Eq for Blob {}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

// ---- writing ---------------------------------------------------------------------------------------------------

/// Bytes that are to become a [`Blob`]: written once, where they will be read.
///
/// # Examples
///
/// ```
/// use executor_core::{Blob, BlobMut};
/// let mut bytes = BlobMut::new(4);
/// bytes.copy_from_slice(&[1, 2, 3, 4]);
/// let blob: Blob = bytes.freeze();
/// assert_eq!(*blob, [1, 2, 3, 4]);
/// ```
pub struct BlobMut {
    len: usize,
    space: Space,
}

enum Space {
    Heap(Vec<u8>),
    Made(Box<dyn MemoryMut>),
}

impl BlobMut {
    /// Room for so many bytes, to be written whole: they are zeros, or, in shared memory that is used again, whatever this process
    /// had in an earlier blob.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let space = match allocate(len) {
            Some(memory) => Space::Made(memory),
            None => Space::Heap(vec![0; len]),
        };
        Self { len, space }
    }

    /// Only the first `len` bytes are kept. Nothing happens if there are fewer.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes as a blob. Nothing is copied.
    #[must_use]
    pub fn freeze(self) -> Blob {
        match self.space {
            Space::Made(memory) => Blob::from_memory(memory.freeze(self.len)),
            Space::Heap(mut bytes) => {
                bytes.truncate(self.len);
                Blob::from_heap(bytes)
            }
        }
    }
}

impl Deref for BlobMut {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.space {
            Space::Heap(bytes) => &bytes[..self.len],
            Space::Made(memory) => &memory.bytes()[..self.len],
        }
    }
}

impl DerefMut for BlobMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut self.space {
            Space::Heap(bytes) => &mut bytes[..self.len],
            Space::Made(memory) => &mut memory.bytes_mut()[..self.len],
        }
    }
}

impl From<BlobMut> for Blob {
    fn from(bytes: BlobMut) -> Self {
        bytes.freeze()
    }
}

impl fmt::Debug for BlobMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobMut({} bytes)", self.len)
    }
}

// ---- serde -----------------------------------------------------------------------------------------------------

/// A blob in formats that are not for people.
#[derive(Serialize, Deserialize)]
enum Wire<V> {
    /// Its place among the message's attachments.
    Attached(u32),
    Value(V),
}

/// Bytes that are written in one go.
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_bytes(self);
        }
        if self.len() < BY_VALUE || !attachment::is_collecting() {
            return Wire::Value(Bytes(self)).serialize(serializer);
        }
        match attachment::attach(Attachment::Blob(self.to_shared())) {
            Some(index) => Wire::<Bytes<'_>>::Attached(index).serialize(serializer),
            None => Err(S::Error::custom("a message can have no more than 4294967295 attachments")),
        }
    }
}

/// Bytes that are read in one go.
pub(crate) struct Owned(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Owned {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Owned;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Owned, E> {
                Ok(Owned(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Owned, E> {
                Ok(Owned(bytes))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Owned, A::Error> {
                /// A length that a peer merely claims is not believed beyond this.
                const CLAIM: usize = 64 * 1024;
                let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(CLAIM));
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                Ok(Owned(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visit)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Ok(Self::from(Owned::deserialize(deserializer)?.0));
        }
        match Wire::<Owned>::deserialize(deserializer)? {
            Wire::Value(Owned(bytes)) => Ok(Self::from(bytes)),
            Wire::Attached(index) => match attachment::attached(index) {
                Some(Attachment::Blob(blob)) => Ok(blob),
                _ => Err(D::Error::custom(format!("the message has come without its blob number {index}"))),
            },
        }
    }
}
