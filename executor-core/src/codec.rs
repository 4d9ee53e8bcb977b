//! How arguments and results become bytes.
//!
//! The codec is [`bincode`] 2 through serde, never its native `Decode`. Both sides of a connection name the codec in
//! their handshake by [`CODEC_ID`], so that it can be replaced. A decoder never allocates more than [`LIMIT`] bytes for
//! lengths that it merely reads, for a short message much less, nor does it go on for ever for elements that take no bytes;
//! and what it leaves unread is an error: a value that does not round-trip is found
//! here and not by its user.

mod bounded;
#[cfg(test)]
mod tests;

use std::any::{Any, TypeId};
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use crate::blob;
use crate::error::TaskError;
use crate::panic;
use crate::parcel::Buffer;

/// Names the codec in handshakes.
pub const CODEC_ID: u8 = 1;

/// The most that one value may claim, in bytes: 4 GiB less one. Frames have a lower limit of their own.
pub const LIMIT: usize = u32::MAX as usize;

/// No number claims more than so many bytes for each of its own: a `u128` that is small is one byte.
const GREATEST_CLAIM: usize = 16;

/// Bytes that count as few, for the limit of what they may claim.
const FEW: usize = 64 * 1024;

/// Bytes that count as not many.
const SOME: usize = 16 * 1024 * 1024;

fn config<const LIMIT: usize>() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Where serialised bytes go.
trait Sink {
    fn append(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Sink for Buffer<'_> {
    #[inline(always)]
    fn append(&mut self, bytes: &[u8]) {
        self.extend(bytes);
    }
}

/// Appends the serialised value. The value's own code may panic.
fn to_bytes<T: Serialize>(value: &T, out: &mut impl Sink) -> Result<(), String> {
    struct Appender<'a, S>(&'a mut S);
    impl<S: Sink> bincode::enc::write::Writer for Appender<'_, S> {
        #[inline(always)]
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.append(bytes);
            Ok(())
        }
    }
    bincode::serde::encode_into_writer(value, Appender(out), config::<LIMIT>()).map_err(|it| it.to_string())
}

/// As [`to_bytes`], in one go if the value is a vector of bytes: serde would have it number by number. The bytes are
/// the same.
fn value_to_bytes<T: Serialize + 'static>(value: &T, out: &mut impl Sink) -> Result<(), String> {
    match (value as &dyn Any).downcast_ref::<Vec<u8>>() {
        Some(bytes) => to_bytes(&blob::Bytes(bytes), out),
        None => to_bytes(value, out),
    }
}

/// As [`from_bytes`], in one go if the value is a vector of bytes.
fn value_from_bytes<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    if TypeId::of::<T>() != TypeId::of::<Vec<u8>>() {
        return from_bytes(bytes);
    }
    let mut value = Some(from_bytes::<blob::Owned>(bytes)?.0);
    let value = (&mut value as &mut dyn Any).downcast_mut::<Option<T>>().and_then(Option::take);
    Ok(value.expect("the type has just been compared"))
}

/// Appends a value of the user's as a message of its own, beside which nothing travels unless the caller
/// [collects](crate::attachment::collect) it. For what carries values besides tasks: queues, pipes.
///
/// # Errors
///
/// What the value's `Serialize` reports, or its panic, as text; `out` is then as long as before.
#[doc(hidden)]
pub fn encode_value<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    let before = out.len();
    let result = match panic::catch(|| value_to_bytes(value, out)) {
        Ok(result) => result,
        Err(panic) => Err(panic.to_string()),
    };
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// The value that [`encode_value`] has written.
///
/// # Errors
///
/// What the value's `Deserialize` reports, or its panic, as text; or that it did not read all of it.
#[doc(hidden)]
pub fn decode_value<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, String> {
    match panic::catch(|| value_from_bytes(bytes)) {
        Ok(result) => result,
        Err(panic) => Err(panic.to_string()),
    }
}

/// Appends any value, as [`encode_value`] does; a vector of bytes goes number by number.
///
/// # Errors
///
/// What the value's `Serialize` reports, as text. Its panic is passed on, and `out` then has the begin of it.
#[doc(hidden)]
pub fn encode_plain<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), String> {
    let before = out.len();
    let result = to_bytes(&value, out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// The value that [`encode_plain`] has written.
///
/// # Errors
///
/// What the value's `Deserialize` reports, as text; or that it did not read all of it.
#[doc(hidden)]
pub fn decode_plain<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    from_bytes(bytes)
}

/// As [`decode_plain`], of what the seed says.
///
/// # Errors
///
/// As there.
#[doc(hidden)]
pub fn decode_plain_seed<'de, S: DeserializeSeed<'de>>(
    seed: S,
    bytes: &'de [u8],
) -> Result<S::Value, String> {
    seed_from_bytes(seed, bytes)
}

fn from_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    seed_from_bytes(PhantomData::<T>, bytes)
}

fn seed_from_bytes<'de, S: DeserializeSeed<'de>>(seed: S, bytes: &'de [u8]) -> Result<S::Value, String> {
    let message = bounded::Message::of(bytes.len(), seed);
    // The decoder allocates for a length before it finds out that the bytes are not there, so that few bytes must not
    // announce many. Its limit is a constant; hence the steps.
    let decoded = match bytes.len() {
        0..=FEW => {
            bincode::serde::seed_decode_from_slice(message, bytes, config::<{ GREATEST_CLAIM * FEW }>())
        }
        len if len <= SOME => {
            bincode::serde::seed_decode_from_slice(message, bytes, config::<{ GREATEST_CLAIM * SOME }>())
        }
        _ => bincode::serde::seed_decode_from_slice(message, bytes, config::<LIMIT>()),
    };
    let (value, read) = decoded.map_err(|it| it.to_string())?;
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

pub(crate) fn encode_arg<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<(), TaskError> {
    encode_arg_into(value, &mut Buffer::new(out, false))
}

pub(crate) fn encode_arg_into<T: Serialize + 'static>(
    value: &T,
    out: &mut Buffer<'_>,
) -> Result<(), TaskError> {
    encode(value, out, "argument")
}

pub(crate) fn encode_result<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<(), TaskError> {
    encode_result_into(value, &mut Buffer::new(out, false))
}

pub(crate) fn encode_result_into<T: Serialize + 'static>(
    value: &T,
    out: &mut Buffer<'_>,
) -> Result<(), TaskError> {
    encode(value, out, "result")
}

pub(crate) fn decode_arg<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, TaskError> {
    decode(bytes, "argument")
}

pub(crate) fn decode_result<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, TaskError> {
    decode(bytes, "result")
}

/// On an error, nothing is appended.
fn encode<T: Serialize + 'static>(value: &T, out: &mut Buffer<'_>, what: &str) -> Result<(), TaskError> {
    let message = match panic::catch(|| value_to_bytes(value, out)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(message)) => message,
        Err(panic) => panic.to_string(),
    };
    out.abandon();
    Err(TaskError::encode(described::<T>(what), message))
}

fn decode<T: DeserializeOwned + 'static>(bytes: &[u8], what: &str) -> Result<T, TaskError> {
    match panic::catch(|| value_from_bytes(bytes)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(message)) => Err(TaskError::decode(described::<T>(what), message)),
        Err(panic) => Err(TaskError::decode(described::<T>(what), panic)),
    }
}

fn described<T>(what: &str) -> String {
    format!("{what} of type {}", std::any::type_name::<T>())
}
