use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::address::Address;
use super::auth::AuthFailure;
use super::frame::FrameError;
use crate::noise::{HandshakeError, RecordError};
use crate::object::CodecError;

/// What can go wrong with connections and listeners.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer closed the connection, between two messages.
    #[error("the peer has closed the connection")]
    Closed,
    /// The connection ended inside of a message, or of the handshake; or, when it is encrypted, without the record that
    /// closes it.
    #[error("the connection was cut before what the peer was sending was complete")]
    Truncated,
    /// A message is longer than this side takes. Nothing of it is lost: it can be received with a larger limit, up to the one
    /// that the connection was configured with.
    #[error("the peer announced a message of {len} bytes, and at most {max} are taken here")]
    TooLong {
        /// What was announced, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// A message announced with a length that none can have. The connection is of no more use.
    #[error("the peer announced a message of {len} bytes: it does not speak the protocol of this connection")]
    BadLength {
        /// What was announced.
        len: i32,
    },
    /// One side did not prove to the other that it holds the key.
    #[error("authentication with {peer} failed: {reason}")]
    AuthenticationFailed {
        /// The peer.
        peer: Address,
        /// Who failed, and how.
        reason: AuthFailure,
    },
    /// The peer was too slow to prove that it holds the key, or does not do it at all.
    #[error(
        "{peer} did not complete the handshake within {limit:?}, this side waited for {waiting_for}: \
         were both sides given a key, and of the same kind?"
    )]
    HandshakeTimedOut {
        /// The peer.
        peer: Address,
        /// What was to come.
        waiting_for: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The peer closed the connection before the handshake was over.
    #[error(
        "{peer} closed the connection during the handshake, when this side waited for {waiting_for}: \
         does it expect a key, or is it overloaded?"
    )]
    HandshakeClosed {
        /// The peer.
        peer: Address,
        /// What was to come.
        waiting_for: &'static str,
    },
    /// The handshake of an encrypted connection failed.
    #[error("no encrypted connection with {peer}")]
    Noise {
        /// The peer.
        peer: Address,
        /// Why.
        #[source]
        source: HandshakeError,
    },
    /// A record of an encrypted connection is not what the peer sealed.
    #[error("the encrypted connection is broken")]
    Record(#[source] RecordError),
    /// The text is no address.
    #[error("`{text}` is no address: {problem}")]
    BadAddress {
        /// The text.
        text: String,
        /// What is wrong with it, and what an address looks like.
        problem: String,
    },
    /// The host is not known.
    #[error("cannot find the host of {address}")]
    Resolve {
        /// The address.
        address: Address,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// A TCP address that others than this machine can reach, and neither key nor encryption.
    #[error(
        "without an authkey {address} cannot be listened on, as {target} is not a loopback address: \
         give an authkey, use `bind_noise` with a cluster key, or listen on 127.0.0.1"
    )]
    NotLoopback {
        /// The address.
        address: Address,
        /// What it stands for.
        target: SocketAddr,
    },
    /// A key without a byte, which everybody knows.
    #[error("the authkey is empty: give some 32 random bytes, or none at all for no authentication")]
    EmptyKey,
    /// Something else has the address.
    #[error("{address} is in use: another program listens there, choose another address or port 0")]
    AddressInUse {
        /// The address.
        address: Address,
    },
    /// There is a file where the Unix socket was to be.
    #[error("cannot listen on unix:{}: {found}", path.display())]
    PathExists {
        /// Where.
        path: PathBuf,
        /// What is there.
        found: Found,
    },
    /// The address cannot be listened on, for another reason.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: Address,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// Nothing answers there.
    #[error("cannot connect to {address}{}", connect_remedy(source))]
    Connect {
        /// The address.
        address: Address,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// A value that does not become a message, or a message that is not the value that was wanted. It is taken all the same.
    #[error("a message and a value do not fit")]
    Codec(#[from] CodecError),
    /// The connection failed, or the operating system refuses.
    #[error("the connection failed")]
    Io(#[source] io::Error),
}

impl ConnectionError {
    /// Whether the peer is gone, in whichever way.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        match self {
            Self::Closed | Self::Truncated | Self::HandshakeClosed { .. } => true,
            Self::Io(source) => {
                matches!(source.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
            }
            _ => false,
        }
    }
}

impl From<FrameError> for ConnectionError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLong { len, max } => Self::TooLong { len, max },
            FrameError::BadLength { len } => Self::BadLength { len },
        }
    }
}

impl From<RecordError> for ConnectionError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Cut | RecordError::Truncated { .. } => Self::Truncated,
            other => Self::Record(other),
        }
    }
}

impl From<rustix::io::Errno> for ConnectionError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// What is where a Unix socket was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// A socket on which somebody listens.
    LiveSocket,
    /// A socket on which nobody listens.
    StaleSocket,
    /// Something else.
    OtherFile,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LiveSocket => "another program listens there, choose another path",
            Self::StaleSocket => {
                "a program that listened there has ended and left its socket behind, remove the file"
            }
            Self::OtherFile => "the path is that of a file which is no socket, choose another path",
        })
    }
}

fn connect_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ": nobody listens there, is the program started?",
        io::ErrorKind::NotFound => ": there is no such socket, is the program started?",
        io::ErrorKind::TimedOut => ": nothing answered in time",
        _ => "",
    }
}
