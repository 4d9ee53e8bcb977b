//! [`List`].

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ManagerError;
use super::call::{Call, Context, Decode, Outcome, nothing, value};
use super::protocol::type_names;
use super::proxy::{Proxy, args, proxy};
use crate::object::{Object, ObjectError};

/// A sequence that processes share: Python's `list`. [`Proxy`] says how it lives and travels.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::{List, Manager};
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   executor_process::init();
///     let manager = Manager::start()?;
///     let primes: List<u64> = manager.list().wait()?;
///     for n in [2, 3, 5] {
///         primes.push(&n).detach();
///     }
///     primes.reverse().wait()?;
///     assert_eq!(primes.to_vec().wait()?, [5, 3, 2]);
///     Ok(())
/// }
/// ```
pub struct List<T> {
    pub(super) proxy: Proxy,
    types: PhantomData<fn() -> T>,
}

proxy!(List<T>, type_names::LIST);

impl<T: Serialize + DeserializeOwned> List<T> {
    /// The item at this index.
    ///
    /// # Errors
    ///
    /// [`Decode`](ManagerError::Decode) if the item is not a `T`; else as all calls do.
    pub fn get(&self, index: usize) -> Call<Option<T>> {
        self.call("__getitem__", Ok(vec![index.into()]), unless_outside)
    }

    /// Replaces the item at this index.
    ///
    /// # Errors
    ///
    /// [`Raised`](ManagerError::Raised) with an `IndexError` if there is none; else as all calls do.
    pub fn set(&self, index: usize, item: &T) -> Call<()> {
        self.call("__setitem__", args([Ok(index.into()), Object::from_serialize(item)]), nothing)
    }

    /// Puts an item before the one at this index, or at the end if there is none.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn insert(&self, index: usize, item: &T) -> Call<()> {
        self.call("insert", args([Ok(index.into()), Object::from_serialize(item)]), nothing)
    }

    /// Puts an item at the end.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn push(&self, item: &T) -> Call<()> {
        self.call("append", args([Object::from_serialize(item)]), nothing)
    }

    /// Puts many items at the end, in one step.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn extend(&self, items: impl IntoIterator<Item = T>) -> Call<()> {
        let items =
            items.into_iter().map(|item| Object::from_serialize(&item)).collect::<Result<Vec<_>, _>>();
        self.call("extend", args([items.map(Object::List)]), nothing)
    }

    /// Takes the last item away.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// An item may be taken away or not, and is lost if it is.
    pub fn pop(&self) -> Call<Option<T>> {
        self.call("pop", Ok(Vec::new()), unless_outside)
    }

    /// Takes the item at this index away; those behind it move up.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// As [`pop`](Self::pop).
    pub fn remove(&self, index: usize) -> Call<Option<T>> {
        self.call("pop", Ok(vec![index.into()]), unless_outside)
    }

    /// How many items there are.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn len(&self) -> Call<usize> {
        self.call("__len__", Ok(Vec::new()), value)
    }

    /// Whether there is no item.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn is_empty(&self) -> Call<bool> {
        self.call("__len__", Ok(Vec::new()), |outcome, context| {
            value(outcome, context).map(|len: usize| len == 0)
        })
    }

    /// Whether an item is equal to this one, as Python compares.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn contains(&self, item: &T) -> Call<bool> {
        self.call("__contains__", args([Object::from_serialize(item)]), value)
    }

    /// Turns the order around.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn reverse(&self) -> Call<()> {
        self.call("reverse", Ok(Vec::new()), nothing)
    }

    /// Sorts it, as Python does; equal items keep their order.
    ///
    /// # Errors
    ///
    /// [`Raised`](ManagerError::Raised) with a `TypeError` if there are items that cannot be compared; else as all calls do.
    pub fn sort(&self) -> Call<()> {
        self.call("sort", Ok(Vec::new()), nothing)
    }

    /// A copy of it.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn to_vec(&self) -> Call<Vec<T>> {
        // Python's proxies of lists have no `copy`, and its other managers no such word.
        let is_native = self.proxy.handle().as_native().is_some();
        self.call(if is_native { "copy" } else { "#GETVALUE" }, Ok(Vec::new()), value)
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

/// The item, or none if there is none at that index.
fn unless_outside<T: DeserializeOwned>(
    outcome: Outcome,
    context: &Context,
) -> Result<Option<T>, ManagerError> {
    match outcome {
        Err(exception) if exception.type_name == "IndexError" => Ok(None),
        outcome => value(outcome, context).map(Some),
    }
}
