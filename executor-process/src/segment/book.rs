//! What one process has granted to another, and has been granted by it; see the rules of the [module](super).

use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use executor_core::attachment::{Attachment, Local};
use executor_core::wire::{Item, Packed};
use executor_core::{Blob, Bytes, Memory, Parcel};

use super::cache::Filled;
use super::memory::{Foreign, GONE, SegmentId, Sign, Source};
use crate::ipc::handle::Descriptors;
use crate::transport::Lane;

/// The most segments that a peer may have granted at a time: many more than it may own.
const MOST_MAPPED: usize = 8192;

/// Why what came beside a value cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The peer says what no peer says.
    #[error("{0}")]
    Nonsense(String),
    /// Nobody's fault, but the value is lost.
    #[error("{0}")]
    Lost(String),
}

/// How a value travels that was [packed](Book::packing).
#[derive(Debug, Default)]
pub(crate) struct Packing {
    pub(crate) items: Vec<u8>,
    pub(crate) is_bulk: bool,
}

impl Packing {
    /// The value with these bytes.
    #[inline]
    pub(crate) fn of<'a>(&'a self, bytes: &'a [u8]) -> Packed<'a> {
        let bytes = if self.is_bulk { &[] } else { bytes };
        Packed { bytes, attached: &self.items, is_bulk: self.is_bulk }
    }
}

/// The books with a peer that is given up with this.
#[derive(Debug)]
pub(crate) struct OwnBook(pub(crate) Arc<Book>);

impl std::ops::Deref for OwnBook {
    type Target = Arc<Book>;
    fn deref(&self) -> &Arc<Book> {
        &self.0
    }
}

impl Drop for OwnBook {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What the peer is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// Of its segment with this name, so many references are used no more; 0 if it could not be mapped, so that it has
    /// to be granted anew.
    Release(u64, u64),
    /// Our segment with this name is gone.
    Withdraw(u64),
}

/// The books with one peer.
pub(crate) struct Book {
    pages: Mutex<Pages>,
    /// There is something to tell besides segments that have gone.
    has_releases: AtomicBool,
    /// As of when it was last looked for segments that have gone.
    seen: AtomicU64,
    /// Descriptors of segments are kept, to grant them to others.
    passes_on: bool,
    /// Called when there is something to tell the peer, and nobody knows of it.
    alert: Box<dyn Fn() + Send + Sync>,
}

struct Pages {
    lane: Lane,
    /// Names of what the peer was granted.
    names: HashMap<SegmentId, u64>,
    grants: HashMap<u64, Grant>,
    next: u64,
    /// What the peer has granted; `None` if it could not be mapped.
    mapped: HashMap<u64, Option<Arc<Foreign>>>,
    releases: Vec<(u64, u64)>,
    /// What was granted and could not be mapped, which the peer does not know yet.
    missing: Vec<u64>,
    /// The peer is gone.
    is_closed: bool,
}

/// A segment that the peer may use.
struct Grant {
    id: SegmentId,
    alive: Sign,
    /// What is in it, while the peer has references.
    memory: Option<Arc<dyn Memory>>,
    /// How many messages have named it that have not been released.
    references: u64,
}

impl Book {
    /// `alert` is called, by whichever thread drops a blob of the peer's, when the peer is to be told of something. It may be
    /// called under locks of those who drop blobs.
    pub(crate) fn new(lane: Lane, passes_on: bool, alert: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            pages: Mutex::new(Pages {
                lane,
                names: HashMap::new(),
                grants: HashMap::new(),
                next: 0,
                mapped: HashMap::new(),
                releases: Vec::new(),
                missing: Vec::new(),
                is_closed: false,
            }),
            has_releases: AtomicBool::new(false),
            seen: AtomicU64::new(GONE.load(Ordering::Acquire)),
            passes_on,
            alert: Box::new(alert),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // ---- sending -----------------------------------------------------------------------------------------------

    /// As [`pack`](Self::pack), for the common case that there is nothing.
    #[inline]
    pub(crate) fn packing(&self, bulk: Option<&Blob>, attachments: &[Attachment]) -> Packing {
        if bulk.is_none() && attachments.is_empty() {
            return Packing::default();
        }
        Packing { items: self.pack(bulk, attachments), is_bulk: bulk.is_some() }
    }

    /// How a parcel travels.
    pub(crate) fn packing_of(&self, parcel: &Parcel<'_>) -> Packing {
        let bulk = match &parcel.bytes {
            Bytes::Bulk(blob) => Some(blob),
            _ => None,
        };
        self.packing(bulk, &parcel.attachments)
    }

    /// How a value's attachments travel, and the value itself if it is in bulk: it is then the last of them. What cannot go by segment
    /// goes in the list. What is given has to be there until the frame is published.
    fn pack(&self, bulk: Option<&Blob>, attachments: &[Attachment]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut pages = self.lock();
        for attachment in attachments {
            match attachment {
                Attachment::Blob(blob) => self.pack_blob(&mut pages, blob, &mut out),
                Attachment::Local(local) => pack_local(&mut pages, local, &mut out),
                // Nothing else is taken by the carriers that come here; the receiver misses it.
                _ => Item::Inline(&[]).write(&mut out),
            }
        }
        if let Some(blob) = bulk {
            self.pack_blob(&mut pages, blob, &mut out);
        }
        out
    }

    fn pack_blob(&self, pages: &mut Pages, blob: &Blob, out: &mut Vec<u8>) {
        let item = blob.memory().and_then(|memory| {
            let any: &dyn Any = &**memory;
            let len = blob.len() as u64;
            if let Some(filled) = any.downcast_ref::<Filled>() {
                return pages.grant(filled.segment().source(), memory, len);
            }
            let borrowed = any.downcast_ref::<Borrowed>()?;
            if std::ptr::eq(&raw const *borrowed.book, self) {
                return Some(Item::Returned { id: borrowed.name, len });
            }
            pages.grant(borrowed.segment.source()?, memory, len)
        });
        item.unwrap_or(Item::Inline(blob)).write(out);
    }

    /// Whether there is something for [`take_notes`](Self::take_notes).
    #[inline]
    pub(crate) fn has_notes(&self) -> bool {
        self.has_releases.load(Ordering::Relaxed)
            || self.seen.load(Ordering::Relaxed) != GONE.load(Ordering::Relaxed)
    }

    /// What the peer is to be told, after all frames that are written already.
    pub(crate) fn take_notes(&self) -> Vec<Note> {
        let gone = GONE.load(Ordering::Acquire);
        let mut pages = self.lock();
        self.has_releases.store(false, Ordering::Relaxed);
        let mut notes: Vec<Note> =
            pages.releases.drain(..).map(|(name, count)| Note::Release(name, count)).collect();
        notes.extend(pages.missing.drain(..).map(|name| Note::Release(name, 0)));
        if self.seen.swap(gone, Ordering::Relaxed) != gone {
            let Pages { names, grants, .. } = &mut *pages;
            grants.retain(|name, grant| {
                let is_alive = grant.alive.is_alive();
                if !is_alive {
                    if names.get(&grant.id) == Some(name) {
                        names.remove(&grant.id);
                    }
                    notes.push(Note::Withdraw(*name));
                }
                is_alive
            });
        }
        notes
    }

    // ---- receiving ---------------------------------------------------------------------------------------------

    /// A value with what has come beside it.
    pub(crate) fn unpack<'a>(self: &Arc<Self>, value: Packed<'a>) -> Result<Parcel<'a>, UnpackError> {
        if value.is_plain() {
            return Ok(Parcel::from(value.bytes));
        }
        let items = value.items().map_err(|it| UnpackError::Nonsense(it.to_string()))?;
        let mut attachments = Vec::with_capacity(items.len());
        let mut lost = None;
        for item in items {
            match self.unpack_item(item) {
                Ok(attachment) => attachments.push(attachment),
                Err(UnpackError::Lost(reason)) => {
                    // The rest is taken in all the same: it is in the books, and its descriptors are in the lane.
                    attachments.push(Attachment::Blob(Blob::default()));
                    lost.get_or_insert(reason);
                }
                Err(nonsense) => return Err(nonsense),
            }
        }
        if let Some(reason) = lost {
            return Err(UnpackError::Lost(reason));
        }
        let bytes = match value.is_bulk {
            false => Bytes::Borrowed(value.bytes),
            true => match attachments.pop() {
                Some(Attachment::Blob(blob)) => Bytes::Bulk(blob),
                _ => return Err(UnpackError::Nonsense("a value is to be in bulk and is not".to_owned())),
            },
        };
        Ok(Parcel { bytes, attachments })
    }

    fn unpack_item(self: &Arc<Self>, item: Item<'_>) -> Result<Attachment, UnpackError> {
        match item {
            Item::Inline(bytes) => Ok(Attachment::Blob(Blob::from(bytes))),
            Item::Granted { id, len, is_new } => self.borrow(id, len, is_new),
            Item::Returned { id, len } => self.lock().returned(id, len),
            Item::Local(count) => {
                let mut pages = self.lock();
                let fds: io::Result<Vec<_>> = (0..count).map(|_| pages.lane.take()).collect();
                let fds = fds.map_err(|it| UnpackError::Nonsense(it.to_string()))?;
                let fds: Option<Vec<_>> = fds.into_iter().collect();
                let fds = fds.ok_or_else(|| UnpackError::Lost(NO_DESCRIPTORS.to_owned()))?;
                Ok(Attachment::Local(Arc::new(Descriptors::new("handle", fds))))
            }
        }
    }

    /// The peer lends a segment.
    fn borrow(self: &Arc<Self>, name: u64, len: u64, is_new: bool) -> Result<Attachment, UnpackError> {
        let nonsense = |what: &str| UnpackError::Nonsense(what.to_owned());
        let mut pages = self.lock();
        if is_new {
            let fd = pages.lane.take().map_err(|it| UnpackError::Nonsense(it.to_string()))?;
            if pages.mapped.contains_key(&name) || pages.mapped.len() >= MOST_MAPPED {
                return Err(nonsense("it grants a segment twice, or too many"));
            }
            let segment = match fd.map(|fd| Foreign::map(fd, self.passes_on)) {
                Some(Ok(segment)) => Some(Arc::new(segment)),
                Some(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(UnpackError::Nonsense(error.to_string()));
                }
                Some(Err(_)) | None => None,
            };
            pages.mapped.insert(name, segment);
        }
        let Some(segment) = pages.mapped.get(&name) else {
            return Err(nonsense("it names a segment that it has not granted"));
        };
        let Some(segment) = segment.clone() else {
            pages.note_release(name);
            if is_new {
                pages.missing.push(name);
            }
            drop(pages);
            self.tell();
            return Err(UnpackError::Lost(NO_DESCRIPTORS.to_owned()));
        };
        let len = usize::try_from(len).ok().filter(|len| *len <= segment.bytes().len());
        let len = len.ok_or_else(|| nonsense("it names more of a segment than there is"))?;
        drop(pages);
        let borrowed = Borrowed { book: Arc::clone(self), segment, name, len };
        Ok(Attachment::Blob(Blob::from_memory(Arc::new(borrowed))))
    }

    /// The peer uses so many references no more.
    pub(crate) fn on_release(&self, name: u64, count: u64) -> Result<(), UnpackError> {
        let mut pages = self.lock();
        let Pages { names, grants, .. } = &mut *pages;
        let Some(grant) = grants.get_mut(&name) else {
            return Err(UnpackError::Nonsense("it releases a segment that it was not granted".to_owned()));
        };
        if count == 0 && names.get(&grant.id) == Some(&name) {
            names.remove(&grant.id);
        }
        let Some(left) = grant.references.checked_sub(count) else {
            return Err(UnpackError::Nonsense("it releases a segment more often than it got it".to_owned()));
        };
        grant.references = left;
        let memory = if left == 0 { grant.memory.take() } else { None };
        drop(pages);
        // That may release it to its owner, by another book.
        drop(memory);
        Ok(())
    }

    /// The peer's segment is gone.
    pub(crate) fn on_withdraw(&self, name: u64) {
        let segment = self.lock().mapped.remove(&name);
        drop(segment);
    }

    /// Descriptors have come, or there is room for more: to be called by the parent when the lane's socket is ready. False if
    /// the peer has closed it.
    pub(crate) fn on_lane(&self) -> io::Result<bool> {
        let mut pages = self.lock();
        pages.lane.flush()?;
        pages.lane.fill()
    }

    /// The peer is gone: what it had is released.
    pub(crate) fn close(&self) {
        let mut pages = self.lock();
        pages.is_closed = true;
        pages.names.clear();
        let (grants, mapped) = (std::mem::take(&mut pages.grants), std::mem::take(&mut pages.mapped));
        drop(pages);
        drop((grants, mapped));
    }

    fn tell(&self) {
        if !self.has_releases.swap(true, Ordering::AcqRel) {
            (self.alert)();
        }
    }

    /// How many segments the peer has references to.
    #[cfg(test)]
    pub(super) fn held_by_peer(&self) -> usize {
        self.lock().grants.values().filter(|grant| grant.references > 0).count()
    }
}

const NO_DESCRIPTORS: &str =
    "it could not be taken over: no descriptor, or no memory, is left in the process that got it";

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pages = self.lock();
        f.debug_struct("Book")
            .field("granted", &pages.grants.len())
            .field("mapped", &pages.mapped.len())
            .finish()
    }
}

fn pack_local(pages: &mut Pages, local: &Arc<dyn Local>, out: &mut Vec<u8>) {
    let any: &dyn Any = &**local;
    let fds = any.downcast_ref::<Descriptors>().map_or(&[][..], Descriptors::fds);
    let mut sent = 0;
    for fd in fds {
        match pages.lane.send(std::os::fd::AsFd::as_fd(fd)) {
            Ok(()) => sent += 1,
            Err(error) => {
                tracing::warn!(%error, what = local.what(), "a descriptor could not be sent");
                break;
            }
        }
    }
    // Those that are too few are refused by the handle that is made of them.
    Item::Local(sent).write(out);
}

impl Pages {
    /// Names a segment for a message. `None` if the peer cannot have it.
    fn grant(&mut self, source: Source<'_>, memory: &Arc<dyn Memory>, len: u64) -> Option<Item<'static>> {
        if self.is_closed {
            return None;
        }
        let (name, is_new) = match self.names.get(&source.id) {
            Some(name) => (*name, false),
            None => {
                // Nobody gets a name without the descriptor; what cannot be sent goes in the frame.
                self.lane.send(source.fd).ok()?;
                let name = self.next;
                self.next += 1;
                self.names.insert(source.id, name);
                let grant = Grant { id: source.id, alive: source.alive, memory: None, references: 0 };
                self.grants.insert(name, grant);
                (name, true)
            }
        };
        let grant = self.grants.get_mut(&name)?;
        grant.references += 1;
        grant.memory.get_or_insert_with(|| Arc::clone(memory));
        Some(Item::Granted { id: name, len, is_new })
    }

    /// What the peer has of ours and gives back.
    fn returned(&mut self, name: u64, len: u64) -> Result<Attachment, UnpackError> {
        let grant = self.grants.get(&name).and_then(|grant| grant.memory.as_ref());
        match grant {
            Some(memory) if memory.bytes().len() as u64 == len => {
                Ok(Attachment::Blob(Blob::from_memory(Arc::clone(memory))))
            }
            _ => Err(UnpackError::Nonsense("it returns what it has not got".to_owned())),
        }
    }

    fn note_release(&mut self, name: u64) {
        match self.releases.iter_mut().find(|(it, _)| *it == name) {
            Some((_, count)) => *count += 1,
            None => self.releases.push((name, 1)),
        }
    }
}

/// A blob in a segment of the peer. Its drop releases one reference.
struct Borrowed {
    book: Arc<Book>,
    segment: Arc<Foreign>,
    name: u64,
    len: usize,
}

impl Memory for Borrowed {
    fn bytes(&self) -> &[u8] {
        &self.segment.bytes()[..self.len]
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let mut pages = self.book.lock();
        if pages.is_closed {
            return;
        }
        pages.note_release(self.name);
        drop(pages);
        self.book.tell();
    }
}
