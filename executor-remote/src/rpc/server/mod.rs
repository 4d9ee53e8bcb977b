//! [`RpcServer`].

use std::collections::HashMap;
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use executor_core::Executor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::dialect::Dialect;
use super::handler::{AsyncFunction, Function, Handler, Plain, Registered, on_executor};
use super::transport::{Transport, TransportError};
use control::Control;
use registry::{Config, Registry};
pub use serving::{Listen, ServerHandle, Serving};

mod calls;
mod control;
mod in_flight;
mod peer;
mod registry;
mod serving;
#[cfg(test)]
mod tests;

/// Functions that other programs call by name.
///
/// Handlers are registered, then the server serves the peers of a listener, or one peer on any [`Transport`]. What is registered
/// runs in this process, so it may be a closure that captures; it takes one argument, of which a tuple stands for several. Where
/// it runs is told by its kind:
///
/// | registered by | for functions that | run |
/// | --- | --- | --- |
/// | [`register`](Self::register), [`register_fallible`](Self::register_fallible) | compute | where the call was read, once they have been seen to be quick (below 50 µs); else on a thread that may block |
/// | [`register_blocking`](Self::register_blocking), [`register_blocking_fallible`](Self::register_blocking_fallible) | wait for other calls, or lock for long | on a thread that may block, always |
/// | [`register_async`](Self::register_async), [`register_async_fallible`](Self::register_async_fallible) | wait without a thread | on this crate's own tokio runtime |
/// | [`register_on`](Self::register_on), [`register_all`](Self::register_all) | compute for long | on an executor |
///
/// A handler that fails, panics, or does not take the arguments it is given, costs the one call. A name that is registered again
/// has the later handler. Names are at most 255 bytes.
///
/// A peer may speak any [`Dialect`]; its first message tells which, unless the server is [told](Self::dialect).
///
/// # Examples
///
/// ```
/// use executor_remote::connection::{Client, Listener};
/// use executor_remote::rpc::RpcServer;
///
/// # futures::executor::block_on(async {
/// let bonus = 1;
/// let server = RpcServer::new()
///     .register("add", move |(x, y): (i64, i64)| x + y + bonus)
///     .register_fallible("parse", |text: String| text.parse::<i64>())
///     .register_async("double", |x: f64| async move { 2.0 * x });
///
/// let listener = Listener::bind("127.0.0.1:0", b"secret").await?;
/// let address = listener.local_addr().to_string();
/// let serving = server.serve(listener);
///
/// // Any program may call, in any dialect; here in JSON.
/// let mut peer = Client::connect(&address, b"secret").await?;
/// peer.send_bytes(br#"{"jsonrpc": "2.0", "method": "add", "params": [2, 3], "id": 1}"#).await?;
/// assert_eq!(peer.recv_bytes(1000).await?, br#"{"jsonrpc":"2.0","result":6,"id":1}"#);
///
/// serving.handle().stop();
/// serving.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
#[must_use = "a server serves when it is given a listener"]
pub struct RpcServer {
    handlers: HashMap<String, Arc<dyn Handler>>,
    config: Config,
    control: Arc<Control>,
}

impl RpcServer {
    /// A server without functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a function.
    pub fn register<A, R, F>(self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.with(name, Function::new(move |args| Plain(function(args)), false))
    }

    /// Registers a function that may fail. Its error reaches the caller with the name of its type and its message; an
    /// [`Exception`](crate::object::Exception) as itself, and an [`io::Error`](std::io::Error) as an `OSError`.
    pub fn register_fallible<A, R, E, F>(self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(A) -> Result<R, E> + Send + Sync + 'static,
        A: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        E: Display + 'static,
    {
        self.with(name, Function::new(function, false))
    }

    /// Registers a function that blocks: each call has a thread to itself, of which there are at most 512 in the process; further
    /// calls wait for one.
    pub fn register_blocking<A, R, F>(self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(A) -> R + Send + Sync + 'static,
        A: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
    {
        self.with(name, Function::new(move |args| Plain(function(args)), true))
    }

    /// Registers a function that blocks and may fail; see [`register_blocking`](Self::register_blocking) and
    /// [`register_fallible`](Self::register_fallible).
    pub fn register_blocking_fallible<A, R, E, F>(self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(A) -> Result<R, E> + Send + Sync + 'static,
        A: DeserializeOwned + Send + 'static,
        R: Serialize + 'static,
        E: Display + 'static,
    {
        self.with(name, Function::new(function, true))
    }

    /// Registers a function that returns a future. The future is dropped when its caller cancels the call, its deadline passes, or
    /// the caller's connection ends.
    ///
    /// It is polled on this crate's own tokio runtime, which few threads share: it must not block.
    pub fn register_async<A, R, Fut, F>(self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(A) -> Fut + Send + Sync + 'static,
        A: DeserializeOwned + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: Serialize + 'static,
    {
        let function = move |args| futures::FutureExt::map(function(args), Plain);
        self.with(name, AsyncFunction::new(function))
    }

    /// Registers a function that returns a future that may fail; see [`register_async`](Self::register_async) and
    /// [`register_fallible`](Self::register_fallible).
    pub fn register_async_fallible<A, R, E, Fut, F>(self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(A) -> Fut + Send + Sync + 'static,
        A: DeserializeOwned + 'static,
        Fut: Future<Output = Result<R, E>> + Send + 'static,
        R: Serialize + 'static,
        E: Display + 'static,
    {
        self.with(name, AsyncFunction::new(function))
    }

    /// Registers a function whose calls are tasks of an executor. A call that is cancelled cancels its task.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use executor_core::Serial;
    /// use executor_remote::rpc::RpcServer;
    ///
    /// let server = RpcServer::new().register_on(Arc::new(Serial::new()), "square", |x: i64| x * x);
    /// # let _ = server;
    /// ```
    pub fn register_on<A, R>(
        self,
        executor: Arc<dyn Executor>,
        name: impl Into<String>,
        function: fn(A) -> R,
    ) -> Self
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        self.with(name, on_executor(executor, function))
    }

    /// Registers all functions that [`register!`](executor_core::register) has made known in this program, under their names. Their
    /// calls are tasks of an executor. A call that is cancelled cancels its task.
    ///
    /// # Panics
    ///
    /// If two functions are registered under one name.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use executor_core::{Serial, register};
    /// use executor_remote::rpc::RpcServer;
    ///
    /// register! { "cube" => |x: i64| x * x * x }
    ///
    /// let server = RpcServer::new().register_all(Arc::new(Serial::new()));
    /// assert!(format!("{server:?}").contains("cube"));
    /// ```
    pub fn register_all(self, executor: Arc<dyn Executor>) -> Self {
        let mut server = self;
        for name in executor_core::registered_names() {
            server = server.with(name, Registered::new(name, executor.clone()));
        }
        server
    }

    /// Fixes the dialect of all peers. Default: each peer's first message tells.
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.config.dialect = Some(dialect);
        self
    }

    /// How many calls of one peer may run or wait for a thread at a time; the peer is not read from while there are so many. Not
    /// counted are those that are answered at once. At least 1; default 1024.
    ///
    /// Too low lets a peer's slow calls stop its quick ones, and its cancels, which are not read either; too high is the memory for as
    /// many arguments and values.
    pub fn calls_in_flight(mut self, most: usize) -> Self {
        self.config.calls_in_flight = most.max(1);
        self
    }

    /// How many bytes of answers may wait to be taken by one peer, in bytes; it is not read from while there are more. Default:
    /// 1 MiB. A single answer may be longer.
    pub fn unsent_bytes(mut self, most: usize) -> Self {
        self.config.unsent_bytes = most.max(1);
        self
    }

    /// How many peers are served at a time; others are accepted when some have left. At least 1; default 4096.
    pub fn peers(mut self, most: usize) -> Self {
        self.config.peers = most.max(1);
        self
    }

    /// Stops the server from elsewhere, once it serves.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.control.clone())
    }

    /// Begins to serve the peers of a listener. Nobody needs to wait for what it returns, but it has to be kept: dropping it
    /// ends the server.
    pub fn serve(self, listener: impl Listen) -> Serving {
        let (registry, control) = self.into_parts();
        serving::serve(registry, control, listener)
    }

    /// Begins to serve the one peer of a transport, until it leaves; otherwise as [`serve`](Self::serve).
    pub fn serve_transport(self, transport: impl Transport) -> Serving {
        let (registry, control) = self.into_parts();
        serving::serve_one(registry, control, Box::new(transport))
    }

    fn into_parts(self) -> (Arc<Registry>, Arc<Control>) {
        (Arc::new(Registry { handlers: self.handlers, config: self.config }), self.control)
    }

    fn with(mut self, name: impl Into<String>, handler: impl Handler) -> Self {
        self.handlers.insert(name.into(), Arc::new(handler));
        self
    }
}

impl std::fmt::Debug for RpcServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut names: Vec<_> = self.handlers.keys().collect();
        names.sort_unstable();
        f.debug_struct("RpcServer")
            .field("names", &names)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Why a server has ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener gives no more peers. Those that were there have been served.
    #[error("no more peers can be accepted")]
    Accept(#[source] TransportError),
    /// The one peer of a transport is lost.
    #[error("the connection with {peer} is broken")]
    #[non_exhaustive]
    Peer {
        /// Who it was.
        peer: String,
        /// What happened.
        #[source]
        source: TransportError,
    },
    /// The operating system gives no threads to serve with.
    #[error("there are no threads for a server")]
    Runtime(#[source] std::io::Error),
}
