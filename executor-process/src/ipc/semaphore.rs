//! [`Semaphore`] and [`BoundedSemaphore`].
//!
//! ```text
//! 0        monitor                                       (bell, rule 6: ring before the change)
//! 128      total, bound, held, high, came back
//! 192      records: who holds a permit, one cache line each
//! ```
//!
//! 1. *total* permits exist; as many as records are taken are held. *held* is their number, counted again when somebody died
//!    inside of the monitor. No record at or above *high* was ever taken.
//! 2. A record whose owner has died is made free by whoever finds no permit: the permit has come back.
//! 3. Who sleeps watches the records of all holders, so that a holder's death wakes it.
//! 4. A permit that is forgotten (`Permit::forget`) ceases to exist, and `release` makes a new one.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use super::bell::{Bell, Monitor};
use super::error::IpcError;
use super::futex::Deadline;
use super::guard::handle;
use super::keeper::Kept;
use super::record::{OfThread, Record};
use super::region::{Kind, Region, Shared};
use super::robust::{Held, RobustLock};

const STATE: usize = size_of::<Monitor>();
const RECORDS: usize = STATE + 64;
const RECORD: usize = size_of::<RobustLock>();

/// The most permits that can be held at a time.
const MOST_HELD: u32 = 65_536;

/// As many at least, if more permits may be released than there were at first. Memory is taken when it is used.
const LEAST_RECORDS: u32 = 4096;

#[repr(C)]
struct State {
    total: AtomicU32,
    bound: AtomicU32,
    held: AtomicU32,
    high: AtomicU32,
    came_back: AtomicU64,
}

// SAFETY: atomics.
unsafe impl Shared for State {}

/// More permits were released than can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("released {asked} more permits than were acquired: there are {total} of {bound}")]
#[non_exhaustive]
pub struct ReleasedTooOften {
    /// How many were to be released.
    pub asked: u32,
    /// How many there are, held ones included.
    pub total: u32,
    /// How many there can be.
    pub bound: u32,
}

/// No permit was to be had in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no permit of the semaphore was free")]
#[non_exhaustive]
pub struct NoPermit;

/// What both kinds have in common.
#[derive(Clone)]
struct Permits {
    region: Arc<Region>,
}

impl Permits {
    fn create(kind: &'static Kind, permits: u32, bound: Option<u32>) -> Result<Self, IpcError> {
        if permits > MOST_HELD {
            let (asked, most) = (u64::from(permits), u64::from(MOST_HELD));
            return Err(IpcError::TooLarge { what: kind.name, asked, of: "permits", most });
        }
        let records = if bound.is_some() { permits.max(1) } else { permits.max(LEAST_RECORDS) };
        let region = Region::create(kind, RECORDS + records as usize * RECORD)?;
        let this = Self { region };
        this.state().bound.store(bound.unwrap_or(u32::MAX), Relaxed);
        this.state().total.store(permits, Relaxed);
        Ok(this)
    }

    fn monitor(&self) -> &Monitor {
        self.region.at(0)
    }

    fn state(&self) -> &State {
        self.region.at(STATE)
    }

    fn records(&self) -> &[RobustLock] {
        self.region.slice(RECORDS, (self.region.body_len() - RECORDS) / RECORD)
    }

    /// Those that have ever been taken.
    fn used(&self) -> &[RobustLock] {
        let records = self.records();
        &records[..records.len().min(self.state().high.load(Relaxed) as usize)]
    }

    fn enter(&self) -> Held<'_> {
        self.monitor().enter(|| {
            let held = self.used().iter().filter(|record| record.is_locked() || record.is_orphan()).count();
            self.state().held.store(held as u32, Relaxed);
        })
    }

    /// Rule 2; inside.
    fn collect(&self) {
        let state = self.state();
        for orphan in self.used().iter().filter(|record| record.is_orphan()) {
            orphan.adopt();
            state.held.store(state.held.load(Relaxed).saturating_sub(1), Relaxed);
            state.came_back.fetch_add(1, Relaxed);
        }
    }

    /// A permit, if there is one; inside.
    fn take<R: Record>(&self) -> Option<R> {
        let state = self.state();
        let (total, mut held) = (state.total.load(Relaxed), state.held.load(Relaxed));
        if held >= total || held as usize >= self.records().len() {
            self.collect();
            held = state.held.load(Relaxed);
        }
        if held >= total {
            return None;
        }
        let is_free = |record: &RobustLock| !record.is_locked() && !record.is_orphan();
        let used = self.used().len();
        // Most often all that were used are in use, or the first is free.
        let index = self.used().iter().position(is_free).unwrap_or(used);
        if index >= self.records().len() {
            return None;
        }
        if index == used {
            state.high.store(index as u32 + 1, Relaxed);
        }
        let record = R::take(&self.region, RECORDS + index * RECORD)?;
        state.held.store(held + 1, Relaxed);
        Some(record)
    }

    fn acquire_until(&self, deadline: Deadline) -> Option<OfThread> {
        loop {
            let (seen, watched);
            {
                let _inside = self.enter();
                if let Some(record) = self.take() {
                    return Some(record);
                }
                if deadline.has_passed() {
                    return None;
                }
                seen = self.monitor().bell().count();
                watched = self.used().iter().filter_map(RobustLock::watch).collect::<Vec<_>>();
            }
            self.monitor().bell().sleep(seen, &watched, deadline);
        }
    }

    async fn acquire_async(&self) -> Kept {
        loop {
            let seen;
            {
                let _inside = self.enter();
                if let Some(record) = self.take() {
                    return record;
                }
                seen = self.monitor().bell().count();
            }
            Bell::wait(&self.region, Monitor::BELL, seen, Deadline::NEVER).await;
        }
    }

    fn try_acquire(&self) -> Option<OfThread> {
        let _inside = self.enter();
        self.take()
    }

    fn give_back(&self, record: impl Record) {
        let _inside = self.enter();
        self.monitor().ring();
        record.give_back();
        let state = self.state();
        state.held.store(state.held.load(Relaxed).saturating_sub(1), Relaxed);
    }

    /// Rule 4.
    fn forget(&self, record: impl Record) {
        let _inside = self.enter();
        let state = self.state();
        // In this order: who dies in between has lost its permit by forgetting it.
        state.total.store(state.total.load(Relaxed).saturating_sub(1), Relaxed);
        record.give_back();
        state.held.store(state.held.load(Relaxed).saturating_sub(1), Relaxed);
    }

    fn release(&self, permits: u32) -> Result<(), ReleasedTooOften> {
        let _inside = self.enter();
        let state = self.state();
        let (total, bound) = (state.total.load(Relaxed), state.bound.load(Relaxed));
        let more = total.checked_add(permits).filter(|more| *more <= bound);
        let more = more.ok_or(ReleasedTooOften { asked: permits, total, bound })?;
        self.monitor().ring();
        state.total.store(more, Relaxed);
        Ok(())
    }

    fn available(&self) -> u32 {
        let _inside = self.enter();
        self.collect();
        self.state().total.load(Relaxed).saturating_sub(self.state().held.load(Relaxed))
    }
}

/// A permit of a [`Semaphore`] or [`BoundedSemaphore`], held by this thread; given back when it is dropped.
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit {
    permits: Permits,
    record: ManuallyDrop<OfThread>,
}

impl Permit {
    fn new(permits: &Permits, record: OfThread) -> Self {
        Self { permits: permits.clone(), record: ManuallyDrop::new(record) }
    }

    /// Does not give the permit back: it ceases to exist. `release` makes a new one, from whatever process.
    pub fn forget(self) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: each is taken out once, of a value that is not used or dropped any more.
        let (record, permits) =
            unsafe { (ManuallyDrop::take(&mut this.record), std::ptr::read(&raw const this.permits)) };
        if record.is_mine() {
            permits.forget(record);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        // SAFETY: taken out once, here.
        let record = unsafe { ManuallyDrop::take(&mut self.record) };
        if record.is_mine() {
            self.permits.give_back(record);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

/// A permit that a task holds, wherever it runs; given back when it is dropped.
#[must_use = "the permit is given back when this is dropped"]
pub struct TaskPermit {
    permits: Permits,
    record: Option<Kept>,
}

impl TaskPermit {
    /// Does not give the permit back: it ceases to exist. `release` makes a new one, from whatever process.
    pub fn forget(mut self) {
        if let Some(record) = self.record.take() {
            self.permits.forget(record);
        }
    }
}

impl Drop for TaskPermit {
    fn drop(&mut self) {
        if let Some(record) = self.record.take()
            && record.is_of_this_process()
        {
            self.permits.give_back(record);
        }
    }
}

impl fmt::Debug for TaskPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskPermit").finish_non_exhaustive()
    }
}

macro_rules! semaphore {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $code:literal, $bound:expr, $(#[$new:meta])*, $(#[$release:meta])*) => {
        const $kind: &Kind = &Kind { name: stringify!($name), code: $code };

        $(#[$doc])*
        pub struct $name {
            region: Arc<Region>,
        }

        impl $name {
            $(#[$new])*
            ///
            /// # Errors
            ///
            /// More than 65,536 permits; no descriptor or memory is left; or this system lacks what is needed (Linux 5.16, glibc).
            pub fn new(permits: u32) -> Result<Self, IpcError> {
                let bound: fn(u32) -> Option<u32> = $bound;
                Ok(Self::of(Permits::create($kind, permits, bound(permits))?.region))
            }

            fn of(region: Arc<Region>) -> Self {
                Self { region }
            }

            fn permits(&self) -> Permits {
                Permits { region: Arc::clone(&self.region) }
            }

            /// Takes a permit.
            ///
            /// # Blocking
            ///
            /// Until one is free.
            pub fn acquire(&self) -> Permit {
                let permits = self.permits();
                match permits.acquire_until(Deadline::NEVER) {
                    Some(record) => Permit::new(&permits, record),
                    None => unreachable!("there was no deadline"),
                }
            }

            /// Takes a permit if one is free.
            ///
            /// # Errors
            ///
            /// None is.
            pub fn try_acquire(&self) -> Result<Permit, NoPermit> {
                let permits = self.permits();
                Ok(Permit::new(&permits, permits.try_acquire().ok_or(NoPermit)?))
            }

            /// Takes a permit if one becomes free in time.
            ///
            /// # Blocking
            ///
            /// At most for `timeout`.
            ///
            /// # Errors
            ///
            /// None was.
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit, NoPermit> {
                let permits = self.permits();
                let record = permits.acquire_until(Deadline::after(timeout)).ok_or(NoPermit)?;
                Ok(Permit::new(&permits, record))
            }

            /// Takes a permit for a task.
            ///
            /// # Cancel safety
            ///
            /// A future that is dropped has no permit.
            pub fn acquire_async(&self) -> impl Future<Output = TaskPermit> + Send + use<> {
                let permits = self.permits();
                async move {
                    let record = Some(permits.acquire_async().await);
                    TaskPermit { permits, record }
                }
            }

            $(#[$release])*
            pub fn release(&self, permits: u32) -> Result<(), ReleasedTooOften> {
                self.permits().release(permits)
            }

            /// How many permits are free at this moment; for display, as the answer may be wrong when it arrives.
            pub fn available(&self) -> u32 {
                self.permits().available()
            }

            /// How many permits have come back from holders that died, ever.
            pub fn came_back(&self) -> u64 {
                let permits = self.permits();
                let _inside = permits.enter();
                permits.collect();
                permits.state().came_back.load(Relaxed)
            }
        }

        handle!($name, $kind, |region| region.body_len() > RECORDS && region.body_len().is_multiple_of(RECORD));

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("available", &self.available()).finish()
            }
        }
    };
}

semaphore! {
    /// Permits that processes take and give back.
    ///
    /// A permit is given back when its guard is dropped, by the thread that took it, or wherever the task runs that did. For permits
    /// that one process makes and another uses up, there are [`release`](Self::release) and [`Permit::forget`].
    ///
    /// # Deaths
    ///
    /// A permit that a process held which has died comes back, and those who wait are woken; [`came_back`](Self::came_back)
    /// counts them. A process that waits and dies takes nothing with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_process::ipc::Semaphore;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let semaphore = Semaphore::new(1)?;
    /// let permit = semaphore.acquire();
    /// assert!(semaphore.try_acquire().is_err());
    /// semaphore.release(1)?; // one more than there were
    /// let another = semaphore.acquire();
    /// drop(permit);
    /// another.forget();
    /// assert_eq!(semaphore.available(), 1);
    /// # Ok(())
    /// # }
    /// ```
    Semaphore, SEMAPHORE, 7, |_| None,
    /// A semaphore with so many permits at first.
    ,
    /// Makes so many new permits.
    ///
    /// # Errors
    ///
    /// There would be more than `u32::MAX`.
}

semaphore! {
    /// A [`Semaphore`] that never has more permits than at first.
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_process::ipc::BoundedSemaphore;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let semaphore = BoundedSemaphore::new(2)?;
    /// semaphore.acquire().forget(); // for another to release
    /// semaphore.release(1)?;
    /// assert!(semaphore.release(1).is_err());
    /// # Ok(())
    /// # }
    /// ```
    BoundedSemaphore, BOUNDED, 8, Some,
    /// A semaphore with so many permits, at first and at most.
    ,
    /// Makes so many new permits, in place of those that were [forgotten](Permit::forget).
    ///
    /// # Errors
    ///
    /// There would be more than at first; none is made then.
}
