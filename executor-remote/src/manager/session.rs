//! The one connection that this process has to a manager, and the objects that it refers to there.
//!
//! 1. *One session for each process and manager.* Sessions are kept by address and key; whoever asks for one that there is
//!    gets that one. All calls of the process go over its connection, in the order in which they were made.
//! 2. *Nothing here waits.* A session that is being connected takes calls already; they are sent in their order once it is.
//!    So a proxy can be deserialised anywhere, also where nothing may block.
//! 3. *References.* However many proxies of an object a process has, the manager counts one reference: that of the
//!    [`Handle`] which they share. It is taken when the first proxy comes (`INCREF`, or with the answer of `CREATE` and
//!    `FIND`), and given up with the last (`DECREF`), in the order of these events, so that the count is never too low.
//! 4. *Journeys.* Who serialises a proxy first asks for a [lease](LEASE_TIME) on the same connection, so that the object outlives
//!    the journey even if the sender's last proxy goes meanwhile, be it with its process. The encoded argument of a task
//!    also keeps the handle itself, however long the task waits in a queue
//!    ([`attachment::keep`](executor_core::attachment::keep)).
//! 5. *The end.* A session that has lost its connection is over, as its references are. Calls on its proxies fail from then on;
//!    there is no reconnecting behind their back, which could only find that the objects are gone. Who connects or
//!    deserialises a proxy after that gets a session of its own.
//! 6. *Lingering.* A session that nothing uses any more keeps its connection for [`LINGER`], because workers get proxies
//!    again and again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::call::Call;
use super::error::ManagerError;
use super::handle::Handle;
use super::pending::{Answer, Pending};
use super::protocol::{CALL, Created, DECREF, INCREF, LEASE};
use crate::connection::{AuthKey, Client};
use crate::io_runtime;
use crate::object::{Codec, Object};
use crate::rpc::{ClientConfig, RpcClient};

/// For how long an object outlives its last proxy when one is on its way. Long enough for any queue of bytes on the
/// way; short enough that what never arrives is not kept for long.
pub(super) const LEASE_TIME: Duration = Duration::from_secs(60);

/// For how long an unused session keeps its connection.
const LINGER: Duration = Duration::from_secs(10);

/// All sessions of this process.
static SESSIONS: Mutex<Option<HashMap<Peer, Weak<Session>>>> = Mutex::new(None);

/// Which manager, and as whom.
#[derive(PartialEq, Eq, Hash, Clone)]
struct Peer {
    address: Arc<str>,
    /// The key's hash, so that the table holds no secret.
    key: [u8; 32],
}

/// The connection of this process to a manager. See the [module](self).
pub(crate) struct Session {
    peer: Peer,
    key: AuthKey,
    /// What came of connecting.
    client: OnceLock<Result<RpcClient, ManagerError>>,
    /// What waits for that. `None` once nothing has to wait.
    deferred: Mutex<Option<Vec<Deferred>>>,
    handles: Mutex<HashMap<u64, Weak<Handle>>>,
    lingers: AtomicBool,
}

/// Goes on with a call when the session is connected.
type Deferred = Box<dyn FnOnce(Result<&RpcClient, &ManagerError>) + Send>;

impl Session {
    /// The session with this manager; a new one begins to connect.
    pub(super) fn of(address: &str, key: &AuthKey) -> Arc<Self> {
        let peer = Peer {
            address: address.into(),
            key: *blake3::hash(key.as_bytes().unwrap_or_default()).as_bytes(),
        };
        // One that is over is dropped when the lock is released.
        let known;
        let mut sessions = lock(&SESSIONS);
        let sessions = sessions.get_or_insert_default();
        known = sessions.get(&peer).and_then(Weak::upgrade);
        if let Some(session) = known.as_ref().filter(|session| !session.is_over()) {
            return Arc::clone(session);
        }
        sessions.retain(|_, session| session.strong_count() > 0);
        let session = Arc::new(Self {
            peer: peer.clone(),
            key: key.clone(),
            client: OnceLock::new(),
            deferred: Mutex::new(Some(Vec::new())),
            handles: Mutex::default(),
            lingers: AtomicBool::new(false),
        });
        sessions.insert(peer, Arc::downgrade(&session));
        let connecting = Arc::clone(&session);
        io_runtime::handle().spawn(async move {
            let connected = connecting.connect().await;
            connecting.settle(connected);
        });
        session
    }

    async fn connect(&self) -> Result<RpcClient, ManagerError> {
        let connection = Client::connect(self.address(), self.key.clone()).await.map_err(|source| {
            ManagerError::Connect { address: self.address().to_string(), source: Arc::new(source) }
        })?;
        // Both sides are of this crate, and have the same types.
        let config = ClientConfig::default().with_codec(Codec::Bincode);
        RpcClient::with_config(connection, config)
            .map_err(|error| ManagerError::from_rpc(self.address(), error))
    }

    /// The manager's address.
    pub(super) fn address(&self) -> &Arc<str> {
        &self.peer.address
    }

    /// What the manager is told to prove who we are.
    pub(super) fn key(&self) -> &AuthKey {
        &self.key
    }

    /// Whether the connection has gone, or never came to be.
    fn is_over(&self) -> bool {
        match self.client.get() {
            None => false,
            Some(Ok(client)) => client.is_closed(),
            Some(Err(_)) => true,
        }
    }

    /// The end of connecting: what waits is sent, and then whatever comes later can be.
    fn settle(&self, connected: Result<RpcClient, ManagerError>) {
        loop {
            let mut deferred = lock(&self.deferred);
            match deferred.as_mut() {
                Some(waiting) if !waiting.is_empty() => {
                    let waiting = std::mem::take(waiting);
                    drop(deferred);
                    waiting.into_iter().for_each(|go_on| go_on(connected.as_ref()));
                }
                _ => {
                    let settled = self.client.set(connected);
                    debug_assert!(settled.is_ok(), "a session is connected once");
                    *deferred = None;
                    return;
                }
            }
        }
    }

    /// Waits until it is connected.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Connect`].
    pub(super) async fn connected(&self) -> Result<(), ManagerError> {
        let (sender, receiver) = oneshot::channel();
        self.with_client(Box::new(move |client| {
            let _ = sender.send(client.map(drop).map_err(Clone::clone));
        }));
        // The closure is always called: at the latest when connecting has failed.
        receiver.await.unwrap_or(Ok(()))
    }

    fn with_client(&self, go_on: Deferred) {
        if self.client.get().is_none() {
            let mut deferred = lock(&self.deferred);
            if let Some(waiting) = deferred.as_mut() {
                return waiting.push(go_on);
            }
        }
        if let Some(client) = self.client.get() {
            go_on(client.as_ref());
        }
    }

    /// Sends a call, or leaves it to be sent.
    pub(super) fn call<A, R>(&self, function: &'static str, args: A) -> Pending<R>
    where
        A: Serialize + Send + 'static,
        R: DeserializeOwned + Send + 'static,
    {
        let address = Arc::clone(self.address());
        match self.client.get() {
            Some(Ok(client)) => Pending::sent(address, client.call(function, args)),
            Some(Err(error)) => Pending::failed(address, error.clone()),
            None => {
                let (sender, receiver) = oneshot::channel();
                self.with_client(Box::new(move |client| {
                    let call = client.map(|client| client.call::<A, Answer<R>>(function, args));
                    // Nobody waits any more: the call is withdrawn.
                    let _ = sender.send(call.map_err(Clone::clone));
                }));
                Pending::deferred(address, receiver)
            }
        }
    }

    /// Calls a method of an object.
    pub(super) fn method(&self, id: u64, method: Cow<'static, str>, args: Vec<Object>) -> Pending<Object> {
        self.call(CALL, (id, method, args))
    }

    /// Sends what nobody waits for the answer of.
    pub(super) fn tell<A: Serialize + Send + 'static>(&self, function: &'static str, args: A) {
        if !matches!(self.client.get(), Some(Err(_))) {
            self.call::<A, ()>(function, args).detach();
        }
    }

    // ---- objects ---------------------------------------------------------------------------------------------------

    /// Creates an object, or finds one: `function` is `CREATE` or `FIND`, `what` the type or name.
    pub(super) fn obtain<A: Serialize + Send + 'static>(
        self: &Arc<Self>,
        function: &'static str,
        args: A,
        what: Cow<'static, str>,
    ) -> Call<Arc<Handle>> {
        let pending = self.call::<_, Created>(function, args);
        let session = Arc::clone(self);
        // Who has asked may have gone when the answer comes, which counts a reference.
        Call::spawned(async move {
            let answer = pending.await?;
            let object = answer.map_err(|exception| ManagerError::Raised {
                object: what.into_owned(),
                method: function.trim_start_matches("manager.").to_owned(),
                exception: Box::new(exception),
            })?;
            Ok(session.adopt(object))
        })
    }

    /// The handle of an object for which the manager has just counted a reference of ours.
    fn adopt(self: &Arc<Self>, object: Created) -> Arc<Handle> {
        self.handle(object.id, &object.type_name, None, Some(DECREF))
    }

    /// The handle of an object whose proxy has arrived.
    pub(super) fn receive(self: &Arc<Self>, id: u64, type_name: &str) -> Arc<Handle> {
        self.handle(id, type_name, Some(INCREF), None)
    }

    /// The handle; what the manager is told depends on whether it is new. That is told under the lock, because the count could else
    /// be too low between the steps of two threads (rule 3).
    fn handle(
        self: &Arc<Self>,
        id: u64,
        type_name: &str,
        if_new: Option<&'static str>,
        if_known: Option<&'static str>,
    ) -> Arc<Handle> {
        let mut handles = lock(&self.handles);
        let known = handles.get(&id).and_then(Weak::upgrade);
        if let Some(function) = if known.is_some() { if_known } else { if_new } {
            self.tell(function, id);
        }
        known.unwrap_or_else(|| {
            let handle = Arc::new(Handle::native(Arc::clone(self), id, type_name));
            handles.insert(id, Arc::downgrade(&handle));
            handle
        })
    }

    /// The last proxy of an object has gone.
    pub(super) fn give_up(self: &Arc<Self>, id: u64, handle: &Handle) {
        let mut handles = lock(&self.handles);
        // A successor may have come between the end of the last proxy and here.
        if handles.get(&id).is_some_and(|it| std::ptr::eq(it.as_ptr(), handle)) {
            handles.remove(&id);
        }
        let is_last = handles.is_empty();
        self.tell(DECREF, id);
        drop(handles);
        if is_last {
            self.linger();
        }
    }

    /// Asks for a lease of an object whose proxy is about to leave.
    pub(super) fn lease(&self, id: u64) {
        self.tell(LEASE, (id, LEASE_TIME.as_millis() as u64));
        // The proxy may arrive when this process has ended.
        self.flush();
    }

    /// Hands what was sent to the operating system, which delivers it even if this process ends.
    pub(super) fn flush(&self) {
        if let Some(Ok(client)) = self.client.get() {
            client.flush();
        }
    }

    fn linger(self: &Arc<Self>) {
        if self.is_over() || self.lingers.swap(true, Ordering::Relaxed) {
            return;
        }
        let session = Arc::clone(self);
        io_runtime::handle().spawn(async move {
            tokio::time::sleep(LINGER).await;
            session.lingers.store(false, Ordering::Relaxed);
        });
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("address", &self.peer.address).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is replaced in single steps.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
