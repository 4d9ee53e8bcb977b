//! [`RLock`].

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::error::IpcError;
use super::futex::Deadline;
use super::guard::{ByThread, LockAsync, OwnerDied, TryLockError, handle, sealed};
use super::keeper::Kept;
use super::region::{Kind, Region};
use super::robust::{self, Held, NotTaken, RobustLock};

const KIND: &Kind = &Kind { name: "RLock", code: 2 };

/// A [`Lock`](super::Lock) that the thread which holds it may take again.
///
/// It is free when as many guards have been dropped as were taken, in any order.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::RLock;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = RLock::new()?;
/// let outer = lock.lock().expect("nobody died");
/// let inner = lock.lock().expect("nobody died");
/// drop(outer);
/// assert!(lock.is_locked());
/// drop(inner);
/// assert!(!lock.is_locked());
/// # Ok(())
/// # }
/// ```
pub struct RLock {
    region: Arc<Region>,
}

impl RLock {
    /// A lock that nobody holds.
    ///
    /// # Errors
    ///
    /// No descriptor or memory is left, or this system lacks what is needed (Linux 5.16, glibc).
    pub fn new() -> Result<Self, IpcError> {
        Ok(Self::of(Region::create(KIND, size_of::<RobustLock>())?))
    }

    fn of(region: Arc<Region>) -> Self {
        Self { region }
    }

    fn robust(&self) -> &RobustLock {
        self.region.at(0)
    }

    /// Takes the lock, once more if this thread has it.
    ///
    /// # Blocking
    ///
    /// While another thread or task holds it.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`] if the previous owner died; the lock is taken then as well.
    pub fn lock(&self) -> Result<RLockGuard<'_>, OwnerDied<RLockGuard<'_>>> {
        match self.take(self.robust().lock(Deadline::NEVER)) {
            Ok(guard) => OwnerDied::check(guard),
            Err(_) => unreachable!("there was no deadline"),
        }
    }

    /// Takes the lock unless another holds it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock), or [`OwnerDied`](TryLockError::OwnerDied).
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        let guard = self.take(self.robust().try_lock()).map_err(|_| TryLockError::WouldBlock)?;
        Ok(OwnerDied::check(guard)?)
    }

    /// Takes the lock if it becomes free in time.
    ///
    /// # Blocking
    ///
    /// At most for `timeout`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](TryLockError::TimedOut), or [`OwnerDied`](TryLockError::OwnerDied).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RLockGuard<'_>, TryLockError<RLockGuard<'_>>> {
        let taken = self.robust().lock(Deadline::after(timeout));
        let guard = self.take(taken).map_err(|_| TryLockError::TimedOut)?;
        Ok(OwnerDied::check(guard)?)
    }

    /// Takes the lock for a task. A task has no identity by which it could take the lock again: use
    /// [`RLockTaskGuard::again`]. Waiting for a lock that the same task holds never ends.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`] if the previous owner died; the lock is taken then as well.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped does not hold the lock.
    pub fn lock_async(
        &self,
    ) -> impl Future<Output = Result<RLockTaskGuard, OwnerDied<RLockTaskGuard>>> + Send + use<> {
        let lock = LockAsync::new(&self.region);
        async move { OwnerDied::check(RLockTaskGuard { kept: Arc::new(lock.await) }) }
    }

    /// Whether somebody holds the lock at this moment; for display, as the answer may be wrong when it arrives.
    pub fn is_locked(&self) -> bool {
        self.robust().is_locked()
    }

    fn take<'a>(&'a self, taken: Result<Held<'a>, NotTaken>) -> Result<RLockGuard<'a>, NotTaken> {
        let depth = self.robust().note();
        match taken {
            Ok(held) => {
                // The last of the guards gives it back.
                std::mem::forget(ByThread::new(&self.region, held));
                depth.store(1, Relaxed);
            }
            Err(NotTaken::Mine) => {
                let deeper = depth.load(Relaxed).checked_add(1);
                depth.store(deeper.expect("no thread has four billion guards of one lock"), Relaxed);
            }
            Err(other) => return Err(other),
        }
        Ok(RLockGuard { region: &self.region, tid: robust::me().tid(), of_this_thread: PhantomData })
    }
}

handle!(RLock, KIND, |region| region.body_len() == size_of::<RobustLock>());

impl fmt::Debug for RLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RLock").field("is_locked", &self.is_locked()).finish()
    }
}

/// The lock is held by this thread, and given back when the last of its guards is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RLockGuard<'a> {
    region: &'a Region,
    tid: u32,
    of_this_thread: PhantomData<*mut ()>,
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        let (me, lock) = (robust::me(), self.region.at::<RobustLock>(0));
        // In the child of a fork, the guard is a copy of the parent's.
        if me.tid() != self.tid {
            return;
        }
        let left = lock.note().load(Relaxed) - 1;
        lock.note().store(left, Relaxed);
        if left == 0 {
            self.region.pin_by_lock(false);
            lock.give_back_for(me);
        }
    }
}

#[expect(private_interfaces, reason = "nobody outside can name this trait")]
impl sealed::Holds for RLockGuard<'_> {
    fn robust(&self) -> &RobustLock {
        self.region.at(0)
    }

    fn region(&self) -> &Region {
        self.region
    }
}

/// The lock is held by a task, and given back when the last of the guards that were made of this one is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct RLockTaskGuard {
    kept: Arc<Kept>,
}

impl RLockTaskGuard {
    /// Takes the lock once more.
    pub fn again(&self) -> Self {
        Self { kept: Arc::clone(&self.kept) }
    }
}

#[expect(private_interfaces, reason = "nobody outside can name this trait")]
impl sealed::Holds for RLockTaskGuard {
    fn robust(&self) -> &RobustLock {
        self.kept.lock()
    }

    fn region(&self) -> &Region {
        self.kept.region()
    }
}
