//! The client's side: one connection to a server of either pattern.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use zeromq::{
    DealerRecvHalf, DealerSocket, Socket, SocketEvent, SocketOptions, SocketRecv, ZmqMessage, ZmqResult,
};

use super::outgoing::Outgoing;
use super::{CONNECT_LIMIT, ZeroMqError, failed, loopback};
use crate::io_runtime;
use crate::rpc::transport::{ReceiveMessages, SendMessages, Transport, TransportError};

/// A DEALER socket with one connection: the transport of an [`RpcClient`](crate::rpc::RpcClient).
///
/// It calls servers with a REP socket, which answer one call after another, and such with a ROUTER or DEALER socket, which may
/// answer in any order. When the server is gone, so is the transport: it does not connect again by itself, as nobody could tell
/// which calls had been run.
pub struct Dealer {
    socket: DealerSocket,
    events: mpsc::Receiver<SocketEvent>,
    address: String,
}

impl Dealer {
    /// Connects to a server, such as `tcp://127.0.0.1:5555`. The address has to be of this machine.
    ///
    /// # Errors
    ///
    /// [`ZeroMqError::Address`], [`ZeroMqError::NotLoopback`], and [`ZeroMqError::Connect`] if there is no server within
    /// [`CONNECT_LIMIT`]: as usual with ZeroMQ, it may start later than its client.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt, at the latest when its time is up.
    pub async fn connect(address: &str) -> Result<Self, ZeroMqError> {
        let place = loopback(address)?;
        let endpoint = format!("tcp://{place}");
        let refused = |source| ZeroMqError::Connect { address: address.to_owned(), source };
        let connecting = async move {
            let mut options = SocketOptions::default();
            options.connect_timeout(CONNECT_LIMIT);
            let mut socket = DealerSocket::with_options(options);
            let events = socket.monitor();
            socket.connect(&endpoint).await?;
            ZmqResult::Ok(Self { socket, events, address: endpoint })
        };
        // Its tasks and timers need the runtime, wherever the caller's future is polled.
        match io_runtime::handle().spawn(connecting).await {
            Ok(connected) => connected.map_err(|error| refused(Box::new(error))),
            Err(error) => Err(refused(Box::new(error))),
        }
    }
}

impl Transport for Dealer {
    fn split(self: Box<Self>) -> (Box<dyn SendMessages>, Box<dyn ReceiveMessages>) {
        let (send, receive) = self.socket.split();
        let delimiter = vec![Bytes::new()];
        let receiver =
            Receiver { state: receiving(receive), events: self.events, arrived: None, current: Bytes::new() };
        (Box::new(Outgoing::new(send, delimiter)), Box::new(receiver))
    }

    fn peer(&self) -> String {
        self.address.clone()
    }
}

impl std::fmt::Debug for Dealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dealer").field("address", &self.address).finish_non_exhaustive()
    }
}

type Receiving = BoxFuture<'static, (DealerRecvHalf, ZmqResult<ZmqMessage>)>;

fn receiving(mut socket: DealerRecvHalf) -> Receiving {
    async move {
        let received = socket.recv().await;
        (socket, received)
    }
    .boxed()
}

struct Receiver {
    state: Receiving,
    events: mpsc::Receiver<SocketEvent>,
    arrived: Option<Bytes>,
    /// What `next` has handed out.
    current: Bytes,
}

impl ReceiveMessages for Receiver {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        while self.arrived.is_none() {
            match self.state.poll_unpin(cx) {
                Poll::Ready((socket, received)) => {
                    self.state = receiving(socket);
                    self.arrived = Some(body(received.map_err(failed)?)?);
                }
                // A socket without connections waits for ever, and only this says that there is none.
                Poll::Pending => match self.events.poll_next_unpin(cx) {
                    Poll::Ready(Some(SocketEvent::Disconnected(_)) | None) => return Poll::Ready(Ok(false)),
                    Poll::Ready(Some(_)) => {}
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
        Poll::Ready(Ok(true))
    }

    fn next(&mut self) -> Option<&[u8]> {
        self.current = self.arrived.take()?;
        Some(&self.current)
    }
}

/// The message without the empty frame in front of it.
fn body(message: ZmqMessage) -> Result<Bytes, TransportError> {
    let mut frames = message.into_vecdeque();
    if frames.len() > 1 && frames.front().is_some_and(Bytes::is_empty) {
        frames.pop_front();
    }
    match (frames.pop_front(), frames.len()) {
        (Some(body), 0) => Ok(body),
        (_, more) => Err(TransportError::Protocol(
            format!("a message of {} frames, where one is a whole message", more + 1).into(),
        )),
    }
}
