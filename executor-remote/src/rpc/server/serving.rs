//! A server that serves: accepting peers, a task for each, and the end.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{Either, select};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use super::ServeError;
use super::calls::Calls;
use super::control::Control;
use super::in_flight::InFlight;
use super::peer::Peer;
use super::registry::Registry;
use crate::connection::Listener;
use crate::io_runtime;
use crate::rpc::transport::{Transport, TransportError};

/// Something that gives peers, such as a [`Listener`](crate::connection::Listener).
pub trait Listen: Send + 'static {
    /// Waits for the next peer, who has proven whatever is to be proven.
    ///
    /// What concerns one peer only is no error of the listener's.
    ///
    /// # Errors
    ///
    /// There will be no more peers.
    ///
    /// # Cancel safety
    ///
    /// No peer may be lost when it is dropped.
    fn accept(&mut self) -> impl Future<Output = Result<Box<dyn Transport>, TransportError>> + Send;
}

impl Listen for Listener {
    async fn accept(&mut self) -> Result<Box<dyn Transport>, TransportError> {
        loop {
            match Listener::accept(self).await {
                Ok(connection) => return Ok(Box::new(connection)),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a peer cannot be served");
                }
            }
        }
    }
}

/// Stops a server.
#[derive(Debug, Clone)]
pub struct ServerHandle(Arc<Control>);

impl ServerHandle {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self(control)
    }

    /// Stops the server gracefully: no more peers are accepted and no more calls begun, those that run are completed and
    /// answered, then the peers are told that it was all. Returns at once; [`Serving`] is ready when that is done.
    ///
    /// There is no limit on how long calls may run; who does not want to wait drops [`Serving`]. A peer that does not take
    /// its last answers is given up after 5 seconds.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// A server that serves. A future that is ready when the server has ended: after [`ServerHandle::stop`], or by itself.
///
/// # Cancel safety
///
/// Dropping it ends the server at once: connections are closed, async calls dropped; sync ones that run are completed, and their
/// values dropped. [`detach`](Self::detach) lets it serve for as long as the program runs.
#[derive(Debug)]
#[must_use = "dropping it ends the server"]
pub struct Serving {
    task: Option<JoinHandle<Result<(), ServeError>>>,
    failed: Option<ServeError>,
    control: Arc<Control>,
}

impl Serving {
    /// Stops it from elsewhere.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle(self.control.clone())
    }

    /// Waits for the end of the server.
    ///
    /// # Errors
    ///
    /// It has ended by itself.
    ///
    /// # Blocking
    ///
    /// Until then.
    pub fn wait(self) -> Result<(), ServeError> {
        io_runtime::block_on(self)
    }

    /// Lets it serve until it is stopped, or the program ends.
    pub fn detach(mut self) {
        self.task = None;
    }
}

impl Future for Serving {
    type Output = Result<(), ServeError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let Some(task) = &mut self.task else { return Poll::Ready(Ok(())) };
        let ended = std::task::ready!(Pin::new(task).poll(cx));
        self.task = None;
        Poll::Ready(ended.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(payload) => std::panic::resume_unwind(payload), // a bug of ours
            Err(_) => Ok(()),
        }))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(super) fn serve(registry: Arc<Registry>, control: Arc<Control>, listener: impl Listen) -> Serving {
    start(control, |runtime, control| accept_all(runtime, registry, control, listener))
}

pub(super) fn serve_one(
    registry: Arc<Registry>,
    control: Arc<Control>,
    transport: Box<dyn Transport>,
) -> Serving {
    let name = transport.peer();
    start(control, |runtime, control| async move {
        let served = peer(&runtime, &registry, &control, transport).await;
        served.map_err(|source| ServeError::Peer { peer: name, source })
    })
}

fn start<F>(control: Arc<Control>, serve: impl FnOnce(Handle, Arc<Control>) -> F) -> Serving
where
    F: Future<Output = Result<(), ServeError>> + Send + 'static,
{
    match io_runtime::start() {
        Ok(runtime) => {
            let task = runtime.spawn(serve(runtime.clone(), control.clone()));
            Serving { task: Some(task), failed: None, control }
        }
        Err(error) => Serving { task: None, failed: Some(ServeError::Runtime(error)), control },
    }
}

async fn accept_all(
    runtime: Handle,
    registry: Arc<Registry>,
    control: Arc<Control>,
    mut listener: impl Listen,
) -> Result<(), ServeError> {
    let room = Arc::new(Semaphore::new(registry.config.peers.min(Semaphore::MAX_PERMITS)));
    let mut peers = JoinSet::new();
    let mut ended = Ok(());
    let mut stopped = pin!(control.stopped.notified());
    while !control.is_stopping() {
        while peers.try_join_next().is_some() {}
        let next = async {
            let place = room.clone().acquire_owned().await.expect("it is never closed");
            listener.accept().await.map(|transport| (place, transport))
        };
        match select(pin!(next), stopped.as_mut()).await {
            Either::Left((Ok((place, transport)), _)) => {
                let name = transport.peer();
                let peer = peer(&runtime, &registry, &control, transport);
                let serving = async move {
                    if let Err(error) = peer.await {
                        tracing::debug!(
                            peer = name,
                            error = &error as &dyn std::error::Error,
                            "a peer is lost"
                        );
                    }
                    drop(place);
                };
                peers.spawn_on(serving, &runtime);
            }
            Either::Left((Err(error), _)) => {
                ended = Err(ServeError::Accept(error));
                break;
            }
            Either::Right(_) => break,
        }
    }
    drop(listener);
    while peers.join_next().await.is_some() {}
    ended
}

fn peer(
    runtime: &Handle,
    registry: &Arc<Registry>,
    control: &Arc<Control>,
    transport: Box<dyn Transport>,
) -> Peer {
    let in_flight = Arc::new(InFlight::default());
    // Before its first look at whether the server stops, so that a stop in between is seen or wakes it.
    control.enter(&in_flight);
    let calls = Calls::new(registry.clone(), control.stopping.clone(), runtime.clone(), in_flight);
    Peer::new(transport, calls)
}
