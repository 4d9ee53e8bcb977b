//! Random steps of both sides against a queue of bytes, and random numbers where the other side's should be.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::super::{Consumer, Damaged, Lane, Producer};

#[derive(Debug, Clone)]
struct Heap(Arc<Words>);

#[derive(Debug)]
struct Words {
    written: AtomicU64,
    read: AtomicU64,
    data: Vec<AtomicU64>,
}

impl Lane for Heap {
    type Cell = AtomicU64;

    fn written(&self) -> &AtomicU64 {
        &self.0.written
    }

    fn read(&self) -> &AtomicU64 {
        &self.0.read
    }

    fn data(&self) -> &[AtomicU64] {
        &self.0.data
    }
}

fn ring(words: usize) -> (Heap, Producer<Heap>, Consumer<Heap>) {
    let words = Words {
        written: AtomicU64::new(0),
        read: AtomicU64::new(0),
        data: std::iter::repeat_with(AtomicU64::default).take(words).collect(),
    };
    let heap = Heap(Arc::new(words));
    (heap.clone(), Producer::new(heap.clone()), Consumer::new(heap))
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Publish,
    Read(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(0..40usize).prop_map(Step::Write), Just(Step::Publish), (0..40usize).prop_map(Step::Read)]
}

proptest! {
    #[test]
    fn every_byte_arrives_once_and_in_order(steps in prop::collection::vec(step(), 0..400)) {
        let (_, mut producer, mut consumer) = ring(4);
        let mut next = (0..=u8::MAX).cycle();
        let (mut unpublished, mut model) = (VecDeque::new(), VecDeque::new());
        for step in steps {
            match step {
                Step::Write(len) => {
                    let bytes: Vec<u8> = next.clone().take(len).collect();
                    let room = producer.capacity() - unpublished.len() - model.len();
                    let written = producer.write(&bytes).expect("undamaged");
                    prop_assert_eq!(written, len.min(room));
                    unpublished.extend(next.by_ref().take(written));
                }
                Step::Publish => {
                    producer.publish();
                    model.append(&mut unpublished);
                }
                Step::Read(len) => {
                    let mut bytes = vec![0; len];
                    let read = consumer.read(&mut bytes).expect("undamaged");
                    prop_assert_eq!(read, len.min(model.len()));
                    prop_assert!(model.drain(..read).eq(bytes[..read].iter().copied()));
                    prop_assert_eq!(consumer.has_data(), !model.is_empty());
                }
            }
        }
    }

    /// Whatever the other side writes, each call returns, with bytes that fit or with an error.
    #[test]
    fn a_side_that_runs_wild_gives_errors_and_nothing_worse(
        noise in prop::collection::vec((any::<u64>(), any::<u64>(), 0..100usize), 1..50),
    ) {
        let (heap, mut producer, mut consumer) = ring(4);
        for (written, read, len) in noise {
            heap.0.written.store(written, Relaxed);
            heap.0.data[len % 4].store(written, Relaxed);
            let mut bytes = vec![0; len];
            let position = consumer.position();
            match consumer.read(&mut bytes) {
                Ok(n) => prop_assert!(n <= len.min(24) && written - position <= 24),
                Err(error) => prop_assert_eq!(error, Damaged { written, read: position }),
            }
            heap.0.read.store(read, Relaxed);
            if let Ok(n) = producer.write(&bytes) {
                prop_assert!(n <= len.min(24));
            }
        }
    }
}

#[test]
fn a_full_ring_takes_nothing_until_something_is_read() {
    let (_, mut producer, mut consumer) = ring(4);
    assert_eq!(producer.write(&[1; 100]), Ok(24));
    assert_eq!(producer.write(&[2]), Ok(0));
    assert!(!consumer.has_data(), "it is not published");
    producer.publish();
    let mut bytes = [0; 5];
    assert_eq!(consumer.read(&mut bytes), Ok(5));
    assert!(!producer.is_drained());
    assert_eq!(producer.write(&[3; 100]), Ok(5));
}
