//! Types of users: values of Rust types whose methods the clients of a manager can call.
//!
//! 1. The value lives in the manager's process. Only what its constructor and methods take and give travels.
//! 2. Constructors and methods run on threads where they may block. The calls of one object run one after another, in
//!    the order in which they came; those of different objects run side by side.
//! 3. A panic is a `RuntimeError` to its caller. The value stays as the panic left it.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::operation::{Given, Outcome, Wait};
use super::raise;
use crate::io_runtime;
use crate::object::{Exception, Object};

/// The types that a manager has besides those of every manager.
///
/// The arguments of a constructor or method are one value: a tuple is several arguments, `()` is none, and a value of any
/// other type is the one argument; arguments by name, from Python, fill a struct by its fields.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::Registry;
///
/// struct Counter {
///     count: i64,
/// }
///
/// let registry = Registry::new()
///     .register("Counter", |start: i64| Counter { count: start })
///     .method("add", |counter: &mut Counter, n: i64| {
///         counter.count += n;
///         counter.count
///     })
///     .method("count", |counter: &mut Counter, (): ()| counter.count)
///     .finish();
/// # let _ = registry;
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    types: BTreeMap<String, Arc<UserType>>,
}

impl Registry {
    /// No types.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type by its name and constructor; its methods follow. A type of that name that was added before is replaced.
    ///
    /// # Panics
    ///
    /// If every manager has a type of this name.
    pub fn register<T, A>(
        self,
        name: impl Into<String>,
        create: impl Fn(A) -> T + Send + Sync + 'static,
    ) -> TypeBuilder<T>
    where
        T: Send + 'static,
        A: DeserializeOwned,
    {
        let name = name.into();
        assert!(
            super::types::names().all(|it| it != name),
            "every manager has a type {name}: register yours under another name"
        );
        let create: Box<Create> = Box::new(move |given| {
            let arguments = arguments::<A>(given)?;
            Ok(Box::new(create(arguments)))
        });
        let user_type = UserType { name, create, methods: BTreeMap::new() };
        TypeBuilder { registry: self, user_type, of: PhantomData }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<UserType>> {
        self.types.get(name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(String::as_str)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, user_type) in &self.types {
            map.entry(name, &user_type.methods.keys().collect::<Vec<_>>());
        }
        map.finish()
    }
}

/// A type that is being added to a [`Registry`].
#[must_use = "the type is added by .finish() or the next .register()"]
pub struct TypeBuilder<T> {
    registry: Registry,
    user_type: UserType,
    of: PhantomData<fn(T)>,
}

impl<T: Send + 'static> TypeBuilder<T> {
    /// Adds a method.
    pub fn method<A, R>(
        self,
        name: impl Into<String>,
        run: impl Fn(&mut T, A) -> R + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        self.add(name.into(), move |object: &mut T, arguments: A| Ok(run(object, arguments)))
    }

    /// Adds a method that can fail. To the caller, its error is a `RuntimeError` with the error's text.
    pub fn method_fallible<A, R, E>(
        self,
        name: impl Into<String>,
        run: impl Fn(&mut T, A) -> Result<R, E> + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
        E: fmt::Display,
    {
        self.add(name.into(), move |object: &mut T, arguments: A| {
            run(object, arguments).map_err(|error| raise::runtime_error(error.to_string()))
        })
    }

    fn add<A, R>(
        mut self,
        name: String,
        run: impl Fn(&mut T, A) -> Result<R, Exception> + Send + Sync + 'static,
    ) -> Self
    where
        A: DeserializeOwned,
        R: Serialize,
    {
        let run: Box<Method> = Box::new(move |object, given| {
            let object = object.downcast_mut::<T>().expect("a type has only methods of its own");
            let value = run(object, arguments::<A>(given)?)?;
            Object::from_serialize(&value)
                .map_err(|error| raise::type_error(format!("the value cannot be sent: {error}")))
        });
        self.user_type.methods.insert(name, Arc::new(run));
        self
    }

    /// Adds the next type.
    ///
    /// # Panics
    ///
    /// As [`Registry::register`].
    pub fn register<U, A>(
        self,
        name: impl Into<String>,
        create: impl Fn(A) -> U + Send + Sync + 'static,
    ) -> TypeBuilder<U>
    where
        U: Send + 'static,
        A: DeserializeOwned,
    {
        self.finish().register(name, create)
    }

    /// The registry with this type.
    pub fn finish(mut self) -> Registry {
        self.registry.types.insert(self.user_type.name.clone(), Arc::new(self.user_type));
        self.registry
    }
}

impl<T: Send + 'static> From<TypeBuilder<T>> for Registry {
    fn from(builder: TypeBuilder<T>) -> Self {
        builder.finish()
    }
}

impl<T> fmt::Debug for TypeBuilder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypeBuilder").field("name", &self.user_type.name).finish_non_exhaustive()
    }
}

/// A value of some type of a user.
type Value = dyn Any + Send;
type Create = dyn Fn(Given) -> Result<Box<Value>, Exception> + Send + Sync;
type Method = dyn Fn(&mut Value, Given) -> Outcome + Send + Sync;

/// A type of a user.
pub(crate) struct UserType {
    name: String,
    create: Box<Create>,
    methods: BTreeMap<String, Arc<Box<Method>>>,
}

impl UserType {
    /// Creates a value on this thread.
    pub(crate) fn create(self: &Arc<Self>, given: Given) -> Result<UserObject, Exception> {
        let value = caught(|| (self.create)(given))?;
        let actor = Actor { value: Mutex::new(value), calls: Mutex::default() };
        Ok(UserObject { user_type: Arc::clone(self), actor: Arc::new(actor) })
    }
}

/// A value of a user and its calls.
pub(crate) struct UserObject {
    user_type: Arc<UserType>,
    actor: Arc<Actor>,
}

impl UserObject {
    /// Hands a call to a thread that may block; `None` if there is no such method.
    pub(crate) fn call(&self, method: &str, given: Given) -> Option<Wait> {
        let method = Arc::clone(self.user_type.methods.get(method)?);
        let (sender, receiver) = oneshot::channel();
        let mut calls = lock(&self.actor.calls);
        calls.waiting.push_back(Call { method, given, sender });
        if !std::mem::replace(&mut calls.is_running, true) {
            let actor = Arc::clone(&self.actor);
            io_runtime::handle().spawn_blocking(move || actor.run());
        }
        let late = Err(raise::runtime_error("the manager has ended"));
        Some(Wait { receiver, limit: None, late, gives: false })
    }

    pub(crate) fn methods(&self) -> Vec<String> {
        self.user_type.methods.keys().cloned().collect()
    }
}

struct Actor {
    value: Mutex<Box<Value>>,
    calls: Mutex<Calls>,
}

#[derive(Default)]
struct Calls {
    waiting: VecDeque<Call>,
    /// A thread is at it, and will look for more before it leaves.
    is_running: bool,
}

struct Call {
    method: Arc<Box<Method>>,
    given: Given,
    sender: oneshot::Sender<Outcome>,
}

impl Actor {
    /// Runs calls until there are none.
    fn run(&self) {
        let mut value = lock(&self.value);
        loop {
            let mut calls = lock(&self.calls);
            let Some(call) = calls.waiting.pop_front() else {
                calls.is_running = false;
                return;
            };
            drop(calls);
            if call.sender.is_closed() {
                continue;
            }
            let outcome = caught(|| (call.method)(&mut **value, call.given));
            // The caller may be gone.
            let _ = call.sender.send(outcome);
        }
    }
}

/// Runs user code.
fn caught<T>(run: impl FnOnce() -> Result<T, Exception>) -> Result<T, Exception> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned());
        Err(raise::runtime_error(format!("panicked: {message}")))
    })
}

/// The one value that the arguments of a call are.
fn arguments<A: DeserializeOwned>(given: Given) -> Result<A, Exception> {
    let Given { mut positional, keywords } = given;
    if !keywords.is_empty() {
        if !positional.is_empty() {
            return Err(raise::type_error("arguments are given all by position or all by name"));
        }
        let fields = keywords.into_iter().map(|(name, value)| (Object::Str(name), value)).collect();
        return Object::Dict(fields).deserialize().map_err(misfit);
    }
    if positional.len() == 1 {
        // One argument is either all, or a tuple of one.
        let only = positional[0].clone();
        return only.deserialize().or_else(|error| {
            Object::Tuple(std::mem::take(&mut positional)).deserialize().map_err(|_| misfit(error))
        });
    }
    if positional.is_empty() {
        return Object::None
            .deserialize()
            .or_else(|_| Object::Tuple(Vec::new()).deserialize().map_err(misfit));
    }
    Object::Tuple(positional).deserialize().map_err(misfit)
}

fn misfit(error: crate::object::ObjectError) -> Exception {
    raise::type_error(format!("the arguments do not fit: {error}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Rule 3; and user code never runs under the lock of the calls.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
