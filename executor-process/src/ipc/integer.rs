//! Integers on which there are atomic operations without a lock.

use std::sync::atomic::*;

use bytemuck::Pod;

/// An integer that processes can change together without a lock: all of Rust's up to 64 bits. Cannot be implemented elsewhere.
pub trait Integer: Pod + sealed::Atomic {}

pub(super) mod sealed {
    /// The operations, at a place that is shared.
    ///
    /// # Safety
    ///
    /// Of each: the place is mapped, aligned, and accessed by atomics of this size only.
    pub trait Atomic: Sized {
        #[doc(hidden)]
        type Word: super::Operations<Self> + 'static;

        /// # Safety
        ///
        /// The place is mapped for `'a`, aligned, and accessed by atomics of this size only.
        #[doc(hidden)]
        unsafe fn word<'a>(at: *mut Self) -> &'a Self::Word;
    }
}

/// The operations of an atomic of the standard library; all sequentially consistent.
#[doc(hidden)]
pub trait Operations<T> {
    fn load(&self) -> T;
    fn store(&self, value: T);
    fn swap(&self, value: T) -> T;
    fn compare_exchange(&self, current: T, new: T) -> Result<T, T>;
    fn fetch_add(&self, value: T) -> T;
    fn fetch_sub(&self, value: T) -> T;
    fn fetch_and(&self, value: T) -> T;
    fn fetch_or(&self, value: T) -> T;
    fn fetch_xor(&self, value: T) -> T;
    fn fetch_max(&self, value: T) -> T;
    fn fetch_min(&self, value: T) -> T;
}

macro_rules! integers {
    ($($integer:ty, $atomic:ty;)*) => {$(
        impl Integer for $integer {}

        impl sealed::Atomic for $integer {
            type Word = $atomic;

            #[inline]
            unsafe fn word<'a>(at: *mut Self) -> &'a $atomic {
                // SAFETY: as the caller says.
                unsafe { <$atomic>::from_ptr(at) }
            }
        }

        impl Operations<$integer> for $atomic {
            #[inline]
            fn load(&self) -> $integer {
                self.load(Ordering::SeqCst)
            }

            #[inline]
            fn store(&self, value: $integer) {
                self.store(value, Ordering::SeqCst);
            }

            #[inline]
            fn compare_exchange(&self, current: $integer, new: $integer) -> Result<$integer, $integer> {
                self.compare_exchange(current, new, Ordering::SeqCst, Ordering::SeqCst)
            }

            integers!(@ $integer: swap fetch_add fetch_sub fetch_and fetch_or fetch_xor fetch_max fetch_min);
        }
    )*};
    (@ $integer:ty: $($operation:ident)*) => {$(
        #[inline]
        fn $operation(&self, value: $integer) -> $integer {
            self.$operation(value, Ordering::SeqCst)
        }
    )*};
}

integers! {
    i8, AtomicI8;
    u8, AtomicU8;
    i16, AtomicI16;
    u16, AtomicU16;
    i32, AtomicI32;
    u32, AtomicU32;
    i64, AtomicI64;
    u64, AtomicU64;
    isize, AtomicIsize;
    usize, AtomicUsize;
}

/// The methods of what has an integer: `with` is an expression that gives the word.
macro_rules! atomic_methods {
    (|$this:ident| $with:expr) => {
        /// The number.
        #[inline]
        pub fn load(&self) -> T {
            let $this = self;
            $with.load()
        }

        /// Replaces the number.
        #[inline]
        pub fn store(&self, value: T) {
            let $this = self;
            $with.store(value);
        }

        /// Replaces the number by `new` if it is `current`.
        ///
        /// # Errors
        ///
        /// The number that was found instead.
        #[inline]
        pub fn compare_exchange(&self, current: T, new: T) -> Result<T, T> {
            let $this = self;
            $with.compare_exchange(current, new)
        }

        $crate::ipc::integer::atomic_methods!(@ |$this| $with,
            swap "Replaces the number, and gives what it was.",
            fetch_add "Adds, wrapping around, and gives what the number was.",
            fetch_sub "Subtracts, wrapping around, and gives what the number was.",
            fetch_and "Bitwise and; gives what the number was.",
            fetch_or "Bitwise or; gives what the number was.",
            fetch_xor "Bitwise exclusive or; gives what the number was.",
            fetch_max "The larger one; gives what the number was.",
            fetch_min "The smaller one; gives what the number was.",
        );
    };
    (@ |$this:ident| $with:expr, $($operation:ident $doc:literal,)*) => {$(
        #[doc = $doc]
        #[inline]
        pub fn $operation(&self, value: T) -> T {
            let $this = self;
            $with.$operation(value)
        }
    )*};
}
pub(super) use atomic_methods;
