//! Values that many tasks use and that are sent once to each worker: [`Shared`].
//!
//! While a job is being encoded ([`attachment`](crate::attachment)), a `Shared` inside of its argument serialises as its id, and the job notes the
//! value's bytes ([`ShareBlob`]); the backend sends these ahead of the task to each worker that has not got them.
//! Everywhere else a `Shared` serialises as its value. In the receiver a [`store`] maps ids to bytes and, after the
//! first use, to the decoded value, which all tasks there share.

#[cfg(test)]
mod tests;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attachment;
use crate::attachment::{Attachment, Kept};
use crate::blob::Blob;
use crate::error::TaskError;
use crate::parcel::{self, Bytes, Parcel};

/// Names a shared value, in all processes that have to do with one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShareId(pub u128);

impl ShareId {
    /// A random number, and a counter. A fork of this process draws from the same source: its own number makes the
    /// difference.
    fn next() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let process = RandomState::new().hash_one(std::process::id());
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self(u128::from(process) << 64 | u128::from(number))
    }
}

/// The bytes of a shared value. Lives as long as the value or a task that uses it.
pub struct ShareBlob {
    id: ShareId,
    parcel: Parcel<'static>,
    /// What lives as long as the value does here, or a task that uses it.
    _kept: Kept,
}

/// How many blobs have gone away in this process, ever.
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl ShareBlob {
    /// A value that another process has encoded.
    pub fn new(id: ShareId, parcel: impl Into<Parcel<'static>>) -> Self {
        Self { id, parcel: parcel.into(), _kept: Kept::new() }
    }

    /// The value's id.
    pub fn id(&self) -> ShareId {
        self.id
    }

    /// The serialised value.
    pub fn bytes(&self) -> &[u8] {
        &self.parcel.bytes
    }

    /// The blob that the serialised value is in, if it is large.
    pub fn bulk(&self) -> Option<&Blob> {
        match &self.parcel.bytes {
            Bytes::Bulk(blob) => Some(blob),
            _ => None,
        }
    }

    /// What is attached to the serialised value.
    pub fn attachments(&self) -> &[Attachment] {
        &self.parcel.attachments
    }

    /// How many blobs have gone away in this process, ever. A backend that holds them weakly looks for dead ones when
    /// this has changed, and tells its workers to forget them.
    pub fn dropped() -> u64 {
        DROPPED.load(Ordering::Relaxed)
    }
}

impl Drop for ShareBlob {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for ShareBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShareBlob({:x}, {} bytes)", self.id.0, self.parcel.bytes.len())
    }
}

/// A value that is sent at most once to each worker, however many tasks use it; from `share(value)`.
///
/// Cloning is cheap. It is an argument like any other, alone or inside of other values, and derefs to the value. On
/// backends in the same process it is not serialised at all.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, Serial, Shared};
/// let ex = Serial::new();
/// let table: Shared<Vec<u64>> = ex.share(vec![10, 20, 30]);
/// let sum = ex.submit(|(table, at): (Shared<Vec<u64>>, usize)| table[at], (table.clone(), 1));
/// assert_eq!(sum.wait(), Ok(20));
/// ```
pub struct Shared<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    value: T,
    /// Made when the first task that uses it is encoded.
    blob: OnceLock<Arc<ShareBlob>>,
}

impl<T> Shared<T> {
    /// Wraps a value. Nothing is serialised before a task needs it.
    pub fn new(value: T) -> Self {
        Self { inner: Arc::new(Inner { value, blob: OnceLock::new() }) }
    }
}

impl<T: Serialize + 'static> Shared<T> {
    fn blob(&self) -> Result<&Arc<ShareBlob>, TaskError> {
        if let Some(blob) = self.inner.blob.get() {
            return Ok(blob);
        }
        let (parcel, kept) = parcel::encode_shared(&self.inner.value)?;
        let blob = Arc::new(ShareBlob { id: ShareId::next(), parcel, _kept: kept });
        Ok(self.inner.blob.get_or_init(|| blob))
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&self.inner.value).finish()
    }
}

// ---- sending ---------------------------------------------------------------------------------------------------

#[derive(Serialize)]
enum Outgoing<'a, T> {
    Id(ShareId),
    Value(&'a T),
}

#[derive(Deserialize)]
enum Incoming<T> {
    Id(ShareId),
    Value(T),
}

impl<T: Serialize + 'static> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !attachment::is_collecting_shares() {
            return Outgoing::Value(&self.inner.value).serialize(serializer);
        }
        let id = reference(self).map_err(S::Error::custom)?;
        Outgoing::<T>::Id(id).serialize(serializer)
    }
}

// ---- receiving -------------------------------------------------------------------------------------------------

/// The shared values that this process has received.
#[derive(Default)]
pub struct ShareStore {
    shares: RwLock<HashMap<ShareId, Arc<Stored>>>,
}

struct Stored {
    blob: Arc<ShareBlob>,
    /// The decoded value, one per type that asked for it: in practice one.
    decoded: Mutex<Vec<(TypeId, Arc<dyn Any + Send + Sync>)>>,
}

/// The store of this process.
pub fn store() -> &'static ShareStore {
    static STORE: OnceLock<ShareStore> = OnceLock::new();
    STORE.get_or_init(ShareStore::default)
}

impl ShareStore {
    /// Keeps a value until [`remove`](Self::remove).
    pub fn insert(&self, blob: ShareBlob) {
        let stored = Stored { blob: Arc::new(blob), decoded: Mutex::default() };
        let mut shares = self.shares.write().unwrap_or_else(PoisonError::into_inner);
        shares.insert(stored.blob.id, Arc::new(stored));
    }

    /// Forgets a value. Tasks that use it keep it until they end.
    pub fn remove(&self, id: ShareId) {
        let mut shares = self.shares.write().unwrap_or_else(PoisonError::into_inner);
        shares.remove(&id);
    }

    /// The bytes of a value that is here.
    pub fn blob(&self, id: ShareId) -> Option<Arc<ShareBlob>> {
        Some(Arc::clone(&self.find(id)?.blob))
    }

    fn find(&self, id: ShareId) -> Option<Arc<Stored>> {
        let shares = self.shares.read().unwrap_or_else(PoisonError::into_inner);
        shares.get(&id).cloned()
    }
}

impl Stored {
    fn get<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Shared<T>, TaskError> {
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = TypeId::of::<T>();
        let known = decoded.iter().find(|(id, _)| *id == wanted);
        if let Some(inner) = known.and_then(|(_, any)| Arc::clone(any).downcast::<Inner<T>>().ok()) {
            return Ok(Shared { inner });
        }
        let inner = Arc::new(Inner {
            value: parcel::decode_shared(&self.blob.parcel)?,
            blob: OnceLock::from(Arc::clone(&self.blob)),
        });
        decoded.push((wanted, Arc::clone(&inner) as Arc<dyn Any + Send + Sync>));
        Ok(Shared { inner })
    }
}

impl<'de, T> Deserialize<'de> for Shared<T>
where
    T: DeserializeOwned + Send + Sync + 'static,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Incoming::<T>::deserialize(deserializer)? {
            Incoming::Value(value) => Ok(Self::new(value)),
            Incoming::Id(id) => resolve(id).map_err(D::Error::custom),
        }
    }
}

// ---- for arguments that are laid out by hand -------------------------------------------------------------------

/// Notes the value for the job that is being encoded, and gives its id.
pub(crate) fn reference<T: Serialize + 'static>(shared: &Shared<T>) -> Result<ShareId, TaskError> {
    let blob = shared.blob()?;
    attachment::note_share(blob);
    Ok(blob.id)
}

/// The value with this id, which has been sent before.
pub(crate) fn resolve<T: DeserializeOwned + Send + Sync + 'static>(
    id: ShareId,
) -> Result<Shared<T>, TaskError> {
    match store().find(id) {
        Some(stored) => stored.get(),
        None => Err(missing(id)),
    }
}

fn missing(id: ShareId) -> TaskError {
    TaskError::decode("shared value", format!("the value {:x} is not here", id.0))
}
