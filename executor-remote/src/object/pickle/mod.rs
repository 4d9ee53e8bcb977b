//! Pickle, as data only.
//!
//! A pickle is a program for a small stack machine. Most of its instructions make plain values; some name a class or function
//! (`GLOBAL`) and call it (`REDUCE`), and whoever runs those for a peer runs what the peer likes. Here nothing is
//! called. A few names are known to mean data ([`Object::Set`], [`Object::Exception`] and so on) and are read as such;
//! every other one is an error that tells the name.
//!
//! *Read*: protocols 0 to 5. A pickle becomes a list of nodes that borrow from the message, and the nodes become an
//! [`Object`] or directly the value that is wanted. A reference to an earlier value (`GET`) repeats that value. What
//! contains itself is an error; so is what becomes too large by repeating ([`Limits`]). Memory is proportional to the message.
//!
//! *Written*: protocol 4, which Python reads from 3.4 on, without frames and without references.
//!
//! # Exceptions
//!
//! A class counts as one of exceptions if it is builtin, or if its name says so (`SomethingError`, `-Exception`, `-Warning`); its
//! arguments, notes, attributes, and the text of a cause are kept. Those that are builtin, and some of the standard library
//! (`queue.Empty`), are written as what they are. Any other class may not exist where it is read, or not take its
//! arguments back: then the reader would fail in place of the call. It is written as an `Exception` whose text
//! begins with the name of the class.

mod calls;
mod globals;
mod machine;
mod node;
mod opcode;
mod ser;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use serde::{Deserialize, Serialize};

use super::de::SourceDeserializer;
use super::{Exception, MAX_DEPTH, Object, ObjectError};

/// What a pickle may cost beyond its own length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many levels of values may be inside of one another. Default: [`MAX_DEPTH`]. More of them need more stack.
    pub depth: usize,
    /// How many values may be there by repeating what is in the message once. Default: 1 Mi, some 32 MiB as an [`Object`].
    pub repeated_items: usize,
    /// How many bytes of text and bytes may be there by repeating. Default: 64 MiB.
    pub repeated_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: MAX_DEPTH, repeated_items: 1 << 20, repeated_bytes: 64 << 20 }
    }
}

/// Why a pickle is not read, or a value does not become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It ends in the middle.
    #[error("the pickle of {len} bytes is truncated")]
    Truncated {
        /// Its length.
        len: usize,
    },
    /// It goes on after its end.
    #[error("the pickle is followed by {left} bytes that do not belong to it")]
    TrailingBytes {
        /// How many.
        left: usize,
    },
    /// It is of a protocol beyond 5.
    #[error("pickle protocol {0} is not known; 0 to 5 are")]
    Protocol(u8),
    /// It names a class or function that is not known to be data.
    #[error(
        "the pickle refers to `{name}`, which is not called here: only plain data, exceptions and sets are read"
    )]
    Forbidden {
        /// The module and the name in it.
        name: String,
    },
    /// It has an instruction that cannot be data, or that makes no sense at this place.
    #[error("the pickle has a bad instruction {opcode:#04x} at byte {at}: {reason}")]
    BadInstruction {
        /// The instruction.
        opcode: u8,
        /// Where it is, in bytes from the begin.
        at: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value contains itself.
    #[error("the pickled value contains itself, which only Python can have")]
    Recursive,
    /// Too many levels.
    #[error("the pickled value has more than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// References make it too large.
    #[error("the pickled value exceeds the limit of {limit} {unit}: it repeats parts of itself too often")]
    TooLarge {
        /// The limit.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// An integer is too large.
    #[error("the pickle has an integer of {bits} bits or more, and an integer here has up to 127 and a sign")]
    IntegerTooLarge {
        /// About how many bits it has.
        bits: usize,
    },
    /// The value is not what was wanted, or does not serialise.
    #[error(transparent)]
    Value(#[from] ObjectError),
}

/// The pickle of a value.
///
/// # Errors
///
/// What its `Serialize` reports; an integer beyond `i128`; more than [`MAX_DEPTH`] levels.
///
/// # Examples
///
/// ```
/// use executor_remote::object::pickle;
///
/// assert_eq!(pickle::to_vec("hi")?, b"\x80\x04\x8c\x02hi.");
/// # Ok::<(), pickle::PickleError>(())
/// ```
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, PickleError> {
    let mut out = Vec::new();
    to_buffer(value, &mut out)?;
    Ok(out)
}

/// Appends the pickle of a value. On an error, nothing is appended.
///
/// # Errors
///
/// As [`to_vec`].
pub fn to_buffer<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), PickleError> {
    let before = out.len();
    let mut writer = writer::Writer::begin(out);
    match value.serialize(ser::PickleSerializer::new(&mut writer)) {
        Ok(()) => {
            writer.end();
            Ok(())
        }
        Err(error) => {
            out.truncate(before);
            Err(error.into())
        }
    }
}

/// The value that a pickle is, with the default [`Limits`].
///
/// # Errors
///
/// All of [`PickleError`].
pub fn from_slice<'de, T: Deserialize<'de>>(pickle: &'de [u8]) -> Result<T, PickleError> {
    let nodes = machine::read(pickle, &Limits::default())?;
    Ok(T::deserialize(SourceDeserializer::new(nodes.root()))?)
}

/// The value that a pickle is; or the exception, if it is one.
///
/// This is how Python programs answer calls: with the result, or with the exception that the caller is to raise.
///
/// # Errors
///
/// All of [`PickleError`].
pub fn from_slice_or_exception<'de, T: Deserialize<'de>>(
    pickle: &'de [u8],
) -> Result<Result<T, Box<Exception>>, PickleError> {
    let nodes = machine::read(pickle, &Limits::default())?;
    if let Some(exception) = nodes.root().exception() {
        return Ok(Err(exception));
    }
    Ok(Ok(T::deserialize(SourceDeserializer::new(nodes.root()))?))
}

/// The object that a pickle is.
///
/// # Errors
///
/// All of [`PickleError`] but `Value`.
pub fn read(pickle: &[u8], limits: &Limits) -> Result<Object, PickleError> {
    Ok(machine::read(pickle, limits)?.root().to_object())
}

/// The pickle of an object.
pub fn write(object: &Object) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = writer::Writer::begin(&mut out);
    writer.object(object);
    writer.end();
    out
}
