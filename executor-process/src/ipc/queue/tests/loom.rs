//! Interleavings, by `RUSTFLAGS="--cfg loom" cargo test --release -p executor-process --no-default-features --lib loom`.
//!
//! A death is the end of a thread after any number of its steps. What it has stored stays stored; the lock it holds is
//! freed, as the kernel does.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;

use super::super::memory::{Bell, LockError, Memory, Side};
use super::super::records::{self, PopError, PushError};
use super::heap::Heap;
use crate::ipc::futex::Deadline;

/// Runs a model in every interleaving, and checks that the outcomes are these: no others, and none left out. The latter
/// shows that loom has looked where it matters.
fn explore<T: Ord + Debug + Send + 'static>(
    outcomes: impl IntoIterator<Item = T>,
    model: impl Fn() -> T + Send + Sync + 'static,
) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let note = Arc::clone(&seen);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let outcome = model();
        note.lock().expect("no panic while noting").insert(outcome);
    });
    let seen = std::mem::take(&mut *seen.lock().expect("no panic while noting"));
    assert_eq!(seen, outcomes.into_iter().collect());
}

fn heap(capacity: u32) -> Arc<Heap> {
    Arc::new(Heap::new(capacity, &[4, 8]))
}

fn try_pop<M: Memory>(memory: &M) -> Option<u8> {
    let mut item = Vec::new();
    match records::pop(memory, &mut item, Deadline::NEVER) {
        Ok(()) => Some(item[0]),
        Err(PopError::Empty) => None,
        Err(error) => panic!("{error}"),
    }
}

/// As `wait::pop`, without the spin.
fn pop(heap: &Heap) -> u8 {
    loop {
        if let Some(item) = try_pop(heap) {
            return item;
        }
        let event = records::listen(heap, Side::Tail, Deadline::NEVER, records::has_items);
        if let Some(event) = event.expect("no damage") {
            heap.sleep(Side::Tail, event);
        }
    }
}

fn try_push<M: Memory>(memory: &M, item: u8) -> bool {
    match records::push(memory, &[item], Deadline::NEVER) {
        Ok(()) => true,
        Err(PushError::Full) => false,
        Err(error) => panic!("{error}"),
    }
}

/// As `wait::push`, without the spin.
fn push(heap: &Heap, item: u8) {
    while !try_push(heap, item) {
        let event = records::listen(heap, Side::Head, Deadline::NEVER, |heap| records::has_room(heap, 1));
        if let Some(event) = event.expect("no damage") {
            heap.sleep(Side::Head, event);
        }
    }
}

#[test]
fn who_waits_for_an_item_is_woken_by_it() {
    explore([(1, 2)], || {
        let heap = heap(10);
        let producer = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || {
                push(&heap, 1);
                push(&heap, 2);
            })
        };
        let items = (pop(&heap), pop(&heap));
        producer.join().expect("the producer");
        items
    });
}

#[test]
fn who_waits_for_room_is_woken_by_it() {
    explore([(1, 2, 3)], || {
        let heap = heap(1);
        let producer = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || (1..4).for_each(|item| push(&heap, item)))
        };
        let items = (pop(&heap), pop(&heap), pop(&heap));
        producer.join().expect("the producer");
        items
    });
}

#[test]
fn two_producers_lose_no_item_and_no_wake_up() {
    explore([(1, 2), (2, 1)], || {
        let heap = heap(10);
        let producers = [1, 2].map(|item| {
            let heap = Arc::clone(&heap);
            thread::spawn(move || push(&heap, item))
        });
        let items = (pop(&heap), pop(&heap));
        for producer in producers {
            producer.join().expect("a producer");
        }
        items
    });
}

#[test]
fn two_consumers_get_an_item_each() {
    explore([(1, 2), (2, 1)], || {
        let heap = heap(10);
        let consumer = {
            let heap = Arc::clone(&heap);
            thread::spawn(move || pop(&heap))
        };
        push(&heap, 1);
        push(&heap, 2);
        let mine = pop(&heap);
        (mine, consumer.join().expect("the consumer"))
    });
}

#[test]
fn join_returns_when_the_last_item_is_done() {
    explore([()], || {
        let heap = heap(10);
        assert!(try_push(&*heap, 1) && try_push(&*heap, 2));
        let workers = [(); 2].map(|()| {
            let heap = Arc::clone(&heap);
            thread::spawn(move || records::finish(&*heap, Deadline::NEVER).expect("not too often"))
        });
        while !records::is_all_done(&*heap) {
            let event = records::listen(&*heap, Side::Done, Deadline::NEVER, records::is_all_done);
            if let Some(event) = event.expect("no damage") {
                heap.sleep(Side::Done, event);
            }
        }
        for worker in workers {
            worker.join().expect("a worker");
        }
    });
}

/// A process that dies after so many of the steps that another can see: stores, and wake-ups.
#[derive(Debug)]
struct Mortal {
    heap: Arc<Heap>,
    steps: std::sync::atomic::AtomicUsize,
}

/// What a thread of the model dies of.
struct Death;

impl Mortal {
    fn step(&self) {
        use std::sync::atomic::Ordering::Relaxed;
        let left = self.steps.load(Relaxed);
        if left == 0 {
            std::panic::resume_unwind(Box::new(Death));
        }
        self.steps.store(left - 1, Relaxed);
    }

    /// Runs `body` to its death, or to its end: then true.
    fn live(heap: &Arc<Heap>, steps: usize, body: impl FnOnce(&Self)) -> bool {
        let mortal = Self { heap: Arc::clone(heap), steps: steps.into() };
        // Unwinding drops `Locked`, which frees the lock, as the kernel does.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| body(&mortal))).is_ok()
    }
}

impl Memory for Mortal {
    type Half = AtomicU32;
    type Word = AtomicU64;

    const KEPT_WORDS: u32 = Heap::KEPT_WORDS;
    const STEP_WORDS: u32 = Heap::STEP_WORDS;

    fn capacity(&self) -> u32 {
        self.heap.capacity()
    }
    fn rings(&self) -> u32 {
        self.heap.rings()
    }
    fn ring_words(&self, ring: u32) -> u32 {
        self.heap.ring_words(ring)
    }
    fn tail(&self) -> &AtomicU64 {
        self.step();
        self.heap.tail()
    }
    fn head(&self) -> &AtomicU64 {
        self.step();
        self.heap.head()
    }
    fn done(&self) -> &AtomicU64 {
        self.step();
        self.heap.done()
    }
    fn seen_head(&self) -> &AtomicU64 {
        self.heap.seen_head()
    }
    fn seen_tail(&self) -> &AtomicU64 {
        self.heap.seen_tail()
    }
    fn total(&self) -> &AtomicU64 {
        self.step();
        self.heap.total()
    }
    fn left(&self, ring: u32) -> &AtomicU32 {
        self.heap.left(ring)
    }
    fn slack(&self) -> &AtomicU32 {
        self.heap.slack()
    }
    fn used_rings(&self) -> &AtomicU32 {
        self.heap.used_rings()
    }
    fn bell(&self, side: Side) -> &Bell<AtomicU32> {
        self.step();
        self.heap.bell(side)
    }
    fn ring(&self, ring: u32) -> io::Result<&[AtomicU64]> {
        self.step();
        self.heap.ring(ring)
    }
    fn discard(&self, ring: u32, words: Range<u32>) {
        self.heap.discard(ring, words);
    }
    fn lock(&self, side: Side, deadline: Deadline) -> Result<(), LockError> {
        self.step();
        self.heap.lock(side, deadline)
    }
    fn lock_asleep(&self, side: Side, deadline: Deadline) -> Result<(), LockError> {
        self.lock(side, deadline)
    }
    fn unlock(&self, side: Side) {
        self.heap.unlock(side);
    }
    fn wake_all(&self, event: &AtomicU32) {
        self.step();
        self.heap.wake_all(event);
        self.step();
    }
}

/// More than a put or a get has.
const STEPS: usize = 16;

#[test]
fn a_producer_that_dies_anywhere_leaves_its_item_or_none_and_the_next_one_arrives() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    for steps in 0..STEPS {
        let note = Arc::clone(&seen);
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let heap = heap(10);
            let producer = {
                let heap = Arc::clone(&heap);
                thread::spawn(move || {
                    let lived = Mortal::live(&heap, steps, |mortal| assert!(try_push(mortal, 1)));
                    push(&heap, 2);
                    lived
                })
            };
            let first = pop(&heap);
            let second = (first == 1).then(|| pop(&heap));
            let lived = producer.join().expect("the producer");
            note.lock().expect("no panic while noting").insert((lived, first, second));
        });
    }
    let seen = std::mem::take(&mut *seen.lock().expect("no panic while noting"));
    assert_eq!(seen, BTreeSet::from([(false, 2, None), (false, 1, Some(2)), (true, 1, Some(2))]));
}

/// The item is there when its producer has died after the store, and nobody else will ever ring the bell: a consumer that had
/// gone to sleep before must have been woken.
#[test]
fn an_item_whose_producer_died_after_the_put_wakes_a_sleeper() {
    for steps in 0..STEPS {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let heap = heap(10);
            let consumer = {
                let heap = Arc::clone(&heap);
                thread::spawn(move || pop(&heap))
            };
            Mortal::live(&heap, steps, |mortal| assert!(try_push(mortal, 1)));
            // If it was not put, the consumer sleeps rightly, until this.
            if !was_put(&heap) {
                push(&heap, 1);
            }
            assert_eq!(consumer.join().expect("the consumer"), 1);
        });
    }
}

fn was_put(heap: &Heap) -> bool {
    use super::super::mark::Mark;
    use super::super::memory::Word;
    Mark::of(Word::load(heap.tail(), std::sync::atomic::Ordering::Acquire)).count > 0
}

#[test]
fn a_consumer_that_dies_anywhere_takes_one_item_at_most_and_the_producer_goes_on() {
    for steps in 0..STEPS {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let heap = heap(1);
            assert!(try_push(&*heap, 1));
            let producer = {
                let heap = Arc::clone(&heap);
                thread::spawn(move || push(&heap, 2))
            };
            let lived = Mortal::live(&heap, steps, |mortal| {
                try_pop(mortal);
            });
            let first = pop(&heap);
            assert!(first == 2 || (first == 1 && !lived), "{first} is next");
            if first == 1 {
                assert_eq!(pop(&heap), 2);
            }
            producer.join().expect("the producer");
        });
    }
}
