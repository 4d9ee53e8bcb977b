//! [`Dict`].

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ManagerError;
use super::call::{Call, Context, Outcome, nothing, value};
use super::protocol::type_names;
use super::proxy::{Proxy, args, proxy};
use crate::object::Object;

/// A table that processes share: Python's `dict`. [`Proxy`] says how it lives and travels.
///
/// Keys and values live in the manager as objects of Python's kinds ([`object`](crate::object) says which), so programs in both
/// languages can share one. Keys must be hashable there: numbers, texts, bytes, tuples of them. The table is ordered by insertion.
///
/// Each method is one step for everybody else; several are not. A [`Lock`](super::Lock) makes them one.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::{Dict, Manager};
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   executor_process::init();
///     let manager = Manager::start()?;
///     let ages: Dict<String, u32> = manager.dict().wait()?;
///     ages.insert("Ada", &36).wait()?;
///
///     // Both are sent before the first is waited for.
///     let (ada, bob) = (ages.get("Ada"), ages.get("Bob"));
///     assert_eq!((ada.wait()?, bob.wait()?), (Some(36), None));
///     Ok(())
/// }
/// ```
pub struct Dict<K, V> {
    pub(super) proxy: Proxy,
    types: PhantomData<fn() -> (K, V)>,
}

proxy!(Dict<K, V>, type_names::DICT);

impl<K, V> Dict<K, V>
where
    K: Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// The value of a key.
    ///
    /// # Errors
    ///
    /// [`Raised`](ManagerError::Raised) with a `TypeError` if the key cannot be hashed, [`Decode`](ManagerError::Decode) if the value
    /// is not a `V`; else as all calls do.
    pub fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> Call<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.call("__getitem__", args([Object::from_serialize(key)]), unless_missing)
    }

    /// Sets the value of a key. What it was before is not told.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn insert<Q: Serialize + ?Sized>(&self, key: &Q, new: &V) -> Call<()>
    where
        K: Borrow<Q>,
    {
        self.call("__setitem__", args([Object::from_serialize(key), Object::from_serialize(new)]), nothing)
    }

    /// The value of a key, which is set to this one if it has none.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_or_insert<Q: Serialize + ?Sized>(&self, key: &Q, new: &V) -> Call<V>
    where
        K: Borrow<Q>,
    {
        self.call("setdefault", args([Object::from_serialize(key), Object::from_serialize(new)]), value)
    }

    /// Removes a key; its value, if it had one.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// The key may be removed or not, and its value is lost if it is.
    pub fn remove<Q: Serialize + ?Sized>(&self, key: &Q) -> Call<Option<V>>
    where
        K: Borrow<Q>,
    {
        self.call("pop", args([Object::from_serialize(key)]), unless_missing)
    }

    /// Removes the item that was inserted last.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    ///
    /// # Cancel safety
    ///
    /// As [`remove`](Self::remove).
    pub fn pop_last(&self) -> Call<Option<(K, V)>> {
        self.call("popitem", Ok(Vec::new()), unless_missing)
    }

    /// Whether the key has a value.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn contains_key<Q: Serialize + ?Sized>(&self, key: &Q) -> Call<bool>
    where
        K: Borrow<Q>,
    {
        self.call("__contains__", args([Object::from_serialize(key)]), value)
    }

    /// How many keys have values.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn len(&self) -> Call<usize> {
        self.call("__len__", Ok(Vec::new()), value)
    }

    /// Whether no key has a value.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn is_empty(&self) -> Call<bool> {
        self.call("__len__", Ok(Vec::new()), |outcome, context| {
            value(outcome, context).map(|len: usize| len == 0)
        })
    }

    /// All keys, in the order of their insertion.
    ///
    /// # Errors
    ///
    /// [`Decode`](ManagerError::Decode) if one is not a `K`; else as all calls do.
    pub fn keys(&self) -> Call<Vec<K>> {
        self.call("keys", Ok(Vec::new()), value)
    }

    /// All values, in the order of their keys.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn values(&self) -> Call<Vec<V>> {
        self.call("values", Ok(Vec::new()), value)
    }

    /// All keys with their values.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn items(&self) -> Call<Vec<(K, V)>> {
        self.call("items", Ok(Vec::new()), value)
    }

    /// A copy of it.
    ///
    /// # Errors
    ///
    /// As [`keys`](Self::keys).
    pub fn to_map(&self) -> Call<HashMap<K, V>>
    where
        K: Eq + Hash,
    {
        self.call("copy", Ok(Vec::new()), value)
    }

    /// Removes everything.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn clear(&self) -> Call<()> {
        self.call("clear", Ok(Vec::new()), nothing)
    }

    /// Sets the values of many keys in one step.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn update(&self, items: impl IntoIterator<Item = (K, V)>) -> Call<()> {
        let items = items
            .into_iter()
            .map(|(key, new)| Ok((Object::from_serialize(&key)?, Object::from_serialize(&new)?)))
            .collect::<Result<Vec<_>, _>>();
        self.call("update", args([items.map(Object::Dict)]), nothing)
    }

    fn call<T>(
        &self,
        method: &'static str,
        args: Result<Vec<Object>, crate::object::ObjectError>,
        decode: super::call::Decode<T>,
    ) -> Call<T> {
        self.proxy.handle().call(method, args, decode)
    }
}

/// The value, or none if the key has none.
fn unless_missing<T: DeserializeOwned>(
    outcome: Outcome,
    context: &Context,
) -> Result<Option<T>, ManagerError> {
    match outcome {
        Err(exception) if exception.type_name == "KeyError" => Ok(None),
        outcome => value(outcome, context).map(Some),
    }
}
