//! A value as a packet with descriptors, and back.
//!
//! ```text
//! packet   magic │ length of table │ length of value │ length of body │ body, up to INLINE bytes │ (rest in a memfd)
//! body     value │ table │ blobs
//! ```
//!
//! The table says what the attachments are, in their order: a blob of so many bytes, or a handle with so many of the
//! descriptors. The memfd, if there is one, is the last of the descriptors.

use std::any::Any;
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use executor_core::Blob;
use executor_core::attachment::{self, Attachment};
use rustix::fs::{MemfdFlags, SealFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::MAX_MESSAGE_BYTES;
use super::error::{Failure, RecvError};
use crate::ipc::handle::Descriptors;

/// So much of the body is in the packet. Some five packets of this length fill the default buffer of a socket.
pub(super) const INLINE: usize = 32 * 1024;
/// The longest packet.
pub(super) const MOST_PACKET: usize = HEADER + INLINE;
/// Descriptors that the kernel passes on at once.
pub(super) const MOST_DESCRIPTORS: usize = 253;

const HEADER: usize = 24;
const MAGIC: u32 = u32::from_le_bytes(*b"epp\x01");

/// What no memfd of ours lacks, so that its length stays what it is while it is read.
const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// What travels beside the bytes of a value.
#[derive(Serialize, Deserialize)]
enum Beside {
    Blob { bytes: u64 },
    Handle { what: String, descriptors: u32 },
}

/// A message that is ready to be sent.
#[derive(Debug)]
pub(super) struct Message {
    packet: Vec<u8>,
    handles: Vec<Arc<Descriptors>>,
    rest: Option<OwnedFd>,
}

impl Message {
    pub(super) fn encode<T: Serialize + 'static>(value: &T) -> Result<Self, Failure> {
        let mut packet = vec![0; HEADER];
        let (encoded, attachments) = attachment::collect(|| executor_core::encode_value(value, &mut packet));
        encoded.map_err(Failure::Encode)?;
        let value_bytes = packet.len() - HEADER;
        let (mut table, mut blobs, mut handles) = (Vec::new(), Vec::new(), Vec::new());
        for attachment in attachments {
            match attachment {
                Attachment::Blob(blob) => {
                    table.push(Beside::Blob { bytes: blob.len() as u64 });
                    blobs.push(blob);
                }
                Attachment::Local(local) => {
                    let what = local.what();
                    let local: Arc<dyn Any + Send + Sync> = local;
                    let handle = local
                        .downcast::<Descriptors>()
                        .map_err(|_| Failure::Encode(format!("a {what} cannot be sent through a pipe")))?;
                    let descriptors = handle.fds().len() as u32;
                    table.push(Beside::Handle { what: what.to_owned(), descriptors });
                    handles.push(handle);
                }
                _ => {
                    return Err(Failure::Encode(
                        "what is attached to it cannot be sent through a pipe".into(),
                    ));
                }
            }
        }
        if !table.is_empty() {
            executor_core::encode_value(&table, &mut packet).map_err(Failure::Encode)?;
        }
        let table_bytes = packet.len() - HEADER - value_bytes;
        let body = packet.len() - HEADER + blobs.iter().map(|blob| blob.len()).sum::<usize>();
        if body > MAX_MESSAGE_BYTES {
            return Err(Failure::TooLarge(body));
        }
        packet[..4].copy_from_slice(&MAGIC.to_le_bytes());
        packet[4..8].copy_from_slice(&(table_bytes as u32).to_le_bytes());
        packet[8..16].copy_from_slice(&(value_bytes as u64).to_le_bytes());
        packet[16..24].copy_from_slice(&(body as u64).to_le_bytes());
        let mut message = Self { packet, handles, rest: None };
        message.split(&blobs, body)?;
        let descriptors = message.descriptors().count();
        if descriptors > MOST_DESCRIPTORS {
            return Err(Failure::TooManyHandles { descriptors, most: MOST_DESCRIPTORS });
        }
        Ok(message)
    }

    /// Puts what does not fit into the packet into a memfd.
    fn split(&mut self, blobs: &[Blob], body: usize) -> Result<(), Failure> {
        if body <= INLINE {
            blobs.iter().for_each(|blob| self.packet.extend_from_slice(blob));
            return Ok(());
        }
        let mut rest = Rest::new().map_err(Failure::Io)?;
        let inline = self.packet.len().min(MOST_PACKET);
        rest.append(&self.packet[inline..]).map_err(Failure::Io)?;
        self.packet.truncate(inline);
        for blob in blobs {
            // The packet is filled also by blobs, so that it takes its share of the socket's buffer.
            let (here, there) = blob.split_at(blob.len().min(MOST_PACKET - self.packet.len()));
            self.packet.extend_from_slice(here);
            rest.append(there).map_err(Failure::Io)?;
        }
        self.rest = Some(rest.sealed().map_err(Failure::Io)?);
        Ok(())
    }

    pub(super) fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// In the order in which they are received.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.handles.iter().flat_map(|handle| handle.fds()).chain(&self.rest).map(AsFd::as_fd)
    }
}

/// A memfd that is being written.
struct Rest {
    file: File,
    length: u64,
}

impl Rest {
    fn new() -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"executor-message", flags)?;
        Ok(Self { file: fd.into(), length: 0 })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn sealed(self) -> io::Result<OwnedFd> {
        rustix::fs::fcntl_add_seals(&self.file, SEALS)?;
        Ok(self.file.into())
    }
}

/// A packet that was received.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

impl Packet {
    /// The value in the message.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it.
    pub(super) fn decode<T: DeserializeOwned + 'static>(self) -> Result<T, RecvError> {
        let mut body = Body::of(self)?;
        let value = body.take(body.value_bytes)?;
        let attachments = if body.table_bytes > 0 { body.attachments()? } else { Vec::new() };
        if body.left != 0 || !body.descriptors.is_empty() {
            return Err(RecvError::Foreign { reason: "it has more than it says" });
        }
        // Dropped last: what is provided may be as long.
        attachment::provide(attachments, || executor_core::decode_value(&value))
            .map_err(|reason| RecvError::Decode { type_name: std::any::type_name::<T>(), reason })
    }
}

/// The body of a message, from its beginning to what was not taken yet.
struct Body {
    packet: Vec<u8>,
    /// Taken, of the packet.
    taken: usize,
    rest: Option<File>,
    /// Taken, of the rest.
    rest_taken: u64,
    descriptors: Vec<OwnedFd>,
    value_bytes: u64,
    table_bytes: u64,
    left: u64,
}

impl Body {
    fn of(Packet { bytes: packet, mut descriptors }: Packet) -> Result<Self, RecvError> {
        let Some((header, _)) = packet.split_first_chunk::<HEADER>() else {
            return Err(RecvError::Truncated { bytes: packet.len() as u64, expected: HEADER as u64 });
        };
        let [m0, m1, m2, m3, t0, t1, t2, t3, lengths @ ..] = *header;
        if u32::from_le_bytes([m0, m1, m2, m3]) != MAGIC {
            return Err(RecvError::Foreign { reason: "it begins with another mark" });
        }
        let table_bytes = u64::from(u32::from_le_bytes([t0, t1, t2, t3]));
        let [value_bytes, left] = [0, 8].map(|at| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&lengths[at..at + 8]);
            u64::from_le_bytes(bytes)
        });
        let parts = value_bytes.checked_add(table_bytes);
        if left > MAX_MESSAGE_BYTES as u64 || parts.is_none_or(|parts| parts > left) {
            return Err(RecvError::Foreign { reason: "its lengths do not fit together" });
        }
        let here = (packet.len() - HEADER) as u64;
        let rest = match left > here {
            true => {
                let truncated = RecvError::Truncated { bytes: here, expected: left };
                let rest = descriptors.pop().ok_or(truncated)?;
                Some(Self::open_rest(rest, here, left)?)
            }
            false if here > left => return Err(RecvError::Foreign { reason: "it is longer than it says" }),
            false => None,
        };
        Ok(Self { packet, taken: HEADER, rest, rest_taken: 0, descriptors, value_bytes, table_bytes, left })
    }

    fn open_rest(rest: OwnedFd, here: u64, expected: u64) -> Result<File, RecvError> {
        // Only memory has seals, so reading it will not wait for anybody.
        if !rustix::fs::fcntl_get_seals(&rest).is_ok_and(|seals| seals.contains(SEALS)) {
            return Err(RecvError::Foreign { reason: "what follows it is no sealed memory" });
        }
        let rest = File::from(rest);
        let bytes = here.saturating_add(rest.metadata()?.len());
        if bytes < expected {
            return Err(RecvError::Truncated { bytes, expected });
        }
        Ok(rest)
    }

    /// The next so many bytes.
    fn take(&mut self, bytes: u64) -> Result<Vec<u8>, RecvError> {
        if bytes > self.left {
            return Err(RecvError::Foreign { reason: "its parts are longer than it is" });
        }
        let mut taken = Vec::new();
        let length = bytes as usize;
        taken.try_reserve_exact(length).map_err(|_| {
            io::Error::new(io::ErrorKind::OutOfMemory, format!("no memory for a message of {bytes} bytes"))
        })?;
        let here = &self.packet[self.taken..];
        let here = &here[..here.len().min(length)];
        taken.extend_from_slice(here);
        self.taken += here.len();
        if let Some(rest) = self.rest.as_ref().filter(|_| taken.len() < length) {
            let from = taken.len();
            taken.resize(length, 0);
            rest.read_exact_at(&mut taken[from..], self.rest_taken)?;
            self.rest_taken += (length - from) as u64;
        }
        self.left -= bytes;
        Ok(taken)
    }

    fn attachments(&mut self) -> Result<Vec<Attachment>, RecvError> {
        let table = self.take(self.table_bytes)?;
        let table: Vec<Beside> = executor_core::decode_value(&table)
            .map_err(|_| RecvError::Foreign { reason: "the table of what came with it is garbled" })?;
        let mut descriptors = std::mem::take(&mut self.descriptors).into_iter();
        let mut attachments = Vec::new();
        for beside in table {
            attachments.push(match beside {
                Beside::Blob { bytes } => Attachment::Blob(self.take(bytes)?.into()),
                Beside::Handle { what, descriptors: count } => {
                    let fds: Vec<_> = descriptors.by_ref().take(count as usize).collect();
                    if fds.len() != count as usize {
                        return Err(RecvError::NoDescriptors);
                    }
                    Attachment::Local(Arc::new(Descriptors::new(known(what), fds)))
                }
            });
        }
        self.descriptors = descriptors.collect();
        Ok(attachments)
    }
}

/// The name of a kind of handle, for ever. There are few.
fn known(what: String) -> &'static str {
    const MOST: usize = 64;
    static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(what) = known.get(what.as_str()) {
        return what;
    }
    if known.len() >= MOST || what.len() > MOST {
        return "handle";
    }
    let what: &'static str = what.leak();
    known.insert(what);
    what
}
