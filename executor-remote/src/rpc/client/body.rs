//! The bytes of one value, and the name of one function, without an allocation while they are short.

/// As many bytes as fit beside a length into what a `Vec` takes up, and one word more.
const SHORT: usize = 30;

/// Bytes that are seldom many.
#[derive(Clone)]
pub(crate) enum Body {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Vec<u8>),
}

impl Body {
    pub(crate) fn copy_of(bytes: &[u8]) -> Body {
        match bytes.len() {
            len @ 0..=SHORT => {
                let mut short = [0; SHORT];
                short[..len].copy_from_slice(bytes);
                Body::Short { len: len as u8, bytes: short }
            }
            _ => Body::Long(bytes.to_vec()),
        }
    }

    pub(crate) fn of(bytes: Vec<u8>) -> Body {
        match bytes.len() {
            0..=SHORT => Body::copy_of(&bytes),
            _ => Body::Long(bytes),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Body::Short { len, bytes } => &bytes[..usize::from(*len)],
            Body::Long(bytes) => bytes,
        }
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        match self {
            Body::Long(bytes) => bytes,
            short @ Body::Short { .. } => short.as_slice().to_vec(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.as_slice().len())
    }
}

/// A name that is needed only if something goes wrong.
#[derive(Clone, Debug)]
pub(crate) struct Name(Body);

impl Name {
    pub(crate) fn new(name: &str) -> Name {
        Name(Body::copy_of(name.as_bytes()))
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.0.as_slice()))
    }
}
