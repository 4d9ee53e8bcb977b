//! The agent: runs the tasks of clients on its machine.
//!
//! # Threads
//!
//! The thread in [`Agent::run`] accepts. Each connection gets a thread, which takes it through the handshake, the greeting
//! and, if need be, the upload of the client's executable, and then reads what the client sends until the end. Results are
//! sent by whoever completes a task, see [`Outbox`](crate::link::Outbox), whose pusher is the connection's second thread.
//!
//! # Promises
//!
//! * A peer that has not proved the key costs a thread and some hundred bytes, until the handshake's deadline; there are
//!   at most `max_half_open` of them. Whatever a peer sends ends its own connection at most, with a line in the log.
//! * Each client has a pool of its own, of its own executable, which stays in the cache for as long. When the client's
//!   connection ends, for whatever reason, so does the pool, before the agent closes its side: a client that
//!   waits for the end of the connection knows that its workers are gone.
//! * What a client makes the agent keep is bounded; beyond that, the agent does not read from it. It still hears that the
//!   agent lives.

mod config;
mod connection;
mod registry;
mod session;
mod table;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

pub use config::{AgentConfig, AgentError, OpenPool, PoolRequest};

use crate::cache::Cache;
use registry::Registry;

/// How long accepting pauses when the system has no more sockets to give.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// An agent that listens; from [`Agent::bind`].
pub struct Agent {
    listener: TcpListener,
    local: SocketAddr,
    shared: Arc<Shared>,
}

/// What all connections share.
pub(crate) struct Shared {
    config: AgentConfig,
    cache: Cache,
    registry: Registry,
    /// Readable when the agent is to stop.
    stop: OwnedFd,
}

/// Stops an agent from another thread.
#[derive(Clone)]
pub struct AgentHandle {
    shared: Arc<Shared>,
}

impl Agent {
    /// Opens the cache and listens. Clients are served by [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`AgentError`].
    ///
    /// # Blocking
    ///
    /// While a name is looked up, and on the disk.
    pub fn bind(config: AgentConfig) -> Result<Self, AgentError> {
        let system = |step| move |source| AgentError::System { step, source };
        let folder = match &config.cache_folder {
            Some(folder) => folder.clone(),
            None => Cache::default_folder()?,
        };
        let cache = Cache::open(folder, config.cache_limit_bytes)?;
        let listener = config.listen.listen(config.key.as_ref())?;
        listener.set_nonblocking(true).map_err(system("prepare its socket"))?;
        let local = listener.local_addr().map_err(system("tell its address"))?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(io::Error::from)
            .map_err(system("make an event"))?;
        let shared = Shared { config, cache, registry: Registry::default(), stop };
        Ok(Self { listener, local, shared: Arc::new(shared) })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// A handle to stop it.
    pub fn handle(&self) -> AgentHandle {
        AgentHandle { shared: Arc::clone(&self.shared) }
    }

    /// Serves clients until it is stopped, and returns when they and their workers are gone.
    ///
    /// # Errors
    ///
    /// [`AgentError::System`] if the socket fails.
    ///
    /// # Blocking
    ///
    /// Until [`AgentHandle::stop`].
    pub fn run(self) -> Result<(), AgentError> {
        tracing::info!(address = %self.local, slots = self.shared.config.slots, "agent listens");
        let served = self.accept_all();
        drop(self.listener);
        self.shared.registry.stop();
        self.shared.registry.wait_until_empty();
        tracing::info!("agent has ended");
        served.map_err(|source| AgentError::System { step: "accept connections", source })
    }

    fn accept_all(&self) -> io::Result<()> {
        loop {
            let mut fds =
                [PollFd::new(&self.listener, PollFlags::IN), PollFd::new(&self.shared.stop, PollFlags::IN)];
            unless_interrupted(poll(&mut fds, None))?;
            if !fds[1].revents().is_empty() {
                return Ok(());
            }
            match self.listener.accept() {
                Ok((stream, peer)) => connection::start(&self.shared, stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if is_of_the_peer(&error) => tracing::debug!(%error, "a peer left at once"),
                Err(error) => {
                    // No more descriptors or memory: those who are served will leave some.
                    tracing::warn!(%error, "cannot accept a connection");
                    self.pause()?;
                }
            }
        }
    }

    /// Waits a while, or until the agent is to stop.
    fn pause(&self) -> io::Result<()> {
        let mut fds = [PollFd::new(&self.shared.stop, PollFlags::IN)];
        let pause = Timespec { tv_sec: 0, tv_nsec: EXHAUSTED_PAUSE.subsec_nanos().into() };
        unless_interrupted(poll(&mut fds, Some(&pause)))
    }
}

impl AgentHandle {
    /// Makes [`Agent::run`] end: no more clients are taken, those that are served lose their connection, and their
    /// workers end. Returns at once.
    pub fn stop(&self) {
        // It can only fail because the counter is full, and then the event is there already.
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
    }
}

fn unless_interrupted(polled: Result<usize, rustix::io::Errno>) -> io::Result<()> {
    match polled {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Errors that accept passes on from the connection that it would have returned.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkUnreachable
    )
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("local", &self.local).field("config", &self.shared.config).finish()
    }
}

impl fmt::Debug for AgentHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentHandle").field("listen", &self.shared.config.listen).finish()
    }
}
