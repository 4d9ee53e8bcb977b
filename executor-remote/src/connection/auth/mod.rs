//! Both sides of the handshake with an authkey, as one state machine without IO.
//!
//! ```text
//!  server (it listened)                              client (it dialled)
//!  1  "#CHALLENGE#" + M1                        →
//!  2                                            ←    R1, the response to M1
//!  3  "#WELCOME#"  or  "#FAILURE#"              →
//!  4                                            ←    "#CHALLENGE#" + M2
//!  5  R2, the response to M2                    →
//!  6                                            ←    "#WELCOME#"  or  "#FAILURE#"
//! ```
//!
//! Each line is a message of [`frame`](super::frame), of at most [`MAX_MESSAGE`] bytes.
//!
//! 1. A challenge M is `{sha256}` and 40 random bytes, as Python 3.12 and later send it. The response is an HMAC with the key
//!    over all of M. Older Pythons answer with HMAC-MD5, 16 bytes, whatever M says; newer ones with the name of a digest in
//!    braces and its HMAC. Any of the five [digests](Digest) is taken, which need not be the one that was asked for.
//! 2. A challenge of 20 bytes is that of an older Python. It is answered with HMAC-MD5.
//! 3. With [`refuse_md5`](Rules::refuse_md5) neither 1 nor 2 holds for MD5: it is neither taken nor made.
//! 4. **No reflection.** Both directions use the same key and the same function, so that a peer without the key could have
//!    a challenge answered by the side that sent it, on another connection. This process therefore remembers the challenges
//!    that it has under way ([`Challenge`]): no server here answers a challenge of a server here, and no client one of a client.
//!    It cannot know those of other processes: who has to fear a relay between programs takes an encrypted connection,
//!    whose handshake is bound to its channel.
//! 5. A state takes one kind of message. Whatever else comes ends the handshake.
//!
//! Nothing that follows the handshake is protected by it: no encryption, no integrity.

mod digest;
mod issued;
mod key;

use std::fmt;

pub use digest::Digest;
pub use issued::Challenge;
pub use key::AuthKey;

#[cfg(test)]
mod tests;

/// The longest message of a handshake, in bytes.
pub const MAX_MESSAGE: usize = 256;

const CHALLENGE: &[u8] = b"#CHALLENGE#";
const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";
/// A challenge of Python up to 3.11, and the shortest there is.
const LEGACY_CHALLENGE: usize = 20;
/// A bare HMAC-MD5.
const LEGACY_RESPONSE: usize = 16;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// It listened, and challenges first.
    Server,
    /// It dialled, and is challenged first.
    Client,
}

/// What this side insists on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Neither accept nor make responses with MD5. No Python before 3.12 gets through.
    pub refuse_md5: bool,
}

/// A handshake under way.
///
/// The driver's loop: send what [`poll_transmit`](Self::poll_transmit) gives, as one message each; done if
/// [`is_done`](Self::is_done); else give the next message to [`handle_message`](Self::handle_message). After an error
/// too there may be something to send: it tells the peer.
#[derive(Debug)]
pub struct Authenticator {
    key: AuthKey,
    rules: Rules,
    side: Side,
    challenge: Challenge,
    state: State,
    outgoing: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Our challenge is out.
    AwaitResponse,
    /// It is the peer's turn to challenge.
    AwaitChallenge,
    /// Our response is out.
    AwaitVerdict,
    Done,
    Failed,
}

impl Authenticator {
    /// Begins a handshake. `challenge` is this side's own, [drawn](Challenge::draw) for it alone, and says which side it is.
    #[must_use]
    pub fn new(key: AuthKey, rules: Rules, challenge: Challenge) -> Self {
        let side = challenge.side();
        let state = match side {
            Side::Server => State::AwaitResponse,
            Side::Client => State::AwaitChallenge,
        };
        let mut this = Self { key, rules, side, challenge, state, outgoing: Vec::new() };
        if side == Side::Server {
            this.send_challenge();
        }
        this
    }

    /// The next message to be sent, if there is one.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.outgoing.is_empty()).then(|| self.outgoing.remove(0))
    }

    /// Whether each side has proven to the other that it holds the key. There may still be something to send.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// What is to come from the peer.
    #[must_use]
    pub fn waiting_for(&self) -> &'static str {
        match self.state {
            State::AwaitResponse => "the answer to its challenge",
            State::AwaitChallenge => "the challenge of the peer",
            State::AwaitVerdict => "the verdict of the peer",
            State::Done | State::Failed => "nothing",
        }
    }

    /// Takes a message of the peer.
    ///
    /// # Errors
    ///
    /// Why the handshake has failed. It is over then.
    pub fn handle_message(&mut self, message: &[u8]) -> Result<(), AuthFailure> {
        let handled = match self.state {
            State::AwaitResponse => self.on_response(message),
            State::AwaitChallenge => self.on_challenge(message),
            State::AwaitVerdict => self.on_verdict(message),
            State::Done | State::Failed => Err(AuthFailure::Unexpected { waiting_for: self.waiting_for() }),
        };
        handled.inspect_err(|_| self.state = State::Failed)
    }

    fn on_response(&mut self, message: &[u8]) -> Result<(), AuthFailure> {
        if let Err(failure) = verify(&self.key, self.rules, self.challenge.as_bytes(), message) {
            self.outgoing.push(FAILURE.to_vec());
            return Err(failure);
        }
        self.outgoing.push(WELCOME.to_vec());
        self.state = match self.side {
            Side::Server => State::AwaitChallenge,
            Side::Client => State::Done,
        };
        Ok(())
    }

    fn on_challenge(&mut self, message: &[u8]) -> Result<(), AuthFailure> {
        let Some(challenge) = message.strip_prefix(CHALLENGE) else {
            return Err(AuthFailure::Unexpected { waiting_for: self.waiting_for() });
        };
        let response = respond(self.side, &self.key, self.rules, challenge)?;
        self.outgoing.push(response);
        self.state = State::AwaitVerdict;
        Ok(())
    }

    fn on_verdict(&mut self, message: &[u8]) -> Result<(), AuthFailure> {
        match message {
            WELCOME => {}
            FAILURE => return Err(AuthFailure::Rejected),
            _ => return Err(AuthFailure::Unexpected { waiting_for: self.waiting_for() }),
        }
        match self.side {
            Side::Server => self.state = State::Done,
            Side::Client => {
                self.send_challenge();
                self.state = State::AwaitResponse;
            }
        }
        Ok(())
    }

    fn send_challenge(&mut self) {
        self.outgoing.push([CHALLENGE, self.challenge.as_bytes()].concat());
    }
}

/// Whether a message that should have been something else shows that the peer demands a key.
pub(super) fn is_challenge(message: &[u8]) -> bool {
    message.starts_with(CHALLENGE)
}

/// Splits what begins with the name of a digest. `None`: it has the length of what older Pythons send.
fn split_digest(bytes: &[u8]) -> Result<Option<(Digest, &[u8])>, AuthFailure> {
    if matches!(bytes.len(), LEGACY_CHALLENGE | LEGACY_RESPONSE) {
        return Ok(None);
    }
    // Python looks for the brace in the first ten bytes.
    let named = bytes.strip_prefix(b"{").and_then(|rest| {
        let end = rest.iter().take(9).position(|byte| *byte == b'}')?;
        Some((Digest::from_name(&rest[..end])?, &rest[end + 1..]))
    });
    named.map(Some).ok_or(AuthFailure::UnknownDigest { len: bytes.len() })
}

/// The response to a challenge of the peer.
fn respond(side: Side, key: &AuthKey, rules: Rules, challenge: &[u8]) -> Result<Vec<u8>, AuthFailure> {
    if challenge.len() < LEGACY_CHALLENGE {
        return Err(AuthFailure::ShortChallenge { len: challenge.len() });
    }
    if Challenge::is_under_way(side, challenge) {
        return Err(AuthFailure::Reflected);
    }
    let named = split_digest(challenge)?.map(|(digest, _)| digest);
    let digest = named.unwrap_or(Digest::Md5);
    if rules.refuse_md5 && digest == Digest::Md5 {
        return Err(AuthFailure::Md5Refused);
    }
    let mut response = Vec::with_capacity(64);
    if named.is_some() {
        response.extend_from_slice(format!("{{{}}}", digest.name()).as_bytes());
    }
    response.extend_from_slice(&digest.hmac(key, challenge));
    Ok(response)
}

/// Judges the peer's response to our challenge.
fn verify(key: &AuthKey, rules: Rules, challenge: &[u8], response: &[u8]) -> Result<(), AuthFailure> {
    let (digest, mac) = split_digest(response)?.unwrap_or((Digest::Md5, response));
    if rules.refuse_md5 && digest == Digest::Md5 {
        return Err(AuthFailure::Md5Refused);
    }
    let expected = digest.hmac(key, challenge);
    // Unequal lengths are unequal; only the contents are compared in constant time.
    match bool::from(subtle::ConstantTimeEq::ct_eq(&expected[..], mac)) {
        true => Ok(()),
        false => Err(AuthFailure::WrongKey),
    }
}

/// Why an authentication failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthFailure {
    /// The peer's response was not made with our key.
    WrongKey,
    /// The peer says so of ours.
    Rejected,
    /// Not the message that had to come.
    Unexpected {
        /// What had to come.
        waiting_for: &'static str,
    },
    /// A challenge of fewer than 20 bytes.
    ShortChallenge {
        /// Its length in bytes.
        len: usize,
    },
    /// A challenge or response with a digest that is not known.
    UnknownDigest {
        /// Its length in bytes.
        len: usize,
    },
    /// The peer can MD5 only, which is refused here.
    Md5Refused,
    /// The peer asked for the answer to a challenge that this process has sent in the same role.
    Reflected,
    /// The peer demands a key, and this side has none.
    KeyRequired,
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongKey => f.write_str("the peer does not hold the authkey of this side"),
            Self::Rejected => {
                f.write_str("the peer rejected the authkey of this side: give both sides the same one")
            }
            Self::Unexpected { waiting_for } => {
                write!(f, "the peer sent something else than {waiting_for}: does it have an authkey?")
            }
            Self::ShortChallenge { len } => write!(f, "the peer's challenge has only {len} bytes"),
            Self::UnknownDigest { len } => {
                write!(f, "the peer sent {len} bytes that name no digest known here")
            }
            Self::Md5Refused => f.write_str(
                "the peer uses MD5, which is refused here (Python before 3.12 knows nothing else)",
            ),
            Self::Reflected => f.write_str("the peer sent back a challenge that came from here"),
            Self::KeyRequired => f.write_str("the peer demands an authkey and this side has none"),
        }
    }
}
