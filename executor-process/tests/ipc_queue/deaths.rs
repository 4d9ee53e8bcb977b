//! SIGKILL, at any instruction.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use executor_process::ipc::{GetError, Queue};

use crate::support::{Child, Random, shared};

pub const TESTS: crate::harness::Tests = &[
    ("a_producer_killed_in_the_midst_loses_no_item_whose_put_had_returned", producers),
    ("a_consumer_killed_in_the_midst_loses_one_item_at_most", consumers),
    ("killed_producers_of_large_items_leave_no_halves", large_items),
    ("a_consumer_killed_in_its_sleep_does_not_keep_the_item_from_others", sleepers),
    ("a_producer_killed_while_it_waits_for_room_does_not_keep_it_from_others", waiting_producers),
    ("both_sides_killed_at_random_never_hang_the_rest", everybody),
];

fn producers() {
    const VICTIMS: u64 = 300;
    const STEADY_ITEMS: u64 = 30_000;
    for capacity in [Some(4), None] {
        let queue = match capacity {
            Some(capacity) => Queue::bounded(capacity).expect("a queue"),
            None => Queue::unbounded().expect("a queue"),
        };
        let returned = shared(VICTIMS as usize);
        let steady = Child::run(|| (0..STEADY_ITEMS).for_each(|n| queue.put((VICTIMS, n)).expect("room")));
        let mut random = Random::new(7);
        // Of each producer, how many items were got; the last is the steady one.
        let mut next = vec![0; VICTIMS as usize + 1];
        let take = |next: &mut Vec<u64>, (producer, n): (u64, u64)| {
            let place = &mut next[producer as usize];
            assert_eq!(*place, n, "the items of producer {producer} come in order and without gaps");
            *place += 1;
        };
        for victim in 0..VICTIMS {
            let child = Child::run(|| {
                for n in 0.. {
                    queue.put((victim, n)).expect("room");
                    returned[victim as usize].store(n + 1, SeqCst);
                }
            });
            // Some die before their first item, others in full traffic.
            if random.below(8) > 0 {
                for _ in 0..random.below(60) {
                    take(&mut next, queue.get().expect("an item"));
                }
            }
            child.kill();
            assert_eq!(child.wait(), 128 + libc::SIGKILL);
        }
        while next[VICTIMS as usize] < STEADY_ITEMS {
            take(&mut next, queue.get().expect("an item"));
        }
        assert_eq!(steady.wait(), 0);
        while let Ok(item) = queue.try_get() {
            take(&mut next, item);
        }
        for (victim, (&got, returned)) in next.iter().zip(returned).enumerate() {
            let returned = returned.load(SeqCst);
            assert!((returned..=returned + 1).contains(&got), "victim {victim}: {returned} put, {got} got");
        }
    }
}

fn consumers() {
    const KILLS: usize = 300;
    const MOST: usize = 1 << 28;
    let queue = Queue::<usize>::bounded(64).expect("a queue");
    // A bit for each item that was got; and: how many were put, whether to stop putting, how many the victims got.
    let (got, notes) = (shared(MOST / 64), shared(4));
    let consume = |note: usize| {
        while let Ok(n) = queue.get() {
            if n == MOST {
                return;
            }
            let bit = 1 << (n % 64);
            assert_eq!(got[n / 64].fetch_or(bit, SeqCst) & bit, 0, "no item is got twice");
            notes[note].fetch_add(1, SeqCst);
        }
    };
    let producer = Child::run(|| {
        for n in (0..MOST).take_while(|_| notes[1].load(SeqCst) == 0) {
            queue.put(n).expect("room");
            notes[0].store(n as u64 + 1, SeqCst);
        }
    });
    let steady = Child::run(|| consume(3));
    let mut random = Random::new(3);
    for _ in 0..KILLS {
        let enough = notes[2].load(SeqCst) + random.below(100);
        let child = Child::run(|| consume(2));
        while notes[2].load(SeqCst) < enough {
            std::thread::yield_now();
        }
        child.kill();
        assert_eq!(child.wait(), 128 + libc::SIGKILL);
    }
    notes[1].store(1, SeqCst);
    assert_eq!(producer.wait(), 0);
    queue.put(MOST).expect("room");
    assert_eq!(steady.wait(), 0);
    let put = notes[0].load(SeqCst) as usize;
    let all: usize = got.iter().take(put.div_ceil(64)).map(|it| it.load(SeqCst).count_ones() as usize).sum();
    let lost = put - all;
    assert!(lost <= KILLS, "{lost} items lost with {KILLS} kills");
    assert!(queue.is_empty());
}

fn large_items() {
    let queue = Queue::unbounded().expect("a queue");
    let mut random = Random::new(11);
    for victim in 0..100u8 {
        let child = Child::run(|| {
            loop {
                queue.put(vec![victim; 500_000]).expect("room");
            }
        });
        for _ in 0..random.below(4) {
            queue.get().expect("an item");
        }
        child.kill();
        assert_eq!(child.wait(), 128 + libc::SIGKILL);
        while let Ok(item) = queue.try_get() {
            assert!(item.len() == 500_000 && item.iter().all(|byte| *byte == item[0]), "a whole item");
        }
    }
}

/// Until `count` processes sleep in a futex call.
fn until_asleep(children: &[&Child]) {
    for child in children {
        child.until_asleep();
    }
}

fn sleepers() {
    let (queue, results) = (Queue::unbounded().expect("a queue"), Queue::unbounded().expect("a queue"));
    for round in 0..30 {
        let consume = || results.put(queue.get().expect("an item")).expect("room");
        let (victim, survivor) = (Child::run(consume), Child::run(consume));
        until_asleep(&[&victim, &survivor]);
        // In odd rounds the item comes first, so that the victim has been woken when it dies.
        if round % 2 == 0 {
            victim.kill();
            queue.put(round).expect("room");
        } else {
            queue.put(round).expect("room");
            victim.kill();
        }
        victim.wait();
        // The victim may have taken it, before it died.
        if let Err(GetError::Empty) =
            results.get_timeout(Duration::from_millis(if round % 2 == 0 { 60_000 } else { 200 }))
        {
            assert_eq!(round % 2, 1);
            queue.put(round).expect("room");
            assert_eq!(results.get().expect("a result"), round);
        }
        drop(survivor);
        while queue.try_get().is_ok() {}
        while results.try_get().is_ok() {}
    }
}

fn waiting_producers() {
    let queue = Queue::bounded(1).expect("a queue");
    for _ in 0..30 {
        queue.put(0).expect("room");
        let (victim, survivor) =
            (Child::run(|| queue.put(1).expect("room")), Child::run(|| queue.put(2).expect("room")));
        until_asleep(&[&victim, &survivor]);
        victim.kill();
        assert_eq!(queue.get().expect("an item"), 0);
        victim.wait();
        // The victim's item may have made it.
        while queue.get().expect("an item") != 2 {}
        assert_eq!(survivor.wait(), 0);
        while queue.try_get().is_ok() {}
    }
}

fn everybody() {
    const STEADY_ITEMS: u64 = 20_000;
    let (queue, results) = (Queue::bounded(3).expect("a queue"), Queue::unbounded().expect("a queue"));
    // What the steady producer puts may be taken by consumers that die; it goes on until the steady consumer has had enough.
    let producer = Child::run(|| {
        loop {
            queue.put(1u64).expect("room");
        }
    });
    let consumer = Child::run(|| {
        let sum: u64 = (0..STEADY_ITEMS).map(|_| queue.get().expect("an item")).sum();
        results.put(sum).expect("room");
    });
    let mut random = Random::new(5);
    while results.is_empty() {
        let victims = [
            Child::run(|| {
                loop {
                    queue.put(1).expect("room");
                }
            }),
            Child::run(|| {
                loop {
                    queue.get().expect("an item");
                }
            }),
        ];
        for _ in 0..random.below(20) {
            queue.get().expect("an item");
        }
        victims.iter().for_each(Child::kill);
    }
    assert_eq!(results.get().expect("a result"), STEADY_ITEMS);
    assert_eq!(consumer.wait(), 0);
    producer.kill();
    producer.wait();
}
