//! What a pool thread is running, published so that `Shutdown::Kill` can resolve it, at the price of one atomic
//! exchange a task.
//!
//! # The protocol
//!
//! The slot of a thread holds one of: null, the thread runs nothing; *looking*, it is about to take a task; a task's
//! pointer; the pointer with the lowest bit set, *pinned*.
//!
//! 1. The thread goes to *looking* before it takes a task out of the queue, and then looks at the pool's mode; so the
//!    killer, which sets the mode before it looks at the slots, either is seen by the thread, or sees the slot looking and waits for what comes of it.
//! 2. The thread stores the pointer before the task may begin, and keeps a reference of the task until it has left
//!    the pointer behind, which it does by compare-and-swap: while the task is pinned, it waits.
//! 3. The killer pins a pointer by compare-and-swap before it uses it. So the task is not freed meanwhile.
//!
//! Tasks that run inside of the wait of another one, and tasks that are futures, are too few to need that: they are in
//! a list, with a reference each.

use std::cell::RefCell;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use executor_core::{Job, JobHandle};

use crate::sync::{Padded, give_way};

const LOOKING: usize = 2;
const PINNED: usize = 1;

/// The public side of a pool thread.
pub(crate) struct Seat {
    slot: Padded<AtomicPtr<()>>,
    /// Tasks that ended, counted by the thread itself.
    finished: AtomicU64,
    /// Tasks that run inside of waits.
    nested: Mutex<Vec<JobHandle>>,
    nested_len: AtomicUsize,
}

/// The private side: what the thread must keep while its slot may be pinned.
#[derive(Default)]
pub(crate) struct Kept(RefCell<Option<JobHandle>>);

impl Seat {
    pub(crate) fn new() -> Self {
        Self {
            slot: Padded(AtomicPtr::new(ptr::null_mut())),
            finished: AtomicU64::new(0),
            nested: Mutex::default(),
            nested_len: AtomicUsize::new(0),
        }
    }

    /// Rule 1: before a task is taken. The task before may be freed.
    #[inline]
    pub(crate) fn look(&self, kept: &Kept) {
        self.replace(ptr::without_provenance_mut(LOOKING));
        kept.0.take();
    }

    /// The thread runs nothing.
    pub(crate) fn rest(&self, kept: &Kept) {
        self.replace(ptr::null_mut());
        kept.0.take();
    }

    /// Rule 2.
    #[inline]
    fn replace(&self, next: *mut ()) {
        // Only this thread changes the slot, but for the pin.
        let unpinned = self.slot.load(Ordering::Relaxed).map_addr(|address| address & !PINNED);
        while self.slot.compare_exchange(unpinned, next, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            give_way();
        }
    }

    /// Runs a task that was taken while looking; `run` gives back a reference to it, which is kept for as long as the slot names the task.
    #[inline]
    pub(crate) fn run(&self, kept: &Kept, job: Job, run: impl FnOnce(Job) -> JobHandle) {
        self.slot.store(job.as_raw().as_ptr(), Ordering::Release);
        let handle = run(job);
        *kept.0.borrow_mut() = Some(handle);
    }

    /// As [`run`](Self::run), inside of the wait of another task. False if `take` gives none.
    pub(crate) fn run_nested(&self, take: impl FnOnce() -> Option<Job>, run: impl FnOnce(Job)) -> bool {
        let job = {
            // Taken under the lock, so that the killer, which locks too, either comes before, and its mode is seen, or finds the task here.
            let mut nested = self.lock_nested();
            let Some(job) = take() else { return false };
            nested.push(job.handle());
            self.nested_len.store(nested.len(), Ordering::Relaxed);
            job
        };
        run(job);
        let mut nested = self.lock_nested();
        // The task that was begun last ends first.
        let handle = nested.pop();
        self.nested_len.store(nested.len(), Ordering::Relaxed);
        drop(nested);
        drop(handle);
        true
    }

    fn lock_nested(&self) -> MutexGuard<'_, Vec<JobHandle>> {
        self.nested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only by the thread itself.
    #[inline]
    pub(crate) fn count_finished(&self) {
        let finished = self.finished.load(Ordering::Relaxed);
        self.finished.store(finished + 1, Ordering::Relaxed);
    }

    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// How many tasks the thread is in the middle of.
    pub(crate) fn running(&self) -> usize {
        let slot = self.slot.load(Ordering::Relaxed);
        usize::from(slot.addr() > LOOKING | PINNED) + self.nested_len.load(Ordering::Relaxed)
    }

    /// Resolves what the thread runs as cancelled. The mode has been set before.
    pub(crate) fn kill(&self) {
        self.with_pinned(kill);
        self.lock_nested().iter().for_each(kill);
    }

    /// Calls `f` with the task that the slot names; waits while the thread is looking.
    fn with_pinned(&self, f: impl FnOnce(&JobHandle)) {
        loop {
            let task = self.slot.load(Ordering::SeqCst);
            if task.is_null() {
                return;
            }
            let pinned = task.map_addr(|address| address | PINNED);
            if task.addr() == LOOKING
                || self.slot.compare_exchange(task, pinned, Ordering::SeqCst, Ordering::SeqCst).is_err()
            {
                give_way();
                continue;
            }
            if let Some(raw) = ptr::NonNull::new(task) {
                // SAFETY: rule 3: the slot named the task when it was pinned, and by rule 2 its thread keeps a
                // reference until after it is unpinned.
                let handle = unsafe { JobHandle::borrow_raw(raw) };
                f(&handle);
            }
            self.slot.store(task, Ordering::SeqCst);
            return;
        }
    }
}

/// Returns when the task is resolved, as cancelled or by its end.
pub(crate) fn kill(task: &JobHandle) {
    if !task.kill() {
        // Its body has ended and is just handing over the output.
        while !task.is_resolved() {
            give_way();
        }
    }
}
