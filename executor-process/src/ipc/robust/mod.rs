//! A lock between processes that knows of its owner's death.
//!
//! One word says who has it ([`word`]); the kernel changes that word when the owner dies, because the owning thread has
//! linked the lock into its *robust list* ([`list`]). Taking and giving back a lock that nobody else wants is two atomic
//! operations and four plain stores, without a system call.
//!
//! ```text
//! take                                   give back
//!  1. pending = node                      1. pending = node
//!  2. word: free -> mine                  2. unlink node
//!  3. link node                           3. word: mine -> free
//!  4. pending = none                      4. wake a sleeper, if the word says that there may be one
//!                                         5. pending = none
//! ```
//!
//! A thread that dies at any of these steps leaves a state in which the kernel does the right thing: between 1 and 4 it
//! looks at the pending node also; if the word is the dead thread's, it becomes "owner died", and if it is nobody's, a
//! sleeper is woken who might otherwise wait for a wake-up that went to the dead one.
//!
//! The list belongs to a thread, so a lock is given back by the thread that took it: [`Held`] is not `Send`. Guards that
//! may change threads are owned by a thread that does nothing else, see [`keeper`](super::keeper).

mod list;
mod word;

#[cfg(all(test, loom))]
mod loom;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

use super::futex::{self, Deadline, Waited};
use super::region::Shared;
pub(crate) use list::{Me, begin_waiting, end, forget, me, supported};
use word::Cell;
pub(crate) use word::PATIENCE;

/// The lock, as it lies in shared memory; all zeroes is a free one. One cache line.
///
/// The first word, and the two links, are where a `pthread_mutex_t` has them: lists of the C library hold both.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct RobustLock {
    /// Low half: the kernel's word. High half: how often somebody has gone to sleep. See [`word`].
    word: AtomicU64,
    /// Not zero from when an owner's death was noticed until somebody has taken care of it. The owner's alone.
    damaged: AtomicU32,
    /// For the owner's own use.
    note: AtomicU32,
    /// Not zero once a task has waited for the lock: see [`word::PATIENCE`].
    tasks: AtomicU32,
    _unused: AtomicU32,
    previous: AtomicUsize,
    next: AtomicUsize,
    _rest: [AtomicU64; 3],
}

// SAFETY: atomics; the links are read and written by their owner and the kernel only, and hold addresses of the owner's.
unsafe impl Shared for RobustLock {}

/// Why a lock was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Another has it (only without waiting).
    Busy,
    /// The deadline has passed.
    TimedOut,
    /// This thread has it.
    Mine,
}

impl RobustLock {
    /// Takes the lock unless another has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Result<Held<'_>, NotTaken> {
        let me = list::me();
        list::begin(me, self);
        let taken = word::try_take(self, me.tid());
        self.settle(me, taken)
    }

    /// Takes the lock, and waits for it if need be.
    #[inline]
    pub(crate) fn lock(&self, deadline: Deadline) -> Result<Held<'_>, NotTaken> {
        let me = list::me();
        list::begin(me, self);
        let taken = match word::try_take(self, me.tid()) {
            Err(NotTaken::Busy) => word::take(self, me.tid(), deadline),
            other => other,
        };
        self.settle(me, taken)
    }

    /// Steps 3 and 4.
    #[inline]
    fn settle(&self, me: Me, taken: Result<word::Taken, NotTaken>) -> Result<Held<'_>, NotTaken> {
        self.note_taken(me, taken)?;
        Ok(Held { lock: self, tid: me.tid(), of_this_thread: PhantomData })
    }

    #[inline]
    fn note_taken(&self, me: Me, taken: Result<word::Taken, NotTaken>) -> Result<(), NotTaken> {
        let taken = match taken {
            Ok(taken) => taken,
            Err(reason) => {
                list::end(me);
                return Err(reason);
            }
        };
        list::link(me, self);
        list::end(me);
        if taken == word::Taken::FromTheDead {
            self.damaged.store(1, Relaxed);
        }
        Ok(())
    }

    /// Takes the lock for another thread, whose list nobody else touches meanwhile. [`give_back_for`](Self::give_back_for) has to
    /// follow.
    pub(crate) fn try_take_for(&self, owner: Me) -> Result<(), NotTaken> {
        list::begin(owner, self);
        let taken = word::try_take(self, owner.tid());
        self.note_taken(owner, taken)
    }

    /// Gives back what [`try_take_for`](Self::try_take_for) took for the same thread.
    #[inline]
    pub(crate) fn give_back_for(&self, owner: Me) {
        list::begin(owner, self);
        list::unlink(self);
        word::give_back(self, owner.tid());
        list::end(owner);
    }

    /// Gives it back likewise, without waking anybody: who waits for this word is told by other means.
    pub(crate) fn give_back_quietly_for(&self, owner: Me) {
        list::begin(owner, self);
        list::unlink(self);
        self.word.store(0, Release);
        list::end(owner);
    }

    /// What a task that wants the lock has to wait for: the kernel's half, and the value it has now. `None` if the lock is free.
    pub(crate) fn announce_task(&self) -> Option<(&AtomicU32, u32)> {
        if self.tasks.swap(1, Relaxed) == 0 {
            // Those who are asleep have not seen that tasks wait, too: now they do.
            futex::wake_all(self.low());
        }
        Some((self.low(), word::announce(self)?))
    }

    /// A wake-up has reached one who does not want the lock any more: wakes another if the lock is free.
    pub(crate) fn pass_on(&self) {
        if !self.is_locked() {
            self.wake_one();
        }
    }

    /// What to wait for in order to hear of the owner's death; `None` if nobody has it.
    pub(crate) fn watch(&self) -> Option<(&AtomicU32, u32)> {
        Some((self.low(), word::announce(self)?))
    }

    /// Whether the owner has died, and nobody has taken the lock since.
    pub(crate) fn is_orphan(&self) -> bool {
        word::is_orphan(self.word.load(Acquire))
    }

    /// Makes an orphan free. Only for locks that are taken under another lock, which the caller has.
    pub(crate) fn adopt(&self) {
        self.word.store(0, Release);
    }

    /// For locks that tasks take, too: an owner that no longer exists is taken for dead, should the kernel not have said so.
    pub(crate) fn check_owner(&self) {
        word::check_owner(self);
    }

    /// Takes the lock for some instructions, in which this thread takes no other: it is not linked into the list, but stays
    /// the *pending* one, of which the kernel takes care just so. Thus nothing in shared memory has to be trusted: no link. An
    /// owner's death is not noted.
    #[inline]
    pub(crate) fn lock_briefly(&self, deadline: Deadline) -> Result<(), NotTaken> {
        match self.try_lock_briefly() {
            Err(NotTaken::Busy) => {}
            done => return done,
        }
        let me = list::me();
        list::begin(me, self);
        let taken = word::take(self, me.tid(), deadline);
        if taken.is_err() {
            list::end(me);
        }
        taken.map(drop)
    }

    /// The same, unless another has it.
    #[inline]
    pub(crate) fn try_lock_briefly(&self) -> Result<(), NotTaken> {
        let me = list::me();
        list::begin(me, self);
        let taken = word::try_take(self, me.tid());
        if taken.is_err() {
            list::end(me);
        }
        taken.map(drop)
    }

    /// As [`lock_briefly`](Self::lock_briefly), but goes to sleep at once if another has it: for who was woken by the one who has
    /// it, and may have taken its core.
    pub(crate) fn lock_briefly_asleep(&self, deadline: Deadline) -> Result<(), NotTaken> {
        let me = list::me();
        list::begin(me, self);
        let taken = loop {
            match word::try_take(self, me.tid()) {
                Err(NotTaken::Busy) if word::sleep(self, deadline) == Waited::TimedOut => {
                    break match word::try_take(self, me.tid()) {
                        Err(NotTaken::Busy) => Err(NotTaken::TimedOut),
                        done => done,
                    };
                }
                Err(NotTaken::Busy) => {}
                done => break done,
            }
        };
        if taken.is_err() {
            list::end(me);
        }
        taken.map(drop)
    }

    /// Gives the lock back that this thread has taken [briefly](Self::lock_briefly).
    #[inline]
    pub(crate) fn unlock_briefly(&self) {
        let me = list::me();
        word::give_back(self, me.tid());
        list::end(me);
    }

    /// Whether anybody has it, at this moment.
    pub(crate) fn is_locked(&self) -> bool {
        word::owner(self.word.load(Relaxed)) != 0
    }

    /// Whether this thread has it.
    #[cfg(test)]
    pub(crate) fn is_mine(&self) -> bool {
        word::owner(self.word.load(Relaxed)) == list::me().tid()
    }

    /// The kernel's half of the word.
    fn low(&self) -> &AtomicU32 {
        const { assert!(cfg!(target_endian = "little"), "the kernel's half is the first") };
        // SAFETY: the first four bytes of eight that are aligned. The reference is for the kernel: our own code reads and
        // writes the whole word only.
        unsafe { &*self.word.as_ptr().cast::<AtomicU32>() }
    }
}

impl Cell for RobustLock {
    #[inline]
    fn load(&self) -> u64 {
        self.word.load(Relaxed)
    }

    #[inline]
    fn exchange(&self, current: u64, new: u64) -> Result<(), u64> {
        self.word.compare_exchange(current, new, Acquire, Relaxed).map(drop)
    }

    #[inline]
    fn subtract(&self, owner: u32) -> u64 {
        self.word.fetch_sub(u64::from(owner), Release)
    }

    fn wait(&self, expected: u32, deadline: Deadline) -> Waited {
        futex::wait(self.low(), expected, deadline)
    }

    fn wake_one(&self) -> bool {
        futex::wake(self.low(), 1) > 0
    }

    fn relax(&self) {
        std::hint::spin_loop();
    }

    fn is_wanted_by_tasks(&self) -> bool {
        self.tasks.load(Relaxed) != 0
    }

    fn exists(&self, owner: u32) -> bool {
        let Some(thread) = rustix::process::Pid::from_raw(owner.cast_signed()) else { return false };
        rustix::process::test_kill_process(thread) != Err(rustix::io::Errno::SRCH)
    }
}

/// The lock is this thread's until this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    lock: &'a RobustLock,
    /// Who took it: after a fork, a copy of this value is not the child's to give back.
    tid: u32,
    of_this_thread: PhantomData<*mut ()>,
}

impl Held<'_> {
    /// The lock.
    #[inline]
    pub(crate) fn lock(&self) -> &RobustLock {
        self.lock
    }
}

/// What only the owner asks.
impl RobustLock {
    /// Whether an owner has died with the lock, and nobody has [taken care](Self::repaired) of that since.
    #[inline]
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Relaxed) != 0
    }

    /// Says that what the lock protects is in order again.
    pub(crate) fn repaired(&self) {
        self.damaged.store(0, Relaxed);
    }

    /// A word for the owner's own use. It stays what it is when the lock changes hands, an owner's death included.
    #[inline]
    pub(crate) fn note(&self) -> &AtomicU32 {
        &self.note
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        let me = list::me();
        if me.tid() != self.tid {
            return;
        }
        self.lock.give_back_for(me);
    }
}
