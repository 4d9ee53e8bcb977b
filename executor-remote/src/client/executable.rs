//! This program's own executable, as it is sent to agents.

use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Also when the file has been replaced or deleted since, this is the one that runs.
const PATH: &str = "/proc/self/exe";

/// What agents know the executable by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) hash: [u8; 32],
    pub(super) size: u64,
}

/// Opens it.
pub(super) fn open() -> io::Result<File> {
    File::open(PATH)
}

/// Its hash and size. Read once, by whoever comes first.
pub(super) fn identity() -> io::Result<Identity> {
    static KNOWN: Mutex<Option<Identity>> = Mutex::new(None);
    // Held while the file is read, so that it is read once.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(identity) = *known {
        return Ok(identity);
    }
    let file = open()?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&file)?;
    let identity = Identity { hash: *hasher.finalize().as_bytes(), size: hasher.count() };
    *known = Some(identity);
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_identity_is_that_of_the_running_executable() {
        let identity = identity().unwrap();
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(identity.size, bytes.len() as u64);
        assert_eq!(identity.hash, *blake3::hash(&bytes).as_bytes());
    }
}
