//! [`Lock`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::error::IpcError;
use super::futex::Deadline;
use super::guard::{
    self, ByTask, ByThread, FromHolder, Holder, LockAsync, OwnerDied, TryLockError, handle, sealed,
};
use super::region::{Kind, Region};
use super::robust::RobustLock;

const KIND: &Kind = &Kind { name: "Lock", code: 1 };

/// Mutual exclusion between processes: at most one thread or task, in all processes that have a handle, holds the lock.
///
/// A handle is cheap to clone, and travels as an argument or result of tasks of a process pool, alone or inside of other
/// values. The lock protects whatever the processes agree on; for data in shared memory there are [`Value`](super::Value) and
/// [`Array`](super::Array), which bring a lock of their own.
///
/// It is not fair: who comes when the lock is free may overtake who is just waking up.
///
/// # Death of the owner
///
/// If a thread ends, or a process is killed, that holds the lock, the next owner is told: its call gives
/// [`OwnerDied`], which has the guard in it. Nobody waits for the dead.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::Lock;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lock = Lock::new()?;
/// let guard = lock.lock().unwrap_or_else(|died| died.into_inner());
/// assert!(lock.try_lock().is_err());
/// drop(guard);
/// assert!(lock.try_lock().is_ok());
/// # Ok(())
/// # }
/// ```
pub struct Lock {
    region: Arc<Region>,
}

impl Lock {
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

    /// Takes the lock.
    ///
    /// # Blocking
    ///
    /// Until it is free: first spinning for some microseconds, then asleep.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`] if the previous owner died; the lock is taken then as well.
    ///
    /// # Panics
    ///
    /// If this thread holds it already.
    #[inline]
    #[track_caller]
    pub fn lock(&self) -> Result<LockGuard<ByThread<'_>>, OwnerDied<LockGuard<ByThread<'_>>>> {
        OwnerDied::check(LockGuard { holder: guard::lock(&self.region) })
    }

    /// Takes the lock unless somebody, this thread included, holds it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock), or [`OwnerDied`](TryLockError::OwnerDied).
    #[inline]
    pub fn try_lock(&self) -> Result<LockGuard<ByThread<'_>>, TryLockError<LockGuard<ByThread<'_>>>> {
        Ok(OwnerDied::check(LockGuard { holder: guard::try_lock(&self.region)? })?)
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
    ///
    /// # Panics
    ///
    /// If this thread holds it already.
    #[track_caller]
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<LockGuard<ByThread<'_>>, TryLockError<LockGuard<ByThread<'_>>>> {
        let holder = guard::lock_until(&self.region, Deadline::after(timeout))?;
        Ok(OwnerDied::check(LockGuard { holder })?)
    }

    /// Takes the lock for a task: the guard may be held across `.await` and moved to other threads.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`] if the previous owner died; the lock is taken then as well.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped does not hold the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// # use executor_process::ipc::Lock;
    /// # futures::executor::block_on(async {
    /// let lock = Lock::new().expect("a descriptor is free");
    /// let guard = lock.lock_async().await.expect("nobody died");
    /// std::thread::spawn(move || drop(guard)).join().expect("no panic");
    /// # });
    /// ```
    pub fn lock_async(
        &self,
    ) -> impl Future<Output = Result<LockGuard<ByTask>, OwnerDied<LockGuard<ByTask>>>> + Send + use<> {
        let lock = LockAsync::new(&self.region);
        async move { OwnerDied::check(LockGuard { holder: ByTask::new(lock.await) }) }
    }

    /// Whether somebody holds the lock at this moment; for display, as the answer may be wrong when it arrives.
    pub fn is_locked(&self) -> bool {
        self.region.at::<RobustLock>(0).is_locked()
    }
}

handle!(Lock, KIND, |region| region.body_len() == size_of::<RobustLock>());

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("is_locked", &self.is_locked()).finish()
    }
}

/// The lock is held until this is dropped; from [`Lock`].
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct LockGuard<H: Holder> {
    holder: H,
}

#[expect(private_interfaces, reason = "nobody outside can name this trait")]
impl<H: Holder> sealed::Holds for LockGuard<H> {
    #[inline]
    fn robust(&self) -> &RobustLock {
        self.holder.robust()
    }

    fn region(&self) -> &Region {
        self.holder.region()
    }
}

impl<H: Holder> FromHolder<H> for LockGuard<H> {
    fn from_holder(holder: H) -> Self {
        Self { holder }
    }

    fn holder(&self) -> &H {
        &self.holder
    }
}
