//! Random sequences of steps against a plain queue, with rings so small that every put jumps or wraps sooner or later.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::super::memory::Memory;
use super::super::records::{self, DoneError, PopError, PushError};
use super::heap::Heap;
use crate::ipc::futex::Deadline;

#[derive(Debug, Clone)]
enum Operation {
    Push(usize),
    Pop,
    Finish,
    /// Takes everything.
    Drain,
    /// So many small puts and gets in a row, which make a long ring superfluous.
    Trickle,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0usize..200).prop_map(Operation::Push),
        1 => (0usize..2000).prop_map(Operation::Push),
        4 => Just(Operation::Pop),
        1 => Just(Operation::Finish),
        1 => Just(Operation::Drain),
        1 => Just(Operation::Trickle),
    ]
}

/// Different for each item.
fn item(number: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (number as usize * 31 + at * 7) as u8).collect()
}

fn pop(heap: &Heap) -> Result<Vec<u8>, PopError> {
    let mut item = Vec::new();
    records::pop(heap, &mut item, Deadline::NEVER).map(|()| item)
}

proptest! {
    #[test]
    fn the_queue_is_a_queue(
        operations in proptest::collection::vec(operation(), 0..300),
        capacity in prop_oneof![Just(3u32), Just(1000)],
        start in prop_oneof![Just(0u32), Just(u32::MAX - 50)],
    ) {
        let heap = Heap::new(capacity, &[16, 64, 256]);
        // Positions near their end, where they begin again.
        let word = u64::from(start) << 32;
        for mark in [heap.tail(), heap.head(), heap.seen_head(), heap.seen_tail()] {
            mark.store(word, Relaxed);
        }
        let (mut model, mut number, mut done) = (VecDeque::new(), 0u64, 0u64);
        let mut push = |model: &mut VecDeque<Vec<u8>>, bytes| {
            let new = item(number, bytes);
            match records::push(&heap, &new, Deadline::NEVER) {
                Ok(()) => {
                    number += 1;
                    model.push_back(new);
                    Ok(true)
                }
                Err(PushError::Full) => {
                    prop_assert!(!model.is_empty(), "an empty queue is not full");
                    prop_assert!(!records::has_room(&heap, bytes), "who sleeps will not be told again");
                    Ok(false)
                }
                Err(PushError::TooLarge) => {
                    prop_assert!(bytes > 253 * 8, "{bytes} bytes fit into 256 words with a jump");
                    Ok(false)
                }
                Err(error) => Err(TestCaseError::fail(error.to_string())),
            }
        };
        for operation in operations {
            match operation {
                Operation::Push(bytes) => {
                    push(&mut model, bytes)?;
                }
                Operation::Pop => prop_assert_eq!(pop(&heap).ok(), model.pop_front()),
                Operation::Finish => match records::finish(&heap, Deadline::NEVER) {
                    Ok(()) => done += 1,
                    Err(error) => prop_assert_eq!(error, DoneError::TooOften),
                },
                Operation::Drain => while let Some(next) = model.pop_front() {
                    prop_assert_eq!(pop(&heap).ok(), Some(next));
                },
                Operation::Trickle => for _ in 0..300 {
                    if !push(&mut model, 8)? {
                        break;
                    }
                    prop_assert_eq!(pop(&heap).ok(), model.pop_front());
                },
            }
            prop_assert_eq!(records::len(&heap) as usize, model.len());
            prop_assert_eq!(records::has_items(&heap), !model.is_empty());
        }
        let total = number;
        prop_assert!(done <= total);
        prop_assert_eq!(records::is_all_done(&heap), done == total);
    }

    /// A process that writes garbage gets the others errors, or garbage, and never a panic, an endless loop or an access out of bounds.
    #[test]
    fn garbage_is_an_error_at_worst(
        words in proptest::collection::vec((0usize..6, any::<u64>(), 0u32..64), 1..8),
        ring in proptest::collection::vec((0u32..3, any::<u32>(), garbage()), 0..64),
        operations in proptest::collection::vec(operation(), 0..60),
    ) {
        let heap = Heap::new(1000, &[16, 64, 256]);
        for bytes in [3, 70, 500] {
            records::push(&heap, &item(0, bytes), Deadline::NEVER).expect("room");
        }
        for (at, word, shift) in words {
            heap.words()[at].store(word >> shift, Relaxed);
        }
        for (ring, at, word) in ring {
            heap.ring(ring).expect("a ring")[(at % heap.ring_words(ring)) as usize].store(word, Relaxed);
        }
        for operation in operations {
            match operation {
                Operation::Push(bytes) => drop(records::push(&heap, &item(0, bytes), Deadline::NEVER)),
                Operation::Pop => drop(pop(&heap)),
                Operation::Finish => drop(records::finish(&heap, Deadline::NEVER)),
                // It may say that there is more for ever, so it is asked for so many only.
                Operation::Drain | Operation::Trickle => {
                    for _ in 0..20 {
                        drop(pop(&heap));
                    }
                }
            }
            records::len(&heap);
            records::has_room(&heap, 8);
            records::is_all_done(&heap);
        }
    }
}

/// Words like those of records, and others.
fn garbage() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0u64..2000).prop_map(|length| 0x4954_454d << 32 | length),
        (0u64..5).prop_map(|ring| 0x4a55_4d50 << 32 | ring),
    ]
}

#[test]
fn a_long_ring_that_is_no_longer_needed_is_left_and_its_memory_given_back() {
    let heap = Heap::new(1000, &[16, 64, 256]);
    for _ in 0..5 {
        records::push(&heap, &item(0, 300), Deadline::NEVER).expect("room");
    }
    for _ in 0..5 {
        pop(&heap).expect("an item");
    }
    heap.discarded.lock().expect("no panic").clear();
    for number in 0..2000 {
        records::push(&heap, &item(number, 8), Deadline::NEVER).expect("room");
        assert_eq!(pop(&heap).expect("an item"), item(number, 8));
    }
    let discarded = heap.discarded.lock().expect("no panic");
    assert!(discarded.contains(&(2, 0..256)), "the longest: {discarded:?}");
    assert!(discarded.contains(&(1, 0..64)), "the one before: {discarded:?}");
}
