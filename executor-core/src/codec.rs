//! How arguments and results become bytes.
//!
//! The codec is [`bincode`] 2 through serde, never its native `Decode`. Both sides of a connection name the codec in
//! their handshake by [`CODEC_ID`], so that it can be replaced. A decoder never allocates more than [`LIMIT`] bytes for
//! lengths that it merely reads, and what it leaves unread is an error: a value that does not round-trip is found
//! here and not by its user.

#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::TaskError;
use crate::panic;

/// Names the codec in handshakes.
pub const CODEC_ID: u8 = 1;

/// The most that one value may claim, in bytes: 4 GiB less one. Frames have a lower limit of their own.
pub const LIMIT: usize = u32::MAX as usize;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Appends the serialised value. The value's own code may panic.
fn to_bytes<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    struct Appender<'a>(&'a mut Vec<u8>);
    impl bincode::enc::write::Writer for Appender<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    bincode::serde::encode_into_writer(value, Appender(out), config()).map_err(|it| it.to_string())
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (value, read) = bincode::serde::decode_from_slice(bytes, config()).map_err(|it| it.to_string())?;
    if read != bytes.len() {
        return Err(format!(
            "{} of {} bytes were left over: Serialize wrote more than Deserialize reads",
            bytes.len() - read,
            bytes.len()
        ));
    }
    Ok(value)
}

/// Serialises a message of ours, whose types are known not to fail.
pub(crate) fn encode_message<T: Serialize>(value: &T, out: &mut Vec<u8>) {
    to_bytes(value, out).expect("messages are plain data, which always serialises");
}

/// Deserialises a message of ours, which a peer may have garbled.
pub(crate) fn decode_message<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    from_bytes(bytes)
}

pub(crate) fn encode_arg<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), TaskError> {
    encode(value, out, "argument")
}

pub(crate) fn encode_result<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), TaskError> {
    encode(value, out, "result")
}

pub(crate) fn decode_arg<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TaskError> {
    decode(bytes, "argument")
}

pub(crate) fn decode_result<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, TaskError> {
    decode(bytes, "result")
}

/// On an error, `out` is as long as before.
fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>, what: &str) -> Result<(), TaskError> {
    let before = out.len();
    let message = match panic::catch(|| to_bytes(value, out)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(message)) => message,
        Err(panic) => panic.to_string(),
    };
    out.truncate(before);
    Err(TaskError::encode(described::<T>(what), message))
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, TaskError> {
    match panic::catch(|| from_bytes(bytes)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(TaskError::decode(described::<T>(what), message)),
        Err(panic) => Err(TaskError::decode(described::<T>(what), panic)),
    }
}

fn described<T>(what: &str) -> String {
    format!("{what} of type {}", std::any::type_name::<T>())
}
