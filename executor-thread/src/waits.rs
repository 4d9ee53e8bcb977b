//! Who waits for the pool: threads that are parked inside of tasks, and submitters that wait for room.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// Pool threads that are parked in a wait inside of a task, and can be woken to run another task meanwhile.
///
/// All of them are woken, and each looks for itself: a waker may be stale, because its thread went on with its own
/// task, so that waking only one could be a wake-up lost.
#[derive(Default)]
pub(crate) struct Parked {
    wakers: Mutex<Vec<(WorkerId, Waker)>>,
    count: AtomicUsize,
}

/// Names a thread of the pool, or one that stands in.
pub(crate) type WorkerId = u64;

impl Parked {
    fn lock(&self) -> MutexGuard<'_, Vec<(WorkerId, Waker)>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The caller looks for work once more after this.
    pub(crate) fn enter(&self, worker: WorkerId, waker: &Waker) {
        let mut wakers = self.lock();
        match wakers.iter_mut().find(|(id, _)| *id == worker) {
            Some((_, current)) => current.clone_from(waker),
            None => wakers.push((worker, waker.clone())),
        }
        self.count.store(wakers.len(), Ordering::SeqCst);
    }

    pub(crate) fn leave(&self, worker: WorkerId) {
        if self.count.load(Ordering::Relaxed) != 0 {
            let mut wakers = self.lock();
            wakers.retain(|(id, _)| *id != worker);
            self.count.store(wakers.len(), Ordering::SeqCst);
        }
    }

    /// After a task has been put into the queue, behind a fence.
    pub(crate) fn wake_all(&self) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut wakers = self.lock();
        let woken = std::mem::take(&mut *wakers);
        self.count.store(0, Ordering::SeqCst);
        drop(wakers);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
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
    #[inline]
    pub(crate) fn ring(&self) {
        if self.is_awaited.load(Ordering::SeqCst) {
            self.wake_all();
        }
    }

    #[cold]
    fn wake_all(&self) {
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_awaited.store(false, Ordering::SeqCst);
        let woken = std::mem::take(&mut *wakers);
        drop(wakers);
        woken.into_iter().for_each(Waker::wake);
    }
}
