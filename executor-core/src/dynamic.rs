//! Calls of registered functions whose types the caller does not know.
//!
//! [`register!`](crate::register) makes for each function, while its types are still known, a piece of code that takes an
//! argument out of any format and makes an ordinary job of it. The result is a [`Dynamic`], which goes into any format. So
//! a function is called with its own types, is moved or encoded as a backend likes, and no backend knows of this.
//!
//! The rejected alternative was a task whose argument are the foreign bytes, to be decoded by the worker: it would have saved
//! one decoding and one encoding here, at the price of formats that every worker has to know.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize, Serializer};

use crate::error::nearest_names;
use crate::identity::{registered, registered_names};
use crate::panic;
use crate::task::{DynamicCall, Job, TaskFuture, Value};

/// Makes a job of a function with the argument that the deserializer has; or says why the argument does not fit.
pub type DynamicJob =
    fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<(Job, TaskFuture<Dynamic>), String>;

/// The result of a function whose type the caller does not know. It serialises as that type does.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, Serial, register};
/// use serde::de::IntoDeserializer;
/// use serde::de::value::{Error, U32Deserializer};
///
/// register! { "squares" => |n: u32| (1..=n).map(|i| i * i).collect::<Vec<_>>() }
///
/// let argument: U32Deserializer<Error> = 3u32.into_deserializer();
/// let result = Serial::new().call_dynamic("squares", argument)?.wait()?;
/// assert_eq!(serde_json::to_string(&result)?, "[1,4,9]");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dynamic(Box<dyn erased_serde::Serialize + Send>);

impl Dynamic {
    pub(crate) fn new<R: Value>(value: R) -> Self {
        Self(Box::new(value))
    }
}

impl Serialize for Dynamic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        erased_serde::serialize(&*self.0, serializer)
    }
}

impl fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dynamic(..)")
    }
}

/// Why a function could not be called with an argument of any type; nothing has been submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DynamicError {
    /// No function of this program has this name.
    #[error("no function is registered as `{name}`{}", DidYouMean(nearest))]
    UnknownName {
        /// The name that was asked for.
        name: String,
        /// Those that there are and that it may be a typo of, the nearest first.
        nearest: Vec<String>,
    },
    /// The argument is not of the function's type.
    #[error("the argument does not fit `{name}`: {message}")]
    BadArgument {
        /// The name of the function.
        name: String,
        /// What the argument's `Deserialize` reported.
        message: String,
    },
}

struct DidYouMean<'a>(&'a [String]);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            names => write!(f, "; did you mean `{}`?", names.join("` or `")),
        }
    }
}

/// The job of a registered function. For [`register!`](crate::register) only.
#[doc(hidden)]
pub fn job<A, R>(
    function: fn(A) -> R,
    arg: &mut dyn erased_serde::Deserializer<'_>,
) -> Result<(Job, TaskFuture<Dynamic>), String>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    let arg = match panic::catch(|| erased_serde::deserialize::<A>(arg)) {
        Ok(Ok(arg)) => arg,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(panic) => return Err(panic.to_string()),
    };
    Ok(Job::new(DynamicCall(function), arg, None))
}

/// The job of the function of this name.
pub(crate) fn call<'de, D: Deserializer<'de>>(
    name: &str,
    arg: D,
) -> Result<(Job, TaskFuture<Dynamic>), DynamicError> {
    let Some(task) = registered(name) else {
        let nearest = nearest_names(name, registered_names()).into_iter().map(str::to_owned).collect();
        return Err(DynamicError::UnknownName { name: name.to_owned(), nearest });
    };
    let mut arg = <dyn erased_serde::Deserializer>::erase(arg);
    (task.job)(&mut arg).map_err(|message| DynamicError::BadArgument { name: name.to_owned(), message })
}
