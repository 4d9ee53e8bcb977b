//! The server's side: one socket, many peers, each a transport of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::channel::mpsc as events;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use zeromq::util::PeerIdentity;
use zeromq::{
    RouterRecvHalf, RouterSendHalf, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqMessage,
};

use super::outgoing::Outgoing;
use super::room::{Charge, Room};
use super::{OVERHEAD, ZeroMqError, loopback};
use crate::io_runtime;
use crate::object::Codec;
use crate::rpc::dialect::{self, Dialect, Fault, Wish};
use crate::rpc::protocol::FailureKind;
use crate::rpc::server::Listen;
use crate::rpc::transport::{Batch, ReceiveMessages, SendMessages, Transport, TransportError};

/// How many peers a socket tells apart. One more, and the one that has been silent for longest is forgotten, as if it had
/// closed its connection.
pub const PEERS_MAX: usize = 1024;

/// How many bytes of calls may wait for each peer, and for all peers of the socket, until the server takes them. A call beyond
/// that is answered by an error. Picked to be more than a client that waits for answers ever has.
const PEER_UNREAD_MAX: usize = 16 * 1024 * 1024;
const ALL_UNREAD_MAX: usize = 256 * 1024 * 1024;

/// A ROUTER socket that listens. Its [peers](Self::accept) have REQ or DEALER sockets, or are behind a broker.
///
/// Dropping it ends the listening; peers that were accepted can still be sent their answers.
pub struct Router {
    accepted: mpsc::UnboundedReceiver<Peer>,
    address: String,
    switch: AbortHandle,
}

impl Router {
    /// Listens on an address of this machine, such as `tcp://127.0.0.1:5555`; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// [`ZeroMqError::Address`], [`ZeroMqError::NotLoopback`], and [`ZeroMqError::Bind`], for example because the address is
    /// in use.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the listening.
    pub async fn bind(address: &str) -> Result<Self, ZeroMqError> {
        let place = loopback(address)?;
        let failed = |source| ZeroMqError::Bind { address: address.to_owned(), source };
        let listener = std::net::TcpListener::bind(place).map_err(|error| failed(Box::new(error)))?;
        let place = listener.local_addr().map_err(|error| failed(Box::new(error)))?;
        let binding = async move {
            let mut socket = RouterSocket::new();
            let events = socket.monitor();
            socket.bind_listener(listener).await.map(|_| (socket, events))
        };
        // Its tasks need the runtime, wherever the caller's future is polled.
        let (socket, events) = match io_runtime::handle().spawn(binding).await {
            Ok(bound) => bound.map_err(|error| failed(Box::new(error)))?,
            Err(error) => return Err(failed(Box::new(error))),
        };
        let (sender, receiver) = socket.split();
        let (accepted_in, accepted) = mpsc::unbounded_channel();
        let switch = Switch {
            receiver,
            sender,
            events,
            accepted: accepted_in,
            peers: HashMap::new(),
            unread: Room::new(ALL_UNREAD_MAX),
            clock: 0,
        };
        let switch = io_runtime::handle().spawn(switch.run()).abort_handle();
        Ok(Self { accepted, address: format!("tcp://{place}"), switch })
    }

    /// Where it listens, with the port that was taken.
    pub fn local_addr(&self) -> &str {
        &self.address
    }

    /// The next peer that has sent a message for the first time, or again after it was forgotten or its transport was dropped.
    ///
    /// # Errors
    ///
    /// [`TransportError`] if the socket can have no more peers.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no peer.
    pub async fn accept(&mut self) -> Result<Peer, TransportError> {
        self.accepted.recv().await.ok_or_else(|| TransportError::Other("the socket is closed".into()))
    }
}

impl Listen for Router {
    async fn accept(&mut self) -> Result<Box<dyn Transport>, TransportError> {
        Router::accept(self).await.map(|peer| Box::new(peer) as Box<dyn Transport>)
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.switch.abort();
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Who sends with one envelope to a [`Router`]: the transport of that peer's calls.
pub struct Peer {
    envelope: Vec<Bytes>,
    socket: RouterSendHalf,
    inbox: mpsc::UnboundedReceiver<Arrived>,
}

impl Transport for Peer {
    fn split(self: Box<Self>) -> (Box<dyn SendMessages>, Box<dyn ReceiveMessages>) {
        let receiver = Receiver { inbox: self.inbox, arrived: None, current: Bytes::new() };
        (Box::new(Outgoing::new(self.socket, self.envelope)), Box::new(receiver))
    }

    fn peer(&self) -> String {
        let names: Vec<String> =
            self.envelope.iter().filter(|it| !it.is_empty()).map(|it| format!("{it:?}")).collect();
        format!("zeromq peer {}", names.join("/"))
    }
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Peer").field("envelope", &self.envelope).finish_non_exhaustive()
    }
}

/// A message that waits, and the room that it takes meanwhile.
struct Arrived {
    body: Bytes,
    _charges: [Charge; 2],
}

struct Receiver {
    inbox: mpsc::UnboundedReceiver<Arrived>,
    arrived: Option<Arrived>,
    /// What `next` has handed out.
    current: Bytes,
}

impl ReceiveMessages for Receiver {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        if self.arrived.is_none() {
            self.arrived = std::task::ready!(self.inbox.poll_recv(cx));
        }
        Poll::Ready(Ok(self.arrived.is_some()))
    }

    fn next(&mut self) -> Option<&[u8]> {
        let arrived = self.arrived.take().or_else(|| self.inbox.try_recv().ok())?;
        self.current = arrived.body;
        Some(&self.current)
    }
}

/// What takes messages from the socket and gives each to its peer. It waits for none of them, so that one which is not read
/// from stops nobody else.
struct Switch {
    receiver: RouterRecvHalf,
    sender: RouterSendHalf,
    events: events::Receiver<SocketEvent>,
    accepted: mpsc::UnboundedSender<Peer>,
    /// By envelope, the peer's identity and the frames up to the message.
    peers: HashMap<Vec<Bytes>, Entry>,
    /// What waits for all peers.
    unread: Arc<Room>,
    /// Counts messages.
    clock: u64,
}

struct Entry {
    inbox: mpsc::UnboundedSender<Arrived>,
    unread: Arc<Room>,
    /// What the clock said at its last message.
    heard: u64,
}

impl Switch {
    /// Ends when nobody accepts peers any more.
    async fn run(mut self) {
        enum Next {
            Message(ZmqMessage),
            Event(SocketEvent),
        }
        loop {
            let next = {
                let received = self.receiver.recv().map(|it| it.ok().map(Next::Message));
                let event = self.events.next().map(|it| it.map(Next::Event));
                futures::pin_mut!(received, event);
                futures::future::select(received, event).await.factor_first().0
            };
            match next {
                Some(Next::Message(message)) => self.handle_message(message),
                Some(Next::Event(SocketEvent::Disconnected(identity))) => self.forget(&identity),
                Some(Next::Event(_)) => {}
                None => return,
            }
            if self.accepted.is_closed() {
                return;
            }
        }
    }

    fn handle_message(&mut self, message: ZmqMessage) {
        let mut envelope = message.into_vec();
        // Identity, whatever brokers and REQ have put in, message.
        let (Some(body), true) = (envelope.pop(), !envelope.is_empty()) else { return };
        self.clock += 1;
        let cost = body.len() + OVERHEAD;
        let clock = self.clock;
        let entry = self.entry(&envelope);
        entry.heard = clock;
        let charged = entry.unread.try_charge(cost);
        let Some(charges) = charged.and_then(|own| Some([own, self.unread.try_charge(cost)?])) else {
            return self.refuse(envelope, &body);
        };
        let arrived = Arrived { body, _charges: charges };
        if let Some(entry) = self.peers.get(&envelope)
            && let Err(mpsc::error::SendError(arrived)) = entry.inbox.send(arrived)
        {
            // Its transport was dropped, because of a message that was not of the protocol, or by a server that stops.
            self.peers.remove(&envelope);
            let entry = self.entry(&envelope);
            entry.heard = clock;
            let _ = entry.inbox.send(arrived);
        }
    }

    /// The peer with that envelope, which is accepted if it is new.
    fn entry(&mut self, envelope: &[Bytes]) -> &mut Entry {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(envelope) {
            let silent = self.peers.iter().min_by_key(|(_, entry)| entry.heard).map(|(key, _)| key.clone());
            if let Some(silent) = silent {
                tracing::debug!(?silent, "a zeromq peer is forgotten for a newer one");
                self.peers.remove(&silent);
            }
        }
        self.peers.entry(envelope.to_vec()).or_insert_with(|| {
            let (sender, inbox) = mpsc::unbounded_channel();
            let peer = Peer { envelope: envelope.to_vec(), socket: self.sender.clone(), inbox };
            // If nobody accepts any more, the loop ends after this message.
            let _ = self.accepted.send(peer);
            Entry { inbox: sender, unread: Room::new(PEER_UNREAD_MAX), heard: 0 }
        })
    }

    /// All peers of that connection are gone.
    fn forget(&mut self, identity: &PeerIdentity) {
        self.peers.retain(|envelope, _| envelope.first().is_none_or(|it| it[..] != identity[..]));
    }

    /// Answers a call for which there is no room by an error.
    fn refuse(&mut self, mut envelope: Vec<Bytes>, call: &[u8]) {
        let Some(answer) = refusal(call) else {
            // It may wait for an answer that we cannot write, so it shall know that there will be none.
            tracing::warn!(?envelope, "a zeromq peer sends more than is taken, and is forgotten");
            self.peers.remove(&envelope);
            return;
        };
        envelope.push(answer.into());
        if let Ok(message) = ZmqMessage::try_from(envelope) {
            // A peer whose queue of answers is full as well does not read them.
            let _ = self.sender.send(message).now_or_never();
        }
    }
}

/// The answer to a call for which there is no room, if it is one of a dialect that tells calls apart.
fn refusal(call: &[u8]) -> Option<Vec<u8>> {
    const REASON: &str = "too many calls wait in the server; read some answers first";
    let dialect = Dialect::of_first_message(call)?;
    if !matches!(dialect, Dialect::MessagePackRpc | Dialect::JsonRpc) {
        return None;
    }
    let Ok(Wish::Call(request)) = dialect::read(dialect, Codec::default(), call) else { return None };
    let mut answers = Batch::new();
    request.form.write_fault(&Fault::new(FailureKind::Executor, REASON), &mut answers);
    answers.pop().map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::refusal;

    #[test]
    fn a_refusal_is_an_answer_to_the_call_of_that_id() {
        for id in [0u64, 127, 128, 65_536, 1 << 32] {
            let call = rmp_serde::to_vec(&(0u8, id, "add", (1, 2))).unwrap();
            let answer: (u8, u64, HashMap<String, serde_json::Value>, Option<u8>) =
                rmp_serde::from_slice(&refusal(&call).unwrap()).unwrap();
            assert_eq!((answer.0, answer.1, answer.3), (1, id, None));
            assert!(answer.2["message"].as_str().unwrap().contains("too many calls"));
        }
        let call = br#"{"jsonrpc": "2.0", "method": "add", "params": [1, 2], "id": "seven"}"#;
        let answer: serde_json::Value = serde_json::from_slice(&refusal(call).unwrap()).unwrap();
        assert_eq!(answer["id"], "seven");
        assert!(answer["error"]["message"].as_str().unwrap().contains("too many calls"));
    }

    #[test]
    fn what_waits_for_no_answer_has_no_refusal() {
        for bytes in
            [&b""[..], b"\x94", b"\x94\x00", b"\x94\x00\xcf\x00", b"\x93\x02\xa1a\x90", b"{}", b"\x80\x04N."]
        {
            assert_eq!(refusal(bytes), None, "{bytes:?}");
        }
    }
}
