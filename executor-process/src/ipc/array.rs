//! [`Array`].
//!
//! Guards deref to the elements where they are, and the operations on single elements are atomic, without the lock. Within one
//! process the two must not meet: a reference and an atomic write to what it refers to are a data race.
//! A counter of the operations that are under way in this process, in the `Region`, keeps them apart:
//!
//! 1. A guard first has the lock, then says so (*guarded*), then waits until no operation is under way in this process.
//! 2. An operation first counts itself, then looks for *guarded*. If it is set, it takes itself back, and takes the lock instead.
//!
//! Both are sequentially consistent, so one of the two sees the other. What *other* processes do is outside of what one can
//! keep apart: they have to agree whether they use the lock.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytemuck::Pod;

use super::error::IpcError;
use super::futex::Deadline;
use super::guard::{
    self, ByTask, ByThread, FromHolder, Holder, LockAsync, OwnerDied, TryLockError, handle, sealed,
};
use super::integer::{Integer, Operations, atomic_methods};
use super::region::{Kind, Region};
use super::robust::RobustLock;

const KIND: &Kind = &Kind { name: "Array", code: 4 };

/// Where the elements begin; before them lies their number.
const DATA: usize = 128;
const LENGTH: usize = 64;

/// Elements of plain data that processes share, with a lock.
///
/// As [`Value`](super::Value), for many elements. A guard derefs to the slice of them, in place. If the elements are integers,
/// [`at`](Self::at) gives one of them for atomic operations, which need no lock.
///
/// Processes have to agree whether they use the lock or the atomic operations at a time: what one writes to an element
/// while another changes it in the other way may be lost. Within one process, an atomic operation waits while
/// a guard exists.
///
/// # Death of the owner
///
/// The guard changes the elements in place: if the thread ends, or the process is killed, that holds the lock, they are as far as it
/// had come, and the next owner is told, see [`OwnerDied`].
///
/// # Examples
///
/// ```
/// use executor_process::ipc::Array;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let array = Array::new(&[1i32, 2, 3])?;
/// for element in array.lock().expect("nobody died").iter_mut() {
///     *element = -*element;
/// }
/// array.at(0).fetch_add(10); // without the lock
/// assert_eq!(*array.lock().expect("nobody died"), [9, -2, -3]);
/// # Ok(())
/// # }
/// ```
pub struct Array<T: Pod> {
    region: Arc<Region>,
    length: usize,
    data: PhantomData<fn() -> T>,
}

impl<T: Pod> Array<T> {
    /// Copies elements into shared memory.
    ///
    /// # Errors
    ///
    /// No descriptor or memory is left, or this system lacks what is needed (Linux 5.16, glibc).
    pub fn new(elements: &[T]) -> Result<Self, IpcError> {
        let this = Self::zeroed(elements.len())?;
        // SAFETY: room for as many elements, of which nobody knows yet.
        unsafe {
            let to = this.region.body().add(DATA).cast::<T>().as_ptr();
            std::ptr::copy_nonoverlapping(elements.as_ptr(), to, elements.len());
        }
        Ok(this)
    }

    /// So many elements, all of whose bytes are zero. Memory is taken when it is first touched.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); or it is more than there are addresses for.
    pub fn zeroed(length: usize) -> Result<Self, IpcError> {
        const { assert!(align_of::<T>() <= 128) };
        let bytes = length.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(DATA));
        let bytes = bytes.ok_or(IpcError::TooLarge {
            what: "Array",
            asked: length as u64,
            of: "elements",
            most: (isize::MAX as usize / size_of::<T>().max(1)) as u64,
        })?;
        let region = Region::create(KIND, bytes)?;
        region.at::<AtomicU64>(LENGTH).store(length as u64, Relaxed);
        Ok(Self::of(region))
    }

    fn of(region: Arc<Region>) -> Self {
        const { assert!(align_of::<T>() <= 128) };
        let length = length::<T>(&region);
        Self { region, length, data: PhantomData }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
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
    #[track_caller]
    pub fn lock(&self) -> Result<ArrayGuard<T, ByThread<'_>>, OwnerDied<ArrayGuard<T, ByThread<'_>>>> {
        OwnerDied::check(ArrayGuard::from_holder(guard::lock(&self.region)))
    }

    /// Takes the lock unless somebody, this thread included, holds it.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](TryLockError::WouldBlock), or [`OwnerDied`](TryLockError::OwnerDied).
    pub fn try_lock(&self) -> Result<ArrayGuard<T, ByThread<'_>>, TryLockError<ArrayGuard<T, ByThread<'_>>>> {
        Ok(OwnerDied::check(ArrayGuard::from_holder(guard::try_lock(&self.region)?))?)
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
    ) -> Result<ArrayGuard<T, ByThread<'_>>, TryLockError<ArrayGuard<T, ByThread<'_>>>> {
        let holder = guard::lock_until(&self.region, Deadline::after(timeout))?;
        Ok(OwnerDied::check(ArrayGuard::from_holder(holder))?)
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
    ) -> impl Future<Output = Result<ArrayGuard<T, ByTask>, OwnerDied<ArrayGuard<T, ByTask>>>> + use<T> {
        let lock = LockAsync::new(&self.region);
        async move { OwnerDied::check(ArrayGuard::from_holder(ByTask::new(lock.await))) }
    }

    /// Whether somebody holds the lock at this moment; for display, as the answer may be wrong when it arrives.
    pub fn is_locked(&self) -> bool {
        self.region.at::<RobustLock>(0).is_locked()
    }
}

impl<T: Integer> Array<T> {
    /// The element at an index, for atomic operations without the lock.
    ///
    /// # Panics
    ///
    /// If there is no such element.
    #[inline]
    #[track_caller]
    pub fn at(&self, index: usize) -> Element<'_, T> {
        assert!(index < self.length, "element {index} of an Array of {}", self.length);
        Element { array: self, index }
    }
}

/// How many elements the region has. What it says holds only if it fits: the size cannot change, the number could.
fn length<T>(region: &Region) -> usize {
    let length = region.at::<AtomicU64>(LENGTH).load(Relaxed);
    let most = (region.body_len() - DATA).checked_div(size_of::<T>()).unwrap_or(usize::MAX);
    usize::try_from(length).unwrap_or(usize::MAX).min(most)
}

fn is_whole<T>(region: &Region) -> bool {
    let Some(data) = region.body_len().checked_sub(DATA) else { return false };
    let length = region.at::<AtomicU64>(LENGTH).load(Relaxed);
    usize::try_from(length).ok().and_then(|length| length.checked_mul(size_of::<T>())) == Some(data)
}

handle!(Array<T: Pod>, KIND, is_whole::<T>);

impl<T: Pod> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array")
            .field("of", &std::any::type_name::<T>())
            .field("len", &self.length)
            .field("is_locked", &self.is_locked())
            .finish()
    }
}

/// One element of an [`Array`], for atomic operations without the lock.
///
/// # Panics
///
/// Of each operation: if this thread, or a task of this process, has the guard of the array and waits for itself thereby. Within the
/// process that holds the guard, other threads wait until it is dropped.
#[derive(Debug)]
pub struct Element<'a, T: Integer> {
    array: &'a Array<T>,
    index: usize,
}

impl<T: Integer> Element<'_, T> {
    /// Rule 2.
    #[inline]
    fn operate<R>(&self, operate: impl FnOnce(&T::Word) -> R) -> R {
        let region = &*self.array.region;
        if region.enter_operation() {
            let result = operate(self.word());
            region.leave_operation();
            return result;
        }
        self.operate_under_lock(operate)
    }

    #[cold]
    fn operate_under_lock<R>(&self, operate: impl FnOnce(&T::Word) -> R) -> R {
        let _holder = guard::lock(&self.array.region);
        operate(self.word())
    }

    #[inline]
    fn word(&self) -> &T::Word {
        // SAFETY: an element, as `at` has checked, mapped as long as the array; in this process it is accessed by atomics only
        // while no guard exists (rules 1 and 2).
        unsafe {
            let first = self.array.region.body().add(DATA).cast::<T>();
            T::word(first.add(self.index).as_ptr())
        }
    }

    atomic_methods!(|this| Through(this));
}

/// Does each operation through [`Element::operate`].
struct Through<'a, 'b, T: Integer>(&'a Element<'b, T>);

macro_rules! through {
    ($($operation:ident)*) => {
        impl<T: Integer> Through<'_, '_, T> {
            #[inline]
            fn load(&self) -> T {
                self.0.operate(|word| word.load())
            }

            #[inline]
            fn store(&self, value: T) {
                self.0.operate(|word| word.store(value));
            }

            #[inline]
            fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
                self.0.operate(|word| word.compare_exchange(current, new))
            }

            $(
                #[inline]
                fn $operation(&self, value: T) -> T {
                    self.0.operate(|word| word.$operation(value))
                }
            )*
        }
    };
}

through!(swap fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);

/// The lock of an [`Array`] is held until this is dropped. Derefs to the elements.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ArrayGuard<T: Pod, H: Holder> {
    length: usize,
    holder: H,
    data: PhantomData<T>,
}

impl<T: Pod, H: Holder> Deref for ArrayGuard<T, H> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: so many elements lie there, aligned, mapped as long as the guard; any bytes are a `T`; and the lock keeps
        // others from writing meanwhile, in this process also those that do not take it (rules 1 and 2).
        unsafe {
            let first = self.holder.region().body().add(DATA).cast::<T>();
            std::slice::from_raw_parts(first.as_ptr(), self.length)
        }
    }
}

impl<T: Pod, H: Holder> DerefMut for ArrayGuard<T, H> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and nobody else reads either.
        unsafe {
            let first = self.holder.region().body().add(DATA).cast::<T>();
            std::slice::from_raw_parts_mut(first.as_ptr(), self.length)
        }
    }
}

impl<T: Pod, H: Holder> Drop for ArrayGuard<T, H> {
    fn drop(&mut self) {
        self.holder.region().let_operations_in();
    }
}

impl<T: Pod + fmt::Debug, H: Holder> fmt::Debug for ArrayGuard<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Pod + PartialEq, H: Holder, O: AsRef<[T]> + ?Sized> PartialEq<O> for ArrayGuard<T, H> {
    fn eq(&self, other: &O) -> bool {
        **self == *other.as_ref()
    }
}

#[expect(private_interfaces, reason = "nobody outside can name this trait")]
impl<T: Pod, H: Holder> sealed::Holds for ArrayGuard<T, H> {
    #[inline]
    fn robust(&self) -> &RobustLock {
        self.holder.robust()
    }

    fn region(&self) -> &Region {
        self.holder.region()
    }
}

impl<T: Pod, H: Holder> FromHolder<H> for ArrayGuard<T, H> {
    /// Rule 1.
    fn from_holder(holder: H) -> Self {
        holder.region().keep_operations_out();
        Self { length: length::<T>(holder.region()), holder, data: PhantomData }
    }

    fn holder(&self) -> &H {
        &self.holder
    }
}
