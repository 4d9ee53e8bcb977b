//! Models of the bell, and of the event and the condition that are made of it, under loom, named by what they show.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p executor-process --lib ipc::bell::loom`.
//!
//! That a wake-up was lost shows as a deadlock, which loom reports.

use std::sync::atomic::Ordering::SeqCst;

use loom::sync::atomic::{AtomicU32, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::steps::{self, Cell};

#[derive(Default)]
struct Asleep {
    now: u32,
    /// How often all were woken.
    woken: u32,
}

struct Model {
    count: AtomicU32,
    sleepers: AtomicU32,
    asleep: Mutex<Asleep>,
    wake: Condvar,
    /// What is waited for.
    state: AtomicU32,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            asleep: Mutex::new(Asleep::default()),
            wake: Condvar::new(),
            state: AtomicU32::new(0),
        })
    }

    fn count(&self) -> u32 {
        self.count.load(SeqCst)
    }

    /// As `Bell::sleep`, which watches the state as well. Whether the kernel has woken this sleeper as an heir does not matter.
    fn sleep(&self, seen: u32, state: u32) {
        self.set_sleepers(true);
        fence(SeqCst);
        let mut asleep = self.asleep.lock().expect("no panic");
        if self.count() != seen || self.state.load(SeqCst) != state {
            return;
        }
        asleep.now += 1;
        let before = asleep.woken;
        while asleep.woken == before {
            asleep = self.wake.wait(asleep).expect("no panic");
        }
        asleep.now -= 1;
    }

    fn await_state(&self, is_there: impl Fn(u32) -> bool) {
        loop {
            let seen = self.count();
            let state = self.state.load(SeqCst);
            if is_there(state) {
                return;
            }
            self.sleep(seen, state);
        }
    }

    /// The kernel, when a ringer has died: wakes an heir, who rings before anything else.
    fn bury_ringer(&self) {
        if self.asleep.lock().expect("no panic").now > 0 {
            steps::wake(self);
        }
    }
}

impl Cell for Model {
    fn add_one(&self) {
        self.count.fetch_add(1, SeqCst);
    }

    fn sleepers(&self) -> bool {
        // As a read-modify-write, which reads the latest value: loom has no total order of sequentially consistent loads.
        self.sleepers.fetch_add(0, SeqCst) != 0
    }

    fn set_sleepers(&self, are_there: bool) {
        self.sleepers.swap(u32::from(are_there), SeqCst);
    }

    fn wake_all(&self) {
        self.asleep.lock().expect("no panic").woken += 1;
        self.wake.notify_all();
    }
}

fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// `Event`: two wait, one sets.
#[test]
fn all_who_wait_for_an_event_are_woken() {
    model(|| {
        let event = Model::new();
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let event = Arc::clone(&event);
                thread::spawn(move || event.await_state(|state| state == 1))
            })
            .collect();
        steps::ring_after(&*event, || event.state.store(1, SeqCst));
        waiters.into_iter().for_each(|waiter| waiter.join().expect("no panic"));
    });
}

/// Two ringers, each of which makes one change: no sleeper misses the second while it is busy with the first.
#[test]
fn no_change_is_missed_between_two_rings() {
    model(|| {
        let bell = Model::new();
        let ringer = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || steps::ring_after(&*bell, || bell.state.fetch_add(1, SeqCst)))
        };
        let waiter = {
            let bell = Arc::clone(&bell);
            thread::spawn(move || bell.await_state(|state| state == 2))
        };
        steps::ring_after(&*bell, || bell.state.fetch_add(1, SeqCst));
        ringer.join().expect("no panic");
        waiter.join().expect("no panic");
    });
}

/// `Condition`: one ticket; the first waiter dies as it wakes, and leaves it to the second.
#[test]
fn a_dead_waiter_leaves_the_ticket_to_the_other() {
    model(|| {
        let condition = Model::new();
        let victim = {
            let condition = Arc::clone(&condition);
            thread::spawn(move || condition.sleep(0, 0))
        };
        let waiter = {
            let condition = Arc::clone(&condition);
            thread::spawn(move || condition.await_state(|tickets| tickets == 1))
        };
        steps::ring_after(&*condition, || condition.state.fetch_add(1, SeqCst));
        victim.join().expect("no panic");
        waiter.join().expect("no panic");
    });
}

/// The ringer dies after each of its steps; what it has changed is seen all the same.
#[test]
fn a_ringer_that_dies_half_way_is_replaced_by_an_heir() {
    for steps_done in 0..3 {
        model(move || {
            let bell = Model::new();
            let waiter = {
                let bell = Arc::clone(&bell);
                thread::spawn(move || bell.await_state(|state| state == 1))
            };
            bell.state.store(1, SeqCst);
            if steps_done > 0 {
                bell.set_sleepers(false);
            }
            if steps_done > 1 {
                bell.add_one();
            }
            bell.bury_ringer();
            waiter.join().expect("no panic");
        });
    }
}
