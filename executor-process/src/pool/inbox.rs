//! What submitters leave for whoever holds the core.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use executor_core::{Job, Parcel, TaskError};

/// Something for the core to take in.
pub(super) enum Item {
    /// A task that may wait its turn outside of the scheduler: it has no priority and goes to any worker. It is encoded,
    /// and its owner is this pool.
    Job(Job),
    /// A task that the scheduler has to know of at once.
    Special(Job),
    /// The rarer things.
    Event(Box<Event>),
}

/// The rarer things in an inbox.
pub(super) enum Event {
    /// The result of a nested task, for the worker that has submitted it.
    NestedDone {
        /// Which worker.
        worker: u64,
        /// The worker's name for the task.
        nested: u64,
        /// The serialised result.
        result: Result<Parcel<'static>, TaskError>,
    },
    /// A blob of a worker was dropped, which it is to be told.
    Notes {
        /// Which worker.
        worker: u64,
    },
}

/// A list under a lock that is held for a push or a swap, and its length beside it.
#[derive(Default)]
pub(super) struct Inbox {
    items: Mutex<Vec<Item>>,
    len: AtomicUsize,
    /// There is something in it that cannot wait.
    has_urgent: AtomicBool,
}

impl Inbox {
    /// Leaves an item, and tells how many there are now.
    pub(super) fn push(&self, item: Item) -> usize {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(item, Item::Job(_)) {
            self.has_urgent.store(true, Ordering::Relaxed);
        }
        items.push(item);
        let len = items.len();
        self.len.store(len, Ordering::Release);
        len
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn has_urgent(&self) -> bool {
        self.has_urgent.load(Ordering::Relaxed)
    }

    /// Exchanges what is there for an empty list, which the caller has kept.
    pub(super) fn take(&self, into: &mut Vec<Item>) {
        debug_assert!(into.is_empty(), "the list that is given is an empty one");
        if self.is_empty() {
            return;
        }
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *items, into);
        self.len.store(0, Ordering::Release);
        self.has_urgent.store(false, Ordering::Relaxed);
    }
}
