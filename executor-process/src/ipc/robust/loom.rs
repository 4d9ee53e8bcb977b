//! Models of the lock's word under loom, named by what they show.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p executor-process --lib ipc::robust::loom`.
//!
//! The kernel's part is modelled after `futex_wait`, `futex_wake` and `handle_futex_death`. A death is the end of a thread's
//! steps, and then the kernel's step. That a wake-up was lost shows as a deadlock, which loom reports.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::NotTaken;
use super::word::{self, Cell, Taken};
use crate::ipc::futex::{Deadline, Waited};

const DIED: u64 = 1 << 30;
const MAY_SLEEP: u64 = 1 << 31;

#[derive(Default)]
struct Asleep {
    next: u32,
    queue: VecDeque<u32>,
}

struct Model {
    word: AtomicU64,
    asleep: Mutex<Asleep>,
    woken: Condvar,
    /// Only the owner of the lock writes it.
    inside: AtomicU32,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU64::new(0),
            asleep: Mutex::new(Asleep::default()),
            woken: Condvar::new(),
            inside: AtomicU32::new(0),
        })
    }

    fn lock(&self, me: u32) -> Taken {
        let taken = match word::try_take(self, me) {
            Err(NotTaken::Busy) => word::take(self, me, Deadline::NEVER),
            other => other,
        };
        let taken = taken.expect("there is no deadline");
        // Relaxed: what the last owner wrote is seen because of the lock.
        assert_eq!(self.inside.load(Relaxed), 0, "two have the lock");
        self.inside.store(me, Relaxed);
        taken
    }

    fn unlock(&self, me: u32) {
        self.inside.store(0, Relaxed);
        word::give_back(self, me);
    }

    /// The kernel, when a thread has died with the lock as its own, or as its pending one.
    fn bury(&self, me: u32) {
        let mut word = self.word.load(Relaxed);
        while word::owner(word) == me {
            match self.word.compare_exchange(word, (word - u64::from(me)) | DIED, Release, Relaxed) {
                Ok(_) => {
                    if word & MAY_SLEEP != 0 {
                        self.wake_one();
                    }
                    return;
                }
                Err(found) => word = found,
            }
        }
        if word::owner(word) == 0 {
            self.wake_one();
        }
    }
}

impl Cell for Model {
    fn load(&self) -> u64 {
        self.word.load(Relaxed)
    }

    fn exchange(&self, current: u64, new: u64) -> Result<(), u64> {
        self.word.compare_exchange(current, new, Acquire, Relaxed).map(drop)
    }

    fn subtract(&self, owner: u32) -> u64 {
        self.word.fetch_sub(u64::from(owner), Release)
    }

    fn wait(&self, expected: u32, _: Deadline) -> Waited {
        let mut asleep = self.asleep.lock().expect("no panic");
        if self.word.load(Relaxed) as u32 != expected {
            return Waited::Changed;
        }
        let ticket = asleep.next;
        asleep.next += 1;
        asleep.queue.push_back(ticket);
        while asleep.queue.contains(&ticket) {
            asleep = self.woken.wait(asleep).expect("no panic");
        }
        Waited::Woken(0)
    }

    fn wake_one(&self) -> bool {
        let woke = self.asleep.lock().expect("no panic").queue.pop_front().is_some();
        self.woken.notify_all();
        woke
    }

    fn relax(&self) {
        thread::yield_now();
    }

    fn is_wanted_by_tasks(&self) -> bool {
        false
    }

    fn exists(&self, _: u32) -> bool {
        true
    }
}

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

#[test]
fn two_never_have_the_lock_and_no_sleeper_is_forgotten() {
    model(|| {
        let lock = Model::new();
        let work = |lock: Arc<Model>, me: u32| {
            move || {
                for _ in 0..2 {
                    assert_eq!(lock.lock(me), Taken::Orderly);
                    lock.unlock(me);
                }
            }
        };
        let other = thread::spawn(work(Arc::clone(&lock), 1));
        work(Arc::clone(&lock), 2)();
        other.join().expect("no panic");
        assert_eq!(word::owner(lock.load()), 0);
    });
}

#[test]
fn an_owner_that_dies_leaves_the_lock_to_a_sleeper_who_is_told() {
    model(|| {
        let lock = Model::new();
        assert_eq!(lock.lock(1), Taken::Orderly);
        let sleeper = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                assert_eq!(lock.lock(2), Taken::FromTheDead);
                lock.unlock(2);
            })
        };
        lock.inside.store(0, Relaxed);
        lock.bury(1);
        sleeper.join().expect("no panic");
        assert_eq!(lock.lock(3), Taken::Orderly);
    });
}

#[test]
fn a_sleeper_that_dies_as_it_wakes_leaves_the_lock_to_the_next() {
    model(|| {
        let lock = Model::new();
        assert_eq!(lock.lock(1), Taken::Orderly);
        let victim = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                word::sleep(&*lock, Deadline::NEVER);
                lock.bury(2);
            })
        };
        let sleeper = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                lock.lock(3);
                lock.unlock(3);
            })
        };
        // The owner comes again, and overtakes who is waking up.
        lock.unlock(1);
        lock.lock(1);
        lock.unlock(1);
        victim.join().expect("no panic");
        sleeper.join().expect("no panic");
    });
}

#[test]
fn an_owner_that_dies_before_it_wakes_anybody_is_replaced_by_the_kernel() {
    model(|| {
        let lock = Model::new();
        assert_eq!(lock.lock(1), Taken::Orderly);
        let sleeper = {
            let lock = Arc::clone(&lock);
            thread::spawn(move || {
                lock.lock(2);
                lock.unlock(2);
            })
        };
        lock.inside.store(0, Relaxed);
        lock.subtract(1);
        lock.bury(1);
        sleeper.join().expect("no panic");
    });
}
