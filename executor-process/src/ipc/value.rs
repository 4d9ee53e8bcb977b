//! [`Value`].

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use bytemuck::Pod;

use super::error::IpcError;
use super::futex::Deadline;
use super::guard::{
    self, ByTask, ByThread, FromHolder, Holder, LockAsync, OwnerDied, TryLockError, handle, sealed,
};
use super::integer::{Integer, Operations, atomic_methods};
use super::plain;
use super::region::{Kind, Region};
use super::robust::RobustLock;

const KIND: &Kind = &Kind { name: "Value", code: 3 };

/// Where the data begins: behind the lock, on a cache line of its own.
const DATA: usize = 64;

/// Plain data that processes share, with a lock.
///
/// `T` is anything of a fixed size whose bytes may be any bytes (`bytemuck::Pod`): numbers, arrays of them, `#[repr(C)]` structs
/// that derive it. A handle is cheap to clone, and travels as an argument or result of tasks of a process pool, alone or
/// inside of other values.
///
/// On integers there are atomic operations as well, which need no lock and cost some nanoseconds. They do not heed the
/// lock: what they change while somebody holds it is overwritten if the guard is written to.
///
/// # Death of the owner
///
/// A guard has a copy of the data, and puts it back when it is dropped. If the thread ends, or the process is killed, that holds
/// the lock, the data is as it was before, and the next owner is told, see [`OwnerDied`]. Only if the death comes while the data
/// is put back, and it is larger than 8 bytes, it may be new in some parts and old in others.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::Value;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let count = Value::new(40i64)?;
/// count.fetch_add(1); // without the lock
/// *count.lock().expect("nobody died") += 1;
/// assert_eq!(count.load(), 42);
///
/// let point = Value::new([1.0f64, 2.0])?;
/// point.lock().expect("nobody died")[1] = 5.0;
/// assert_eq!(point.get().expect("nobody died"), [1.0, 5.0]);
/// # Ok(())
/// # }
/// ```
pub struct Value<T: Pod> {
    region: Arc<Region>,
    data: PhantomData<fn() -> T>,
}

impl<T: Pod> Value<T> {
    /// Puts a value into shared memory.
    ///
    /// # Errors
    ///
    /// No descriptor or memory is left, or this system lacks what is needed (Linux 5.16, glibc).
    pub fn new(value: T) -> Result<Self, IpcError> {
        const { assert!(align_of::<T>() <= DATA) };
        let this = Self::of(Region::create(KIND, DATA + size_of::<T>())?);
        // SAFETY: `place` gives a place for a `T`.
        unsafe { plain::write(place::<T>(&this.region), &value) };
        Ok(this)
    }

    fn of(region: Arc<Region>) -> Self {
        const { assert!(align_of::<T>() <= DATA) };
        Self { region, data: PhantomData }
    }

    /// Takes the lock.
    ///
    /// # Blocking
    ///
    /// Until it is free.
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
    pub fn lock(&self) -> Result<ValueGuard<T, ByThread<'_>>, OwnerDied<ValueGuard<T, ByThread<'_>>>> {
        OwnerDied::check(ValueGuard::new(guard::lock(&self.region)))
    }

    /// Takes the lock unless somebody, this thread included, holds it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock), or [`OwnerDied`](TryLockError::OwnerDied).
    pub fn try_lock(&self) -> Result<ValueGuard<T, ByThread<'_>>, TryLockError<ValueGuard<T, ByThread<'_>>>> {
        Ok(OwnerDied::check(ValueGuard::new(guard::try_lock(&self.region)?))?)
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
    ) -> Result<ValueGuard<T, ByThread<'_>>, TryLockError<ValueGuard<T, ByThread<'_>>>> {
        let holder = guard::lock_until(&self.region, Deadline::after(timeout))?;
        Ok(OwnerDied::check(ValueGuard::new(holder))?)
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
    pub fn lock_async(
        &self,
    ) -> impl Future<Output = Result<ValueGuard<T, ByTask>, OwnerDied<ValueGuard<T, ByTask>>>> + use<T> {
        let lock = LockAsync::new(&self.region);
        async move { OwnerDied::check(ValueGuard::new(ByTask::new(lock.await))) }
    }

    /// The value, as the lock protects it.
    ///
    /// # Blocking
    ///
    /// While somebody holds the lock.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`] if the last owner of the lock died.
    #[track_caller]
    pub fn get(&self) -> Result<T, OwnerDied<ValueGuard<T, ByThread<'_>>>> {
        Ok(*self.lock()?)
    }

    /// Replaces the value, as the lock protects it.
    ///
    /// # Blocking
    ///
    /// While somebody holds the lock.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`] if the last owner of the lock died; the value is not replaced then.
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), OwnerDied<ValueGuard<T, ByThread<'_>>>> {
        *self.lock()? = value;
        Ok(())
    }

    /// Whether somebody holds the lock at this moment; for display, as the answer may be wrong when it arrives.
    pub fn is_locked(&self) -> bool {
        self.region.at::<RobustLock>(0).is_locked()
    }
}

/// Without the lock.
impl<T: Integer> Value<T> {
    #[inline]
    fn word(&self) -> &T::Word {
        // SAFETY: the place of a `T`, mapped as long as `self`. Guards move data of this size in one unit.
        unsafe { T::word(place::<T>(&self.region).cast::<T>().as_ptr()) }
    }

    atomic_methods!(|this| this.word());
}

/// Where the data is.
#[inline]
fn place<T>(region: &Region) -> NonNull<u8> {
    assert!(region.body_len() >= DATA + size_of::<T>(), "the size was checked when the region came");
    // SAFETY: inside of the region.
    unsafe { region.body().add(DATA) }
}

handle!(Value<T: Pod>, KIND, |region| region.body_len() == DATA + size_of::<T>());

impl<T: Pod> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = std::any::type_name::<T>();
        f.debug_struct("Value").field("of", &name).field("is_locked", &self.is_locked()).finish()
    }
}

/// The lock of a [`Value`] is held until this is dropped. Derefs to a copy of the data, which is put back then, if it was
/// borrowed mutably.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ValueGuard<T: Pod, H: Holder> {
    value: T,
    is_changed: bool,
    holder: H,
}

impl<T: Pod, H: Holder> ValueGuard<T, H> {
    #[inline]
    fn new(holder: H) -> Self {
        // SAFETY: `place` gives the place of a `T`, whose guards and atomics have the same unit.
        let value = unsafe { plain::read(place::<T>(holder.region())) };
        Self { value, is_changed: false, holder }
    }
}

impl<T: Pod, H: Holder> Deref for ValueGuard<T, H> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Pod, H: Holder> DerefMut for ValueGuard<T, H> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.is_changed = true;
        &mut self.value
    }
}

impl<T: Pod, H: Holder> Drop for ValueGuard<T, H> {
    #[inline]
    fn drop(&mut self) {
        if self.is_changed {
            // SAFETY: as in `new`; the lock is still held.
            unsafe { plain::write(place::<T>(self.holder.region()), &self.value) };
        }
    }
}

impl<T: Pod + fmt::Debug, H: Holder> fmt::Debug for ValueGuard<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ValueGuard").field(&self.value).finish()
    }
}

#[expect(private_interfaces, reason = "nobody outside can name this trait")]
impl<T: Pod, H: Holder> sealed::Holds for ValueGuard<T, H> {
    #[inline]
    fn robust(&self) -> &RobustLock {
        self.holder.robust()
    }

    fn region(&self) -> &Region {
        self.holder.region()
    }
}

impl<T: Pod, H: Holder> FromHolder<H> for ValueGuard<T, H> {
    fn from_holder(holder: H) -> Self {
        Self::new(holder)
    }

    fn holder(&self) -> &H {
        &self.holder
    }
}
