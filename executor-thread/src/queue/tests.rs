use std::sync::atomic::{AtomicU64 as Counter, Ordering};

use super::*;

fn pointer(number: u64) -> NonNull<()> {
    NonNull::new(ptr::without_provenance_mut(number as usize * 16)).expect("numbers start at 1")
}

fn number(pointer: NonNull<()>) -> u64 {
    pointer.addr().get() as u64 / 16
}

#[test]
fn what_goes_in_first_comes_out_first() {
    let queue = Queue::new(100_000);
    for round in 0..3 {
        for n in 1..=3 * SLOTS + 7 {
            queue.push(pointer(n), 100_000).unwrap();
        }
        assert_eq!(queue.len(), 3 * SLOTS + 7, "round {round}");
        for n in 1..=3 * SLOTS + 7 {
            assert_eq!(queue.pop().map(number), Some(n));
        }
        assert_eq!(queue.pop(), None);
    }
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let queue = Queue::new(2);
    queue.push(pointer(1), 2).unwrap();
    queue.push(pointer(2), 2).unwrap();
    assert_eq!(queue.push(pointer(3), 2), Err(Refused::Full));
    assert_eq!(queue.pop().map(number), Some(1));
    queue.push(pointer(3), 2).unwrap();
    assert_eq!(queue.pop().map(number), Some(2));
    assert_eq!(queue.pop().map(number), Some(3));
}

#[test]
fn a_closed_queue_refuses_and_gives_what_it_has() {
    let queue = Queue::new(10);
    queue.push(pointer(1), 10).unwrap();
    queue.close();
    assert_eq!(queue.push(pointer(2), 10), Err(Refused::Closed));
    assert_eq!(queue.pop().map(number), Some(1));
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_short_queue_uses_its_segments_again() {
    let queue = Queue::new(1 << 20);
    for n in 1..=10 * SLOTS {
        queue.push(pointer(n), 1 << 20).unwrap();
        assert_eq!(queue.pop().map(number), Some(n));
    }
    assert!(lock(&queue.spares).used <= 2);
}

#[test]
fn many_pushers_and_poppers_lose_and_double_nothing() {
    const EACH: u64 = 100_000;
    // So short that pushers find it full, and that segments come round quickly.
    let limit = 2 * SLOTS;
    let queue = Queue::new(limit as usize);
    let (sum, count) = (Counter::new(0), Counter::new(0));
    std::thread::scope(|scope| {
        for pusher in 0..3 {
            let queue = &queue;
            scope.spawn(move || {
                for n in 1..=EACH {
                    while queue.push(pointer(pusher * EACH + n), limit).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
        }
        for _ in 0..3 {
            scope.spawn(|| {
                while count.load(Ordering::Relaxed) < 3 * EACH {
                    match queue.pop() {
                        Some(it) => {
                            sum.fetch_add(number(it), Ordering::Relaxed);
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        None => std::thread::yield_now(),
                    }
                }
            });
        }
    });
    assert_eq!(sum.load(Ordering::Relaxed), 3 * EACH * (3 * EACH + 1) / 2);
    assert_eq!(queue.pop(), None);
}
