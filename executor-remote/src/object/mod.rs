//! Values as Python has them, and the codecs by which they travel.
//!
//! An [`Object`] is any value that has no type of its own here: what a Python program sends, what a manager keeps, the
//! arguments of a function that is called by name. [`Codec`] says how values become bytes; [`pickle`] is the one of them
//! that Python speaks, read as data only: nothing that a pickle names is ever called.
//!
//! # What becomes what
//!
//! | serde | Python | read back from |
//! | --- | --- | --- |
//! | `bool`, integers, floats | `bool`, `int`, `float` | the same; an `int` where a float is wanted |
//! | `char`, `str` | `str` | `str` |
//! | bytes (`serialize_bytes`) | `bytes` | `bytes`, `bytearray`; also where a sequence of numbers is wanted, as for `Vec<u8>` |
//! | `None`, `()`, unit struct | `None` | `None` |
//! | `Some(x)` | as `x` | as `x`; so `Some(None)` comes back as `None` |
//! | sequence (`Vec`, sets) | `list` | `list`, `tuple`, `set`, `frozenset` |
//! | tuple, array, tuple struct | `tuple` | `tuple`, `list` |
//! | newtype struct | as what is inside | as what is inside |
//! | map | `dict`, with keys of any type | `dict` |
//! | struct | `dict` of its fields by name | `dict`; or a `tuple` or `list` of them in order |
//! | enum: unit variant | `str`, its name | `str` |
//! | enum: other variants | `dict` of one item, name to content | the same |
//! | [`Object`] | exactly itself | anything |
//!
//! An integer is at most an `i128`. A `Vec<u8>` goes through serde number by number and so becomes a list of numbers: take
//! [`Object::Bytes`], or a type that serialises as bytes, for Python's `bytes`.
//!
//! The other self-describing codecs have fewer kinds of values. In MessagePack and JSON, tuples and sets become arrays, an
//! [`Exception`] becomes a map; JSON also has no bytes (an array of numbers), no keys but strings, and no integers beyond 64
//! bits that an `Object` could read back (they become floats). bincode is not self-describing, so an `Object` writes there
//! what it is in front of itself, and comes back exactly.

mod arguments;
mod codec;
mod de;
mod exception;
mod key;
pub mod pickle;
mod repr;
mod ser;
#[cfg(test)]
mod tests;
mod value;

pub use arguments::Arguments;
pub use codec::{Codec, CodecError};
pub use exception::Exception;
pub use key::Key;
pub use value::{Instance, Object};

/// The most that values may be inside of one another, in every codec.
pub const MAX_DEPTH: usize = 128;

/// A value that does not become an [`Object`], or an [`Object`] that is not the value that was wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ObjectError {
    message: String,
}

impl ObjectError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl serde::ser::Error for ObjectError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl serde::de::Error for ObjectError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}
