//! A queue between processes: any number of producers, any number of consumers, in shared memory.
//!
//! An item lies in the memory of the queue, complete, before its `put` returns; there is no thread that feeds it later. So
//! the death of a producer loses what it had not put yet, the death of a consumer what it had taken, and neither can stop the others.
//! `README.md` beside this file has the protocol, the argument that no wake-up is lost, and what happens at each point
//! of death.
//!
//! ```text
//! mod, error, future    what users have
//! wait                  spinning, sleeping, being woken                spin    how long to look again before sleeping
//! records               putting, getting and counting: the protocol    mark    a place in the queue, in one word
//! memory                the words that the protocol uses               mapping the same in a memfd: all that is unsafe
//! ```

mod error;
mod future;
mod mapping;
mod mark;
mod memory;
mod records;
mod spin;
mod wait;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use executor_core::attachment::collect_nothing;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use error::{DoneError, GetError, PutError};
pub use future::{Get, Join, Put};

use self::mapping::Mapping;
use self::mark::MAX_ITEMS;
use super::futex::Deadline;
use super::{IpcError, handle};

/// The most that one item may be when encoded, in bytes: 4 GiB less one, the limit of the codec.
pub const MAX_ITEM_BYTES: usize = executor_core::CODEC_LIMIT;

/// A `try_` call does not wait for room or for an item, but for another process in the midst of a put or get: for so long at
/// most, in case that it was stopped there.
const TRY: Duration = Duration::from_secs(1);

/// A first-in, first-out queue between processes of this machine.
///
/// Cloning gives another handle of the same queue, and so does sending it: in the argument or the result of a task of a
/// process pool, to a `Process`, through a [pipe](super::pipe()). The queue exists as long as a handle does, in whatever
/// process, and leaves nothing behind.
///
/// Items are encoded as task arguments are. Items of one producer are got in the order in which it put them. Each item is got by
/// one consumer.
///
/// # When a process dies
///
/// When `put` has returned, the item is in the queue, whatever becomes of the process that put it. One that is killed in the midst of
/// a `put` has put it or has not. One that is killed in the midst of a `get` loses that item at most. Nobody else is held up.
/// An item that was got and never reported by [`task_done`](Self::task_done) is missed by [`join`](Self::join): if consumers can
/// die, use [`join_timeout`](Self::join_timeout) or wait for them.
///
/// # Memory
///
/// Items wait in shared memory, which grows and shrinks with what waits, up to 16 GiB in all and 2^27 - 1 items; then the queue is full,
/// even if it is unbounded. An item has at most [`MAX_ITEM_BYTES`] when encoded. Memory of what waits counts for the process
/// (and its memory cgroup) that put it. Up to 7 MiB are kept for the next items. Address space is taken as needed, by powers of
/// four.
///
/// # What items can hold
///
/// Anything that serialises, but not handles of things of this machine, as their descriptors cannot wait in memory: putting one is
/// a [`PutError::Encode`]. Send these through a [pipe](super::pipe()). A [`Blob`](executor_core::Blob) is copied.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::Queue;
/// let queue = Queue::bounded(10)?;
/// let other = queue.clone();
/// let producer = std::thread::spawn(move || {
///     for n in 0..100 {
///         other.put(n).expect("it is in the queue now");
///     }
/// });
/// for n in 0..100 {
///     assert_eq!(queue.get()?, n);
/// }
/// # producer.join().expect("the producer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    memory: Arc<Mapping>,
    items: PhantomData<fn(T) -> T>,
}

impl<T> Queue<T> {
    /// A queue without a bound but that of memory: `put` never waits.
    ///
    /// # Errors
    ///
    /// No descriptor or no address space is left, or this system lacks robust futexes.
    pub fn unbounded() -> io::Result<Self> {
        Self::with_capacity(MAX_ITEMS)
    }

    /// A queue in which at most so many items wait, from 1 to 2^27 - 1.
    ///
    /// # Errors
    ///
    /// As for [`unbounded`](Self::unbounded); and a capacity of 0, or one that is too large.
    pub fn bounded(capacity: usize) -> io::Result<Self> {
        match u32::try_from(capacity).ok().filter(|capacity| (1..MAX_ITEMS).contains(capacity)) {
            Some(capacity) => Self::with_capacity(capacity),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a queue cannot be bounded to {capacity} items: it takes 1 to {}", MAX_ITEMS - 1),
            )),
        }
    }

    fn with_capacity(capacity: u32) -> io::Result<Self> {
        let memory = Mapping::create(capacity).map_err(into_io)?;
        Ok(Self { memory, items: PhantomData })
    }

    /// How many items wait, at this moment.
    #[must_use]
    pub fn len(&self) -> usize {
        records::len(&*self.memory) as usize
    }

    /// Whether no item waits, at this moment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items can wait; `None` if the queue is unbounded.
    #[must_use]
    pub fn capacity(&self) -> Option<usize> {
        let capacity = memory::Memory::capacity(&*self.memory);
        (capacity < MAX_ITEMS).then_some(capacity as usize)
    }

    /// Says that an item which was got has been dealt with. When as many are done as were put, [`join`](Self::join) returns.
    ///
    /// An item that could not be decoded counts as done.
    ///
    /// # Errors
    ///
    /// [`TooOften`](DoneError::TooOften) if all items are done already.
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_process::ipc::Queue;
    /// let queue = Queue::unbounded()?;
    /// queue.put("work".to_owned())?;
    /// let work: String = queue.get()?;
    /// // .. do it ..
    /// queue.task_done()?;
    /// queue.join()?;
    /// assert!(queue.task_done().is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn task_done(&self) -> Result<(), DoneError> {
        records::finish(&*self.memory, Deadline::NEVER).map_err(DoneError::from_finish)
    }

    /// Waits until every item that was put is [done](Self::task_done).
    ///
    /// # Errors
    ///
    /// [`Damaged`](DoneError::Damaged).
    ///
    /// # Blocking
    ///
    /// For as long as it takes; for ever, if a consumer died with an item that it had got.
    pub fn join(&self) -> Result<(), DoneError> {
        wait::join(&self.memory, Deadline::NEVER).map(drop)
    }

    /// Waits until every item that was put is done, but not longer than this. Whether they are.
    ///
    /// # Errors
    ///
    /// [`Damaged`](DoneError::Damaged).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool, DoneError> {
        wait::join(&self.memory, Deadline::after(timeout))
    }

    /// Waits until every item that was put is done.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub fn join_async(&self) -> Join<T> {
        Join::new(self.clone())
    }
}

impl<T: Serialize + 'static> Queue<T> {
    /// Puts an item at the end, and waits for room if need be.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the item, which was not put then; never [`Full`](PutError::Full).
    ///
    /// # Blocking
    ///
    /// While the queue is full.
    pub fn put(&self, item: T) -> Result<(), PutError<T>> {
        self.put_until(item, Deadline::NEVER)
    }

    /// Puts an item at the end, and waits for room if need be, but not longer than this.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the item, which was not put then.
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.put_until(item, Deadline::after(timeout))
    }

    /// Puts an item at the end if there is room now.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the item, which was not put then.
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_process::ipc::{PutError, Queue};
    /// let queue = Queue::bounded(1)?;
    /// queue.try_put("first".to_owned())?;
    /// let error = queue.try_put("second".to_owned()).expect_err("full");
    /// assert!(matches!(&error, PutError::Full(_)));
    /// assert_eq!(error.into_item(), "second");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_put(&self, item: T) -> Result<(), PutError<T>> {
        encoded(item, |bytes| records::push(&*self.memory, bytes, Deadline::after(TRY)))
    }

    fn put_until(&self, item: T, deadline: Deadline) -> Result<(), PutError<T>> {
        encoded(item, |bytes| wait::push(&self.memory, bytes, deadline))
    }

    /// Puts an item at the end, and waits for room if need be. The item is encoded now, not when the future is polled.
    ///
    /// # Errors
    ///
    /// [`PutError`], with the item, which was not put then; never [`Full`](PutError::Full).
    ///
    /// # Cancel safety
    ///
    /// The item was put if and only if the future was ready. It is lost with the future.
    pub fn put_async(&self, item: T) -> Put<T> {
        Put::new(self.clone(), item)
    }
}

impl<T: DeserializeOwned + 'static> Queue<T> {
    /// Takes the item at the front, and waits for one if need be.
    ///
    /// # Errors
    ///
    /// [`Decode`](GetError::Decode) if the item is not a `T`: it is gone, and the next call gets the next one.
    ///
    /// # Blocking
    ///
    /// While the queue is empty.
    pub fn get(&self) -> Result<T, GetError> {
        self.get_until(Deadline::NEVER)
    }

    /// Takes the item at the front, and waits for one if need be, but not longer than this.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); [`Empty`](GetError::Empty) when the time is up.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, GetError> {
        self.get_until(Deadline::after(timeout))
    }

    /// Takes the item at the front if there is one now.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get); [`Empty`](GetError::Empty) if there is none.
    pub fn try_get(&self) -> Result<T, GetError> {
        self.decoded(|item| records::pop(&*self.memory, item, Deadline::after(TRY)))
    }

    fn get_until(&self, deadline: Deadline) -> Result<T, GetError> {
        self.decoded(|item| wait::pop(&self.memory, item, deadline))
    }

    /// Takes an item by `pop`, and decodes it.
    fn decoded(
        &self,
        pop: impl FnOnce(&mut Vec<u8>) -> Result<(), records::PopError>,
    ) -> Result<T, GetError> {
        with_buffer(|bytes| {
            pop(bytes).map_err(GetError::from_pop)?;
            executor_core::decode_value(bytes).map_err(|message| {
                // Nobody has the item, so nobody else can say that it is done. An error of this is not of concern to this caller.
                let _ = self.task_done();
                GetError::Decode { type_name: std::any::type_name::<T>(), message }
            })
        })
    }

    /// Takes the item at the front, and waits for one if need be.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped: an item is taken only by the poll that returns it.
    pub fn get_async(&self) -> Get<T> {
        Get::new(self.clone())
    }
}

/// Encodes an item and hands its bytes to `push`.
fn encoded<T: Serialize + 'static>(
    item: T,
    push: impl FnOnce(&[u8]) -> Result<(), records::PushError>,
) -> Result<(), PutError<T>> {
    with_buffer(|bytes| match encode(&item, bytes) {
        Ok(()) => push(bytes).map_err(|error| PutError::from_push(error, item, bytes.len())),
        Err(message) => Err(PutError::Encode { item, message }),
    })
}

fn encode<T: Serialize + 'static>(item: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    bytes.clear();
    // What is attached would have to wait beside the item; there is no such place.
    collect_nothing(|| executor_core::encode_value(item, bytes))
}

/// Lends this thread's buffer. Whoever is called meanwhile, on this thread, gets another.
fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    /// A buffer that an item has made larger is not kept.
    const KEPT: usize = 1 << 20;
    thread_local! {
        static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // While the thread ends, there is no buffer to keep.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    let result = f(&mut buffer);
    if buffer.capacity() <= KEPT {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}

fn into_io(error: IpcError) -> io::Error {
    let kind = match &error {
        IpcError::System { source, .. } => source.kind(),
        IpcError::Unsupported { .. } => io::ErrorKind::Unsupported,
        IpcError::TooLarge { .. } => io::ErrorKind::FileTooLarge,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { memory: Arc::clone(&self.memory), items: PhantomData }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("len", &self.len()).field("capacity", &self.capacity()).finish()
    }
}

/// Writes the handle, not the items. Only into what can carry descriptors.
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handle::serialize_with(self.memory.descriptors(), &(), serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (descriptors, ()) = handle::deserialize_with(mapping::WHAT, deserializer)?;
        let memory = Mapping::open(&descriptors).map_err(D::Error::custom)?;
        Ok(Self { memory, items: PhantomData })
    }
}
