//! Finding files as `find -type f` does, and reading them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::line;

/// The regular files under the paths, named as `find` names them; symbolic links are not followed.
pub fn find(paths: &[PathBuf], mut failed: impl FnMut(&Path, &io::Error)) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = Vec::new();
    for path in paths {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => files.push(path.clone()),
            Ok(metadata) if metadata.is_dir() => folders.push(path.clone()),
            Ok(_) => {}
            Err(error) => failed(path, &error),
        }
    }
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) => {
                failed(&folder, &error);
                continue;
            }
        };
        for entry in entries {
            let kind = entry.and_then(|entry| Ok((entry.file_type()?, entry.file_name())));
            match kind {
                Ok((kind, name)) if kind.is_file() => files.push(join(&folder, &name)),
                Ok((kind, name)) if kind.is_dir() => folders.push(join(&folder, &name)),
                Ok(_) => {}
                Err(error) => failed(&folder, &error),
            }
        }
    }
    files
}

/// `folder/name`. `Path::join` agrees, except that a comparison of its paths would not tell `a//b` from `a/b`.
fn join(folder: &Path, name: &OsString) -> PathBuf {
    let mut path = folder.as_os_str().as_bytes().to_vec();
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name.as_bytes());
    PathBuf::from(OsString::from_vec(path))
}

/// The SHA-256 of a file, read piece by piece; else why not. This is the task: it runs wherever the executor says.
pub fn digest(path: Vec<u8>) -> Result<[u8; 32], String> {
    let path = PathBuf::from(OsString::from_vec(path));
    let read = || -> io::Result<[u8; 32]> {
        let mut file = fs::File::open(path)?;
        let mut hasher = Sha256::new();
        let mut piece = vec![0; 64 * 1024];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(hasher.finalize().into()),
                Ok(len) => hasher.update(&piece[..len]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    };
    read().map_err(|error| line::reason(&error))
}
