//! Executables that clients have sent, kept by the hash of their contents.
//!
//! A folder holds one file for each executable, named by the BLAKE3 hash of its contents in
//! hexadecimal, and incoming files whose names begin with `.incoming-`. Several agents may share it, also
//! in containers; whatever else is in it is left alone.
//!
//! 1. A file appears under its name whole, synced and with the right contents, or not at all: it is
//!    written under another name, checked, and renamed without replacing.
//! 2. Who uses a file, or writes an incoming one, holds a shared `flock` on it. Who removes
//!    one first gets the exclusive lock, without waiting. Locks end with their process, so nothing is
//!    in use by the dead, and an incoming file that nobody has locked is a leftover.
//! 3. Who has opened and locked a file checks that the file still has its name. If not, it was
//!    removed in between, and the search begins anew.
//! 4. The access time says when a file was last looked up, and is set explicitly, as file systems
//!    may not keep it. The modification time changes with the contents only; contents are hashed
//!    again when it, the length or the inode is another than when they were last checked. A file that has
//!    gone bad is removed, and the client sends it again.
//! 5. The folder belongs to the user of this process and nobody else may write to it, as its files
//!    are run.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, FileTimes, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

pub use blake3::Hash;

mod error;
mod writer;

#[cfg(test)]
mod tests;

pub use error::CacheError;
pub use writer::Writer;

/// The size limit of a cache for which none is set: room for some hundred debug builds.
pub const DEFAULT_LIMIT_BYTES: u64 = 8 << 30;

const INCOMING: &str = ".incoming-";

/// A folder of executables. Clones share it.
#[derive(Clone, Debug)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    limit_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes promised to the writers of this cache.
    reserved: u64,
    /// The files whose contents have been hashed, as they were then.
    verified: HashMap<Hash, Stamp>,
}

/// What changes when the contents of a file may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), len: metadata.len(), modified }
    }
}

impl Cache {
    /// Opens the cache in `folder`, which is made with mode 0700 if it is not there, and removes what
    /// interrupted transfers have left in it.
    ///
    /// All executables together take at most `limit_bytes`. Too low and clients send theirs
    /// again and again, or are refused; too high and the disk fills.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`], [`CacheError::NotAFolder`], and [`CacheError::Exposed`] if others may
    /// write to the folder.
    pub fn open(folder: impl Into<PathBuf>, limit_bytes: u64) -> Result<Self, CacheError> {
        let folder = folder.into();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .or_else(|error| if folder.exists() { Ok(()) } else { Err(error) })
            .map_err(CacheError::io("make", &folder))?;
        let metadata = folder.metadata().map_err(CacheError::io("look at", &folder))?;
        if !metadata.is_dir() {
            return Err(CacheError::NotAFolder { path: folder });
        }
        let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
        if owner != rustix::process::geteuid().as_raw() || mode & 0o022 != 0 {
            return Err(CacheError::Exposed { folder, owner, mode });
        }
        let shared = Shared { folder, limit_bytes, state: Mutex::default() };
        shared.remove_leftovers()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// `$XDG_CACHE_HOME/executor`, or `~/.cache/executor`.
    ///
    /// # Errors
    ///
    /// [`CacheError::NoHome`] if neither variable is set.
    pub fn default_folder() -> Result<PathBuf, CacheError> {
        folder_from(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// The executable with this hash, if it is here and its contents are right.
    ///
    /// # Errors
    ///
    /// [`CacheError::Io`].
    ///
    /// # Blocking
    ///
    /// While the file is read, if this cache has not seen it before or it has changed.
    pub fn lookup(&self, hash: &Hash) -> Result<Option<Executable>, CacheError> {
        let path = self.shared.path_of(hash);
        loop {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(CacheError::io("open", &path)(error)),
            };
            file.lock_shared().map_err(CacheError::io("lock", &path))?;
            if !still_named(&file, &path).map_err(CacheError::io("look at", &path))? {
                continue; // rule 3
            }
            if !self.shared.verify(&file, hash).map_err(CacheError::io("read", &path))? {
                // Rule 4. No exclusive lock: those who run it have it open and keep it.
                remove(&path)?;
                return Ok(None);
            }
            mark_used(&file);
            return Ok(Some(Executable { _locked: file, path }));
        }
    }

    /// Begins to store the executable with this hash and length, and makes room for it.
    ///
    /// # Errors
    ///
    /// [`CacheError::TooLarge`]; [`CacheError::InUse`] if what would have to go is in use;
    /// [`CacheError::DiskFull`]; [`CacheError::Io`].
    pub fn begin_store(&self, hash: &Hash, len: u64) -> Result<Writer, CacheError> {
        Writer::new(Arc::clone(&self.shared), *hash, len)
    }
}

/// An executable that stays where it is for as long as this value lives.
///
/// To run it may fail with "text file busy" (`ETXTBSY`) if another thread of this process happened to
/// fork while it was stored: the child holds the file open for writing until it executes its
/// own program. Try again then.
#[derive(Debug)]
pub struct Executable {
    /// Holds the shared lock.
    _locked: File,
    path: PathBuf,
}

impl Executable {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A file of the cache as the evictor sees it.
struct Entry {
    accessed: (i64, i64),
    len: u64,
    path: PathBuf,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change to the state is one assignment, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path_of(&self, hash: &Hash) -> PathBuf {
        self.folder.join(hash.to_hex().as_str())
    }

    fn remove_leftovers(&self) -> Result<(), CacheError> {
        self.scan(|name, path, _| {
            if name.starts_with(INCOMING) {
                remove_unless_used(path)?;
            }
            Ok(())
        })
    }

    /// Whether the contents of `file` are those of `hash`.
    fn verify(&self, file: &File, hash: &Hash) -> io::Result<bool> {
        let stamp = Stamp::of(&file.metadata()?);
        if self.state().verified.get(hash) == Some(&stamp) {
            return Ok(true);
        }
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        let right = hasher.finalize() == *hash;
        if right {
            self.state().verified.insert(*hash, stamp);
        }
        Ok(right)
    }

    /// Reserves `len` bytes, for which the least recently used files go that nobody uses.
    fn reserve(&self, len: u64) -> Result<(), CacheError> {
        let limit = self.limit_bytes;
        if len > limit {
            return Err(CacheError::TooLarge { len, limit });
        }
        // Held throughout, so that two reservations do not count on the same room.
        let mut state = self.state();
        let mut used = state.reserved;
        let mut entries = Vec::new();
        self.scan(|name, path, metadata| {
            if Hash::from_hex(name).is_ok() {
                let accessed = (metadata.atime(), metadata.atime_nsec());
                used += metadata.len();
                entries.push(Entry { accessed, len: metadata.len(), path: path.into() });
            } else if name.starts_with(INCOMING) && !name.starts_with(&writer::own_prefix()) {
                used += metadata.len(); // another agent's
            }
            Ok(())
        })?;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.accessed));
        while used.saturating_add(len) > limit {
            let Some(oldest) = entries.pop() else {
                let folder = self.folder.clone();
                return Err(CacheError::InUse { folder, len, limit, used });
            };
            if remove_unless_used(&oldest.path)? {
                used -= oldest.len;
            }
        }
        state.reserved += len;
        Ok(())
    }

    fn release(&self, len: u64) {
        self.state().reserved -= len;
    }

    /// Shows `visit` each regular file with a name in UTF-8, as all of ours are.
    fn scan(
        &self,
        mut visit: impl FnMut(&str, &Path, &Metadata) -> Result<(), CacheError>,
    ) -> Result<(), CacheError> {
        let error = || CacheError::io("list", &self.folder);
        for entry in std::fs::read_dir(&self.folder).map_err(error())? {
            let entry = entry.map_err(error())?;
            // Of the entry itself, not of what a link points to.
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => return Err(error()(source)),
            };
            if let Some(name) = entry.file_name().to_str()
                && metadata.is_file()
            {
                visit(name, &entry.path(), &metadata)?;
            }
        }
        Ok(())
    }
}

/// Rule 4.
fn mark_used(file: &File) {
    // The clock of the process is finer than the one that the kernel marks files by. If it fails, the
    // file merely looks older than it is.
    let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::now()));
}

/// Rule 2. Whether the file is gone.
fn remove_unless_used(path: &Path) -> Result<bool, CacheError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(CacheError::io("open", path)(error)),
    };
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(CacheError::io("lock", path)(error)),
    }
    // Another file may have taken the name since, rule 3; it is in use or fresh.
    if !still_named(&file, path).map_err(CacheError::io("look at", path))? {
        return Ok(false);
    }
    remove(path).map(|()| true)
}

fn remove(path: &Path) -> Result<(), CacheError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CacheError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Rule 3.
fn still_named(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn folder_from(cache_home: Option<OsString>, home: Option<OsString>) -> Result<PathBuf, CacheError> {
    // Relative paths are to be ignored, says the XDG base directory specification.
    let absolute = |value: Option<OsString>| value.map(PathBuf::from).filter(|p| p.is_absolute());
    absolute(cache_home)
        .or_else(|| absolute(home).map(|home| home.join(".cache")))
        .map(|caches| caches.join("executor"))
        .ok_or(CacheError::NoHome)
}
