//! Both sides of the handshake as one state machine without IO.

use snow::resolvers::{BoxedCryptoResolver, DefaultResolver, FallbackResolver, RingResolver};
use zeroize::Zeroizing;

use super::cipher::TAG_LEN;
use super::error::{HandshakeError, Stage};
use super::hello::{HELLO_LEN, Hello, Mode, Status, check_magic};
use super::record::{Opener, Sealer};
use crate::key::ClusterKey;

#[cfg(test)]
mod tests;

const NOISE: &str = "Noise_NNpsk0_25519_AESGCM_BLAKE2s";
/// An ephemeral public key and the tag of an empty payload.
const MESSAGE_LEN: usize = 32 + TAG_LEN;
/// An empty record.
const CONFIRMATION_LEN: usize = 2 + TAG_LEN;

/// A handshake under way.
///
/// The driver's loop: send all that [`poll_transmit`](Self::poll_transmit) gives; done if
/// [`is_done`](Self::is_done); else read at most [`wanted`](Self::wanted) bytes and hand them to
/// [`handle_bytes`](Self::handle_bytes). After an error too there may be bytes to send: they tell
/// the peer why. At the end of the connection or of patience, [`stage`](Self::stage) says what was
/// awaited. No byte of the first record is ever consumed.
pub struct Handshake {
    key: Option<ClusterKey>,
    state: State,
    incoming: [u8; MESSAGE_LEN],
    filled: usize,
    /// At most the two first messages of the protocol, some 80 bytes.
    outgoing: Vec<u8>,
}

enum State {
    /// Initiator: the offer is out, the welcome is awaited.
    Offered(Option<Box<snow::HandshakeState>>),
    /// Initiator: welcomed, message 2 is awaited.
    Welcomed(Box<snow::HandshakeState>),
    /// Responder: nothing has come.
    Listening,
    /// Responder: an offer of encryption has come, message 1 is awaited.
    Greeted(Box<snow::HandshakeState>),
    /// Responder: all is said, the initiator's first record is awaited.
    Answered(Sealer, Opener),
    Done(Sealer, Opener),
    /// Failed, or its halves are taken.
    Over,
}

impl Handshake {
    /// The side that dialled. Without a key the connection is not encrypted.
    ///
    /// # Errors
    ///
    /// [`HandshakeError::Setup`] if the operating system gives no randomness.
    pub fn initiator(key: Option<&ClusterKey>) -> Result<Self, HandshakeError> {
        let mut outgoing = offer(mode(key)).to_vec();
        let noise = match key {
            Some(key) => {
                let mut noise = build(key, |builder| builder.build_initiator())?;
                write_message(&mut noise, &mut outgoing)?;
                Some(noise)
            }
            None => None,
        };
        Ok(Self::new(key, State::Offered(noise), outgoing))
    }

    /// The side that listened. With a key it demands the same of the peer, without one it cannot.
    #[must_use]
    pub fn responder(key: Option<&ClusterKey>) -> Self {
        Self::new(key, State::Listening, Vec::new())
    }

    fn new(key: Option<&ClusterKey>, state: State, outgoing: Vec<u8>) -> Self {
        Self { key: key.cloned(), state, incoming: [0; MESSAGE_LEN], filled: 0, outgoing }
    }

    /// Appends to `out` what is to be sent now.
    pub fn poll_transmit(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.outgoing);
    }

    /// How many bytes more the present stage needs, 0 when there is none.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.stage_len() - self.filled
    }

    /// What is awaited.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Offered(_) | State::Listening => Stage::Hello,
            State::Welcomed(_) | State::Greeted(_) => Stage::Proof,
            State::Answered(..) => Stage::Confirmation,
            State::Done(..) | State::Over => Stage::Send,
        }
    }

    /// Whether the peers have come to speak. There may still be bytes to send.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done(..))
    }

    /// Takes bytes from the peer and returns how many: all, unless the handshake ends within them.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with them. The handshake is over then.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) -> Result<usize, HandshakeError> {
        let given = bytes.len();
        while !bytes.is_empty() && self.wanted() > 0 {
            let (taken, rest) = bytes.split_at(self.wanted().min(bytes.len()));
            self.incoming[self.filled..][..taken.len()].copy_from_slice(taken);
            self.filled += taken.len();
            bytes = rest;
            if let Err(error) = self.step() {
                self.state = State::Over;
                self.filled = 0;
                return Err(error);
            }
        }
        Ok(given - bytes.len())
    }

    /// The two halves of the connection, once, when the handshake [is done](Self::is_done). What it
    /// has to transmit must be taken first.
    pub fn take_halves(&mut self) -> Option<(Sealer, Opener)> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Done(sealer, opener) => {
                debug_assert!(self.outgoing.is_empty(), "the peer waits for what is not sent");
                Some((sealer, opener))
            }
            unfinished => {
                self.state = unfinished;
                None
            }
        }
    }

    fn stage_len(&self) -> usize {
        match self.state {
            State::Offered(_) | State::Listening => HELLO_LEN,
            State::Welcomed(_) | State::Greeted(_) => MESSAGE_LEN,
            State::Answered(..) => CONFIRMATION_LEN,
            State::Done(..) | State::Over => 0,
        }
    }

    /// Goes on if the stage's bytes are complete.
    fn step(&mut self) -> Result<(), HandshakeError> {
        if self.stage() == Stage::Hello {
            check_magic(&self.incoming[..self.filled])?;
        }
        if self.wanted() > 0 {
            return Ok(());
        }
        self.filled = 0;
        self.state = match std::mem::replace(&mut self.state, State::Over) {
            State::Offered(noise) => self.on_answer(noise)?,
            State::Welcomed(noise) => self.on_message_2(noise)?,
            State::Listening => self.on_offer()?,
            State::Greeted(noise) => self.on_message_1(noise)?,
            State::Answered(sealer, opener) => self.on_confirmation(sealer, opener)?,
            over @ (State::Done(..) | State::Over) => over,
        };
        Ok(())
    }

    fn hello(&self) -> Result<Hello, HandshakeError> {
        let mut bytes = [0; HELLO_LEN];
        bytes.copy_from_slice(&self.incoming[..HELLO_LEN]);
        Hello::decode(&bytes)
    }

    // INITIATOR

    fn on_answer(&mut self, noise: Option<Box<snow::HandshakeState>>) -> Result<State, HandshakeError> {
        let hello = self.hello()?;
        let malformed = |field, value| Err(HandshakeError::Malformed { field, value });
        match hello.status {
            Status::Welcome if hello.mode != mode(self.key.as_ref()) => malformed("mode", hello.mode as u32),
            Status::Welcome => Ok(match noise {
                Some(noise) => State::Welcomed(noise),
                None => State::Done(Sealer::plain(), Opener::plain()),
            }),
            Status::KeyRequired => Err(HandshakeError::KeyRequired),
            Status::NoKey => Err(HandshakeError::PeerWithoutKey),
            Status::WrongKey => Err(HandshakeError::KeyRefused { fingerprint: self.fingerprint() }),
            // An offer: the peer dialled too. A version refused: it says that it has ours.
            Status::Offer | Status::Version => malformed("status", hello.status as u32),
        }
    }

    fn on_message_2(&mut self, mut noise: Box<snow::HandshakeState>) -> Result<State, HandshakeError> {
        self.read_message(&mut noise)?;
        let (to_responder, to_initiator) = split(&mut noise);
        let mut sealer = Sealer::noise(&to_responder);
        sealer.seal_record(&[], &mut self.outgoing).expect("a new connection has record numbers");
        Ok(State::Done(sealer, Opener::noise(&to_initiator)))
    }

    // RESPONDER

    fn on_offer(&mut self) -> Result<State, HandshakeError> {
        let hello = match self.hello() {
            Ok(hello) => hello,
            Err(error) => {
                if let HandshakeError::Version { .. } = error {
                    self.answer(Status::Version);
                }
                return Err(error);
            }
        };
        if hello.status != Status::Offer {
            let value = hello.status as u32;
            return Err(HandshakeError::Malformed { field: "status", value });
        }
        match (hello.mode, &self.key) {
            (Mode::Plain, None) => {
                self.answer(Status::Welcome);
                Ok(State::Done(Sealer::plain(), Opener::plain()))
            }
            (Mode::Noise, Some(key)) => Ok(State::Greeted(build(key, |builder| builder.build_responder())?)),
            (Mode::Plain, Some(_)) => {
                self.answer(Status::KeyRequired);
                Err(HandshakeError::PeerWithoutKey)
            }
            (Mode::Noise, None) => {
                self.answer(Status::NoKey);
                Err(HandshakeError::KeyRequired)
            }
        }
    }

    fn on_message_1(&mut self, mut noise: Box<snow::HandshakeState>) -> Result<State, HandshakeError> {
        if let Err(error) = self.read_message(&mut noise) {
            self.answer(Status::WrongKey);
            return Err(error);
        }
        self.answer(Status::Welcome);
        write_message(&mut noise, &mut self.outgoing)?;
        let (to_responder, to_initiator) = split(&mut noise);
        Ok(State::Answered(Sealer::noise(&to_initiator), Opener::noise(&to_responder)))
    }

    fn on_confirmation(&mut self, sealer: Sealer, mut opener: Opener) -> Result<State, HandshakeError> {
        // Its length must be right before its tag is: a longer record would wait for more bytes.
        let record = &self.incoming[..CONFIRMATION_LEN];
        let confirmed =
            record[..2] == (TAG_LEN as u16).to_be_bytes() && opener.open_confirmation(record).is_ok();
        if confirmed { Ok(State::Done(sealer, opener)) } else { Err(self.wrong_key()) }
    }

    fn answer(&mut self, status: Status) {
        let mode = mode(self.key.as_ref());
        self.outgoing.extend_from_slice(&Hello { mode, status }.encode());
    }

    // BOTH

    fn read_message(&self, noise: &mut snow::HandshakeState) -> Result<(), HandshakeError> {
        let mut payload = [0; MESSAGE_LEN];
        noise
            .read_message(&self.incoming[..MESSAGE_LEN], &mut payload)
            .map(drop)
            .map_err(|_| self.wrong_key())
    }

    fn wrong_key(&self) -> HandshakeError {
        HandshakeError::WrongKey { fingerprint: self.fingerprint() }
    }

    fn fingerprint(&self) -> String {
        self.key.as_ref().map_or_else(|| "none".into(), ClusterKey::fingerprint)
    }
}

fn mode(key: Option<&ClusterKey>) -> Mode {
    if key.is_some() { Mode::Noise } else { Mode::Plain }
}

fn offer(mode: Mode) -> [u8; HELLO_LEN] {
    Hello { mode, status: Status::Offer }.encode()
}

fn build(
    key: &ClusterKey,
    side: impl FnOnce(snow::Builder<'_>) -> Result<snow::HandshakeState, snow::Error>,
) -> Result<Box<snow::HandshakeState>, HandshakeError> {
    let welcome = Hello { mode: Mode::Noise, status: Status::Welcome }.encode();
    let prologue = [offer(Mode::Noise), welcome].concat();
    NOISE
        .parse()
        .map(|params| snow::Builder::with_resolver(params, resolver()))
        .and_then(|builder| builder.prologue(&prologue))
        .and_then(|builder| builder.psk(0, key.as_bytes()))
        .and_then(side)
        .map(Box::new)
        .map_err(HandshakeError::Setup)
}

/// AES-GCM and randomness of ring; snow's own Curve25519 and BLAKE2s.
fn resolver() -> BoxedCryptoResolver {
    Box::new(FallbackResolver::new(Box::new(RingResolver), Box::new(DefaultResolver)))
}

fn write_message(noise: &mut snow::HandshakeState, out: &mut Vec<u8>) -> Result<(), HandshakeError> {
    let mut message = [0; MESSAGE_LEN];
    let len = noise.write_message(&[], &mut message).map_err(HandshakeError::Setup)?;
    out.extend_from_slice(&message[..len]);
    Ok(())
}

/// The keys towards the responder and towards the initiator.
fn split(noise: &mut snow::HandshakeState) -> (Zeroizing<[u8; 32]>, Zeroizing<[u8; 32]>) {
    debug_assert!(noise.is_handshake_finished(), "both messages are through");
    let (to_responder, to_initiator) = noise.dangerously_get_raw_split();
    (Zeroizing::new(to_responder), Zeroizing::new(to_initiator))
}
