//! What comes before the first message: nothing, the [authkey](super::auth), or [noise](crate::noise).
//!
//! [`Greeting`] is the state, [`greet`] and [`greet_waiting`] are its drivers.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::Address;
use super::auth::{AuthKey, Authenticator, Challenge, MAX_MESSAGE, Rules, Side};
use super::error::ConnectionError;
use super::frame::Inbox;
use super::wire::{ReadHalf, Socket, SocketKind, WriteHalf};
use crate::key::ClusterKey;
use crate::noise::{Handshake, HandshakeError, Opener, Sealer, Stage};
use crate::object::Codec;

/// What a connection is protected by.
#[derive(Clone)]
pub(super) enum Protection {
    /// Nobody proves anything.
    None,
    Key(AuthKey),
    Noise(ClusterKey),
}

impl Protection {
    pub(super) fn of_key(key: AuthKey) -> Result<Self, ConnectionError> {
        match key.is_none() {
            true => Ok(Self::None),
            false if key.is_empty() => Err(ConnectionError::EmptyKey),
            false => Ok(Self::Key(key)),
        }
    }
}

/// How the handshake is to be done.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) protection: Protection,
    pub(super) rules: Rules,
    pub(super) limit: Duration,
    /// Of the messages after the handshake.
    pub(super) max_message: usize,
    pub(super) codec: Codec,
}

/// A connection after its handshake, registered with no runtime.
pub(super) struct Established {
    pub(super) fd: OwnedFd,
    pub(super) kind: SocketKind,
    pub(super) peer: Address,
    pub(super) inbox: Inbox,
    pub(super) halves: Option<(Sealer, Opener)>,
    pub(super) codec: Codec,
}

impl Established {
    /// A connection without a handshake.
    fn new(fd: OwnedFd, kind: SocketKind, peer: Address, terms: &Terms) -> Self {
        Self { fd, kind, peer, inbox: Inbox::new(terms.max_message), halves: None, codec: terms.codec }
    }
}

/// A handshake under way.
enum Greeting {
    Key(Authenticator),
    Noise(Box<Handshake>),
}

enum Step {
    /// More has to come from the peer.
    Receive,
    Done,
}

impl Greeting {
    /// `None`: there is none.
    fn new(side: Side, terms: &Terms, peer: &Address) -> Result<Option<Self>, ConnectionError> {
        Ok(Some(match &terms.protection {
            Protection::None => return Ok(None),
            Protection::Key(key) => {
                let challenge = Challenge::draw(side).map_err(ConnectionError::Io)?;
                Self::Key(Authenticator::new(key.clone(), terms.rules, challenge))
            }
            Protection::Noise(key) => Self::Noise(Box::new(match side {
                Side::Server => Handshake::responder(Some(key)),
                Side::Client => Handshake::initiator(Some(key)).map_err(|error| noise(peer, error))?,
            })),
        }))
    }

    /// Goes on with what has come, and accepts for sending what there is to say, after an error too.
    fn advance(
        &mut self,
        read: &mut ReadHalf,
        write: &mut WriteHalf,
        peer: &Address,
    ) -> Result<Step, ConnectionError> {
        match self {
            Self::Key(auth) => loop {
                while let Some(message) = auth.poll_transmit() {
                    write.queue(&message);
                }
                if auth.is_done() {
                    return Ok(Step::Done);
                }
                let Some(message) = read.next(MAX_MESSAGE)? else { return Ok(Step::Receive) };
                let handled = auth.handle_message(read.bytes(&message));
                if let Err(reason) = handled {
                    while let Some(message) = auth.poll_transmit() {
                        write.queue(&message);
                    }
                    return Err(ConnectionError::AuthenticationFailed { peer: peer.clone(), reason });
                }
            },
            Self::Noise(handshake) => loop {
                transmit(handshake, write);
                if handshake.is_done() {
                    return Ok(Step::Done);
                }
                let wanted = handshake.wanted();
                let bytes = read.inbox().take_raw(wanted);
                if bytes.is_empty() {
                    return Ok(Step::Receive);
                }
                if let Err(error) = handshake.handle_bytes(bytes) {
                    transmit(handshake, write);
                    return Err(noise(peer, error));
                }
            },
        }
    }

    fn waiting_for(&self) -> &'static str {
        match self {
            Self::Key(auth) => auth.waiting_for(),
            Self::Noise(handshake) => match handshake.stage() {
                Stage::Send => "it to take our hello",
                Stage::Hello => "its hello",
                Stage::Proof => "its proof that it holds the cluster key",
                Stage::Confirmation => "its first encrypted record",
            },
        }
    }

    fn timed_out(&self, terms: &Terms, peer: &Address) -> ConnectionError {
        let waiting_for = self.waiting_for();
        ConnectionError::HandshakeTimedOut { peer: peer.clone(), waiting_for, limit: terms.limit }
    }

    /// What an error of the connection means here.
    fn explain(&self, error: ConnectionError, peer: &Address) -> ConnectionError {
        if !error.is_disconnected() {
            return error;
        }
        ConnectionError::HandshakeClosed { peer: peer.clone(), waiting_for: self.waiting_for() }
    }

    fn into_halves(self) -> Option<(Sealer, Opener)> {
        match self {
            Self::Key(_) => None,
            Self::Noise(mut handshake) => handshake.take_halves(),
        }
    }
}

fn transmit(handshake: &mut Handshake, write: &mut WriteHalf) {
    let mut bytes = Vec::new();
    handshake.poll_transmit(&mut bytes);
    write.queue_raw(&bytes);
}

fn noise(peer: &Address, source: HandshakeError) -> ConnectionError {
    ConnectionError::Noise { peer: peer.clone(), source }
}

/// The handshake over a socket that the runtime of the caller knows: a tokio runtime with timers.
pub(super) async fn greet(
    socket: Socket,
    side: Side,
    terms: &Terms,
    peer: Address,
) -> Result<Established, ConnectionError> {
    let Some(mut greeting) = Greeting::new(side, terms, &peer)? else {
        let (fd, kind) = socket.into_fd().map_err(ConnectionError::Io)?;
        return Ok(Established::new(fd, kind, peer, terms));
    };
    let (mut read, mut write) = halves(socket);
    let talk = async {
        loop {
            let step = greeting.advance(&mut read, &mut write, &peer);
            let flushed = std::future::poll_fn(|cx| write.poll_flush(cx)).await;
            let step = step?; // which says more than that its answer could not be written
            flushed.map_err(|error| greeting.explain(error, &peer))?;
            if matches!(step, Step::Done) {
                return Ok::<_, ConnectionError>(());
            }
            let filled = std::future::poll_fn(|cx| read.poll_fill(cx)).await;
            filled.map_err(|error| greeting.explain(error, &peer))?;
        }
    };
    match tokio::time::timeout(terms.limit, talk).await {
        Ok(talked) => talked?,
        Err(_) => return Err(greeting.timed_out(terms, &peer)),
    }
    establish(greeting, read, write, terms, peer)
}

/// The handshake on the thread of the caller.
pub(super) fn greet_waiting(
    fd: OwnedFd,
    kind: SocketKind,
    side: Side,
    terms: &Terms,
    peer: Address,
    deadline: Instant,
) -> Result<Established, ConnectionError> {
    let Some(mut greeting) = Greeting::new(side, terms, &peer)? else {
        return Ok(Established::new(fd, kind, peer, terms));
    };
    let (mut read, mut write) = halves(Socket::Plain(fd, kind));
    loop {
        let step = greeting.advance(&mut read, &mut write, &peer);
        let flushed = write.wait_flush(Some(deadline));
        let step = step?;
        if !flushed.map_err(|error| greeting.explain(error, &peer))? {
            return Err(greeting.timed_out(terms, &peer));
        }
        if matches!(step, Step::Done) {
            break;
        }
        let filled = read.wait_fill(Some(deadline)).map_err(|error| greeting.explain(error, &peer))?;
        if !filled {
            return Err(greeting.timed_out(terms, &peer));
        }
    }
    establish(greeting, read, write, terms, peer)
}

fn halves(socket: Socket) -> (ReadHalf, WriteHalf) {
    let socket = Arc::new(socket);
    (ReadHalf::new(Arc::clone(&socket), Inbox::new(MAX_MESSAGE), None), WriteHalf::new(socket, None))
}

fn establish(
    greeting: Greeting,
    read: ReadHalf,
    write: WriteHalf,
    terms: &Terms,
    peer: Address,
) -> Result<Established, ConnectionError> {
    let mut halves = greeting.into_halves();
    let (mut inbox, _) = read.into_inner();
    inbox.set_limit(terms.max_message);
    if let Some((_, opener)) = &mut halves {
        open_early(&mut inbox, opener)?;
    }
    let (socket, _) = write.into_inner();
    let socket = Arc::into_inner(socket).expect("both halves have given it back");
    let (fd, kind) = socket.into_fd().map_err(ConnectionError::Io)?;
    Ok(Established { fd, kind, peer, inbox, halves, codec: terms.codec })
}

/// Opens the records that came along with the end of the handshake: the inbox has them as they are on the wire.
fn open_early(inbox: &mut Inbox, opener: &mut Opener) -> Result<(), ConnectionError> {
    let records = inbox.take_raw(usize::MAX).to_vec();
    opener.open(&records, inbox.spare()).map_err(ConnectionError::Record)?;
    inbox.settle();
    Ok(())
}
