//! `Semaphore`, `BoundedSemaphore`, `Event`, `Condition`, `Barrier`.

use std::time::{Duration, Instant};

use executor_process::ipc::{
    Array, Barrier, BoundedSemaphore, Break, Condition, Event, Lock, ReleasedTooOften, Semaphore, Value,
};
use futures::executor::block_on;

use crate::support::{Child, Signals, is_ready};

crate::tests![
    a_semaphore_lets_so_many_in,
    permits_of_the_killed_come_back,
    permits_of_many_who_are_killed_come_back_to_sleepers_of_all_kinds,
    a_waiter_for_a_permit_that_is_killed_leaves_it_to_others,
    a_semaphore_released_too_often_is_an_error,
    permits_go_from_process_to_process,
    a_permit_is_waited_for_as_long_as_was_said,
    an_event_wakes_all_who_wait,
    an_event_that_is_cleared_at_once_wakes_all_the_same,
    a_notification_lets_one_go_on,
    a_dead_waiter_swallows_no_notification,
    a_condition_works_with_values_and_arrays,
    a_condition_reports_the_death_of_its_locks_owner,
    a_condition_is_waited_for_as_long_as_was_said,
    a_barrier_lets_all_go_on_together,
    a_barrier_is_broken_by_the_death_of_one_who_waits,
    a_barrier_is_broken_by_the_death_of_one_who_has_not_come,
    a_barrier_is_broken_by_timeout_abort_and_reset,
    a_task_that_does_not_wait_any_more_has_not_arrived,
];

fn park() -> ! {
    loop {
        std::thread::park();
    }
}

fn a_semaphore_lets_so_many_in() {
    let semaphore = Semaphore::new(2).expect("a semaphore");
    let (inside, most) = (Value::new(0u32).expect("a value"), Value::new(0u32).expect("a value"));
    let pass = || {
        most.fetch_max(inside.fetch_add(1) + 1);
        std::thread::yield_now();
        inside.fetch_sub(1);
    };
    let children: Vec<_> = (0..3)
        .map(|_| {
            Child::start(|| {
                for _ in 0..2_000 {
                    let _permit = semaphore.acquire();
                    pass();
                }
            })
        })
        .collect();
    block_on(async {
        for _ in 0..500 {
            let _permit = semaphore.acquire_async().await;
            pass();
        }
    });
    children.into_iter().for_each(Child::join);
    assert_eq!((most.load(), semaphore.available(), semaphore.came_back()), (2, 2, 0));
}

fn permits_of_the_killed_come_back() {
    let (semaphore, signals) = (BoundedSemaphore::new(3).expect("a semaphore"), Signals::new());
    let holder = Child::start(|| {
        let _permits = (semaphore.acquire(), semaphore.acquire(), block_on(semaphore.acquire_async()));
        signals.send(0);
        park();
    });
    signals.next();
    assert!(semaphore.try_acquire().is_err());
    assert_eq!(semaphore.available(), 0);
    holder.kill();
    assert_eq!((semaphore.available(), semaphore.came_back()), (3, 3));
    let permits: Vec<_> = (0..3).map(|_| semaphore.acquire()).collect();
    assert!(semaphore.try_acquire().is_err());
    drop(permits);
    assert_eq!(semaphore.available(), 3);
}

fn permits_of_many_who_are_killed_come_back_to_sleepers_of_all_kinds() {
    let (semaphore, signals) = (Semaphore::new(2).expect("a semaphore"), Signals::new());
    let holders: Vec<_> = (0..2)
        .map(|_| {
            Child::start(|| {
                let _permit = semaphore.acquire();
                signals.send(0);
                park();
            })
        })
        .collect();
    holders.iter().for_each(|_| assert_eq!(signals.next(), 0));
    let sleepers = [
        Child::start(|| drop(semaphore.acquire())),
        Child::start(|| drop(block_on(semaphore.acquire_async()))),
        Child::start(|| drop(semaphore.acquire_timeout(Duration::from_secs(60)).expect("in time"))),
        Child::start(|| drop(semaphore.acquire())),
    ];
    sleepers.iter().for_each(Child::await_sleep);
    let mut sleepers = sleepers.into_iter();
    // One of those who would hear of the deaths.
    sleepers.next().expect("the first").kill();
    holders.into_iter().for_each(Child::kill);
    sleepers.for_each(Child::join);
    assert_eq!((semaphore.available(), semaphore.came_back()), (2, 2));
}

fn a_waiter_for_a_permit_that_is_killed_leaves_it_to_others() {
    let semaphore = Semaphore::new(1).expect("a semaphore");
    for round in 0..20 {
        let permit = semaphore.acquire();
        let waiters =
            [Child::start(|| drop(semaphore.acquire())), Child::start(|| drop(semaphore.acquire()))];
        waiters.iter().for_each(Child::await_sleep);
        let [first, second] = waiters;
        if round % 2 == 0 {
            drop(permit);
            first.kill_or_join();
        } else {
            first.kill();
            drop(permit);
        }
        second.join();
    }
    assert_eq!(semaphore.available(), 1);
}

fn a_semaphore_released_too_often_is_an_error() {
    let semaphore = BoundedSemaphore::new(2).expect("a semaphore");
    let error = semaphore.release(1).expect_err("as many as at first");
    assert!(matches!(error, ReleasedTooOften { asked: 1, total: 2, bound: 2, .. }));
    assert!(error.to_string().contains("released 1 more"), "{error}");
    semaphore.acquire().forget();
    assert_eq!(semaphore.available(), 1);
    assert!(semaphore.release(2).is_err());
    semaphore.release(1).expect("one was forgotten");
    assert_eq!(semaphore.available(), 2);

    let unbounded = Semaphore::new(0).expect("a semaphore");
    unbounded.release(u32::MAX).expect("as many as can be counted");
    assert!(unbounded.release(1).is_err());
    assert!(Semaphore::new(1 << 20).is_err());
}

/// As items of a queue are counted.
fn permits_go_from_process_to_process() {
    let items = Semaphore::new(0).expect("a semaphore");
    let consumer = Child::start(|| {
        for _ in 0..1_000 {
            items.acquire().forget();
        }
        block_on(async {
            for _ in 0..100 {
                items.acquire_async().await.forget();
            }
        });
    });
    for _ in 0..1_100 {
        items.release(1).expect("few");
    }
    consumer.join();
    assert_eq!(items.available(), 0);
}

fn a_permit_is_waited_for_as_long_as_was_said() {
    let semaphore = Semaphore::new(1).expect("a semaphore");
    let permit = semaphore.acquire();
    let (start, timeout) = (Instant::now(), Duration::from_millis(30));
    assert!(semaphore.acquire_timeout(timeout).is_err());
    assert!(start.elapsed() >= timeout);
    let mut dropped = Box::pin(semaphore.acquire_async());
    assert!(!is_ready(&mut dropped));
    drop(permit);
    drop(dropped);
    assert_eq!(semaphore.available(), 1);
}

fn an_event_wakes_all_who_wait() {
    let event = Event::new().expect("an event");
    let waiters = [
        Child::start(|| event.wait()),
        Child::start(|| block_on(event.wait_async())),
        Child::start(|| assert!(event.wait_timeout(Duration::from_secs(60)))),
    ];
    waiters.iter().for_each(Child::await_sleep);
    assert!(!event.is_set() && !event.wait_timeout(Duration::ZERO));
    // Whoever sets it may die at once.
    Child::start(|| event.set()).join();
    waiters.into_iter().for_each(Child::join);
    assert!(event.is_set() && event.wait_timeout(Duration::ZERO));
    event.clear();
    assert!(!event.is_set());
}

fn an_event_that_is_cleared_at_once_wakes_all_the_same() {
    let event = Event::new().expect("an event");
    let waiters = [Child::start(|| event.wait()), Child::start(|| block_on(event.wait_async()))];
    waiters.iter().for_each(Child::await_sleep);
    event.set();
    event.clear();
    waiters.into_iter().for_each(Child::join);
}

fn a_notification_lets_one_go_on() {
    let (condition, signals) = (Condition::new().expect("a condition"), Signals::new());
    condition.notify_all();
    let waiters: Vec<_> = (0..4u8)
        .map(|number| {
            let child = Child::start(|| {
                let guard = condition.lock().expect("nobody died");
                drop(condition.wait(guard).expect("nobody died"));
                signals.send(number);
            });
            child.await_sleep();
            child
        })
        .collect();
    let woken = |count| (0..count).map(|_| signals.next()).collect::<Vec<_>>();
    let is_quiet = || {
        // Who wakes without having been meant sleeps again.
        waiters.iter().for_each(Child::await_sleep);
        signals.is_quiet()
    };
    condition.notify_one();
    assert_eq!(woken(1).len(), 1);
    assert!(is_quiet());
    condition.notify(2);
    assert_eq!(woken(2).len(), 2);
    assert!(is_quiet());
    {
        let _guard = condition.lock().expect("nobody died");
        condition.notify_all();
    }
    woken(1);
    waiters.into_iter().for_each(Child::join);
    assert!(signals.is_quiet());
}

fn a_dead_waiter_swallows_no_notification() {
    let (condition, count) = (Condition::new().expect("a condition"), Value::new(0).expect("a value"));
    for _ in 0..20 {
        let wait = || {
            let guard = condition.lock().expect("who dies does not have the lock");
            drop(condition.wait(guard).expect("who dies does not have the lock"));
            count.fetch_add(1);
        };
        let (first, second) = (Child::start(wait), Child::start(wait));
        first.await_sleep();
        second.await_sleep();
        count.store(0);
        {
            // Woken, the first waits for the lock, and dies there.
            let _guard = condition.lock().expect("nobody died");
            condition.notify_one();
            first.kill();
        }
        second.join();
        assert_eq!(count.load(), 1);
    }
}

fn a_condition_works_with_values_and_arrays() {
    let changed = Condition::new().expect("a condition");
    let (value, array) = (Value::new(0u32).expect("a value"), Array::<u32>::zeroed(4).expect("an array"));
    let by_thread = Child::start(|| {
        let guard = value.lock().expect("nobody died");
        let mut guard = changed.wait_while(guard, |value| **value < 3).expect("nobody died");
        *guard += 100;
    });
    let by_task = Child::start(|| {
        block_on(async {
            let mut guard = array.lock_async().await.expect("nobody died");
            while guard[3] < 3 {
                guard = changed.wait_async(guard).await.expect("nobody died");
            }
            guard[0] = 100;
        });
    });
    for _ in 0..3 {
        *value.lock().expect("nobody died") += 1;
        array.lock().expect("nobody died")[3] += 1;
        changed.notify_all();
    }
    by_thread.join();
    by_task.join();
    assert_eq!((value.load(), array.at(0).load()), (103, 100));
}

fn a_condition_reports_the_death_of_its_locks_owner() {
    let (lock, condition) = (Lock::new().expect("a lock"), Condition::new().expect("a condition"));
    let signals = Signals::new();
    let waiter = Child::start(|| {
        let guard = lock.lock().expect("nobody died");
        drop(condition.wait(guard).expect_err("the notifier was killed").into_inner());
    });
    waiter.await_sleep();
    let notifier = Child::start(|| {
        let _guard = lock.lock().expect("nobody died");
        condition.notify_one();
        signals.send(0);
        park();
    });
    signals.next();
    notifier.kill();
    waiter.join();
    drop(lock.lock().expect("the waiter has taken care"));
}

fn a_condition_is_waited_for_as_long_as_was_said() {
    let (condition, value) = (Condition::new().expect("a condition"), Value::new(0u32).expect("a value"));
    let (start, timeout) = (Instant::now(), Duration::from_millis(30));
    let guard = value.lock().expect("nobody died");
    let (guard, notified) = condition.wait_timeout(guard, timeout).expect("nobody died");
    assert!(!notified && start.elapsed() >= timeout);
    let (guard, changed) =
        condition.wait_timeout_while(guard, timeout, |value| **value == 0).expect("nobody died");
    assert!(!changed && start.elapsed() >= 2 * timeout);
    drop(guard);
    // Who has left is not waited for.
    condition.notify_one();
    let guard = value.lock().expect("nobody died");
    let (_guard, notified) = condition.wait_timeout(guard, Duration::ZERO).expect("nobody died");
    assert!(!notified);
}

fn a_barrier_lets_all_go_on_together() {
    let barrier = Barrier::new(4).expect("a barrier");
    let (rounds, leaders) = (Array::<u32>::zeroed(4).expect("an array"), Value::new(0).expect("a value"));
    let play = |number: usize, by_task: bool| {
        for round in 1..=100 {
            rounds.at(number).store(round);
            let arrival = if by_task { block_on(barrier.wait_async()) } else { barrier.wait() };
            let arrival = arrival.expect("nobody died");
            (0..4).for_each(|other| assert!(rounds.at(other).load() >= round));
            leaders.fetch_add(u32::from(arrival.is_leader()));
            assert!(arrival.index() < 4 && arrival.is_leader() == (arrival.index() == 3));
        }
    };
    let children = [1, 2, 3].map(|number| Child::start(|| play(number, number == 3)));
    play(0, false);
    children.into_iter().for_each(Child::join);
    assert_eq!((leaders.load(), barrier.waiting(), barrier.is_broken()), (100, 0, false));
    assert_eq!(Barrier::new(0).expect("a barrier").wait().expect("nobody is waited for").index(), 0);
}

fn a_barrier_is_broken_by_the_death_of_one_who_waits() {
    let barrier = Barrier::new(4).expect("a barrier");
    let told = || assert_eq!(barrier.wait().expect_err("one was killed").reason, Break::Death);
    let waiters = [
        Child::start(told),
        Child::start(|| {
            let error = block_on(barrier.wait_async()).expect_err("one was killed");
            assert_eq!(error.reason, Break::Death);
        }),
    ];
    waiters.iter().for_each(Child::await_sleep);
    let victim = Child::start(|| assert!(barrier.wait().is_err()));
    // A sleep may be another than the barrier's: it is the count that tells who has come.
    while barrier.waiting() < 3 {
        std::thread::yield_now();
    }
    victim.await_sleep();
    victim.kill();
    waiters.into_iter().for_each(Child::join);
    told();
    assert!(barrier.is_broken());
    barrier.reset();
    let children = [0; 3].map(|_| Child::start(|| assert!(barrier.wait().is_ok())));
    barrier.wait().expect("it is whole again");
    children.into_iter().for_each(Child::join);
}

fn a_barrier_is_broken_by_the_death_of_one_who_has_not_come() {
    let (barrier, signals) = (Barrier::new(2).expect("a barrier"), Signals::new());
    let victim = Child::start(|| {
        // So that it is known to take part: what a fork copies is not.
        let own = barrier.clone();
        own.wait().expect("nobody died");
        signals.send(0);
        park();
    });
    barrier.wait().expect("nobody died");
    signals.next();
    let waiter = Child::start(|| {
        assert_eq!(barrier.wait().expect_err("the other was killed").reason, Break::Death);
    });
    waiter.await_sleep();
    victim.kill();
    waiter.join();
}

fn a_barrier_is_broken_by_timeout_abort_and_reset() {
    let barrier = Barrier::new(3).expect("a barrier");
    for reason in [Break::Timeout, Break::Abort, Break::Reset] {
        let waiter = Child::start(|| assert_eq!(barrier.wait().expect_err("broken").reason, reason));
        waiter.await_sleep();
        match reason {
            Break::Timeout => {
                let error = barrier.wait_timeout(Duration::from_millis(10)).expect_err("nobody else comes");
                assert_eq!(error.reason, reason);
            }
            Break::Abort => barrier.abort(),
            _ => barrier.reset(),
        }
        waiter.join();
        assert_eq!(barrier.is_broken(), reason != Break::Reset);
        barrier.reset();
    }
}

fn a_task_that_does_not_wait_any_more_has_not_arrived() {
    let barrier = Barrier::new(2).expect("a barrier");
    let mut dropped = Box::pin(barrier.wait_async());
    assert!(!is_ready(&mut dropped));
    assert_eq!(barrier.waiting(), 1);
    drop(dropped);
    assert_eq!(barrier.waiting(), 0);
    let child = Child::start(|| assert!(barrier.wait().is_ok()));
    barrier.wait().expect("nobody died");
    child.join();
}
