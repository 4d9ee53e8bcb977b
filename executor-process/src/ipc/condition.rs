//! [`Condition`].
//!
//! ```text
//! 0     a lock, for those who bring none      64    bell      80    tickets, waiters
//! ```
//!
//! 1. Who waits counts itself among the waiters, while it has the lock.
//! 2. Who notifies adds as many tickets as waiters are to go on, at most as many as there are waiters, counts the notification
//!    in the same word, and rings.
//! 3. A waiter that wakes takes the lock first, and then a ticket, if there was a notification since it began to wait. Without a
//!    ticket it waits on. So a ticket is used up by one who has the lock, and who dies before leaves the ticket to the
//!    others, who have all been woken.
//! 4. A dead waiter stays in the count. What that can do is to let one wait end that nobody meant.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::bell::Bell;
use super::error::IpcError;
use super::futex::Deadline;
use super::guard::{self, ByTask, ByThread, FromHolder, Guard, LockAsync, OwnerDied, handle};
use super::lock::LockGuard;
use super::region::{Kind, Region};
use super::robust::RobustLock;

const KIND: &Kind = &Kind { name: "Condition", code: 6 };

const BELL: usize = size_of::<RobustLock>();
const TICKETS: usize = BELL + size_of::<Bell>();
const WAITERS: usize = TICKETS + size_of::<AtomicU32>();
/// The word: notifications above, tickets below.
const NOTIFICATION: u32 = 1 << 16;
const MOST_TICKETS: u32 = NOTIFICATION - 1;
const SIZE: usize = WAITERS + size_of::<AtomicU32>();

/// Waiting for a change of what a lock protects, and saying that there was one.
///
/// The lock is the condition's own, see [`lock`](Self::lock), or that of a [`Lock`](super::Lock), [`Value`](super::Value) or
/// [`Array`](super::Array): its guard is given to [`wait`](Self::wait), which gives it back to the lock while it waits. All who wait
/// for the same condition use the same lock.
///
/// A wait may end without being notified, in rare cases; [`wait_while`](Self::wait_while) looks at what is waited for.
///
/// # Deaths
///
/// A waiter that dies swallows no [`notify_one`](Self::notify_one): another goes on instead. The lock reports the death of its
/// owner, as always.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::{Condition, Value};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ready, changed) = (Value::new(0u32)?, Condition::new()?);
/// let (theirs, there) = (ready.clone(), changed.clone()); // in another process, or thread
/// let other = std::thread::spawn(move || {
///     *theirs.lock().expect("nobody died") = 1;
///     there.notify_one();
/// });
/// let guard = ready.lock().expect("nobody died");
/// let guard = changed.wait_while(guard, |ready| **ready == 0).expect("nobody died");
/// assert_eq!(*guard, 1);
/// # drop(guard); other.join().unwrap();
/// # Ok(())
/// # }
/// ```
pub struct Condition {
    region: Arc<Region>,
}

impl Condition {
    /// A condition for which nobody waits.
    ///
    /// # Errors
    ///
    /// No descriptor or memory is left, or this system lacks what is needed (Linux 5.16, glibc).
    pub fn new() -> Result<Self, IpcError> {
        Ok(Self::of(Region::create(KIND, SIZE)?))
    }

    fn of(region: Arc<Region>) -> Self {
        Self { region }
    }

    fn bell(&self) -> &Bell {
        self.region.at(BELL)
    }

    fn tickets(&self) -> &AtomicU32 {
        self.region.at(TICKETS)
    }

    fn waiters(&self) -> &AtomicU32 {
        self.region.at(WAITERS)
    }

    /// Takes the condition's own lock.
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
    pub fn lock(&self) -> Result<LockGuard<ByThread<'_>>, OwnerDied<LockGuard<ByThread<'_>>>> {
        OwnerDied::check(LockGuard::from_holder(guard::lock(&self.region)))
    }

    /// Takes the condition's own lock for a task.
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
    ) -> impl Future<Output = Result<LockGuard<ByTask>, OwnerDied<LockGuard<ByTask>>>> + Send + use<> {
        let lock = LockAsync::new(&self.region);
        async move { OwnerDied::check(LockGuard::from_holder(ByTask::new(lock.await))) }
    }

    /// Gives the lock back, waits until notified, and takes the lock again.
    ///
    /// # Blocking
    ///
    /// Until then.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`] if an owner of the lock died meanwhile; the lock is taken then as well.
    pub fn wait<'a, G: Guard + FromHolder<ByThread<'a>>>(&self, guard: G) -> Result<G, OwnerDied<G>> {
        OwnerDied::check(self.wait_until(guard, Deadline::NEVER).0)
    }

    /// As [`wait`](Self::wait), at most for `timeout`; and whether it was notified.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a, G: Guard + FromHolder<ByThread<'a>>>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(G, bool), OwnerDied<G>> {
        let (guard, notified) = self.wait_until(guard, Deadline::after(timeout));
        Ok((OwnerDied::check(guard)?, notified))
    }

    /// Waits while what the lock protects is as `is_so` says; not at all if it is not.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_while<'a, G: Guard + FromHolder<ByThread<'a>>>(
        &self,
        mut guard: G,
        mut is_so: impl FnMut(&mut G) -> bool,
    ) -> Result<G, OwnerDied<G>> {
        while is_so(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Self::wait_while), at most for `timeout`; and whether it is not so any more.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<'a, G: Guard + FromHolder<ByThread<'a>>>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut is_so: impl FnMut(&mut G) -> bool,
    ) -> Result<(G, bool), OwnerDied<G>> {
        let deadline = Deadline::after(timeout);
        while is_so(&mut guard) {
            if deadline.has_passed() {
                return Ok((guard, false));
            }
            guard = OwnerDied::check(self.wait_until(guard, deadline).0)?;
        }
        Ok((guard, true))
    }

    /// As [`wait`](Self::wait), for tasks.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped has given the lock back, or never takes it again; and it swallows no notification.
    pub fn wait_async<G: Guard + FromHolder<ByTask>>(
        &self,
        guard: G,
    ) -> impl Future<Output = Result<G, OwnerDied<G>>> + use<G> {
        let this = self.clone();
        async move {
            let lock = Arc::clone(guard.holder().shared_region());
            let counted = Counted::new(&this);
            let start = this.notifications();
            let mut seen = this.bell().count();
            drop(guard);
            loop {
                Bell::wait(&this.region, BELL, seen, Deadline::NEVER).await;
                let guard = G::from_holder(ByTask::new(LockAsync::new(&lock).await));
                seen = this.bell().count();
                if this.take_ticket(start) || guard.robust().is_damaged() {
                    drop(counted);
                    return OwnerDied::check(guard);
                }
            }
        }
    }

    /// Lets one go on who waits; nobody if nobody does.
    pub fn notify_one(&self) {
        self.notify(1);
    }

    /// Lets all go on who wait.
    pub fn notify_all(&self) {
        self.notify(u32::MAX);
    }

    /// Lets at most so many go on who wait.
    pub fn notify(&self, most: u32) {
        if self.waiters().load(SeqCst) == 0 {
            return;
        }
        self.bell().ring_after(|| {
            let waiters = self.waiters().load(SeqCst).min(MOST_TICKETS);
            let add = |word: u32| {
                let tickets = (word & MOST_TICKETS).saturating_add(most).min(waiters);
                Some((word & !MOST_TICKETS).wrapping_add(NOTIFICATION) | tickets)
            };
            self.tickets().fetch_update(SeqCst, SeqCst, add).ok()
        });
    }

    /// Rules 1 and 3; and whether it was notified.
    fn wait_until<'a, G: Guard + FromHolder<ByThread<'a>>>(&self, guard: G, deadline: Deadline) -> (G, bool) {
        let lock = guard.holder().borrowed_region();
        let _counted = Counted::new(self);
        let start = self.notifications();
        let (mut seen, mut word) = (self.bell().count(), self.tickets().load(SeqCst));
        drop(guard);
        loop {
            self.bell().sleep(seen, &[(self.tickets(), word)], deadline);
            let guard = G::from_holder(guard::lock(lock));
            (seen, word) = (self.bell().count(), self.tickets().load(SeqCst));
            let notified = self.take_ticket(start);
            if notified || deadline.has_passed() || guard.robust().is_damaged() {
                return (guard, notified);
            }
        }
    }

    /// How many notifications there have been.
    fn notifications(&self) -> u32 {
        self.tickets().load(SeqCst) / NOTIFICATION
    }

    /// Rule 3, for one who waits since there were so many notifications.
    fn take_ticket(&self, start: u32) -> bool {
        let take = |word: u32| {
            let is_meant = word / NOTIFICATION != start && word & MOST_TICKETS != 0;
            is_meant.then(|| word - 1)
        };
        self.tickets().fetch_update(SeqCst, SeqCst, take).is_ok()
    }
}

/// A waiter, counted.
struct Counted<'a> {
    condition: &'a Condition,
}

impl<'a> Counted<'a> {
    fn new(condition: &'a Condition) -> Self {
        condition.waiters().fetch_add(1, SeqCst);
        Self { condition }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let waiters = self.condition.waiters().fetch_sub(1, SeqCst) - 1;
        // A ticket that was meant for one who has left.
        let surplus = |word: u32| (word & MOST_TICKETS > waiters).then_some((word & !MOST_TICKETS) | waiters);
        let _ = self.condition.tickets().fetch_update(SeqCst, SeqCst, surplus);
    }
}

handle!(Condition, KIND, |region| region.body_len() == SIZE);

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("waiters", &self.waiters().load(SeqCst)).finish()
    }
}
