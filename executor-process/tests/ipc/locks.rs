//! `Lock` and `RLock`.

use std::time::{Duration, Instant};

use executor_process::ipc::{Lock, OwnerDied, RLock, TryLockError, Value};
use futures::executor::block_on;

use crate::support::{Child, Signals, eventually, is_ready};

crate::tests![
    two_processes_exclude_each_other,
    a_lock_whose_owner_was_killed_is_given_to_the_next_with_a_report,
    a_report_that_nobody_takes_care_of_goes_to_the_next,
    a_waiter_that_is_killed_does_not_take_the_lock_with_it,
    waiters_that_are_killed_in_a_crowd_leave_the_others_running,
    a_lock_is_waited_for_as_long_as_was_said,
    a_thread_that_waits_for_itself_is_told,
    tasks_and_threads_exclude_each_other,
    a_task_that_is_killed_with_the_lock_is_reported,
    a_dropped_future_leaves_the_lock_to_others,
    an_rlock_is_free_when_all_its_guards_are_gone,
    an_rlock_reports_its_owners_death,
    a_forgotten_guard_is_found_when_its_thread_ends,
    a_guard_that_a_fork_has_copied_gives_nothing_back,
];

fn two_processes_exclude_each_other() {
    let lock = Lock::new().expect("a lock");
    let count = Value::new(0u64).expect("a value");
    let work = || {
        for _ in 0..200_000 {
            let _guard = lock.lock().expect("nobody died");
            // Two steps, which others come between if they can.
            let number = count.load();
            count.store(number + 1);
        }
    };
    let child = Child::start(work);
    work();
    child.join();
    assert_eq!(count.load(), 400_000);
}

fn a_lock_whose_owner_was_killed_is_given_to_the_next_with_a_report() {
    for waits in [false, true] {
        let (lock, signals) = (Lock::new().expect("a lock"), Signals::new());
        let owner = hold_for_ever(&lock, &signals);
        assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        if waits {
            let waiter = Child::start(|| {
                let died = lock.lock().expect_err("the owner was killed");
                drop(died.into_inner());
            });
            waiter.await_sleep();
            owner.kill();
            waiter.join();
        } else {
            owner.kill();
            drop(lock.lock().expect_err("the owner was killed").into_inner());
        }
        drop(lock.lock().expect("somebody has taken care"));
    }
}

/// A child that has the lock.
fn hold_for_ever(lock: &Lock, signals: &Signals) -> Child {
    let owner = Child::start(|| {
        let _guard = lock.lock();
        signals.send(0);
        loop {
            std::thread::park();
        }
    });
    signals.next();
    owner
}

fn a_report_that_nobody_takes_care_of_goes_to_the_next() {
    let (lock, signals) = (Lock::new().expect("a lock"), Signals::new());
    hold_for_ever(&lock, &signals).kill();
    for _ in 0..3 {
        assert!(lock.lock().is_err());
        assert!(matches!(lock.try_lock(), Err(TryLockError::OwnerDied(_))));
    }
    // Also if the one who was told dies.
    Child::start(|| std::mem::forget(lock.lock().map_err(OwnerDied::into_inner))).join();
    let died = lock.lock().expect_err("the second owner died");
    drop(died.into_inner());
    drop(lock.lock().expect("somebody has taken care"));
}

fn a_waiter_that_is_killed_does_not_take_the_lock_with_it() {
    let lock = Lock::new().expect("a lock");
    let guard = lock.lock().expect("nobody died");
    let waiters: Vec<_> = (0..3).map(|_| Child::start(|| drop(lock.lock()))).collect();
    waiters.iter().for_each(Child::await_sleep);
    let mut waiters = waiters.into_iter();
    waiters.next().expect("the first").kill();
    drop(guard);
    waiters.for_each(Child::join);
    drop(lock.lock().expect("who died did not have it"));
}

/// Waiters die all the time while others work: at all moments, also just when they were woken.
fn waiters_that_are_killed_in_a_crowd_leave_the_others_running() {
    let lock = Lock::new().expect("a lock");
    let count = Value::new(0u64).expect("a value");
    let take = || match lock.lock() {
        Ok(guard) => guard,
        Err(died) => died.into_inner(),
    };
    let workers: Vec<_> = (0..2)
        .map(|_| {
            Child::start(|| {
                for _ in 0..3_000 {
                    let guard = take();
                    count.fetch_add(1);
                    std::thread::yield_now();
                    drop(guard);
                }
            })
        })
        .collect();
    for _ in 0..100 {
        let victim = Child::start(|| {
            loop {
                let _guard = take();
                std::thread::yield_now();
            }
        });
        let seen = count.load();
        eventually("the others work", || count.load() > seen || seen == 6_000);
        victim.kill();
    }
    workers.into_iter().for_each(Child::join);
    assert_eq!(count.load(), 6_000);
    drop(take());
}

fn a_lock_is_waited_for_as_long_as_was_said() {
    let (lock, signals) = (Lock::new().expect("a lock"), Signals::new());
    let owner = hold_for_ever(&lock, &signals);
    let start = Instant::now();
    let timeout = Duration::from_millis(30);
    assert!(matches!(lock.lock_timeout(timeout), Err(TryLockError::TimedOut)));
    assert!(start.elapsed() >= timeout);
    assert!(matches!(lock.lock_timeout(Duration::ZERO), Err(TryLockError::TimedOut)));
    owner.kill();
    assert!(matches!(lock.lock_timeout(Duration::MAX), Err(TryLockError::OwnerDied(_))));
}

fn a_thread_that_waits_for_itself_is_told() {
    let lock = Lock::new().expect("a lock");
    let _guard = lock.lock().expect("nobody died");
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(lock.lock())));
    let message = *told.expect_err("a panic").downcast::<String>().expect("a message");
    assert_eq!(message, "this thread holds the Lock already, and would wait for itself for ever");
}

fn tasks_and_threads_exclude_each_other() {
    let lock = Lock::new().expect("a lock");
    let count = Value::new(0u64).expect("a value");
    let add = || {
        let number = count.load();
        count.store(number + 1);
    };
    let by_task = || {
        block_on(async {
            let tasks = (0..4).map(|_| async {
                for _ in 0..500 {
                    let _guard = lock.lock_async().await.expect("nobody died");
                    add();
                }
            });
            futures::future::join_all(tasks).await;
        });
    };
    let children = [Child::start(by_task), Child::start(by_task)];
    for _ in 0..10_000 {
        let _guard = lock.lock().expect("nobody died");
        add();
    }
    children.into_iter().for_each(Child::join);
    assert_eq!(count.load(), 14_000);
}

fn a_task_that_is_killed_with_the_lock_is_reported() {
    let (lock, signals) = (Lock::new().expect("a lock"), Signals::new());
    let owner = || {
        let owner = Child::start(|| {
            let _guard = block_on(lock.lock_async());
            signals.send(0);
            loop {
                std::thread::park();
            }
        });
        signals.next();
        owner
    };
    owner().kill();
    drop(lock.lock().expect_err("the owner was killed").into_inner());
    // Told to a task that waits.
    let killed = owner();
    let waiter =
        Child::start(|| drop(block_on(lock.lock_async()).expect_err("the owner was killed").into_inner()));
    waiter.await_sleep();
    killed.kill();
    waiter.join();
    drop(lock.lock().expect("somebody has taken care"));
}

fn a_dropped_future_leaves_the_lock_to_others() {
    let lock = Lock::new().expect("a lock");
    let guard = lock.lock().expect("nobody died");
    let mut dropped = Box::pin(lock.lock_async());
    assert!(!is_ready(&mut dropped));
    let waiter = Child::start(|| drop(lock.lock().expect("nobody died")));
    waiter.await_sleep();
    drop(guard);
    // Its wake-up may have been the one.
    drop(dropped);
    waiter.join();
    assert!(!lock.is_locked());
}

fn an_rlock_is_free_when_all_its_guards_are_gone() {
    let lock = RLock::new().expect("a lock");
    let is_free_for_others = || {
        let signals = Signals::new();
        Child::start(|| signals.send(u8::from(lock.try_lock().is_ok()))).join();
        signals.next() == 1
    };
    let first = lock.lock().expect("nobody died");
    let second = lock.try_lock().expect("it is this thread's");
    let third = lock.lock_timeout(Duration::ZERO).expect("it is this thread's");
    for guard in [first, third] {
        drop(guard);
        assert!(!is_free_for_others());
    }
    drop(second);
    assert!(is_free_for_others());
    let task = block_on(lock.lock_async()).expect("nobody died");
    let again = task.again();
    drop(task);
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    drop(again);
    assert!(is_free_for_others());
}

fn an_rlock_reports_its_owners_death() {
    let (lock, signals) = (RLock::new().expect("a lock"), Signals::new());
    let owner = Child::start(|| {
        let _guards = [lock.lock(), lock.lock()];
        signals.send(0);
        loop {
            std::thread::park();
        }
    });
    signals.next();
    owner.kill();
    let guard = lock.lock().expect_err("the owner was killed").into_inner();
    drop(lock.lock().expect("taken care of, and this thread's"));
    assert!(lock.is_locked());
    drop(guard);
    assert!(!lock.is_locked());
}

fn a_forgotten_guard_is_found_when_its_thread_ends() {
    let child = Child::start(|| {
        let lock = Lock::new().expect("a lock");
        let there = lock.clone();
        std::thread::spawn(move || {
            std::mem::forget(there.lock());
            // The last handle of the thread; the memory has to stay for the list of the thread.
            drop(there);
        })
        .join()
        .expect("no panic");
        drop(lock.lock().expect_err("the thread has ended").into_inner());
        // The last handle at all: what the list of this thread refers to has to stay.
        std::mem::forget(lock.lock());
        drop(lock);
        let other = Lock::new().expect("a lock");
        drop(other.lock().expect("nobody died"));
    });
    child.join();
}

fn a_guard_that_a_fork_has_copied_gives_nothing_back() {
    let lock = Lock::new().expect("a lock");
    let rlock = RLock::new().expect("a lock");
    let (guard, rguard) = (lock.lock().expect("nobody died"), rlock.lock().expect("nobody died"));
    let task = block_on(lock_of_tasks().lock_async()).expect("nobody died");
    let (copies, theirs) = ((&guard, &rguard), (lock.clone(), rlock.clone()));
    Child::start(|| {
        // SAFETY: values that nobody drops in this process but here.
        unsafe {
            drop(std::ptr::read(copies.0));
            drop(std::ptr::read(copies.1));
        }
        assert!(matches!(theirs.0.try_lock(), Err(TryLockError::WouldBlock)));
        assert!(matches!(theirs.1.try_lock(), Err(TryLockError::WouldBlock)));
    })
    .join();
    drop((guard, rguard, task));
    assert!(lock.try_lock().is_ok() && rlock.try_lock().is_ok());
}

fn lock_of_tasks() -> Lock {
    Lock::new().expect("a lock")
}
