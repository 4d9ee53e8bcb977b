//! An executable on its way into the cache.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::{CacheError, Executable, Hash, INCOMING, Shared, Stamp, mark_used, still_named};

/// Receives one executable. Dropped before it is [finished](Self::finish), it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    pub(super) file: File,
    path: PathBuf,
    hash: Hash,
    len: u64,
    written: u64,
    hasher: blake3::Hasher,
    /// Whether `path` still names the incoming file.
    present: bool,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, hash: Hash, len: u64) -> Result<Self, CacheError> {
        shared.reserve(len)?;
        let created = check_disk(&shared.folder, len).and_then(|()| create(&shared.folder, len));
        let (file, path) = created.inspect_err(|_| shared.release(len))?;
        let hasher = blake3::Hasher::new();
        Ok(Self { shared, file, path, hash, len, written: 0, hasher, present: true })
    }

    /// How many bytes are missing.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.len - self.written
    }

    /// Appends a part of any length.
    ///
    /// # Errors
    ///
    /// [`CacheError::WrongLen`] if more comes than was announced, [`CacheError::DiskFull`],
    /// [`CacheError::Io`]. After any of them the writer can only be dropped.
    ///
    /// # Blocking
    ///
    /// On the disk.
    pub fn write(&mut self, part: &[u8]) -> Result<(), CacheError> {
        let came = self.written.saturating_add(part.len() as u64);
        if came > self.len {
            return Err(CacheError::WrongLen { announced: self.len, came });
        }
        self.file.write_all(part).map_err(|source| self.write_error("write to", source))?;
        self.hasher.update(part);
        self.written = came;
        Ok(())
    }

    /// Checks what came and makes it an executable of the cache. If another writer was quicker with the
    /// same one, that one is returned.
    ///
    /// # Errors
    ///
    /// [`CacheError::WrongLen`], [`CacheError::WrongHash`], [`CacheError::DiskFull`], [`CacheError::Io`].
    /// Nothing is left behind.
    ///
    /// # Blocking
    ///
    /// On the disk, which is synced.
    pub fn finish(mut self) -> Result<Executable, CacheError> {
        if self.written != self.len {
            return Err(CacheError::WrongLen { announced: self.len, came: self.written });
        }
        let came = self.hasher.finalize();
        if came != self.hash {
            return Err(CacheError::WrongHash { announced: self.hash, came });
        }
        self.file
            .set_permissions(Permissions::from_mode(0o700))
            .and_then(|()| self.file.sync_all())
            .map_err(|source| self.write_error("sync", source))?;
        let locked = self.reopen().map_err(|source| self.write_error("lock", source))?;
        let path = self.shared.path_of(&self.hash);
        loop {
            let renamed =
                rename_new(&self.path, &path).map_err(|source| self.write_error("rename", source))?;
            if renamed {
                self.present = false;
                self.remember(&locked);
                mark_used(&locked);
                self.sync_folder()?;
                return Ok(Executable { _locked: locked, path });
            }
            let cache = super::Cache { shared: Arc::clone(&self.shared) };
            if let Some(other) = cache.lookup(&self.hash)? {
                return Ok(other);
            }
        }
    }

    /// The file with a shared lock of its own, and no longer open for writing: what is open for writing
    /// cannot be run.
    fn reopen(&mut self) -> io::Result<File> {
        let file = File::open(&self.path)?;
        file.lock_shared()?;
        self.file = file.try_clone()?;
        Ok(file)
    }

    fn remember(&self, file: &File) {
        // Without it the file is hashed once more when it is looked up.
        if let Ok(metadata) = file.metadata() {
            self.shared.state().verified.insert(self.hash, Stamp::of(&metadata));
        }
    }

    fn sync_folder(&self) -> Result<(), CacheError> {
        let folder = &self.shared.folder;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(CacheError::io("sync", folder))
    }

    fn write_error(&self, step: &'static str, source: io::Error) -> CacheError {
        full_or(step, &self.path, &self.shared.folder, self.len, source)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.present {
            // If it fails, the next start of an agent removes it.
            let _ = std::fs::remove_file(&self.path);
        }
        self.shared.release(self.len);
    }
}

/// How the names of this process's incoming files begin.
pub(super) fn own_prefix() -> String {
    format!("{INCOMING}{}-", std::process::id())
}

fn create(folder: &Path, len: u64) -> Result<(File, PathBuf), CacheError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}{number}", own_prefix()));
        let error = |step, source| full_or(step, &path, folder, len, source);
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => file,
            // An agent with the same process id, in another container.
            Err(taken) if taken.kind() == ErrorKind::AlreadyExists => continue,
            Err(source) => return Err(error("create", source)),
        };
        file.lock_shared().map_err(|source| error("lock", source))?;
        // An agent that started in between may have taken it for a leftover.
        if still_named(&file, &path).map_err(|source| error("look at", source))? {
            return Ok((file, path));
        }
    }
}

/// A disk that has too little room is better known before the network carries the file.
fn check_disk(folder: &Path, len: u64) -> Result<(), CacheError> {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return Ok(());
    };
    if disk.f_bavail.saturating_mul(disk.f_frsize) >= len {
        return Ok(());
    }
    let source = io::Error::from(Errno::NOSPC);
    Err(CacheError::DiskFull { folder: folder.into(), len, source })
}

fn full_or(step: &'static str, path: &Path, folder: &Path, len: u64, source: io::Error) -> CacheError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            CacheError::DiskFull { folder: folder.into(), len, source }
        }
        _ => CacheError::io(step, path)(source),
    }
}

/// Renames unless the new name is taken. Whether it did.
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // A file system without that flag. Replacing does little harm: the contents are the same, but
        // the one who was quicker no longer keeps the new file from being evicted.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => std::fs::rename(from, to).map(|()| true),
        Err(errno) => Err(errno.into()),
    }
}
