//! The task that sends and reads for a client while no thread does.
//!
//! It starts when it is first needed: a client whose calls are all waited for by threads has none. The socket is registered with
//! the reactor only while the driver is on watch (see [`desk`](super::desk)), so that an answer for which a thread waits wakes that
//! thread and no other.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use super::shared::{Read, Shared};
use crate::io_runtime;
use crate::rpc::RpcError;
use crate::rpc::transport::{Batch, ReceiveMessages, SendMessages, Transport};

/// So often it reads before it lets other tasks of its runtime run. Each time is at most a buffer.
const READS: usize = 16;

/// Starts the driver of a socket.
pub(crate) fn start(shared: Arc<Shared>) {
    match io_runtime::start() {
        Ok(runtime) => drop(runtime.spawn(run(Alive(shared)))),
        Err(error) => shared.fail(RpcError::broken(Arc::new(error.into()))),
    }
}

/// The driver may be dropped with its runtime.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.driver_gone();
    }
}

struct Watched(Arc<Shared>);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0.socket().map_or(-1, AsRawFd::as_raw_fd)
    }
}

/// The socket, which is registered for it if it was not.
fn watched<'a>(
    socket: &'a mut Option<AsyncFd<Watched>>,
    shared: &Arc<Shared>,
) -> io::Result<&'a mut AsyncFd<Watched>> {
    match socket {
        Some(socket) => Ok(socket),
        None => Ok(socket.insert(watch(shared)?)),
    }
}

#[allow(
    deprecated,
    reason = "what replaces it is unsafe, for descriptors that end before their registration; this one does not"
)]
fn watch(shared: &Arc<Shared>) -> io::Result<AsyncFd<Watched>> {
    AsyncFd::new(Watched(Arc::clone(shared)))
}

async fn run(alive: Alive) {
    let shared = &alive.0;
    let mut driver = Driver { shared, socket: None, yielded: false };
    poll_fn(|cx| driver.poll(cx)).await;
}

struct Driver<'a> {
    shared: &'a Arc<Shared>,
    /// None while there is nothing to be watched.
    socket: Option<AsyncFd<Watched>>,
    /// It has been asked to send, and has let those run first who may have more to send.
    yielded: bool,
}

impl Driver<'_> {
    /// Ready when the client has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(duties) = self.shared.driver_duties(cx) else { return Poll::Ready(()) };
        if duties.flush {
            self.yielded = !self.yielded;
            match self.yielded {
                true => cx.waker().wake_by_ref(),
                false => self.shared.flush(),
            }
        }
        let io = if duties.stuck { self.poll_write(cx) } else { Ok(()) };
        match io.and_then(|()| self.poll_read(cx, duties.stuck)) {
            Ok(()) => Poll::Pending,
            Err(error) => {
                self.shared.fail(RpcError::broken(Arc::new(error.into())));
                Poll::Ready(())
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Poll::Ready(ready) = watched(&mut self.socket, self.shared)?.poll_write_ready(cx) {
            let mut ready = ready?;
            if self.shared.write_stuck() {
                break;
            }
            ready.clear_ready();
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, is_stuck: bool) -> io::Result<()> {
        if self.socket.is_none() && !self.shared.driver_returns() {
            return Ok(());
        }
        while let Poll::Ready(ready) = watched(&mut self.socket, self.shared)?.poll_read_ready(cx) {
            let mut ready = ready?;
            if !self.shared.driver_begins() {
                // A thread reads, and wakes this task when it leaves and somebody needs it.
                if !is_stuck {
                    self.socket = None;
                }
                break;
            }
            let mut last = Read::Some;
            for _ in 0..READS {
                last = self.shared.read(|socket, _, buffer| socket.try_read(buffer));
                if !matches!(last, Read::Some) {
                    break;
                }
            }
            if matches!(last, Read::All | Read::Nothing) {
                ready.clear_ready();
            }
            self.shared.driver_ends();
            match last {
                Read::All | Read::Nothing => {}
                Read::Some | Read::Ended => {
                    cx.waker().wake_by_ref();
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Starts the driver of a transport, which sends and reads all.
pub(crate) fn start_over(shared: Arc<Shared>, transport: Box<dyn Transport>) -> Result<(), RpcError> {
    let runtime = io_runtime::start().map_err(|error| RpcError::broken(Arc::new(error.into())))?;
    let (sender, receiver) = transport.split();
    let mut over = Over { shared, sender, receiver, batch: Batch::new() };
    runtime.spawn(async move {
        let failure = poll_fn(|cx| over.poll(cx)).await;
        over.shared.fail(failure);
    });
    Ok(())
}

struct Over {
    shared: Arc<Shared>,
    sender: Box<dyn SendMessages>,
    receiver: Box<dyn ReceiveMessages>,
    batch: Batch,
}

impl Over {
    /// Ready when the client has ended, or the transport.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        if self.shared.driver_duties(cx).is_none() {
            return Poll::Ready(RpcError::disconnected("this side has closed it"));
        }
        if let Poll::Ready(failure) = self.poll_send(cx) {
            return Poll::Ready(failure);
        }
        for _ in 0..READS {
            match ready!(self.receiver.poll_receive(cx)) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(RpcError::disconnected("the server has closed it")),
                Err(error) => return Poll::Ready(RpcError::broken(Arc::new(error))),
            }
            if let Err(failure) = self.shared.deliver_from(&mut *self.receiver) {
                return Poll::Ready(failure);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Pending when all is sent, or the transport takes no more; ready if it has failed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<RpcError> {
        loop {
            self.shared.take_out(&mut self.batch);
            if self.batch.is_empty() {
                return Poll::Pending;
            }
            if let Err(error) = ready!(self.sender.poll_send(cx, &mut self.batch)) {
                return Poll::Ready(RpcError::broken(Arc::new(error)));
            }
        }
    }
}
