use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// The secret that both sides of a connection hold, or none: then nobody proves anything to anybody.
///
/// It is what Python calls `authkey`. It is made from bytes, text, or `None`. Clones share it, it is wiped when the last is
/// dropped, and `Debug` does not show it.
#[derive(Clone, Default)]
pub struct AuthKey(Option<Arc<Zeroizing<Vec<u8>>>>);

impl AuthKey {
    /// No key: a connection without a handshake.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Whether this is no key.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Whether this is a key, but without a byte.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_some_and(|key| key.is_empty())
    }

    /// The key, for those who pass it on.
    pub(crate) fn as_bytes(&self) -> Option<&[u8]> {
        self.0.as_ref().map(|key| key.as_slice())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |key| key.as_slice())
    }
}

impl fmt::Debug for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_none() { "AuthKey(none)" } else { "AuthKey(..)" })
    }
}

impl From<Vec<u8>> for AuthKey {
    fn from(key: Vec<u8>) -> Self {
        Self(Some(Arc::new(Zeroizing::new(key))))
    }
}

impl From<String> for AuthKey {
    fn from(key: String) -> Self {
        key.into_bytes().into()
    }
}

impl From<&[u8]> for AuthKey {
    fn from(key: &[u8]) -> Self {
        key.to_vec().into()
    }
}

impl<const N: usize> From<&[u8; N]> for AuthKey {
    fn from(key: &[u8; N]) -> Self {
        key.to_vec().into()
    }
}

impl From<&str> for AuthKey {
    fn from(key: &str) -> Self {
        key.as_bytes().into()
    }
}

impl From<&Self> for AuthKey {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

impl From<Option<&[u8]>> for AuthKey {
    fn from(key: Option<&[u8]>) -> Self {
        key.map_or(Self::none(), Self::from)
    }
}
