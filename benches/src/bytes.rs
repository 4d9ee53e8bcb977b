//! The type of a payload: bytes that serialise in one piece.
//!
//! serde takes a `Vec<u8>` for a sequence of numbers, and formats encode it number by number. Who sends payloads
//! avoids that, with `serde_bytes` or as here; so do all subjects that serialise with serde.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

/// Bytes that serialise as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

struct BytesVisitor;

impl Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(Bytes(bytes))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::{BytesDeserializer, Error, U64Deserializer};

    use super::*;

    #[test]
    fn bytes_are_taken_whole_and_nothing_else_is() {
        let taken = Bytes::deserialize(BytesDeserializer::<Error>::new(&[1, 255, 0]));
        assert_eq!(taken, Ok(Bytes(vec![1, 255, 0])));
        assert!(Bytes::deserialize(U64Deserializer::<Error>::new(7)).is_err());
    }
}
