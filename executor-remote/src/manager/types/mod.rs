//! The types that every manager has, each a table of methods with Python's names and meanings.
//!
//! A type implements [`Kind`]; its table is also the list of the methods that Python's proxies are told of. Names that
//! begin with `#` are for Rust alone.

mod dict;
mod event;
mod list;
mod lock;
mod namespace;
mod order;
mod ordered_map;
mod queue;
mod semaphore;
mod slice;
#[cfg(test)]
mod tests;
mod value;
mod waiters;

use super::operation::{Args, Given, Outcome, SessionId, Step};
use super::raise;
use crate::object::{Exception, Object};

/// A method of `T`.
enum Method<T> {
    /// It never waits.
    Now(fn(&mut T, Args) -> Outcome),
    /// It may be parked, or depends on who calls.
    Parks(fn(&mut T, Args, SessionId) -> Step),
}

use Method::{Now, Parks};

/// A type of shared objects.
trait Kind: Sized + Send + 'static {
    /// Its methods, sorted by name.
    const METHODS: &'static [(&'static str, Method<Self>)];
    /// Whether sessions can hold it, as locks.
    const IS_HELD: bool = false;

    /// A new object.
    fn create(args: Args) -> Result<Self, Exception>;

    /// A copy of its value: Python's `_getvalue()`.
    fn value(&self) -> Outcome;

    /// Python's `repr`.
    fn repr(&self) -> String;

    /// Shows all the values in it.
    fn visit(&self, _visit: &mut dyn FnMut(&Object)) {}

    /// A parked call had been given this, and its caller is gone.
    fn give_back(&mut self, _session: SessionId, _given: Object) {}

    /// A session that may hold it has ended.
    fn on_session_end(&mut self, _session: SessionId) {}
}

/// A shared object of some [`Kind`].
pub(super) trait Builtin: Send {
    /// Calls a method; `None` if it has none of that name.
    fn call(&mut self, method: &str, given: Given, session: SessionId) -> Option<Step>;
    /// The methods that it has for everybody.
    fn methods(&self) -> Vec<&'static str>;
    /// See [`Kind::IS_HELD`].
    fn is_held(&self) -> bool;
    /// See [`Kind::value`].
    fn value(&self) -> Outcome;
    /// See [`Kind::repr`].
    fn repr(&self) -> String;
    /// See [`Kind::visit`].
    fn visit(&self, visit: &mut dyn FnMut(&Object));
    /// See [`Kind::give_back`].
    fn give_back(&mut self, session: SessionId, given: Object);
    /// See [`Kind::on_session_end`].
    fn on_session_end(&mut self, session: SessionId);
}

impl<T: Kind> Builtin for T {
    fn call(&mut self, method: &str, given: Given, session: SessionId) -> Option<Step> {
        let at = T::METHODS.binary_search_by(|(name, _)| (*name).cmp(method)).ok()?;
        let (name, method) = &T::METHODS[at];
        let args = Args::new(name, given);
        Some(match method {
            Now(run) => run(self, args).into(),
            Parks(run) => run(self, args, session),
        })
    }

    fn methods(&self) -> Vec<&'static str> {
        T::METHODS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with('#')).collect()
    }

    fn is_held(&self) -> bool {
        T::IS_HELD
    }

    fn value(&self) -> Outcome {
        Kind::value(self)
    }

    fn repr(&self) -> String {
        Kind::repr(self)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        Kind::visit(self, visit);
    }

    fn give_back(&mut self, session: SessionId, given: Object) {
        Kind::give_back(self, session, given);
    }

    fn on_session_end(&mut self, session: SessionId) {
        Kind::on_session_end(self, session);
    }
}

/// Creates an object of a type that every manager has; `None` if there is no such type.
pub(super) fn create(type_name: &str, given: Given) -> Option<Result<Box<dyn Builtin>, Exception>> {
    let (name, create) = TYPES.iter().find(|(name, _)| *name == type_name)?;
    Some(create(Args::new(name, given)))
}

/// The names of the types that every manager has.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    TYPES.iter().map(|(name, _)| *name)
}

type Create = fn(Args) -> Result<Box<dyn Builtin>, Exception>;

const TYPES: &[(&str, Create)] = &[
    ("BoundedSemaphore", boxed::<semaphore::BoundedSemaphore>),
    ("Event", boxed::<event::Event>),
    ("JoinableQueue", boxed::<queue::Queue>),
    ("Lock", boxed::<lock::Lock>),
    ("Namespace", boxed::<namespace::Namespace>),
    ("Queue", boxed::<queue::Queue>),
    ("RLock", boxed::<lock::RLock>),
    ("Semaphore", boxed::<semaphore::Semaphore>),
    ("Value", boxed::<value::Value>),
    ("dict", boxed::<dict::Dict>),
    ("list", boxed::<list::List>),
];

fn boxed<T: Kind>(args: Args) -> Result<Box<dyn Builtin>, Exception> {
    T::create(args).map(|object| Box::new(object) as Box<dyn Builtin>)
}

/// The items of what Python could iterate.
fn collect(object: Object) -> Result<Vec<Object>, Exception> {
    match object {
        Object::List(items) | Object::Tuple(items) | Object::Set(items) | Object::FrozenSet(items) => {
            Ok(items)
        }
        Object::Dict(items) => Ok(items.into_iter().map(|(key, _)| key).collect()),
        Object::Str(text) => Ok(text.chars().map(|c| Object::Str(c.to_string())).collect()),
        Object::Bytes(bytes) | Object::ByteArray(bytes) => Ok(bytes.into_iter().map(Object::from).collect()),
        other => Err(raise::type_error(format!("'{}' object is not iterable", other.type_name()))),
    }
}
