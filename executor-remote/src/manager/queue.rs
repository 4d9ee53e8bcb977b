//! [`Queue`].

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Call, Decode, nothing, value};
use super::protocol::type_names;
use super::proxy::{Proxy, args, proxy};
use crate::object::{Object, ObjectError};

/// A queue that processes share: Python's `queue.Queue`. [`Proxy`] says how it lives and travels.
///
/// Any number of processes put and get; each item is got once.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::{Manager, ManagerError, Queue};
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   executor_process::init();
///     let manager = Manager::start()?;
///     let orders: Queue<String> = manager.queue(2).wait()?; // has room for two
///     orders.put(&"tea".to_owned()).wait()?;
///     orders.put(&"cake".to_owned()).wait()?;
///     let full = orders.try_put(&"milk".to_owned()).wait();
///     assert!(matches!(full, Err(ManagerError::Full)));
///     assert_eq!(orders.get().wait()?, "tea");
///     Ok(())
/// }
/// ```
pub struct Queue<T> {
    pub(super) proxy: Proxy,
    types: PhantomData<fn() -> T>,
}

proxy!(Queue<T>, type_names::QUEUE);

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Puts an item at the end, as soon as there is room.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    ///
    /// # Cancel safety
    ///
    /// The item may have been put or not.
    pub fn put(&self, item: &T) -> Call<()> {
        self.call("put", args([Object::from_serialize(item)]), nothing)
    }

    /// As [`put`](Self::put), but waits for room no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`Full`](super::ManagerError::Full); else as all calls do.
    pub fn put_timeout(&self, item: &T, limit: Duration) -> Call<()> {
        let limit = Object::from(limit.as_secs_f64());
        self.call("put", args([Object::from_serialize(item), Ok(true.into()), Ok(limit)]), nothing)
    }

    /// Puts an item at the end if there is room now.
    ///
    /// # Errors
    ///
    /// As [`put_timeout`](Self::put_timeout).
    pub fn try_put(&self, item: &T) -> Call<()> {
        self.call("put", args([Object::from_serialize(item), Ok(false.into())]), nothing)
    }

    /// Takes the first item, as soon as there is one.
    ///
    /// # Errors
    ///
    /// [`Decode`](super::ManagerError::Decode) if the item is not a `T`; else as all calls do.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped while it waits takes no item. But an item that was already on its way to this process is
    /// lost: where that matters, let the manager keep the limit with [`get_timeout`](Self::get_timeout), and wait for its answer.
    /// The same goes for a process that is killed.
    pub fn get(&self) -> Call<T> {
        self.call("get", Ok(Vec::new()), value)
    }

    /// As [`get`](Self::get), but waits for an item no longer than `limit`.
    ///
    /// # Errors
    ///
    /// [`Empty`](super::ManagerError::Empty); else as [`get`](Self::get).
    pub fn get_timeout(&self, limit: Duration) -> Call<T> {
        self.call("get", Ok(vec![true.into(), limit.as_secs_f64().into()]), value)
    }

    /// Takes the first item if there is one now.
    ///
    /// # Errors
    ///
    /// As [`get_timeout`](Self::get_timeout).
    pub fn try_get(&self) -> Call<T> {
        self.call("get", Ok(vec![false.into()]), value)
    }

    /// How many items wait.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn len(&self) -> Call<usize> {
        self.call("qsize", Ok(Vec::new()), value)
    }

    /// Whether no item waits.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn is_empty(&self) -> Call<bool> {
        self.call("empty", Ok(Vec::new()), value)
    }

    /// Whether there is no room.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn is_full(&self) -> Call<bool> {
        self.call("full", Ok(Vec::new()), value)
    }

    /// Says that the work for an item that was got is done; [`join`](Self::join) counts it.
    ///
    /// # Errors
    ///
    /// [`Raised`](super::ManagerError::Raised) with a `ValueError` if that has been said for every item; else as all calls do.
    pub fn task_done(&self) -> Call<()> {
        self.call("task_done", Ok(Vec::new()), nothing)
    }

    /// Waits until the work for all items that were put is said to be done.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn join(&self) -> Call<()> {
        self.call("join", Ok(Vec::new()), nothing)
    }

    fn call<R>(
        &self,
        method: &'static str,
        args: Result<Vec<Object>, ObjectError>,
        decode: Decode<R>,
    ) -> Call<R> {
        self.proxy.handle().call(method, args, decode)
    }
}
