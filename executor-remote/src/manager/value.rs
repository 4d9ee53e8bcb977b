//! [`Value`].

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::{Call, nothing, value};
use super::protocol::type_names;
use super::proxy::{Proxy, args, proxy};
use crate::object::Object;

/// One value that processes share. [`Proxy`] says how it lives and travels.
///
/// Getting and setting are two steps. Who computes the new value from the old one holds a [`Lock`](super::Lock) meanwhile.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::{Manager, Value};
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   executor_process::init();
///     let manager = Manager::start()?;
///     let best: Value<f64> = manager.value(&0.5).wait()?;
///     best.set(&0.75).wait()?;
///     assert_eq!(best.get().wait()?, 0.75);
///     Ok(())
/// }
/// ```
pub struct Value<T> {
    pub(super) proxy: Proxy,
    types: PhantomData<fn() -> T>,
}

proxy!(Value<T>, type_names::VALUE);

impl<T: Serialize + DeserializeOwned> Value<T> {
    /// The value.
    ///
    /// # Errors
    ///
    /// [`Decode`](super::ManagerError::Decode) if it is not a `T`; else as all calls do.
    pub fn get(&self) -> Call<T> {
        self.proxy.handle().call("get", Ok(Vec::new()), value)
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn set(&self, new: &T) -> Call<()> {
        self.proxy.handle().call("set", args([Object::from_serialize(new)]), nothing)
    }
}
