//! The cluster key: the one secret that clients and agents share.
//!
//! A key is 32 random bytes. On disk it is a text file of two lines, readable by its owner alone:
//!
//! ```text
//! executor cluster key 1
//! 6f1c..64 hexadecimal digits..9a
//! ```
//!
//! Who holds the file may run programs on every agent that was started with it, so a file that
//! others may read is refused and not repaired: it may have been read already.
//!
//! The bytes are wiped when a [`ClusterKey`] is dropped, as is the text they were read from. Copies
//! that the handshake makes for its own computation live until the handshake ends.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::{Zeroize, Zeroizing};

#[cfg(feature = "rpc")]
mod authkey;
#[cfg(test)]
mod tests;

/// Length of a cluster key in bytes.
pub const KEY_LEN: usize = 32;

const HEADER: &str = "executor cluster key 1";
/// A key file is under 100 bytes; what is longer is some other file and is not read to its end.
const MAX_FILE_LEN: u64 = 1024;
const MODE: u32 = 0o600;
/// Separates fingerprints from every other use of the hash.
const FINGERPRINT_CONTEXT: &str = "executor 2026 cluster key fingerprint";

/// The secret that the members of a cluster share.
///
/// `Debug` shows the [fingerprint](Self::fingerprint), never the key.
#[derive(Clone)]
pub struct ClusterKey([u8; KEY_LEN]);

impl ClusterKey {
    /// Makes a new key from the randomness of the operating system.
    ///
    /// # Errors
    ///
    /// [`KeyError::Randomness`] if the operating system gives none.
    ///
    /// # Blocking
    ///
    /// Early in the boot of a machine, until its random pool is ready.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Self([0; KEY_LEN]);
        let mut filled = 0;
        while filled < KEY_LEN {
            match rustix::rand::getrandom(&mut key.0[filled..], rustix::rand::GetRandomFlags::empty()) {
                Ok(n) => filled += n,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(KeyError::Randomness(errno.into())),
            }
        }
        Ok(key)
    }

    /// A key from bytes that the caller keeps secret by other means.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Writes the key to a new file that only its owner may read (mode 0600), and syncs it to disk.
    ///
    /// # Errors
    ///
    /// [`KeyError::Exists`] if anything is at `path`: a key is never overwritten, as agents may
    /// depend on it. [`KeyError::Write`] for all else; a half-written file is removed.
    pub fn write_new(&self, path: impl AsRef<Path>) -> Result<(), KeyError> {
        let path = path.as_ref();
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(MODE).open(path).map_err(|source| {
                match source.kind() {
                    io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.into() },
                    _ => KeyError::Write { path: path.into(), source },
                }
            })?;
        self.write_text(&mut file, path).map_err(|source| {
            // The error that is reported is the first one; the file is of no use either way.
            let _ = std::fs::remove_file(path);
            KeyError::Write { path: path.into(), source }
        })
    }

    fn write_text(&self, file: &mut File, path: &Path) -> io::Result<()> {
        let mut text = Zeroizing::new(String::with_capacity(HEADER.len() + 2 * KEY_LEN + 2));
        text.push_str(HEADER);
        text.push('\n');
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
            }
        }
        text.push('\n');
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // The name is on disk when the folder is.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// [`KeyError::Read`] if the file cannot be read, [`KeyError::Exposed`] if others than its
    /// owner may, [`KeyError::NotAFile`], and [`KeyError::Format`] with the line at fault.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let text = read_secret(path)?;
        parse(&text).map_err(|(line, problem)| KeyError::Format { path: path.into(), line, problem })
    }

    /// Eight hexadecimal digits by which people can tell keys apart. They say nothing of the key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = blake3::derive_key(FINGERPRINT_CONTEXT, &self.0);
        digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl Drop for ClusterKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterKey({})", self.fingerprint())
    }
}

/// The contents of a file that only its owner may read: the beginning of it, if it is longer than any key.
///
/// # Errors
///
/// [`KeyError::Read`], [`KeyError::NotAFile`], [`KeyError::Exposed`].
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let read_error = |source| KeyError::Read { path: path.into(), source };
    // Non-blocking, so that a named pipe in the place of the key is an error and not a hang.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(read_error)?;
    // Of the open file, so that what is checked is what is read.
    let metadata = file.metadata().map_err(read_error)?;
    if !metadata.is_file() {
        return Err(KeyError::NotAFile { path: path.into() });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.into(), mode });
    }
    // Room for all that is read, so that no grown-out-of copy stays behind in memory.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_FILE_LEN as usize + 1));
    file.take(MAX_FILE_LEN + 1).read_to_end(&mut text).map_err(read_error)?;
    Ok(text)
}

/// The key in `text`, or the number of the line at fault and what is wrong with it.
fn parse(text: &[u8]) -> Result<ClusterKey, (usize, String)> {
    let mut lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    if lines.next() != Some(HEADER.as_bytes()) {
        return Err((1, format!("is not `{HEADER}`, so this is no key file")));
    }
    let digits = lines.next().unwrap_or_default();
    if digits.len() != 2 * KEY_LEN {
        let expected = 2 * KEY_LEN;
        return Err((2, format!("has {} digits where a key has {expected}", digits.len())));
    }
    let mut key = ClusterKey([0; KEY_LEN]);
    for (at, (byte, pair)) in key.0.iter_mut().zip(digits.chunks_exact(2)).enumerate() {
        for (half, &digit) in pair.iter().enumerate() {
            let Some(value) = char::from(digit).to_digit(16) else {
                // The column and not the character: most of this line is secret.
                let column = 2 * at + half + 1;
                return Err((2, format!("is not hexadecimal at column {column}")));
            };
            *byte = *byte << 4 | value as u8;
        }
    }
    match lines.position(|line| !line.is_empty()) {
        Some(extra) => Err((extra + 3, "follows the key, where nothing may".into())),
        None => Ok(key),
    }
}

/// Why a key could not be made, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The operating system gave no randomness.
    #[error("the operating system gives no randomness to make a key from")]
    Randomness(#[source] io::Error),
    /// A new key was to be written where something is.
    #[error(
        "{} exists and is not overwritten: agents may use that key; remove it or choose another name",
        path.display()
    )]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// The key file cannot be written.
    #[error("cannot write the key file {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The key file cannot be read.
    #[error("cannot read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The path is a folder, a pipe or a device.
    #[error("the key file {} is not a regular file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
    },
    /// Others than the owner of the key file may use it.
    #[error(
        "the key file {path} has mode {mode:04o}, so others may use it: run `chmod 600 {path}`, \
         and make a new key if others use this machine",
        path = path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not a key file, or a damaged one.
    #[error("line {line} of the key file {} {problem}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The line at fault, from 1.
        line: usize,
        /// What is wrong with it. Never quotes the key.
        problem: String,
    },
}
