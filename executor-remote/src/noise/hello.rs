//! The 16 bytes with which both sides begin. Their layout is the same in all versions.

use super::error::HandshakeError;

/// Version of the protocol of this crate, from the hello up to the messages of sessions.
pub const PROTOCOL_VERSION: u16 = 1;

/// Length of a hello in bytes.
pub const HELLO_LEN: usize = 16;

const MAGIC: &[u8; 8] = b"EXECUTOR";

/// How records travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Plain = 0,
    Noise = 1,
}

/// What a hello says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// From the initiator: let us speak.
    Offer = 0,
    /// From the responder, as are all that follow: go on.
    Welcome = 1,
    /// My version is another.
    Version = 2,
    /// I have a key, you have none.
    KeyRequired = 3,
    /// You have a key, I have none.
    NoKey = 4,
    /// Your key is another.
    WrongKey = 5,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub mode: Mode,
    pub status: Status,
}

impl Hello {
    pub fn encode(self) -> [u8; HELLO_LEN] {
        let mut bytes = [0; HELLO_LEN];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        bytes[10] = self.mode as u8;
        bytes[11] = self.status as u8;
        bytes
    }

    /// Decodes a whole hello of our version.
    pub fn decode(bytes: &[u8; HELLO_LEN]) -> Result<Self, HandshakeError> {
        check_magic(bytes)?;
        let theirs = u16::from_le_bytes([bytes[8], bytes[9]]);
        if theirs != PROTOCOL_VERSION {
            return Err(HandshakeError::Version { ours: PROTOCOL_VERSION, theirs });
        }
        let malformed = |field, value: u8| HandshakeError::Malformed { field, value: value.into() };
        let mode = match bytes[10] {
            0 => Mode::Plain,
            1 => Mode::Noise,
            other => return Err(malformed("mode", other)),
        };
        let status = match bytes[11] {
            0 => Status::Offer,
            1 => Status::Welcome,
            2 => Status::Version,
            3 => Status::KeyRequired,
            4 => Status::NoKey,
            5 => Status::WrongKey,
            other => return Err(malformed("status", other)),
        };
        match u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) {
            0 => Ok(Self { mode, status }),
            value => Err(HandshakeError::Malformed { field: "reserved field", value }),
        }
    }
}

/// Whether `start`, the first bytes of a hello, can be that: strangers are told by their first byte.
pub(super) fn check_magic(start: &[u8]) -> Result<(), HandshakeError> {
    if start.iter().zip(MAGIC).all(|(a, b)| a == b) {
        Ok(())
    } else {
        Err(HandshakeError::NotExecutor { received: start.to_vec() })
    }
}
