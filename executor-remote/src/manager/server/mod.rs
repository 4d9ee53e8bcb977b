//! [`ManagerServer`]: the objects behind a listener.
//!
//! One task accepts; each connection has a task of its own, and its first message says which protocol it speaks: a hello
//! of the native one (`native`), or a pickle (`python`). All of them run on the io runtime, so that a server goes on
//! whatever its program does.
//!
//! The end: [`ServerHandle::stop`], or a client that asks for it. Then no more connections are accepted, those that there
//! are end, and the objects are dropped with the last of them.

mod native;
mod processes;
mod python;
mod session;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::{Either, select};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::native::{End, Native};
use self::processes::Processes;
use self::python::Python;
use super::registry::Registry;
use super::store::Store;
use crate::connection::{Connection, Listener};
use crate::io_runtime;
use crate::rpc::protocol::Hello;
use crate::rpc::{Transport, TransportError};

/// How often it is looked for processes that have ended, and for objects that nobody refers to and whose lease is over.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// A sweep takes at most this part of the time.
const SWEEP_SHARE: u32 = 20;

/// How a pickle of protocol 2 or later begins.
const PICKLE: u8 = 0x80;

/// A server of shared objects, for Rust programs and for Python's `multiprocessing.managers`.
///
/// It has Python's types `dict`, `list`, `Queue`, `JoinableQueue`, `Lock`, `RLock`, `Semaphore`, `BoundedSemaphore`, `Event`,
/// `Value` and `Namespace`, and those of its [`Registry`].
///
/// # Examples
///
/// ```
/// use executor_remote::connection::Listener;
/// use executor_remote::manager::ManagerServer;
///
/// futures::executor::block_on(async {
///     let listener = Listener::bind("127.0.0.1:0", b"secret").await?;
///     println!("listening on {}", listener.local_addr());
///     let server = ManagerServer::new();
///     let handle = server.handle();
///     let serving = server.serve(listener);
///     // From Python: BaseManager(address=("127.0.0.1", port), authkey=b"secret").connect()
///     handle.stop();
///     serving.await;
///     Ok::<_, executor_remote::connection::ConnectionError>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct ManagerServer {
    registry: Registry,
    stop: watch::Sender<bool>,
}

impl Default for ManagerServer {
    fn default() -> Self {
        Self::new()
    }
}

impl ManagerServer {
    /// A server of the types that every manager has.
    pub fn new() -> Self {
        Self { registry: Registry::new(), stop: watch::Sender::new(false) }
    }

    /// Adds types of the program.
    #[must_use]
    pub fn with_registry(mut self, registry: impl Into<Registry>) -> Self {
        self.registry = registry.into();
        self
    }

    /// What stops it.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { stop: self.stop.clone() }
    }

    /// Serves at once, in the background, until it is stopped by a handle or by a client.
    pub fn serve(self, listener: Listener) -> Serving {
        let store = Arc::new(Store::new(self.registry, first_id()));
        let serving = accept(listener, store, self.stop.clone());
        Serving { task: io_runtime::handle().spawn(serving), stop: self.stop }
    }
}

/// Stops a [`ManagerServer`].
#[derive(Debug, Clone)]
pub struct ServerHandle {
    stop: watch::Sender<bool>,
}

impl ServerHandle {
    /// Accepts no more connections and ends those that there are. What is asked and was not answered gets no answer.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

/// A [`ManagerServer`] at work: a future that is ready when it has stopped. Stops it when it is dropped.
///
/// # Cancel safety
///
/// It can be awaited by `&mut` and the await given up; the server goes on.
#[derive(Debug)]
#[must_use = "the server stops when this is dropped"]
pub struct Serving {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Serving {
    /// Waits until the server has stopped.
    ///
    /// # Blocking
    ///
    /// Blocks this thread.
    pub fn wait(self) {
        io_runtime::block_on(self);
    }
}

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // The task is neither aborted nor does it panic; and if it did, the server would have stopped.
        Pin::new(&mut self.task).poll(cx).map(|_| ())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Somewhere, so that the ids of two managers are not the same.
fn first_id() -> u64 {
    let mut bytes = [0; 8];
    // If there is no randomness, ids begin at 0: they are no secret.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes[..6]);
    u64::from_le_bytes(bytes)
}

/// Accepts until it is stopped, then waits for the sessions to end.
async fn accept(listener: Listener, store: Arc<Store>, stop: watch::Sender<bool>) {
    let processes = Arc::new(Processes::new(store));
    let mut sessions = JoinSet::new();
    let sweeping = tokio::spawn(sweep(Arc::clone(&processes), stop.subscribe()));
    let mut stopped = stop.subscribe();
    loop {
        let accepted = {
            let stopped = pin!(stopped.wait_for(|is_stopped| *is_stopped));
            match select(pin!(listener.accept()), stopped).await {
                Either::Left((accepted, _)) => accepted,
                Either::Right(_) => break,
            }
        };
        match accepted {
            Ok(connection) => {
                while sessions.try_join_next().is_some() {}
                sessions.spawn(serve_connection(connection, Arc::clone(&processes), stop.clone()));
            }
            // It concerns one peer.
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a manager could not accept a peer")
            }
        }
    }
    drop(listener);
    sessions.join_all().await;
    let _ = sweeping.await;
}

/// Serves one connection until it or the server ends.
async fn serve_connection(connection: Connection, processes: Arc<Processes>, stop: watch::Sender<bool>) {
    let (peer, process) = (connection.peer_addr().clone(), connection.peer_process());
    let mut stopped = stop.subscribe();
    let served = {
        let stopped = pin!(stopped.wait_for(|is_stopped| *is_stopped));
        match select(pin!(serve(Box::new(connection), process, processes)), stopped).await {
            Either::Left((served, _)) => served,
            Either::Right(_) => Ok(End::Left),
        }
    };
    match served {
        Ok(End::Left) => {}
        Ok(End::Shutdown) => {
            stop.send_replace(true);
        }
        Err(error) => {
            tracing::debug!(%peer, error = &error as &dyn std::error::Error, "a manager lost a peer")
        }
    }
}

/// Serves whoever is at the other end, a process whose number is known or not.
async fn serve(
    transport: Box<dyn Transport>,
    process: Option<i32>,
    processes: Arc<Processes>,
) -> Result<End, TransportError> {
    let (send, mut receive) = transport.split();
    if !poll_fn(|cx| receive.poll_receive(cx)).await? {
        return Ok(End::Left);
    }
    let first = receive.next().unwrap_or_default().to_vec();
    if first.first() == Some(&PICKLE) {
        return Python::new(processes, process, send, receive).serve(&first).await;
    }
    Hello::decode(&first)
        .and_then(Hello::of_our_version)
        .map_err(|error| TransportError::Protocol(error.into()))?;
    let mut native = Native::new(Arc::clone(processes.store()), send, receive);
    poll_fn(|cx| native.poll_serve(cx)).await
}

/// Drops what nobody refers to any more, from time to time.
async fn sweep(processes: Arc<Processes>, mut stopped: watch::Receiver<bool>) {
    let mut pause = SWEEP_PERIOD;
    loop {
        let stopped = stopped.wait_for(|is_stopped| *is_stopped);
        if tokio::time::timeout(pause, stopped).await.is_ok() {
            return;
        }
        let begin = Instant::now();
        let processes = Arc::clone(&processes);
        // It may take long, and there may be one thread only.
        let swept = tokio::task::spawn_blocking(move || {
            processes.sweep();
            processes.store().sweep(begin);
        });
        let _ = swept.await;
        pause = SWEEP_PERIOD.max(begin.elapsed() * SWEEP_SHARE);
    }
}
