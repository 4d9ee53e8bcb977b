//! Lines as `sha256sum` writes them.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The path's own bytes.
pub fn to_bytes(path: PathBuf) -> Vec<u8> {
    path.into_os_string().into_vec()
}

/// Digest, two blanks, path. A path that would not be one line is escaped, which a backslash in front tells.
pub fn format(digest: &[u8; 32], path: &Path) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    let mut line = Vec::with_capacity(70 + path.len());
    if path.iter().any(|byte| escape(*byte).is_some()) {
        line.push(b'\\');
    }
    for byte in digest {
        line.extend([byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]));
    }
    line.extend_from_slice(b"  ");
    for byte in path {
        match escape(*byte) {
            Some(escaped) => line.extend_from_slice(escaped),
            None => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

fn escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'\\' => Some(br"\\"),
        b'\n' => Some(br"\n"),
        b'\r' => Some(br"\r"),
        _ => None,
    }
}

/// What the operating system says, as C programs print it: without the number that Rust puts behind it.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// A path for a message of one line.
pub fn printable(path: &Path) -> String {
    match path.to_str() {
        Some(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => format!("{path:?}"),
    }
}
