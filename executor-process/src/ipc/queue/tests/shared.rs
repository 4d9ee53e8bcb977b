//! Queues in shared memory, within one process. Those between processes are in `tests/ipc_queue`.

use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::memory::{Memory, Side};
use super::super::{DoneError, GetError, MAX_ITEMS, PutError, Queue};

const SOON: Duration = Duration::from_millis(20);

#[test]
fn items_come_out_in_the_order_in_which_they_went_in() {
    let queue = Queue::unbounded().expect("a queue");
    assert!(queue.is_empty());
    for n in 0..10_000u32 {
        queue.put((n, "x".repeat(n as usize % 50))).expect("room");
    }
    assert_eq!(queue.len(), 10_000);
    for n in 0..10_000u32 {
        assert_eq!(queue.get().expect("an item"), (n, "x".repeat(n as usize % 50)));
    }
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
}

#[test]
fn a_full_queue_gives_the_item_back() {
    let queue = Queue::bounded(2).expect("a queue");
    assert_eq!(queue.capacity(), Some(2));
    queue.put(1).expect("room");
    queue.try_put(2).expect("room");
    assert!(matches!(queue.try_put(3), Err(PutError::Full(3))));
    let start = Instant::now();
    assert!(matches!(queue.put_timeout(4, SOON), Err(PutError::Full(4))));
    assert!(start.elapsed() >= SOON);
    assert_eq!(queue.get().expect("an item"), 1);
    queue.put_timeout(5, SOON).expect("room");
    assert_eq!((queue.get().expect("an item"), queue.get().expect("an item")), (2, 5));
}

#[test]
fn an_empty_queue_says_so_when_the_time_is_up() {
    let queue = Queue::<u8>::unbounded().expect("a queue");
    let start = Instant::now();
    assert!(matches!(queue.get_timeout(SOON), Err(GetError::Empty)));
    assert!(start.elapsed() >= SOON);
}

#[test]
fn an_impossible_capacity_is_an_error() {
    for capacity in [0, MAX_ITEMS as usize, usize::MAX] {
        let error = Queue::<u8>::bounded(capacity).expect_err("impossible");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_waiting_put_goes_on_when_there_is_room() {
    let queue = Queue::bounded(1).expect("a queue");
    queue.put(0).expect("room");
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..1000 {
                queue.put(n).expect("room");
            }
        });
        for n in 0..1000 {
            assert_eq!(queue.get().expect("an item"), n);
        }
    });
}

#[test]
fn every_item_is_got_once_and_in_the_order_of_its_producer() {
    let queue = Queue::bounded(50).expect("a queue");
    let got: Vec<Vec<(usize, u32)>> = thread::scope(|scope| {
        for producer in 0..3 {
            let queue = &queue;
            scope.spawn(move || {
                for n in 0..5000u32 {
                    queue.put((producer, n)).expect("room");
                }
            });
        }
        let consumers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..5000).map(|_| queue.get().expect("an item")).collect()))
            .collect();
        consumers.into_iter().map(|consumer| consumer.join().expect("a consumer")).collect()
    });
    for items in &got {
        for producer in 0..3 {
            let numbers = items.iter().filter(|item| item.0 == producer).map(|item| item.1);
            assert!(numbers.is_sorted_by(|one, other| one < other));
        }
    }
    let mut all = got.concat();
    all.sort_unstable();
    assert_eq!(all, (0..3).flat_map(|producer| (0..5000).map(move |n| (producer, n))).collect::<Vec<_>>());
}

#[test]
fn items_larger_than_any_ring_so_far_go_through_a_queue_of_one() {
    let queue = Queue::bounded(1).expect("a queue");
    for megabytes in [1, 5, 40, 1] {
        let item = vec![megabytes as u8; megabytes << 20];
        thread::scope(|scope| {
            scope.spawn(|| queue.put(item.clone()).expect("room"));
            assert!(queue.get().expect("an item") == item, "{megabytes} MiB");
        });
    }
}

fn resident(queue: &Queue<Vec<u8>>) -> u64 {
    let fd = &queue.memory.descriptors().fds()[0];
    rustix::fs::fstat(fd).expect("an open descriptor").st_blocks as u64 * 512
}

#[test]
fn memory_of_what_was_got_is_given_back() {
    let queue = Queue::unbounded().expect("a queue");
    for _ in 0..100 {
        queue.put(vec![1; 1 << 20]).expect("room");
    }
    assert!(resident(&queue) >= 100 << 20);
    for _ in 0..50 {
        queue.get().expect("an item");
    }
    assert!(resident(&queue) <= 60 << 20, "{} bytes with half of it got", resident(&queue));
    for _ in 0..50 {
        queue.get().expect("an item");
    }
    assert!(resident(&queue) <= 7 << 20, "{} bytes when empty", resident(&queue));
}

#[derive(Debug)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(1)
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[test]
fn an_item_that_does_not_decode_is_gone_and_counts_as_done() {
    let queue = Queue::unbounded().expect("a queue");
    queue.put(Stubborn).expect("room");
    match queue.get() {
        Err(GetError::Decode { message, type_name }) => {
            assert!(message.contains("never") && type_name.contains("Stubborn"));
        }
        other => panic!("{other:?}"),
    }
    queue.join().expect("all done");
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
}

struct Unspeakable;

impl Serialize for Unspeakable {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no words"))
    }
}

#[test]
fn an_item_that_does_not_encode_is_given_back() {
    let queue = Queue::unbounded().expect("a queue");
    let error = queue.put(Unspeakable).expect_err("not encoded");
    assert!(error.to_string().contains("no words") && error.to_string().contains("Unspeakable"));
    let Unspeakable = error.into_item();
    assert!(queue.is_empty());
}

#[test]
fn a_handle_in_an_item_is_refused_with_the_remedy() {
    let queue = Queue::unbounded().expect("a queue");
    let inner = Queue::<u8>::unbounded().expect("a queue");
    let error = queue.put(inner).expect_err("descriptors cannot wait in memory");
    assert!(matches!(error, PutError::Encode { .. }), "{error:?}");
    assert!(error.to_string().contains("pipe"), "{error}");
}

#[test]
fn join_waits_for_as_many_as_were_put() {
    let queue = Queue::unbounded().expect("a queue");
    queue.join().expect("nothing was put");
    for n in 0..100 {
        queue.put(n).expect("room");
    }
    assert!(!queue.join_timeout(SOON).expect("undamaged"));
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..100 {
                let _: i32 = queue.get().expect("an item");
                queue.task_done().expect("not too often");
            }
        });
        queue.join().expect("undamaged");
    });
    assert!(queue.is_empty());
    assert_eq!(queue.task_done(), Err(DoneError::TooOften));
    assert!(queue.join_timeout(SOON).expect("undamaged"));
}

#[test]
fn a_handle_that_comes_home_is_the_same_queue() {
    let queue = Queue::unbounded().expect("a queue");
    let mut bytes = Vec::new();
    let (encoded, list) =
        executor_core::attachment::collect(|| executor_core::encode_value(&queue, &mut bytes));
    encoded.expect("collected");
    let other: Queue<u8> = executor_core::attachment::provide(list, || executor_core::decode_value(&bytes))
        .expect("the descriptor came along");
    queue.put(7u8).expect("room");
    assert_eq!(other.get().expect("an item"), 7);
    assert!(std::sync::Arc::ptr_eq(&queue.memory, &other.memory), "one mapping");
}

#[test]
fn a_lock_whose_holder_never_existed_is_taken_from_it() {
    let queue = Queue::<u8>::unbounded().expect("a queue");
    // No thread has this number: the kernel's limit is lower.
    for side in [Side::Tail, Side::Head, Side::Done] {
        queue.memory.lock_word(side).store(0x3fff_fff0, Relaxed);
    }
    queue.put(1).expect("the lock is free after a second");
    assert_eq!(queue.get().expect("an item"), 1);
    queue.task_done().expect("not too often");
}

#[test]
fn a_lock_that_another_thread_does_not_release_ends_what_has_an_end() {
    let queue = Queue::<u8>::unbounded().expect("a queue");
    // This process has the number of its first thread, which is not this one.
    queue.memory.lock_word(Side::Tail).store(u64::from(std::process::id()), Relaxed);
    queue.memory.lock_word(Side::Head).store(u64::from(std::process::id()), Relaxed);
    assert!(matches!(queue.put_timeout(1, SOON), Err(PutError::Full(1))));
    assert!(matches!(queue.get_timeout(SOON), Err(GetError::Empty)));
    assert!(matches!(queue.try_get(), Err(GetError::Empty)));
}

#[test]
fn random_garbage_in_shared_memory_never_does_worse_than_an_error() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..300 {
        let queue = Queue::<Vec<u8>>::bounded(1000).expect("a queue");
        for length in [3, 100, 10_000, 100_000] {
            queue.put(vec![1; length]).expect("room");
        }
        // The locks are left alone: those are tested above, and each costs a second.
        let memory = &*queue.memory;
        let word = match random() % 6 {
            0 => memory.tail(),
            1 => memory.head(),
            2 => memory.seen_head(),
            3 => memory.seen_tail(),
            4 => memory.total(),
            _ => memory.done(),
        };
        word.store(random() >> (random() % 64), Relaxed);
        for _ in 0..random() % 100 {
            let ring = random() as u32 % memory.rings().min(4);
            let at = random() as usize % memory.ring_words(ring) as usize;
            memory.ring(ring).expect("a ring")[at].store(random(), Relaxed);
        }
        memory.bell(Side::Tail).event.store(random() as u32, Relaxed);
        memory.bell(Side::Head).wanted.store(random() as u32, Relaxed);
        for _ in 0..6 {
            drop(queue.try_put(vec![2; random() as usize % 300_000]));
            drop(queue.try_get());
            drop(queue.get_timeout(Duration::from_micros(10)));
            drop(queue.task_done());
            drop(queue.join_timeout(Duration::from_micros(10)));
            let _ = queue.len();
        }
    }
}

#[test]
fn an_idle_queue_is_a_few_pages() {
    let queue = Queue::<Vec<u8>>::unbounded().expect("a queue");
    assert!(resident(&queue) <= 8 << 10, "{} bytes", resident(&queue));
}
