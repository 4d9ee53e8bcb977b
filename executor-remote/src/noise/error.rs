use std::fmt;
use std::io;

/// What a handshake was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Our own bytes to be taken.
    Send,
    /// The peer's hello.
    Hello,
    /// The peer's proof that it holds the key.
    Proof,
    /// The initiator's first record.
    Confirmation,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "it to take our hello",
            Self::Hello => "its hello",
            Self::Proof => "its proof that it holds the cluster key",
            Self::Confirmation => "its first encrypted record",
        })
    }
}

/// Why two peers did not come to speak.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first bytes are not those of this protocol.
    #[error(
        "the peer does not speak the executor protocol, its first bytes are \"{}\": is the port right?",
        received.escape_ascii()
    )]
    NotExecutor {
        /// The peer's first bytes, at most as many as a hello has.
        received: Vec<u8>,
    },
    /// The peer is of another version of this protocol.
    #[error(
        "the peer speaks version {theirs} of the executor protocol and this side version {ours}: \
         use the same release on both"
    )]
    Version {
        /// Our version.
        ours: u16,
        /// The peer's version.
        theirs: u16,
    },
    /// The peer has a key, and this side has none.
    #[error("the peer demands a cluster key and this side has none: give it with --key FILE")]
    KeyRequired,
    /// This side has a key, and the peer has none.
    #[error(
        "this side has a cluster key and the peer has none: start the peer with the same key by --key FILE"
    )]
    PeerWithoutKey,
    /// What the peer sent was not made with our key.
    #[error(
        "the peer does not hold this cluster key (fingerprint {fingerprint}): \
         give both sides the same key file"
    )]
    WrongKey {
        /// [Fingerprint](crate::key::ClusterKey::fingerprint) of our key.
        fingerprint: String,
    },
    /// The peer says that what we sent was not made with its key.
    #[error(
        "the peer refused the cluster key of this side (fingerprint {fingerprint}), as it holds another: \
         give both sides the same key file"
    )]
    KeyRefused {
        /// [Fingerprint](crate::key::ClusterKey::fingerprint) of our key.
        fingerprint: String,
    },
    /// A hello with a field that makes no sense.
    #[error("the peer's hello has {value} as its {field}, which this version does not know")]
    Malformed {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u32,
    },
    /// The peer closed the connection.
    #[error("the peer closed the connection while this side waited for {waiting_for}")]
    Closed {
        /// What was to come.
        waiting_for: Stage,
    },
    /// The deadline passed.
    #[error("the peer was too slow: time ran out while this side waited for {waiting_for}")]
    TimedOut {
        /// What was to come.
        waiting_for: Stage,
    },
    /// The connection failed.
    #[error("the connection failed while this side waited for {waiting_for}")]
    Io {
        /// What was to come.
        waiting_for: Stage,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The encryption could not be set up, for want of randomness for example.
    #[error("the encryption cannot be set up")]
    Setup(#[source] snow::Error),
}

/// Why a stream of records ended before its time. The connection is of no more use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A record was not sealed by the peer as the one that had to come now.
    #[error("record {record} was changed, repeated, moved or left out on the way")]
    Forged {
        /// Its number, from 0.
        record: u64,
    },
    /// A record is too short to have been sealed.
    #[error("record {record} has {len} bytes, fewer than any record of this protocol")]
    Short {
        /// Its number, from 0.
        record: u64,
        /// Its length.
        len: usize,
    },
    /// The connection ended inside a record.
    #[error("the connection was cut inside record {record}")]
    Truncated {
        /// Its number, from 0.
        record: u64,
    },
    /// The connection ended between records, without the record that says so.
    #[error("the connection was cut before the peer closed it")]
    Cut,
    /// Bytes after the end of the stream.
    #[error("bytes came after the peer had closed the stream")]
    AfterEnd,
    /// This side closed the stream and went on sending.
    #[error("this side has closed the stream")]
    Closed,
    /// All 2^64 - 1 numbers are used.
    #[error("the connection has no record numbers left: connect anew")]
    Exhausted,
}

/// Why sending or receiving on a secure stream failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecureError {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The records are not what the peer sealed.
    #[error(transparent)]
    Record(#[from] RecordError),
}
