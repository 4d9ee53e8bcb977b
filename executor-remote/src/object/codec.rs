//! [`Codec`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ObjectError;
use super::pickle::{self, PickleError};

/// How the values of a connection become bytes. Both sides have to agree on it.
///
/// Every codec is bounded: what it allocates is in proportion to the bytes that are there, whatever lengths they claim, and
/// an [`Object`](super::Object) has at most [`MAX_DEPTH`](super::MAX_DEPTH) levels. What is left over behind a value is an error.
///
/// # Examples
///
/// ```
/// use executor_remote::object::Codec;
///
/// let mut bytes = Vec::new();
/// Codec::Pickle.encode(&("add", (2, 3)), &mut bytes)?;
/// assert_eq!(Codec::Pickle.decode::<(String, (i64, i64))>(&bytes)?, ("add".to_owned(), (2, 3)));
/// # Ok::<(), executor_remote::object::CodecError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Codec {
    /// Fast and compact, between Rust programs that have the same types. Not self-describing.
    #[default]
    Bincode,
    /// What Python's `multiprocessing.connection` sends objects in; see [`pickle`].
    Pickle,
    /// MessagePack, with the names of fields.
    MessagePack,
    /// JSON.
    Json,
}

/// A value that does not become bytes, or bytes that are not the value that was wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Of bincode.
    #[error("bincode: {0}")]
    Bincode(String),
    /// Of pickle.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// Of MessagePack.
    #[error("MessagePack: {0}")]
    MessagePack(String),
    /// Of JSON.
    #[error("JSON: {0}")]
    Json(String),
}

impl Codec {
    /// Its name: `bincode`, `pickle`, `messagepack`, `json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bincode => "bincode",
            Self::Pickle => "pickle",
            Self::MessagePack => "messagepack",
            Self::Json => "json",
        }
    }

    /// Whether bytes tell by themselves what they are, so that any [`Object`](super::Object) can be read from them.
    pub fn is_self_describing(self) -> bool {
        self != Self::Bincode
    }

    /// Appends the value. On an error, nothing is appended.
    ///
    /// # Errors
    ///
    /// What the value's `Serialize` reports, and what the codec cannot express.
    #[inline]
    pub fn encode<T: Serialize + ?Sized>(self, value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let before = out.len();
        let result = match self {
            Self::Bincode => executor_core::encode_plain(value, out).map_err(CodecError::Bincode),
            Self::Pickle => pickle::to_buffer(value, out).map_err(CodecError::Pickle),
            Self::MessagePack => {
                let mut serializer =
                    rmp_serde::Serializer::new(&mut *out).with_struct_map().with_human_readable();
                value.serialize(&mut serializer).map_err(|error| CodecError::MessagePack(error.to_string()))
            }
            Self::Json => {
                serde_json::to_writer(&mut *out, value).map_err(|error| CodecError::Json(error.to_string()))
            }
        };
        if result.is_err() {
            out.truncate(before);
        }
        result
    }

    /// The value that the bytes are.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes, or what the value's `Deserialize` reports; and bytes that are left over.
    #[inline]
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        match self {
            Self::Bincode => executor_core::decode_plain(bytes).map_err(CodecError::Bincode),
            Self::Pickle => pickle::from_slice(bytes).map_err(CodecError::Pickle),
            Self::MessagePack => {
                let mut rest = bytes;
                let mut deserializer = rmp_serde::Deserializer::new(&mut rest).with_human_readable();
                let value = T::deserialize(&mut deserializer)
                    .map_err(|error| CodecError::MessagePack(error.to_string()))?;
                match rest.len() {
                    0 => Ok(value),
                    left => Err(CodecError::MessagePack(format!("{left} bytes were left over"))),
                }
            }
            Self::Json => serde_json::from_slice(bytes).map_err(|error| CodecError::Json(error.to_string())),
        }
    }
}

impl From<ObjectError> for CodecError {
    fn from(error: ObjectError) -> Self {
        Self::Pickle(PickleError::Value(error))
    }
}
