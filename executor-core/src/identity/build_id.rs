//! Which build of the program this is.

use std::fmt;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::image::image;
use crate::codec::CODEC_ID;
use crate::wire::PROTOCOL;

/// Equal exactly for the same executable, target and protocol version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BuildId([u8; 32]);

impl BuildId {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id with these bytes, as read from a peer.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for BuildId {
    /// The first eight bytes in hexadecimal digits: enough to tell builds apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

/// The build id of the running program: from the ELF note that the linker writes, else from the executable's bytes,
/// mixed with target, protocol version and codec.
///
/// # Blocking
///
/// The first call may read the executable, if the linker was told to write no note.
pub fn build_id() -> BuildId {
    static ID: OnceLock<BuildId> = OnceLock::new();
    *ID.get_or_init(|| {
        let mut hash = blake3::Hasher::new();
        hash.update(std::env::consts::ARCH.as_bytes());
        hash.update(b"-");
        hash.update(std::env::consts::OS.as_bytes());
        hash.update(&PROTOCOL.to_le_bytes());
        hash.update(&[CODEC_ID]);
        match note() {
            Some(note) => hash.update(note),
            None => hash_executable(&mut hash),
        };
        BuildId(*hash.finalize().as_bytes())
    })
}

/// Hashes the executable itself. If even that cannot be read, an id that is equal to no other build's.
fn hash_executable(hash: &mut blake3::Hasher) -> &mut blake3::Hasher {
    let opened = std::fs::File::open("/proc/self/exe");
    if opened.and_then(|file| hash.update_reader(file).map(drop)).is_err() {
        hash.update(&std::process::id().to_le_bytes());
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        hash.update(&started.unwrap_or_default().as_nanos().to_le_bytes());
    }
    hash
}

fn note() -> Option<&'static [u8]> {
    image().ok()?.notes().find_map(gnu_build_id)
}

/// Finds `NT_GNU_BUILD_ID` among ELF notes: name size, description size, type, then name and description, each padded
/// to four bytes.
fn gnu_build_id(mut notes: &[u8]) -> Option<&[u8]> {
    const NT_GNU_BUILD_ID: u32 = 3;
    loop {
        let (header, rest) = notes.split_first_chunk::<12>()?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (name_len, len, kind) = (word(0) as usize, word(4) as usize, word(8));
        let start = name_len.checked_next_multiple_of(4)?;
        let description = rest.get(start..start.checked_add(len)?)?;
        if kind == NT_GNU_BUILD_ID && rest.get(..name_len)? == b"GNU\0" {
            return Some(description);
        }
        notes = rest.get(start.checked_add(len.checked_next_multiple_of(4)?)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::gnu_build_id;

    fn note(name: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((name.len() as u32).to_ne_bytes());
        bytes.extend((description.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        for part in [name, description] {
            bytes.extend(part);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    #[test]
    fn a_build_id_is_found_behind_other_notes() {
        let mut notes = note(b"GNU\0", 1, &[1; 16]);
        notes.extend(note(b"Other\0", 3, b"no"));
        notes.extend(note(b"GNU\0", 3, b"the build id"));
        assert_eq!(gnu_build_id(&notes), Some(&b"the build id"[..]));
    }

    #[test]
    fn truncated_notes_have_no_build_id() {
        let whole = note(b"GNU\0", 3, b"the build id");
        for len in 0..whole.len() {
            assert_eq!(gnu_build_id(&whole[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn the_build_id_is_the_same_each_time() {
        assert_eq!(super::build_id(), super::build_id());
    }
}
