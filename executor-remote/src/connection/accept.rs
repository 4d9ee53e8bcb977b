//! Accepting, for both kinds of listeners: on the threads of the [runtime](crate::io_runtime), whoever waits for it.
//!
//! 1. One task accepts. Each peer has a task for its handshake, with a deadline, so that a silent peer holds up nobody.
//! 2. At most `max_half_open` handshakes are under way. When one more peer comes, it waits until one of them is over, or until
//!    the oldest has had [`GRACE`] and is cut off: room is made by those who do not use it, and whoever answers gets through.
//! 3. Who is through waits in a queue for `accept`. When that is full, the task stops accepting; then at most the handshakes
//!    under way are added to it.
//! 4. Dropping the listener closes its socket at once, removes its file, and cuts off all who have not been accepted.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::address::Address;
use super::auth::Side;
use super::config::ListenerConfig;
use super::dial::{Bound, SocketFile};
use super::error::ConnectionError;
use super::handshake::{Established, Protection, Terms, greet};
use super::wire::{Socket, SocketKind};
use crate::io_runtime;

/// What every peer has for its handshake, however many wait. A thousand silent ones, 256 at a time, hold up the next for 0.4 s.
const GRACE: Duration = Duration::from_millis(100);
/// After the system had no descriptor or memory left for a peer.
const RETRY: Duration = Duration::from_millis(20);

/// A listening socket and its task.
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    task: AbortHandle,
    address: Address,
    /// Removed first when it is dropped.
    file: Option<SocketFile>,
}

struct Shared {
    /// Taken when the listener is dropped. Locked for one system call at most.
    socket: Mutex<Option<ListenSocket>>,
    terms: Terms,
    max_half_open: usize,
    max_waiting: usize,
    waiting: Mutex<VecDeque<Established>>,
    /// As many permits as peers are waiting.
    available: Semaphore,
    /// One has been taken from the queue.
    room: Notify,
}

enum ListenSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl ListenSocket {
    fn new(fd: std::os::fd::OwnedFd, kind: SocketKind) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(match kind {
            SocketKind::Tcp => Self::Tcp(TcpListener::from_std(fd.into())?),
            SocketKind::Unix => Self::Unix(UnixListener::from_std(fd.into())?),
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Socket, Address)>> {
        match self {
            Self::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| (Socket::Tcp(stream), peer.into()))
            }
            Self::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, peer)| {
                let peer = peer.as_pathname().map_or(Address::Unnamed, |path| Address::Unix(path.into()));
                (Socket::Unix(stream), peer)
            }),
        }
    }
}

impl Acceptor {
    pub(super) fn start(
        bound: Bound,
        protection: Protection,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        let Bound { fd, kind, address, file } = bound;
        let runtime = io_runtime::start().map_err(ConnectionError::Io)?;
        let _context = runtime.enter();
        let socket = ListenSocket::new(fd, kind).map_err(ConnectionError::Io)?;
        let shared = Arc::new(Shared {
            socket: Mutex::new(Some(socket)),
            terms: config.terms(protection),
            max_half_open: config.max_half_open,
            max_waiting: config.max_waiting,
            waiting: Mutex::default(),
            available: Semaphore::new(0),
            room: Notify::new(),
        });
        let task = runtime.spawn(run(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, task, address, file })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The next peer that is through. Nothing is lost when this future is dropped.
    pub(super) async fn next(&self) -> Established {
        loop {
            let permit = self.shared.available.acquire().await.expect("it is never closed");
            permit.forget();
            if let Some(established) = self.shared.waiting().pop_front() {
                self.shared.room.notify_one();
                return established;
            }
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        drop(self.file.take());
        drop(self.shared.socket.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.task.abort();
        self.shared.waiting().clear();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Established>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn accept(&self) -> io::Result<(Socket, Address)> {
        std::future::poll_fn(|cx| {
            match &*self.socket.lock().unwrap_or_else(PoisonError::into_inner) {
                Some(socket) => socket.poll_accept(cx),
                None => Poll::Pending, // this task is about to be aborted
            }
        })
        .await
    }

    async fn wait_for_room(&self) {
        while self.waiting().len() >= self.max_waiting {
            self.room.notified().await;
        }
    }

    async fn greet(&self, socket: Socket, peer: Address) {
        let name = peer.clone();
        match greet(socket, Side::Server, &self.terms, peer).await {
            Ok(established) => {
                self.waiting().push_back(established);
                self.available.add_permits(1);
            }
            Err(error) => tracing::debug!(peer = %name, %error, "a peer is refused"),
        }
    }
}

/// Rule 1.
async fn run(shared: Arc<Shared>) {
    let mut half_open = HalfOpen::default();
    loop {
        shared.wait_for_room().await;
        match shared.accept().await {
            Ok((socket, peer)) => {
                if let Err(error) = open(&socket) {
                    tracing::debug!(%peer, %error, "a peer is lost");
                    continue;
                }
                if matches!(shared.terms.protection, Protection::None) {
                    shared.greet(socket, peer).await; // which is nothing to wait for
                    continue;
                }
                half_open.make_room(shared.max_half_open).await;
                let shared = Arc::clone(&shared);
                half_open.add(async move { shared.greet(socket, peer).await });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "accepting is interrupted");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Undoes what tokio's `accept` has set, and sets what is ours.
fn open(socket: &Socket) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket.fd(), false)?;
    if let Socket::Tcp(stream) = socket {
        stream.set_nodelay(true)?;
    }
    Ok(())
}

/// Handshakes under way. They are cut off when it is dropped.
#[derive(Default)]
struct HalfOpen {
    tasks: JoinSet<()>,
    /// The oldest first. Some are over.
    order: VecDeque<(Instant, AbortHandle)>,
}

impl HalfOpen {
    fn add(&mut self, handshake: impl Future<Output = ()> + Send + 'static) {
        self.order.push_back((Instant::now(), self.tasks.spawn(handshake)));
    }

    /// Rule 2.
    async fn make_room(&mut self, limit: usize) {
        while self.tasks.try_join_next().is_some() {}
        self.order.retain(|(_, task)| !task.is_finished());
        while self.tasks.len() >= limit {
            match self.order.front() {
                Some((begun, _)) if begun.elapsed() < GRACE => {
                    // If one is over before, there is room.
                    let _ = tokio::time::timeout_at(*begun + GRACE, self.tasks.join_next()).await;
                }
                Some(_) => {
                    if let Some((_, oldest)) = self.order.pop_front() {
                        oldest.abort();
                        self.tasks.join_next().await; // that one, or one that was over before
                    }
                }
                None => drop(self.tasks.join_next().await),
            }
        }
    }
}
