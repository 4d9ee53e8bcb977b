//! Nobody dies.

use std::sync::atomic::Ordering::SeqCst;

use executor_process::ipc::{PutError, Queue};

use crate::support::{Child, shared};

pub const TESTS: crate::harness::Tests = &[
    ("a_round_trip_through_two_queues_of_one_never_loses_a_wake_up", ping_pong),
    ("many_producers_and_consumers_on_a_short_queue_never_lose_a_wake_up", many),
    ("items_of_all_sizes_arrive_as_they_were", sizes),
    ("a_full_queue_stays_full_until_another_process_gets", full),
    ("join_in_one_process_waits_for_task_done_in_others", join),
];

fn ping_pong() {
    const ROUNDS: u64 = 200_000;
    let (there, back) = (Queue::bounded(1).expect("a queue"), Queue::bounded(1).expect("a queue"));
    let child = Child::run(|| {
        for _ in 0..ROUNDS {
            let n: u64 = there.get().expect("an item");
            back.put(n + 1).expect("room");
        }
    });
    for n in 0..ROUNDS {
        there.put(n).expect("room");
        assert_eq!(back.get().expect("an item"), n + 1);
    }
    assert_eq!(child.wait(), 0);
}

fn many() {
    const EACH: u64 = 30_000;
    let (items, results) = (Queue::bounded(2).expect("a queue"), Queue::unbounded().expect("a queue"));
    let producers: Vec<_> = (0..3u64)
        .map(|producer| Child::run(|| (0..EACH).for_each(|n| items.put((producer, n)).expect("room"))))
        .collect();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            Child::run(|| {
                let mut last = [None; 3];
                let mut sum = 0;
                for _ in 0..EACH {
                    let (producer, n): (u64, u64) = items.get().expect("an item");
                    assert!(last[producer as usize] < Some(n), "in the order of the producer");
                    last[producer as usize] = Some(n);
                    sum += n;
                }
                results.put(sum).expect("room");
            })
        })
        .collect();
    let sum: u64 = (0..3).map(|_| results.get().expect("a result")).sum();
    assert_eq!(sum, 3 * (0..EACH).sum::<u64>());
    for child in producers.into_iter().chain(consumers) {
        assert_eq!(child.wait(), 0);
    }
}

fn item(n: usize) -> Vec<u8> {
    let length = [0, 1, 8, 9, 1000, 70_000, 3_000_000][n % 7] + n;
    (0..length).map(|at| (at * 7 + n) as u8).collect()
}

fn sizes() {
    const ITEMS: usize = 200;
    let queue = Queue::bounded(3).expect("a queue");
    let child = Child::run(|| (0..ITEMS).for_each(|n| queue.put(item(n)).expect("room")));
    for n in 0..ITEMS {
        assert!(queue.get().expect("an item") == item(n), "item {n}");
    }
    assert_eq!(child.wait(), 0);
}

fn full() {
    let (queue, went_on) = (Queue::bounded(1).expect("a queue"), shared(1));
    queue.put(0).expect("room");
    assert!(matches!(queue.try_put(1), Err(PutError::Full(1))));
    let child = Child::run(|| {
        queue.put(2).expect("room");
        went_on[0].store(1, SeqCst);
        queue.put(3).expect("room");
    });
    assert_eq!(went_on[0].load(SeqCst), 0);
    for expected in [0, 2, 3] {
        assert_eq!(queue.get().expect("an item"), expected);
    }
    assert_eq!(child.wait(), 0);
    assert!(queue.is_empty());
}

fn join() {
    const ITEMS: u64 = 1000;
    let (queue, done) = (Queue::unbounded().expect("a queue"), shared(1));
    (0..ITEMS).for_each(|n| queue.put(n).expect("room"));
    let children: Vec<_> = (0..2)
        .map(|_| {
            Child::run(|| {
                for _ in 0..ITEMS / 2 {
                    let _: u64 = queue.get().expect("an item");
                    done[0].fetch_add(1, SeqCst);
                    queue.task_done().expect("not too often");
                }
            })
        })
        .collect();
    queue.join().expect("undamaged");
    assert_eq!(done[0].load(SeqCst), ITEMS);
    for child in children {
        assert_eq!(child.wait(), 0);
    }
}
