//! What the guards of locks have in common: who holds, and what the death of an owner becomes.

use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::futex::Deadline;
use super::keeper::Kept;
use super::region::Region;
use super::robust::{Held, NotTaken, RobustLock};
use super::waiter::Wait;

/// The previous owner of a lock died while it held it.
///
/// The lock is taken, and its guard is in here: what the lock protects may be half changed. [`into_inner`](Self::into_inner) gives
/// the guard, and says that the caller has put, or will put, the data in order: from then on nobody is told any more. Who
/// drops this value instead gives the lock back as it was, and the next owner is told, too.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::Value;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sum = Value::new((0i64, 0u64).0)?;
/// let mut guard = sum.lock().unwrap_or_else(|died| {
///     let mut guard = died.into_inner();
///     *guard = 0; // whatever makes the data right again
///     guard
/// });
/// *guard += 1;
/// # Ok(())
/// # }
/// ```
pub struct OwnerDied<G> {
    guard: G,
}

impl<G: Guard> OwnerDied<G> {
    /// The guard; the caller takes care of the data.
    pub fn into_inner(self) -> G {
        self.guard.robust().repaired();
        self.guard
    }

    /// The guard, to look at the data. The next owner will be told as well, unless this one decides for
    /// [`into_inner`](Self::into_inner).
    pub fn get_ref(&self) -> &G {
        &self.guard
    }

    /// The guard, to change the data; else as [`get_ref`](Self::get_ref).
    pub fn get_mut(&mut self) -> &mut G {
        &mut self.guard
    }

    /// A guard that was just taken, or the report.
    #[inline]
    pub(super) fn check(guard: G) -> Result<G, Self> {
        if guard.robust().is_damaged() { Err(Self { guard }) } else { Ok(guard) }
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerDied").finish_non_exhaustive()
    }
}

impl<G> fmt::Display for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the previous owner of the lock died while it held it; what it protects may be half changed",
        )
    }
}

impl<G> std::error::Error for OwnerDied<G> {}

/// Why a lock was not simply taken by a call that does not wait for ever.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum TryLockError<G> {
    /// It was taken, and its previous owner had died.
    #[error(transparent)]
    OwnerDied(#[from] OwnerDied<G>),
    /// Another holds it.
    #[error("the lock is held by another")]
    WouldBlock,
    /// Another has held it for all the time that was given.
    #[error("the lock was held by another until the time was over")]
    TimedOut,
}

impl<G> fmt::Debug for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnerDied(_) => "OwnerDied",
            Self::WouldBlock => "WouldBlock",
            Self::TimedOut => "TimedOut",
        })
    }
}

pub(super) mod sealed {
    use super::{Region, RobustLock};

    /// Knows the lock that it holds.
    pub trait Holds {
        #[doc(hidden)]
        #[expect(private_interfaces, reason = "nobody outside can name this trait")]
        fn robust(&self) -> &RobustLock;
        #[doc(hidden)]
        #[expect(private_interfaces, reason = "nobody outside can name this trait")]
        fn region(&self) -> &Region;
    }
}

/// A guard that can be made of whatever holds the lock; so a [`Condition`](super::Condition) can give the lock back and take it
/// again. Cannot be implemented elsewhere.
pub trait FromHolder<H: Holder>: sealed::Holds + Sized {
    #[doc(hidden)]
    fn from_holder(holder: H) -> Self;
    #[doc(hidden)]
    fn holder(&self) -> &H;
}

/// A guard of one of the locks of this module. Cannot be implemented elsewhere.
pub trait Guard: sealed::Holds {}

impl<G: sealed::Holds> Guard for G {}

/// Who holds a guard: a thread, [`ByThread`], or whatever task has it, [`ByTask`]. Cannot be implemented elsewhere.
pub trait Holder: sealed::Holds + fmt::Debug {}

/// Held by the thread that took the lock, and given back by it: not [`Send`]. If the thread ends with the guard, which takes a
/// `mem::forget`, the lock reports [`OwnerDied`].
pub struct ByThread<'a> {
    held: ManuallyDrop<Held<'a>>,
    region: &'a Region,
}

impl<'a> ByThread<'a> {
    #[inline]
    pub(super) fn new(region: &'a Region, held: Held<'a>) -> Self {
        region.pin_by_lock(true);
        Self { held: ManuallyDrop::new(held), region }
    }

    pub(super) fn borrowed_region(&self) -> &'a Region {
        self.region
    }
}

impl Drop for ByThread<'_> {
    #[inline]
    fn drop(&mut self) {
        self.region.pin_by_lock(false);
        // SAFETY: dropped once, here, and not used any more.
        unsafe { ManuallyDrop::drop(&mut self.held) };
    }
}

#[expect(private_interfaces, reason = "nobody outside can name this trait")]
impl sealed::Holds for ByThread<'_> {
    #[inline]
    fn robust(&self) -> &RobustLock {
        self.held.lock()
    }

    #[inline]
    fn region(&self) -> &Region {
        self.region
    }
}

impl Holder for ByThread<'_> {}

impl fmt::Debug for ByThread<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByThread")
    }
}

/// Held by a task, wherever it runs: [`Send`] and `'static`. If the process ends with the guard, the lock reports [`OwnerDied`].
pub struct ByTask {
    kept: Kept,
}

#[expect(private_interfaces, reason = "nobody outside can name this trait")]
impl sealed::Holds for ByTask {
    fn robust(&self) -> &RobustLock {
        self.kept.lock()
    }

    fn region(&self) -> &Region {
        self.kept.region()
    }
}

impl Holder for ByTask {}

impl ByTask {
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept }
    }

    pub(super) fn shared_region(&self) -> &Arc<Region> {
        self.kept.region()
    }
}

impl fmt::Debug for ByTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByTask")
    }
}

/// Takes the lock at the beginning of a region.
///
/// # Panics
///
/// If this thread has it: it would wait for itself.
#[inline]
#[track_caller]
pub(super) fn lock(region: &Region) -> ByThread<'_> {
    match region.at::<RobustLock>(0).lock(Deadline::NEVER) {
        Ok(held) => ByThread::new(region, held),
        Err(NotTaken::Mine) => held_already(region),
        Err(NotTaken::Busy | NotTaken::TimedOut) => unreachable!("there was no deadline"),
    }
}

/// As [`lock`], and gives up at the deadline.
#[track_caller]
pub(super) fn lock_until<G>(region: &Region, deadline: Deadline) -> Result<ByThread<'_>, TryLockError<G>> {
    match region.at::<RobustLock>(0).lock(deadline) {
        Ok(held) => Ok(ByThread::new(region, held)),
        Err(NotTaken::Mine) => held_already(region),
        Err(NotTaken::Busy | NotTaken::TimedOut) => Err(TryLockError::TimedOut),
    }
}

/// Takes the lock at the beginning of a region unless somebody has it, this thread included.
#[inline]
pub(super) fn try_lock<G>(region: &Region) -> Result<ByThread<'_>, TryLockError<G>> {
    match region.at::<RobustLock>(0).try_lock() {
        Ok(held) => Ok(ByThread::new(region, held)),
        Err(_) => Err(TryLockError::WouldBlock),
    }
}

#[cold]
#[track_caller]
fn held_already(region: &Region) -> ! {
    panic!("this thread holds the {} already, and would wait for itself for ever", region.kind().name)
}

/// Takes the lock at the beginning of a region for a task.
///
/// # Cancel safety
///
/// Dropped, it does not hold the lock, and a wake-up that it got goes to another.
#[derive(Debug)]
pub(super) struct LockAsync {
    region: Arc<Region>,
    wait: Option<Wait>,
}

impl LockAsync {
    pub(super) fn new(region: &Arc<Region>) -> Self {
        Self { region: Arc::clone(region), wait: None }
    }
}

impl Future for LockAsync {
    type Output = Kept;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Kept> {
        if self.wait.as_ref().is_some_and(|wait| wait.goes_on(context.waker())) {
            return Poll::Pending;
        }
        self.wait = None;
        let region = Arc::clone(&self.region);
        let lock = region.at::<RobustLock>(0);
        loop {
            if let Ok(kept) = Kept::try_new(&region, 0) {
                return Poll::Ready(kept);
            }
            lock.check_owner();
            if let Some(until) = lock.announce_task() {
                self.wait = Some(Wait::new(&region, until, Deadline::NEVER, true, context.waker()));
                return Poll::Pending;
            }
        }
    }
}

impl Drop for LockAsync {
    fn drop(&mut self) {
        if let Some(wait) = self.wait.take()
            && !wait.cancel()
        {
            self.region.at::<RobustLock>(0).pass_on();
        }
    }
}

/// Serialises as its region and is nothing else.
macro_rules! handle {
    ($name:ident $(<$generic:ident: $bound:path>)?, $kind:expr, $check:expr) => {
        impl $(<$generic: $bound>)? Clone for $name $(<$generic>)? {
            fn clone(&self) -> Self {
                Self::of(std::sync::Arc::clone(&self.region))
            }
        }

        impl $(<$generic: $bound>)? serde::Serialize for $name $(<$generic>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::ipc::handle::serialize(&self.region, &(), serializer)
            }
        }

        impl<'de $(, $generic: $bound)?> serde::Deserialize<'de> for $name $(<$generic>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let (region, ()) = $crate::ipc::handle::deserialize::<(), D>($kind, deserializer)?;
                let check: fn(&$crate::ipc::region::Region) -> bool = $check;
                if !check(&region) {
                    return Err(serde::de::Error::custom(concat!(
                        "what came is a ",
                        stringify!($name),
                        " of another type or size"
                    )));
                }
                Ok(Self::of(region))
            }
        }
    };
}
pub(super) use handle;
