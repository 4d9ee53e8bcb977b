//! Functions by name, for callers that are another build, another architecture or another language.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dynamic::DynamicJob;
use crate::error::{TaskError, nearest};
use crate::parcel::{Outlet, Parcel};
use crate::task::run_encoded;

/// A function with the name under which it is known; made by [`register!`](crate::register).
pub struct RegisteredTask {
    name: &'static str,
    place: &'static str,
    call: fn(Parcel<'_>, &mut Outlet<'_>) -> Result<(), TaskError>,
    pub(crate) job: DynamicJob,
}

inventory::collect!(RegisteredTask);

impl RegisteredTask {
    /// For [`register!`](crate::register) only.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        place: &'static str,
        call: fn(Parcel<'_>, &mut Outlet<'_>) -> Result<(), TaskError>,
        job: DynamicJob,
    ) -> Self {
        Self { name, place, call, job }
    }
}

/// Makes functions known by name, so that `call("name", arg)` finds them in any build of the program, and
/// [`call_dynamic`](crate::ExecutorExt::call_dynamic) without knowing their types.
///
/// The function takes one serialisable argument (a tuple for several) and gives a serialisable result. A crate
/// that only registers functions must be referred to by the program (`use my_tasks as _;`), or the linker leaves it out.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, Serial, register};
///
/// fn add((a, b): (i64, i64)) -> i64 {
///     a + b
/// }
/// register! { "add" => add, "half" => |n: u32| n / 2 }
///
/// let ex = Serial::new();
/// assert_eq!(ex.call::<_, i64>("add", (2i64, 3i64)).wait(), Ok(5));
/// assert_eq!(ex.call::<_, u32>("half", 8u32).wait(), Ok(4));
/// ```
#[macro_export]
macro_rules! register {
    ($($name:literal => $function:expr),+ $(,)?) => {
        $(const _: () = {
            $crate::__private::inventory::submit! {
                $crate::__private::RegisteredTask::new(
                    $name,
                    concat!(file!(), ":", line!()),
                    |arg, out| $crate::__private::call_function($function, arg, out),
                    |arg| $crate::__private::job($function, arg),
                )
            }
        };)+
    };
}

/// Decodes, calls, encodes; for [`register!`](crate::register).
#[doc(hidden)]
pub fn call_function<A, R>(
    function: fn(A) -> R,
    arg: Parcel<'_>,
    out: &mut Outlet<'_>,
) -> Result<(), TaskError>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    run_encoded(arg, out, function)
}

fn registry() -> &'static BTreeMap<&'static str, &'static RegisteredTask> {
    static REGISTRY: OnceLock<BTreeMap<&'static str, &'static RegisteredTask>> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = BTreeMap::new();
        for task in inventory::iter::<RegisteredTask> {
            if let Some(first) = registry.insert(task.name, task) {
                panic!(
                    "two functions are registered as `{}`: at {} and at {}",
                    task.name, first.place, task.place
                );
            }
        }
        registry
    })
}

/// The names of all registered functions, sorted.
///
/// # Panics
///
/// If two functions are registered under one name.
pub fn registered_names() -> impl Iterator<Item = &'static str> {
    registry().keys().copied()
}

/// The function of this name.
pub(crate) fn registered(name: &str) -> Option<&'static RegisteredTask> {
    registry().get(name).copied()
}

/// Calls a registered function with a serialised argument; the serialised result is appended to `out`.
pub(crate) fn call_registered(name: &str, arg: Parcel<'_>, out: &mut Outlet<'_>) -> Result<(), TaskError> {
    match registry().get(name) {
        Some(task) => (task.call)(arg, out),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> TaskError {
    let hint = match nearest(name, registered_names()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None if registry().is_empty() => "none is registered".to_owned(),
        None => format!("known: {}", registered_names().collect::<Vec<_>>().join(", ")),
    };
    TaskError::not_portable(format!(
        "no function is registered as `{name}` there; {hint} (a crate that only registers functions must be referred \
         to by the program: `use that_crate as _;`)"
    ))
}
