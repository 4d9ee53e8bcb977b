//! What sleepers in all processes are woken by, such that no death can swallow a wake-up.
//!
//! 1. Who wants to sleep looks at the *count*, then at the state that it waits for, then sleeps for as long as the count is
//!    what it was. Who changes the state rings: adds one to the count and wakes *all* sleepers, each of which looks at
//!    the state again. So a sleeper that dies as it wakes takes nothing away from the others.
//! 2. If nobody may be asleep, ringing costs no system call: a sleeper says so (*sleepers*) before it sleeps, and the ringer
//!    looks after it has added to the count. Both are sequentially consistent: either the ringer sees the mark, or the
//!    sleeper's kernel sees the new count.
//! 3. A ringer may die between changing the state and waking. While it rings, its pending lock (`robust`) is the *heir*, a word
//!    that is always zero, on which all sleepers sleep as well: the kernel wakes one of them.
//! 4. A sleeper may watch more words: such as the kernel changes when their owners die; then, too, it wakes one. And the word
//!    that is the state, if no lock protects it: a ringer may die after the change and before it has added to the count, and
//!    who is just about to sleep then is not woken by rule 3, but finds that the word is not what it was.
//! 5. Whoever was woken by rule 3 or 4 rings, before anything else, and while the heir is still its own pending lock. The same
//!    does a sleeper that watches and whose time has come: others may rely on its watch.

#[cfg(all(test, loom))]
mod loom;
mod steps;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::task::{Context, Poll};

use super::futex::{self, Deadline, MOST_WORDS, Waited};
use super::region::{Region, Shared};
use super::robust::{self, Held, NotTaken, PATIENCE, RobustLock};
use super::waiter::Wait;
use steps::Cell;

/// The bell, as it lies in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Bell {
    count: AtomicU32,
    heir: AtomicU32,
    sleepers: AtomicU32,
    _unused: AtomicU32,
}

// SAFETY: atomics.
unsafe impl Shared for Bell {}

/// The most words that a sleeper can watch.
pub(super) const MOST_WATCHED: usize = MOST_WORDS - 2;

impl Bell {
    /// What has to be asked before the state is looked at.
    pub(super) fn count(&self) -> u32 {
        self.count.load(SeqCst)
    }

    /// Sleeps until somebody rings after the count was `seen`, or a watched word changes, or the time has come. More words
    /// than can be watched are looked at from time to time: the caller looks at the state then.
    pub(super) fn sleep(&self, seen: u32, watch: &[(&AtomicU32, u32)], deadline: Deadline) {
        let me = robust::me();
        robust::begin_waiting(me, &self.heir);
        self.set_sleepers(true);
        let mut words = Vec::with_capacity(watch.len().min(MOST_WATCHED) + 2);
        words.extend([(&self.count, seen), (&self.heir, 0)]);
        words.extend(watch.iter().take(MOST_WATCHED));
        let until = if watch.len() > MOST_WATCHED { deadline.or_after(PATIENCE) } else { deadline };
        match futex::wait_any(&words, until) {
            Waited::Woken(0) | Waited::Changed => {}
            Waited::TimedOut if watch.is_empty() => {}
            Waited::Woken(_) | Waited::TimedOut => steps::wake(self),
        }
        robust::end(me);
    }

    /// Changes the state, and wakes all who wait for that.
    pub(super) fn ring_after<T>(&self, change: impl FnOnce() -> T) -> T {
        let me = robust::me();
        robust::begin_waiting(me, &self.heir);
        let result = steps::ring_after(self, change);
        robust::end(me);
        result
    }

    /// The bell at an offset of a region, for a task: ready when somebody rings after the count was `seen`, or when the time has
    /// come, or a moment has passed in which something may have happened that rings no bell for tasks.
    pub(super) fn wait(region: &Arc<Region>, offset: usize, seen: u32, deadline: Deadline) -> BellWait {
        BellWait { region: Arc::clone(region), offset, seen, deadline, wait: None }
    }
}

impl Cell for Bell {
    fn add_one(&self) {
        self.count.fetch_add(1, SeqCst);
    }

    fn sleepers(&self) -> bool {
        self.sleepers.load(SeqCst) != 0
    }

    fn set_sleepers(&self, are_there: bool) {
        self.sleepers.store(u32::from(are_there), SeqCst);
    }

    fn wake_all(&self) {
        futex::wake_all(&self.count);
    }
}

/// See [`Bell::wait`].
#[derive(Debug)]
pub(super) struct BellWait {
    region: Arc<Region>,
    offset: usize,
    seen: u32,
    deadline: Deadline,
    wait: Option<Wait>,
}

impl Future for BellWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        match &this.wait {
            Some(wait) if wait.goes_on(context.waker()) => Poll::Pending,
            Some(_) => {
                this.wait = None;
                Poll::Ready(())
            }
            None => {
                let bell = this.region.at::<Bell>(this.offset);
                bell.set_sleepers(true);
                let until = (&bell.count, this.seen);
                this.wait = Some(Wait::new(&this.region, until, this.deadline, true, context.waker()));
                Poll::Pending
            }
        }
    }
}

impl Drop for BellWait {
    fn drop(&mut self) {
        // Whether it was over does not matter: all have been woken (rule 1).
        if let Some(wait) = self.wait.take() {
            wait.cancel();
        }
    }
}

/// State under a lock, and a bell for its changes. At the beginning of a region.
///
/// 6. Who changes the state rings inside of the lock *before* the change: those who wake wait for the lock, and if the ringer dies
///    before it has changed anything, they find things as they were, or as the repair makes them.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Monitor {
    lock: RobustLock,
    bell: Bell,
    _rest: [AtomicU64; 6],
}

// SAFETY: atomics.
unsafe impl Shared for Monitor {}

const _: () = assert!(size_of::<Monitor>() == 128);

impl Monitor {
    pub(super) const BELL: usize = std::mem::offset_of!(Monitor, bell);

    /// Enters. If the last one inside died there, `repair` makes the state whole first.
    pub(super) fn enter(&self, repair: impl FnOnce()) -> Held<'_> {
        let held = match self.lock.lock(Deadline::NEVER) {
            Ok(held) => held,
            Err(NotTaken::Mine) => unreachable!("nothing inside of a monitor enters it"),
            Err(NotTaken::Busy | NotTaken::TimedOut) => unreachable!("there was no deadline"),
        };
        if self.lock.is_damaged() {
            repair();
            self.lock.repaired();
        }
        held
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Rule 6; to be called inside.
    pub(super) fn ring(&self) {
        self.bell.ring_after(|| ());
    }
}
