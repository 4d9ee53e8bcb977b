//! [`Manager`]: what a program has of a manager.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::error::ManagerError;
use super::protocol::{CREATE, DEBUG_INFO, FIND, NUMBER_OF_OBJECTS, PUBLISH, SHUTDOWN, WITHDRAW, type_names};
use super::proxy::{Proxy, SharedObject, args, cast, positional};
use super::session::Session;
use super::{
    Dict, Event, List, Lock, ManagerServer, ManagerSetup, Namespace, Queue, ServerProcess, Serving,
    StartError, Value,
};
use crate::connection::{AuthKey, Listener};
use crate::object::{Object, ObjectError};

/// Objects that processes share, in a process of their own or in another program.
///
/// [`start`](Self::start) starts a manager as a process of this program, [`connect`](Self::connect) connects to one that
/// another program [serves](Self::serve). Then objects are made here and their proxies handed out; [`Proxy`] says how they
/// live and travel. Objects can also be given [names](Self::publish), under which every program that connects finds them.
///
/// All calls of a process go over one connection for each manager. A program that loses it has lost its objects; it does not
/// connect again by itself.
#[derive(Clone)]
pub struct Manager {
    session: Arc<Session>,
    /// The manager's process, if it was started here.
    process: Option<Started>,
}

/// A process that ends with the last clone.
#[derive(Clone)]
struct Started {
    pid: i32,
    /// Threads may share managers, and must not share the handle of a process.
    _process: Arc<Mutex<ServerProcess>>,
}

impl Manager {
    /// Starts a manager in a process of its own. It ends with the last clone of what is returned, or when this program does;
    /// proxies do not keep it.
    ///
    /// It listens at a Linux abstract socket with a key of its own, so that its proxies can go to any process of this machine, and to
    /// no other machine: for those, [serve](Self::serve) one at an address that they can reach.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    ///
    /// # Blocking
    ///
    /// For the milliseconds that a process needs to start.
    pub fn start() -> Result<Self, StartError> {
        ServerProcess::start().map(Self::of)
    }

    /// As [`start`](Self::start), for a manager that has types of the program: `serve` runs in the new process, and names them.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    ///
    /// # Blocking
    ///
    /// As [`start`](Self::start).
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_remote::manager::{Manager, Registry};
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// #   executor_process::init();
    ///     let manager = Manager::start_with(|setup| {
    ///         let counters = Registry::new().register("Counter", |start: i64| start);
    ///         setup.serve(counters.method("add", |count: &mut i64, n: i64| {
    ///             *count += n;
    ///             *count
    ///         }))
    ///     })?;
    ///     let counter = manager.create("Counter", &10).wait()?;
    ///     assert_eq!(counter.call::<_, i64>("add", &5).wait()?, 15);
    ///     Ok(())
    /// }
    /// ```
    pub fn start_with(serve: fn(ManagerSetup)) -> Result<Self, StartError> {
        ServerProcess::start_with(serve).map(Self::of)
    }

    fn of(process: ServerProcess) -> Self {
        let session = Session::of(process.address(), process.authkey());
        let started = Started { pid: process.pid(), _process: Arc::new(Mutex::new(process)) };
        Self { session, process: Some(started) }
    }

    /// Serves objects to whoever connects and has the listener's key, Rust programs and Python's `BaseManager` alike. To have types of the
    /// program besides those that every manager has, take [`ManagerServer`].
    pub fn serve(listener: Listener) -> Serving {
        ManagerServer::new().serve(listener)
    }

    /// The process id of a manager that was [started](Self::start) here.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.process.as_ref().map(|process| process.pid)
    }

    /// Connects to the manager that is served at `addr`.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Connect`], with the cause. The first call tells if what is there is no manager.
    pub fn connect(addr: impl fmt::Display, authkey: impl Into<AuthKey>) -> Call<Self> {
        let manager = Self { session: Session::of(&addr.to_string(), &authkey.into()), process: None };
        Call::other(async move {
            manager.session.connected().await?;
            Ok(manager)
        })
    }

    /// The manager's address.
    #[must_use]
    pub fn address(&self) -> &str {
        self.session.address()
    }

    /// Creates a table.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn dict<K: 'static, V: 'static>(&self) -> Call<Dict<K, V>> {
        self.typed(type_names::DICT, Ok(Vec::new()))
    }

    /// Creates a sequence.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn list<T: 'static>(&self) -> Call<List<T>> {
        self.typed(type_names::LIST, Ok(Vec::new()))
    }

    /// Creates a value.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn value<T: Serialize + DeserializeOwned + 'static>(&self, value: &T) -> Call<Value<T>> {
        self.typed(type_names::VALUE, args([Ok("i".into()), Object::from_serialize(value)]))
    }

    /// Creates a queue with room for so many items; 0 is no limit.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn queue<T: 'static>(&self, capacity: usize) -> Call<Queue<T>> {
        self.typed(type_names::QUEUE, Ok(vec![capacity.into()]))
    }

    /// Creates a lock.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn lock(&self) -> Call<Lock> {
        self.typed(type_names::LOCK, Ok(Vec::new()))
    }

    /// Creates an event, which is not set.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn event(&self) -> Call<Event> {
        self.typed(type_names::EVENT, Ok(Vec::new()))
    }

    /// Creates a namespace without names.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn namespace(&self) -> Call<Namespace> {
        self.typed(type_names::NAMESPACE, Ok(Vec::new()))
    }

    /// Creates an object of a type that was registered with the manager under this name. A tuple is the positional arguments,
    /// `()` none, and anything else the only one.
    ///
    /// # Errors
    ///
    /// [`Raised`](ManagerError::Raised) if there is no such type, or its constructor fails.
    pub fn create<A: Serialize + ?Sized>(
        &self,
        type_name: impl Into<Cow<'static, str>>,
        args: &A,
    ) -> Call<Proxy> {
        self.created(type_name.into(), Object::from_serialize(args).map(positional))
    }

    /// Gives an object a name, under which all programs find it. It lives as long as it has a name.
    ///
    /// # Errors
    ///
    /// [`Raised`](ManagerError::Raised) with a `ValueError` if the name is taken, or is that of a type, or if the object is that of
    /// another manager.
    pub fn publish<P: SharedObject>(&self, name: &str, object: &P) -> Call<()> {
        let (name, proxy) = (name.to_owned(), object.proxy().clone());
        let of_this = proxy.handle().as_native().filter(|(session, _)| Arc::ptr_eq(session, &self.session));
        let Some((session, id)) = of_this else {
            let error = raised(
                "publish",
                crate::object::Exception::new("ValueError", "the object is at another manager"),
            );
            return Call::other(async move { Err(error) });
        };
        let pending = session.call::<_, ()>(PUBLISH, (name, id));
        Call::other(async move {
            let answer = pending.await;
            // Until here the object must not go.
            drop(proxy);
            answer?.map_err(|exception| raised("publish", exception))
        })
    }

    /// Finds the object of this name.
    ///
    /// # Errors
    ///
    /// [`Raised`](ManagerError::Raised) with a `KeyError` if there is no such name, [`OtherType`](ManagerError::OtherType) if the
    /// object is of another type than `P`.
    pub fn get<P: SharedObject>(&self, name: &str) -> Call<P> {
        let found = self.session.obtain(FIND, name.to_owned(), name.to_owned().into());
        Call::other(async move { cast(Proxy::new(found.await?)) })
    }

    /// Takes a name away; whether there was such a name.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn withdraw(&self, name: &str) -> Call<bool> {
        self.function(WITHDRAW, name.to_owned())
    }

    /// How many objects there are that somebody refers to.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn number_of_objects(&self) -> Call<u64> {
        self.function(NUMBER_OF_OBJECTS, ())
    }

    /// The objects, for a person to read.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn debug_info(&self) -> Call<String> {
        self.function(DEBUG_INFO, ())
    }

    /// Ends the manager, and with it all of its objects.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn shutdown(&self) -> Call<()> {
        self.function(SHUTDOWN, ())
    }

    fn function<A, R>(&self, name: &'static str, args: A) -> Call<R>
    where
        A: Serialize + Send + 'static,
        R: DeserializeOwned + Send + 'static,
    {
        let pending = self.session.call::<A, R>(name, args);
        Call::other(async move { pending.await?.map_err(|exception| raised(name, exception)) })
    }

    fn typed<P: SharedObject>(
        &self,
        type_name: &'static str,
        args: Result<Vec<Object>, ObjectError>,
    ) -> Call<P> {
        let created = self.created(type_name.into(), args);
        Call::other(async move { cast(created.await?) })
    }

    fn created(&self, type_name: Cow<'static, str>, args: Result<Vec<Object>, ObjectError>) -> Call<Proxy> {
        match args {
            Ok(args) => {
                let created = self.session.obtain(CREATE, (type_name.clone(), args), type_name);
                Call::other(async move { created.await.map(Proxy::new) })
            }
            Err(source) => {
                let (object, method) = (type_name.into_owned(), "the constructor".to_owned());
                Call::other(async move { Err(ManagerError::Encode { object, method, source }) })
            }
        }
    }
}

fn raised(method: &str, exception: crate::object::Exception) -> ManagerError {
    ManagerError::Raised {
        object: "manager".to_owned(),
        method: method.trim_start_matches("manager.").to_owned(),
        exception: Box::new(exception),
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager").field("address", &self.address()).field("pid", &self.pid()).finish()
    }
}
