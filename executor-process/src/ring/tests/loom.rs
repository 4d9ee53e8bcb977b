//! Models of the ring under loom, named by what they show.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p executor-process --no-default-features --lib loom`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::atomic::Ordering::{Acquire, Release};

use super::super::{Consumer, Doze, Lane, Need, Producer};

/// A ring of four words: 24 bytes at most.
#[derive(Debug)]
struct Words {
    written: AtomicU64,
    read: AtomicU64,
    data: [AtomicU64; 4],
}

#[derive(Debug, Clone)]
struct Heap(Arc<Words>);

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

fn ring() -> (Producer<Heap>, Consumer<Heap>) {
    let words = Words {
        written: AtomicU64::new(0),
        read: AtomicU64::new(0),
        data: std::array::from_fn(|_| AtomicU64::new(0)),
    };
    let heap = Heap(Arc::new(words));
    (Producer::new(heap.clone()), Consumer::new(heap))
}

/// Three pieces: the second shares a word with each of its neighbours, and the third goes around the end of the ring,
/// where the first was.
#[test]
fn what_is_read_is_what_was_written_around_the_end_and_within_words() {
    const PIECES: [&[u8]; 3] = [b"abcdefghijk", b"lmnopqrstuv", b"wxyzABCDEFGH"];
    loom::model(|| {
        let (mut producer, mut consumer) = ring();
        let writer = thread::spawn(move || {
            for piece in PIECES {
                let mut rest = piece;
                while !rest.is_empty() {
                    let written = producer.write(rest).expect("undamaged");
                    producer.publish();
                    rest = &rest[written..];
                    if written == 0 {
                        thread::yield_now();
                    }
                }
            }
        });
        let stream = PIECES.concat();
        let mut got = Vec::new();
        while got.len() < stream.len() {
            let mut bytes = [0; 24];
            let read = consumer.read(&mut bytes).expect("undamaged");
            got.extend_from_slice(&bytes[..read]);
            if read == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(got, stream);
        writer.join().expect("the writing thread");
    });
}

/// What a futex does, and an eventfd in an epoll: sleeps only if the word has not changed, and a wake-up is not lost.
struct Sleeper {
    word: AtomicU32,
    is_woken: Mutex<bool>,
    woken: Condvar,
}

impl Sleeper {
    fn new() -> Self {
        Self { word: AtomicU32::new(0), is_woken: Mutex::new(false), woken: Condvar::new() }
    }

    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock().expect("no panic");
        while !*is_woken {
            is_woken = self.woken.wait(is_woken).expect("no panic");
        }
        *is_woken = false;
    }

    fn wake(&self) {
        *self.is_woken.lock().expect("no panic") = true;
        self.woken.notify_one();
    }
}

/// Were a wake-up lost, the sleeper would wait for ever, which loom reports as a deadlock.
#[test]
fn a_sleeper_that_has_asked_is_woken_for_what_is_published() {
    loom::model(|| {
        let sleeper = Arc::new(Sleeper::new());
        let data = Arc::new(AtomicBool::new(false));
        let waker = {
            let (sleeper, data) = (Arc::clone(&sleeper), Arc::clone(&data));
            thread::spawn(move || {
                data.store(true, Release);
                if Doze::over(&sleeper.word).is_due(Need::Anything) {
                    sleeper.wake();
                }
            })
        };
        let doze = Doze::over(&sleeper.word);
        doze.ask(Need::Anything);
        if !data.load(Acquire) {
            sleeper.sleep();
        }
        doze.awake();
        assert!(data.load(Acquire));
        waker.join().expect("the waking thread");
    });
}

/// Two answers, of which the first alone does not wake one that naps; running dry does.
#[test]
fn a_sleeper_that_naps_is_woken_when_the_other_side_runs_dry() {
    loom::model(|| {
        let sleeper = Arc::new(Sleeper::new());
        let data = Arc::new(AtomicU32::new(0));
        let waker = {
            let (sleeper, data) = (Arc::clone(&sleeper), Arc::clone(&data));
            thread::spawn(move || {
                let doze = Doze::over(&sleeper.word);
                data.store(1, Release);
                assert!(!doze.is_due(Need::Anything), "it wants to be left alone");
                data.store(2, Release);
                if doze.is_due(Need::Idle) {
                    sleeper.wake();
                }
            })
        };
        let doze = Doze::over(&sleeper.word);
        doze.ask(Need::Idle);
        if data.load(Acquire) == 0 {
            sleeper.sleep();
            assert_eq!(data.load(Acquire), 2);
        }
        waker.join().expect("the waking thread");
    });
}

/// Of two that make something true, one is told to wake the sleeper, at least and at most.
#[test]
fn one_waker_wakes() {
    loom::model(|| {
        let word = Arc::new(AtomicU32::new(0));
        Doze::over(&*word).ask(Need::Anything);
        let other = {
            let word = Arc::clone(&word);
            thread::spawn(move || Doze::over(&*word).is_due(Need::Anything))
        };
        let here = Doze::over(&*word).is_due(Need::Anything);
        let there = other.join().expect("the other waker");
        assert!(here != there);
    });
}
