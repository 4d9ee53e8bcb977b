//! Values that misbehave on their way.

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a value misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Fault {
    /// Not at all.
    None,
    /// `Serialize` gives an error.
    Serialize,
    /// `Serialize` panics.
    PanicInSerialize,
    /// `Deserialize` gives an error.
    Deserialize,
    /// `Deserialize` panics.
    PanicInDeserialize,
    /// `Serialize` writes more than `Deserialize` reads.
    Leftover,
    /// `Serialize` writes less than `Deserialize` reads.
    Short,
}

impl Fault {
    pub(super) const ALL: [Self; 6] = [
        Self::Serialize,
        Self::PanicInSerialize,
        Self::Deserialize,
        Self::PanicInDeserialize,
        Self::Leftover,
        Self::Short,
    ];

    /// Whether it shows when the value is serialised, and not only when it is deserialised.
    pub(super) fn is_at_the_sender(self) -> bool {
        matches!(self, Self::Serialize | Self::PanicInSerialize)
    }
}

/// A value with a fault, which it shows when it travels.
#[derive(Debug, PartialEq)]
pub(super) struct Faulty(pub(super) Fault);

impl Serialize for Faulty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fault::Serialize => Err(S::Error::custom("refuses to be serialised")),
            Fault::PanicInSerialize => panic!("panics while being serialised"),
            Fault::Leftover => (self.0, 7u64).serialize(serializer),
            Fault::Short => (self.0,).serialize(serializer),
            fault => fault.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Faulty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // One element too many is demanded only of `Short`, so the tuple is read by hand.
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Faulty;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a faulty value")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Faulty, A::Error> {
                let fault = seq.next_element::<Fault>()?.ok_or_else(|| A::Error::custom("nothing"))?;
                if fault == Fault::Short {
                    seq.next_element::<u64>()?.ok_or_else(|| A::Error::custom("too short"))?;
                }
                Ok(Faulty(fault))
            }
        }
        let Faulty(fault) = deserializer.deserialize_tuple(2, Visitor)?;
        match fault {
            Fault::Deserialize => Err(D::Error::custom("refuses to be deserialised")),
            Fault::PanicInDeserialize => panic!("panics while being deserialised"),
            fault => Ok(Faulty(fault)),
        }
    }
}
