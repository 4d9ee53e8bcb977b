//! Who waits for the pool: threads that are parked inside of tasks, and submitters that wait for room.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Pool threads that are parked in a wait inside of a task, and can be woken to run another task meanwhile.
///
/// All of them are woken, and each looks for itself: a waker may be stale, because its thread went on with its own
/// task, so that waking only one could be a wake-up lost.
pub(crate) struct Parked {
    wakers: Mutex<Box<[Option<Waker>]>>,
    count: AtomicUsize,
}

impl Parked {
    pub(crate) fn new(threads: usize) -> Self {
        Self { wakers: Mutex::new((0..threads).map(|_| None).collect()), count: AtomicUsize::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Box<[Option<Waker>]>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller looks for work once more after this.
    pub(crate) fn enter(&self, thread: usize, waker: &Waker) {
        let mut wakers = self.lock();
        if wakers[thread].replace(waker.clone()).is_none() {
            self.count.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn leave(&self, thread: usize) {
        if self.count.load(Ordering::Relaxed) != 0 && self.lock()[thread].take().is_some() {
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// After a task has been put into the queue, behind a fence.
    pub(crate) fn wake_all(&self) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut woken = Vec::new();
        let mut wakers = self.lock();
        woken.extend(wakers.iter_mut().filter_map(Option::take));
        self.count.fetch_sub(woken.len(), Ordering::SeqCst);
        drop(wakers);
        woken.into_iter().for_each(Waker::wake);
    }
}

/// Tasks that wait for something that concerns all of them.
#[derive(Default)]
pub(crate) struct Bell {
    wakers: Mutex<Vec<Waker>>,
    is_awaited: AtomicBool,
}

impl Bell {
    /// Registers. The caller looks once more at what it waits for after this.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        if !wakers.iter().any(|it| it.will_wake(waker)) {
            wakers.push(waker.clone());
        }
        self.is_awaited.store(true, Ordering::SeqCst);
    }

    /// Wakes all. Costs a load when there are none.
    pub(crate) fn ring(&self) {
        if !self.is_awaited.load(Ordering::SeqCst) {
            return;
        }
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_awaited.store(false, Ordering::SeqCst);
        let woken = std::mem::take(&mut *wakers);
        drop(wakers);
        woken.into_iter().for_each(Waker::wake);
    }
}
