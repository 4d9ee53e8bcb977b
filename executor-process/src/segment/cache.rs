//! Segments of this process: made, filled, used again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use executor_core::{Allocate, Memory, MemoryMut};
use rustix::process::{Resource, getrlimit};

use super::memory::Segment;

/// The most bytes that free segments hold on to, in each process. Too low: large values pay for fresh pages each time, which takes
/// longer than copying them. A value of 64 MiB there and back needs one segment on each side, or two if it is serialised.
pub(super) const KEEP: usize = 192 << 20;

/// The smallest segment. Below [`THRESHOLD`] none is made.
const SMALLEST: usize = 128 * 1024;

/// From so many bytes on a value goes by segment. An estimate: a frame is copied in and out of the ring, some 15 µs for each
/// 64 KiB at the 5 GiB/s of warm memory, and to name a segment costs some microseconds. Too low: small values pay for a
/// segment's books; too high: large ones for the copies.
const THRESHOLD: usize = 64 * 1024;

/// How many segments a process may own at a time: each takes a descriptor here. An eighth of what it may have, and not more than
/// peers, which get the descriptors for a moment, have with the usual limit of 1024.
pub(super) fn most_segments() -> usize {
    static MOST: OnceLock<usize> = OnceLock::new();
    *MOST.get_or_init(|| {
        let limit = getrlimit(Resource::Nofile).current.and_then(|it| usize::try_from(it).ok());
        (limit.unwrap_or(1024) / 8).clamp(4, 512)
    })
}

/// Free segments, and how many there are in all.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Oldest first.
    free: Mutex<Vec<Segment>>,
    count: AtomicUsize,
    /// Pools, and the worker that this process is.
    users: AtomicUsize,
}

static CACHE: Cache =
    Cache { free: Mutex::new(Vec::new()), count: AtomicUsize::new(0), users: AtomicUsize::new(0) };

/// While this exists, large blobs of this process are made in segments, and those that are free are kept.
#[derive(Debug)]
pub(crate) struct Installed(());

/// From here on, large blobs of this process are made in segments.
pub(crate) fn install() -> Installed {
    executor_core::set_allocator(&CACHE);
    CACHE.users.fetch_add(1, Ordering::SeqCst);
    Installed(())
}

impl Drop for Installed {
    fn drop(&mut self) {
        if CACHE.users.fetch_sub(1, Ordering::SeqCst) == 1 {
            let free = std::mem::take(&mut *CACHE.lock());
            free.iter().for_each(|segment| CACHE.discard(segment));
        }
    }
}

/// Where segments are made.
#[cfg(test)]
pub(super) fn allocator() -> &'static dyn Allocate {
    &CACHE
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, Vec<Segment>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A free segment of the class, or a new one.
    fn take(&self, len: usize) -> Option<Segment> {
        let class = len.max(SMALLEST).checked_next_power_of_two()?;
        let mut free = self.lock();
        // The last one of the class: its pages are the warmest.
        if let Some(at) = free.iter().rposition(|it| it.len() == class && it.is_ours()) {
            return Some(free.remove(at));
        }
        if self.count.load(Ordering::Relaxed) >= most_segments() {
            // Free ones of other classes are in the way.
            if free.is_empty() {
                return None;
            }
            let oldest = free.remove(0);
            self.discard(&oldest);
        }
        drop(free);
        self.count.fetch_add(1, Ordering::Relaxed);
        let made = Segment::create(class);
        if let Err(error) = &made {
            self.count.fetch_sub(1, Ordering::Relaxed);
            tracing::debug!(%error, bytes = class, "no segment; the value goes in its frame");
        }
        made.ok()
    }

    /// Keeps a segment that nobody uses, and gives back what is too much with it.
    fn put(&self, segment: Segment) {
        if !segment.is_ours() {
            // A child that was forked has a mapping of it, and nothing else to do with it.
            return;
        }
        if self.users.load(Ordering::SeqCst) == 0 {
            return self.discard(&segment);
        }
        let mut free = self.lock();
        free.push(segment);
        let mut held: usize = free.iter().map(Segment::touched).sum();
        let mut discarded = Vec::new();
        while held > KEEP {
            let oldest = free.remove(0);
            held -= oldest.touched();
            discarded.push(oldest);
        }
        drop(free);
        // Giving much memory back takes its time: not under the lock.
        discarded.iter().for_each(|segment| self.discard(segment));
    }

    fn discard(&self, segment: &Segment) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        segment.punch();
    }
}

impl Allocate for Cache {
    fn threshold(&self) -> usize {
        THRESHOLD
    }

    fn allocate(&self, len: usize) -> Option<Box<dyn MemoryMut>> {
        if self.users.load(Ordering::SeqCst) == 0 {
            return None;
        }
        Some(Box::new(Filling(Some(self.take(len)?))))
    }
}

/// A segment that is being written.
struct Filling(Option<Segment>);

impl Filling {
    fn segment(&self) -> &Segment {
        self.0.as_ref().expect("the segment is there until it is frozen")
    }
}

impl MemoryMut for Filling {
    fn bytes(&self) -> &[u8] {
        self.segment().bytes()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.as_mut().expect("the segment is there until it is frozen").bytes_mut()
    }

    fn freeze(mut self: Box<Self>, len: usize) -> Arc<dyn Memory> {
        let mut segment = self.0.take().expect("the segment is there until it is frozen");
        segment.note_touched(len);
        Arc::new(Filled { len: len.min(segment.len()), segment: Some(segment) })
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        if let Some(mut segment) = self.0.take() {
            // It may have been written to its end.
            segment.note_touched(segment.len());
            CACHE.put(segment);
        }
    }
}

/// The bytes of a blob in a segment of this process.
pub(super) struct Filled {
    segment: Option<Segment>,
    len: usize,
}

impl Filled {
    pub(super) fn segment(&self) -> &Segment {
        self.segment.as_ref().expect("the segment is there until this is dropped")
    }
}

impl Memory for Filled {
    fn bytes(&self) -> &[u8] {
        &self.segment().bytes()[..self.len]
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if let Some(segment) = self.segment.take() {
            CACHE.put(segment);
        }
    }
}
