use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

fn lock() -> &'static RobustLock {
    // In a list of a thread that ends while it holds the lock, a node has to stay.
    Box::leak(Box::new(RobustLock {
        word: AtomicU64::new(0),
        damaged: AtomicU32::new(0),
        note: AtomicU32::new(0),
        tasks: AtomicU32::new(0),
        _unused: AtomicU32::new(0),
        previous: AtomicUsize::new(0),
        next: AtomicUsize::new(0),
        _rest: [const { AtomicU64::new(0) }; 3],
    }))
}

#[test]
fn a_lock_is_held_by_one_at_a_time() {
    let (lock, mut count) = (lock(), 0u64);
    let count = &raw mut count as usize;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || {
                for _ in 0..100_000 {
                    let _held = lock.lock(Deadline::NEVER).expect("a lock");
                    assert!(!lock.is_damaged());
                    // SAFETY: what the lock protects; and it outlives the scope.
                    unsafe { *(count as *mut u64) += 1 };
                }
            });
        }
    });
    // SAFETY: the threads have ended.
    assert_eq!(unsafe { *(count as *const u64) }, 400_000);
    assert!(!lock.is_locked());
}

#[test]
fn taking_it_twice_is_an_error_and_not_a_wait() {
    let lock = lock();
    let held = lock.try_lock().expect("a free lock");
    assert_eq!(lock.try_lock().map(drop), Err(NotTaken::Mine));
    assert_eq!(lock.lock(Deadline::NEVER).map(drop), Err(NotTaken::Mine));
    assert!(lock.is_mine() && lock.is_locked());
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(lock.try_lock().map(drop), Err(NotTaken::Busy)));
    });
    drop(held);
    assert!(!lock.is_mine() && !lock.is_locked());
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let lock = lock();
    let _held = lock.try_lock().expect("a free lock");
    thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            let taken = lock.lock(Deadline::after(Duration::from_millis(20))).map(drop);
            assert_eq!(taken, Err(NotTaken::TimedOut));
            assert!(start.elapsed() >= Duration::from_millis(20));
        });
    });
}

/// A thread's end is to the kernel what a process' end is.
#[test]
fn an_owners_end_wakes_a_sleeper_and_is_reported_until_it_is_repaired() {
    let lock = lock();
    let (taken, is_taken) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let owner = thread::spawn(move || {
        std::mem::forget(lock.lock(Deadline::NEVER));
        taken.send(()).expect("a test");
        let _ = ends.recv();
    });
    is_taken.recv().expect("an owner");
    let sleepers: Vec<_> = (0..3)
        .map(|_| thread::spawn(move || lock.lock(Deadline::NEVER).expect("a lock").lock().is_damaged()))
        .collect();
    // Most probably asleep; if not, the test shows less.
    while lock.word.load(Relaxed) >> 32 < 3 {
        thread::yield_now();
    }
    drop(end);
    owner.join().expect("an owner");
    assert!(sleepers.into_iter().all(|sleeper| sleeper.join().expect("a sleeper")));
    lock.try_lock().expect("a free lock").lock().repaired();
    assert!(!lock.try_lock().expect("a free lock").lock().is_damaged());
}

#[test]
fn locks_are_given_back_in_any_order() {
    let locks = [lock(), lock(), lock()];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1]] {
        let mut held: Vec<_> = locks.iter().map(|lock| lock.try_lock().ok()).collect();
        for index in order {
            held[index] = None;
            assert!(!locks[index].is_locked());
        }
    }
}

/// The C library's own robust mutexes are in the same list.
#[test]
fn the_list_is_shared_with_the_c_library() {
    let mut mutex: libc::pthread_mutex_t = libc::PTHREAD_MUTEX_INITIALIZER;
    // SAFETY: attributes and a mutex that are initialised before they are used, and locked and unlocked by one thread.
    unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_mutexattr_t>();
        libc::pthread_mutexattr_init(&raw mut attributes);
        libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(&raw mut mutex, &raw const attributes);
    }
    let mutex = &raw mut mutex;
    // SAFETY: as above.
    let (take, give) =
        (|| unsafe { libc::pthread_mutex_lock(mutex) }, || unsafe { libc::pthread_mutex_unlock(mutex) });
    let (one, two) = (lock(), lock());
    for _ in 0..3 {
        let first = one.try_lock().expect("free");
        assert_eq!(take(), 0);
        let second = two.try_lock().expect("free");
        drop(first);
        assert_eq!(give(), 0);
        let first = one.try_lock().expect("free");
        assert_eq!(take(), 0);
        drop(second);
        drop(first);
        assert_eq!(give(), 0);
    }
    assert_eq!(list_length(), 0);
}

fn list_length() -> usize {
    list::length(list::me())
}
