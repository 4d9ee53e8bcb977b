//! Objects of a manager that a Python program runs: its `BaseManager` or `SyncManager`.
//!
//! # Protocol
//!
//! CPython's, of `multiprocessing.managers`. Messages are pickles.
//!
//! ```text
//! request   (ident, method, args, kwargs)     ident None: the server itself
//! answer    (kind, value)                     #RETURN, #ERROR (an exception), #TRACEBACK, #UNSERIALIZABLE (a text), #PROXY
//! ```
//!
//! 1. A call on the server takes a connection of its own, which the server closes after the answer: `dummy`, `create`, `decref`.
//! 2. A connection on which `accept_connection` was called then carries calls on objects, one after the other; the server has a thread for it. So
//!    a call that waits there, for an item or a lock, keeps others from that connection: each call takes an idle one, or
//!    makes another.
//! 3. The server counts references, and knows nothing of who holds them: those of a process that is killed stay. What was
//!    created is counted once for us, and given up with the last proxy here.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::call::{Call, Outcome};
use super::error::ManagerError;
use super::handle::Handle;
use super::pending::Pending;
use super::protocol::type_names;
use super::proxy::{Proxy, SharedObject, args, positional};
use super::{Dict, Event, List, Lock, Namespace, Queue, Value};
use crate::connection::{AuthKey, Client, Connection, ConnectionError};
use crate::io_runtime;
use crate::object::pickle::{self, Limits, PickleError};
use crate::object::{Exception, Object};

/// The most idle connections that are kept. More are made when more calls are under way at a time.
const MAX_IDLE: usize = 8;

/// The longest answer, in bytes; that of connections.
const MAX_ANSWER: usize = 256 << 20;

/// A manager that a Python program runs, as `BaseManager(address, authkey).connect()` has it in Python.
///
/// Its objects are used through the same proxies as those of a Rust manager, and cost what they cost in Python: a connection
/// for each that is made, and a round trip for each call. Their proxies do not travel to other processes.
///
/// # Examples
///
/// ```no_run
/// use executor_remote::manager::{Dict, PythonManager};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In Python: SyncManager(("127.0.0.1", 50000), authkey=b"secret").get_server().serve_forever()
/// let manager = PythonManager::connect("127.0.0.1:50000", b"secret").wait()?;
/// let ages: Dict<String, u32> = manager.dict().wait()?;
/// ages.insert("Ada", &36).wait()?;
/// // class M(BaseManager): pass; M.register("Counter", Counter)
/// let counter = manager.create("Counter", &(10,)).wait()?;
/// let count: i64 = counter.call("add", &(5,)).wait()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PythonManager {
    server: Arc<Server>,
}

impl PythonManager {
    /// Connects to the manager at `addr`, and sees whether it answers.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Connect`], [`ManagerError::Protocol`].
    pub fn connect(addr: impl std::fmt::Display, authkey: impl Into<AuthKey>) -> Call<Self> {
        let server = Arc::new(Server {
            address: addr.to_string().into(),
            key: authkey.into(),
            idle: Mutex::default(),
        });
        Call::spawned(async move {
            server.function("dummy", Vec::new()).await?.map_err(|raised| server.raised("dummy", raised))?;
            Ok(Self { server })
        })
    }

    /// The manager's address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.server.address
    }

    /// Creates an object of a type that was registered there under this name, or calls what was registered. A tuple is the
    /// positional arguments, `()` none, and anything else the only one.
    ///
    /// # Errors
    ///
    /// [`Raised`](ManagerError::Raised) with what the type raised, or a `multiprocessing.managers.RemoteError` with the
    /// traceback if the server failed, as it does for a name that it does not know.
    pub fn create<A: Serialize + ?Sized>(&self, type_name: &str, args: &A) -> Call<Proxy> {
        let args = Object::from_serialize(args).map(positional);
        self.created(type_name, args, |proxy| proxy)
    }

    /// Creates a `dict`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn dict<K: 'static, V: 'static>(&self) -> Call<Dict<K, V>> {
        self.typed(type_names::DICT, Vec::new())
    }

    /// Creates a `list`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn list<T: 'static>(&self) -> Call<List<T>> {
        self.typed(type_names::LIST, Vec::new())
    }

    /// Creates a `Queue` with room for so many items; 0 is no limit.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn queue<T: 'static>(&self, capacity: usize) -> Call<Queue<T>> {
        self.typed(type_names::QUEUE, vec![capacity.into()])
    }

    /// Creates a `Value`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn value<T: Serialize + DeserializeOwned + 'static>(&self, value: &T) -> Call<Value<T>> {
        // The type code is for Python's `ctypes`; a manager's `Value` does not look at it.
        let args = args([Ok("i".into()), Object::from_serialize(value)]);
        self.created(type_names::VALUE, args, Proxy::assume)
    }

    /// Creates an `Event`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn event(&self) -> Call<Event> {
        self.typed(type_names::EVENT, Vec::new())
    }

    /// Creates a `Lock`. A process that ends while it holds the lock leaves it held.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn lock(&self) -> Call<Lock> {
        self.typed(type_names::LOCK, Vec::new())
    }

    /// Creates a `Namespace`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub fn namespace(&self) -> Call<Namespace> {
        self.typed(type_names::NAMESPACE, Vec::new())
    }

    /// How many objects the manager has.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn number_of_objects(&self) -> Call<usize> {
        let server = Arc::clone(&self.server);
        Call::spawned(async move {
            let name = "number_of_objects";
            let number =
                server.function(name, Vec::new()).await?.map_err(|raised| server.raised(name, raised))?;
            number.deserialize().map_err(|_| server.odd(format!("{name} gave what is no number")))
        })
    }

    fn typed<P: SharedObject>(&self, type_name: &'static str, args: Vec<Object>) -> Call<P> {
        self.created(type_name, Ok(args), Proxy::assume)
    }

    fn created<P: Send + 'static>(
        &self,
        type_name: &str,
        args: Result<Vec<Object>, crate::object::ObjectError>,
        make: fn(Proxy) -> P,
    ) -> Call<P> {
        let (server, type_name) = (Arc::clone(&self.server), type_name.to_owned());
        Call::spawned(async move {
            let args = args.map_err(|source| ManagerError::Encode {
                object: type_name.clone(),
                method: "the constructor".to_owned(),
                source,
            })?;
            server.create(&type_name, args).await.map(|handle| make(Proxy::new(handle)))
        })
    }
}

/// Where a Python manager is, and the connections to it.
pub(crate) struct Server {
    address: Arc<str>,
    key: AuthKey,
    /// On which `accept_connection` has been called (rule 2).
    idle: Mutex<Vec<Connection>>,
}

impl Server {
    pub(super) fn address(&self) -> &Arc<str> {
        &self.address
    }

    /// Calls a method of an object.
    pub(super) fn method(self: &Arc<Self>, id: &str, method: &str, args: Vec<Object>) -> Pending<Object> {
        let (sender, receiver) = oneshot::channel();
        let (server, id, method) = (Arc::clone(self), Object::from(id), method.to_owned());
        io_runtime::handle().spawn(async move {
            // Who has asked may have gone meanwhile.
            let _ = sender.send(server.call(id, &method, args).await);
        });
        Pending::brought(Arc::clone(&self.address), receiver)
    }

    /// The last proxy of an object has gone.
    pub(super) fn give_up(self: &Arc<Self>, id: &str) {
        let (server, id) = (Arc::clone(self), Object::from(id));
        io_runtime::handle().spawn(async move {
            // If the manager is gone, so is the object.
            let _ = server.function("decref", vec![id]).await;
        });
    }

    async fn create(
        self: &Arc<Self>,
        type_name: &str,
        mut args: Vec<Object>,
    ) -> Result<Arc<Handle>, ManagerError> {
        args.insert(0, type_name.into());
        let created = self.function("create", args).await?.map_err(|exception| ManagerError::Raised {
            object: type_name.to_owned(),
            method: "the constructor".to_owned(),
            exception: Box::new(exception),
        })?;
        let (id, _exposed): (String, Object) =
            created.deserialize().map_err(|_| self.odd("create gave no id".to_owned()))?;
        Ok(Arc::new(Handle::python(Arc::clone(self), &id, type_name)))
    }

    /// Calls a method of an object on a connection that no other call uses (rule 2).
    async fn call(
        self: &Arc<Self>,
        id: Object,
        method: &str,
        args: Vec<Object>,
    ) -> Result<Outcome, ManagerError> {
        let idle = self.idle().pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.channel().await?,
        };
        let answer = self.ask(&mut connection, id, method, args).await?;
        {
            let mut idle = self.idle();
            if idle.len() < MAX_IDLE {
                idle.push(connection);
            }
        }
        self.outcome(method, answer).await
    }

    /// Calls a function of the server (rule 1).
    async fn function(self: &Arc<Self>, name: &str, args: Vec<Object>) -> Result<Outcome, ManagerError> {
        let mut connection = self.connect().await?;
        let answer = self.ask(&mut connection, Object::None, name, args).await?;
        Ok(self.outcome_of_function(name, answer))
    }

    /// A connection for calls on objects.
    async fn channel(self: &Arc<Self>) -> Result<Connection, ManagerError> {
        let mut connection = self.connect().await?;
        let name = Object::from(format!("executor-{}", std::process::id()));
        let answer = self.ask(&mut connection, Object::None, "accept_connection", vec![name]).await?;
        match self.outcome_of_function("accept_connection", answer) {
            Ok(_) => Ok(connection),
            Err(exception) => Err(self.raised("accept_connection", exception)),
        }
    }

    async fn connect(&self) -> Result<Connection, ManagerError> {
        Client::connect(&self.address, self.key.clone()).await.map_err(|source| ManagerError::Connect {
            address: self.address.to_string(),
            source: Arc::new(source),
        })
    }

    /// A request and its answer.
    async fn ask(
        &self,
        connection: &mut Connection,
        id: Object,
        method: &str,
        args: Vec<Object>,
    ) -> Result<(String, Object), ManagerError> {
        let request = Object::Tuple(vec![id, method.into(), Object::Tuple(args), Object::Dict(Vec::new())]);
        connection.send_bytes(&pickle::write(&request)).await.map_err(|error| self.disconnected(error))?;
        let answer = connection.recv_bytes(MAX_ANSWER).await.map_err(|error| self.disconnected(error))?;
        let answer = pickle::read(&answer, &Limits::default()).map_err(|error| self.unreadable(error))?;
        answer.deserialize().map_err(|_| self.odd(format!("{method} was not answered by a kind and a value")))
    }

    fn outcome_of_function(&self, method: &str, (kind, value): (String, Object)) -> Outcome {
        match (kind.as_str(), value) {
            ("#RETURN", value) => Ok(value),
            ("#ERROR", Object::Exception(exception)) => Err(*exception),
            ("#TRACEBACK" | "#UNSERIALIZABLE", text) => {
                Err(Exception::with_args("multiprocessing.managers.RemoteError", vec![text]))
            }
            (kind, _) => Err(Exception::new(
                "RuntimeError",
                format!("{method} was answered by a {kind}, which has no form in Rust"),
            )),
        }
    }

    async fn outcome(
        self: &Arc<Self>,
        method: &str,
        answer: (String, Object),
    ) -> Result<Outcome, ManagerError> {
        if let ("#PROXY", Object::Tuple(of)) = (answer.0.as_str(), &answer.1)
            && let Some(id) = of.get(1).and_then(token)
        {
            // The server has counted a reference for us.
            let _ = self.function("decref", vec![id]).await?;
        }
        Ok(self.outcome_of_function(method, answer))
    }

    pub(super) async fn methods(
        self: &Arc<Self>,
        id: &str,
        type_name: &str,
    ) -> Result<Outcome, ManagerError> {
        let token = crate::object::Instance {
            class: "multiprocessing.managers.Token".to_owned(),
            args: Vec::new(),
            state: Object::Tuple(vec![type_name.into(), Object::None, id.into()]),
        };
        self.function("get_methods", vec![token.into()]).await
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn raised(&self, method: &str, exception: Exception) -> ManagerError {
        ManagerError::Raised {
            object: "manager".to_owned(),
            method: method.to_owned(),
            exception: Box::new(exception),
        }
    }

    fn disconnected(&self, error: ConnectionError) -> ManagerError {
        let address = self.address.to_string();
        match error.is_disconnected() {
            true => ManagerError::Disconnected { address, source: Arc::new(error) },
            false => ManagerError::Protocol { address, source: Arc::new(error) },
        }
    }

    fn unreadable(&self, error: PickleError) -> ManagerError {
        ManagerError::Protocol { address: self.address.to_string(), source: Arc::new(error) }
    }

    fn odd(&self, what: String) -> ManagerError {
        ManagerError::Protocol { address: self.address.to_string(), source: Arc::new(Odd(what)) }
    }
}

/// The id in a Python token: its state is `(typeid, address, id)`.
fn token(value: &Object) -> Option<Object> {
    let Object::Instance(instance) = value else { return None };
    match &instance.state {
        Object::Tuple(state) => state.get(2).cloned(),
        _ => None,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Odd(String);

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}
