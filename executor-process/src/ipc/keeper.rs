//! The owner of locks that tasks have taken.
//!
//! A guard that tasks hold may be dropped on another thread than took the lock, so no thread that runs tasks can own it. A
//! thread that does nothing at all owns all of them: it lives as long as the process, or until there are no such
//! guards, and the kernel takes its end for theirs.
//!
//! 1. The keeper's list is touched by whoever holds the mutex, and by the keeper never: it runs none of the users' code.
//! 2. The keeper ends, a while after the last guard has gone, by taking itself out of the state under the mutex. So
//!    while the mutex is held and the state names a keeper, that thread exists.
//! 3. A fork leaves the child without keeper, and without the guards: what the parent's tasks hold is not the child's.
//!
//! When a process is killed, its threads end one by one. A task of it may run on for some microseconds after the keeper
//! has ended, and others may have been given its lock by then. Guards of threads, which are their own owners, do not have
//! that gap.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::futex::{self, Deadline};
use super::region::Region;
use super::robust::{self, Me, NotTaken, RobustLock};

/// How long a thread that has nothing to do stays: starting one costs some 50 µs.
pub(super) const LINGER: Duration = Duration::from_millis(100);

struct State {
    keeper: Option<Keeper>,
    /// Guards that the keeper owns.
    held: usize,
    /// How many there have ever been.
    ever: u64,
}

#[derive(Clone, Copy)]
struct Keeper {
    me: Me,
    process: u32,
}

// SAFETY: used under the mutex while that thread exists (rules 1 and 2).
unsafe impl Send for Keeper {}

static STATE: Mutex<State> = Mutex::new(State { keeper: None, held: 0, ever: 0 });

fn state() -> MutexGuard<'static, State> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if state.keeper.is_some_and(|keeper| keeper.process != std::process::id()) {
        *state = State { keeper: None, held: 0, ever: 0 };
    }
    state
}

/// A lock that the keeper owns for a task. Keeps the region mapped.
#[derive(Debug)]
pub(super) struct Kept {
    region: Arc<Region>,
    lock: NonNull<RobustLock>,
    /// Whose it is: in the child of a fork, a copy of this value gives nothing back.
    tid: u32,
}

// SAFETY: the lock is shared memory, made of atomics, which `region` keeps mapped.
unsafe impl Send for Kept {}
// SAFETY: as above.
unsafe impl Sync for Kept {}

impl Kept {
    /// Takes the lock at this offset of the region, unless somebody has it. Another task's is [`Mine`](NotTaken::Mine).
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    pub(super) fn try_new(region: &Arc<Region>, offset: usize) -> Result<Self, NotTaken> {
        let lock = region.at::<RobustLock>(offset);
        let mut state = state();
        let me = match state.keeper {
            Some(keeper) => keeper.me,
            None => {
                let keeper = start();
                state.keeper = Some(keeper);
                keeper.me
            }
        };
        lock.try_take_for(me)?;
        state.held += 1;
        state.ever += 1;
        Ok(Self { region: Arc::clone(region), lock: NonNull::from(lock), tid: me.tid() })
    }

    pub(super) fn lock(&self) -> &RobustLock {
        // SAFETY: part of the region, which is mapped as long as `self` holds it.
        unsafe { self.lock.as_ref() }
    }

    pub(super) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// False in the child of a fork, which has a copy.
    pub(super) fn is_of_this_process(&self) -> bool {
        state().keeper.is_some_and(|keeper| keeper.me.tid() == self.tid)
    }

    fn give_back_by(&self, how: impl FnOnce(&RobustLock, Me)) {
        let mut state = state();
        let Some(keeper) = state.keeper.filter(|keeper| keeper.me.tid() == self.tid) else { return };
        how(self.lock(), keeper.me);
        state.held -= 1;
    }

    /// See [`RobustLock::give_back_quietly_for`].
    pub(super) fn give_back_quietly(self) {
        self.give_back_by(RobustLock::give_back_quietly_for);
        let mut this = std::mem::ManuallyDrop::new(self);
        // SAFETY: taken out once, of a value that is not used or dropped any more.
        unsafe { std::ptr::drop_in_place(&raw mut this.region) };
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.give_back_by(RobustLock::give_back_for);
    }
}

/// Starts the thread, and waits until it has said who it is.
fn start() -> Keeper {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("executor-keeper".into())
        .stack_size(64 << 10)
        .spawn(move || {
            let keeper = Keeper { me: robust::me(), process: std::process::id() };
            if sender.send(keeper).is_ok() {
                stay();
            }
        })
        .expect("a thread can be started");
    receiver.recv().expect("the thread says who it is")
}

/// Until nothing was held for a while.
fn stay() {
    static NEVER: AtomicU32 = AtomicU32::new(0);
    let mut seen = None;
    loop {
        {
            let mut state = state();
            if state.held == 0 && seen == Some(state.ever) {
                state.keeper = None;
                return;
            }
            seen = Some(state.ever);
        }
        futex::wait(&NEVER, NEVER.load(Relaxed), Deadline::after(LINGER));
    }
}
