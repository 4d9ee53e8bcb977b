use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::{Sha256, Sha384};
use sha3::{Sha3_256, Sha3_384};

use super::AuthKey;

/// What responses may be made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// All that Python before 3.12 knows.
    Md5,
    /// What challenges from here ask for.
    Sha256,
    /// SHA-2 of 384 bits.
    Sha384,
    /// SHA-3 of 256 bits.
    Sha3_256,
    /// SHA-3 of 384 bits.
    Sha3_384,
}

impl Digest {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Md5, Self::Sha256, Self::Sha384, Self::Sha3_256, Self::Sha3_384];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha3_256 => "sha3_256",
            Self::Sha3_384 => "sha3_384",
        }
    }

    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|digest| digest.name().as_bytes() == name)
    }

    pub(super) fn hmac(self, key: &AuthKey, message: &[u8]) -> Vec<u8> {
        macro_rules! hmac {
            ($digest:ty) => {{
                let mut mac =
                    Hmac::<$digest>::new_from_slice(key.bytes()).expect("a key may have any length");
                mac.update(message);
                mac.finalize().into_bytes().to_vec()
            }};
        }
        match self {
            Self::Md5 => hmac!(Md5),
            Self::Sha256 => hmac!(Sha256),
            Self::Sha384 => hmac!(Sha384),
            Self::Sha3_256 => hmac!(Sha3_256),
            Self::Sha3_384 => hmac!(Sha3_384),
        }
    }
}
