//! [`Namespace`].

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ManagerError;
use super::call::{Call, Context, Outcome, nothing, value};
use super::protocol::type_names;
use super::proxy::{Proxy, args, proxy};
use crate::object::Object;

/// Values of different types by their names: Python's `Namespace`. [`Proxy`] says how it lives and travels.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::Manager;
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   executor_process::init();
///     let manager = Manager::start()?;
///     let settings = manager.namespace().wait()?;
///     settings.set("title", "night run").wait()?;
///     settings.set("limit", &10).wait()?;
///     assert_eq!(settings.get::<u32>("limit").wait()?, Some(10));
///     assert_eq!(settings.get::<String>("author").wait()?, None);
///     Ok(())
/// }
/// ```
pub struct Namespace {
    pub(super) proxy: Proxy,
}

proxy!(Namespace, type_names::NAMESPACE);

impl Namespace {
    /// The value of this name.
    ///
    /// # Errors
    ///
    /// [`Decode`](ManagerError::Decode) if it is not a `T`; else as all calls do.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Call<Option<T>> {
        self.proxy.handle().call("__getattribute__", Ok(vec![name.into()]), unless_unknown)
    }

    /// Gives a value a name.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn set<T: Serialize + ?Sized>(&self, name: &str, new: &T) -> Call<()> {
        self.proxy.handle().call("__setattr__", args([Ok(name.into()), Object::from_serialize(new)]), nothing)
    }

    /// Takes a name away: whether there was such a name.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn remove(&self, name: &str) -> Call<bool> {
        self.proxy.handle().call("__delattr__", Ok(vec![name.into()]), |outcome, context| match outcome {
            Err(exception) if exception.type_name == "AttributeError" => Ok(false),
            outcome => nothing(outcome, context).map(|()| true),
        })
    }
}

/// The value, or none if there is none of this name.
fn unless_unknown<T: DeserializeOwned>(
    outcome: Outcome,
    context: &Context,
) -> Result<Option<T>, ManagerError> {
    match outcome {
        Err(exception) if exception.type_name == "AttributeError" => Ok(None),
        outcome => value(outcome, context).map(Some),
    }
}
