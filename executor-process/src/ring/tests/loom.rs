//! Models of the ring under loom, named by what they show.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p executor-process --no-default-features --lib loom`.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::{Arc, PoisonError};

use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use loom::sync::{Condvar, Mutex};
use loom::thread;

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

/// Runs a model in every interleaving, and checks that the outcomes are these: no others, and none left out. The latter
/// shows that loom has looked where it matters.
fn explore<T: Ord + Debug + Send + 'static>(
    outcomes: impl IntoIterator<Item = T>,
    model: impl Fn() -> T + Send + Sync + 'static,
) {
    let seen = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let note = Arc::clone(&seen);
    loom::model(move || {
        let outcome = model();
        note.lock().unwrap_or_else(PoisonError::into_inner).insert(outcome);
    });
    let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    assert_eq!(seen, outcomes.into_iter().collect());
}

fn send(producer: &mut Producer<Heap>, bytes: &[u8]) {
    assert_eq!(producer.write(bytes), Ok(bytes.len()), "there is room");
    producer.publish();
}

fn receive(consumer: &mut Consumer<Heap>) -> Vec<u8> {
    let mut bytes = [0; 24];
    let len = consumer.read(&mut bytes).expect("undamaged");
    bytes[..len].to_vec()
}

/// Three pieces: the second shares a word with each of its neighbours, and the third goes around the end of the ring, where
/// the first was. Outcomes: how far one look gets that comes at any moment.
#[test]
fn what_is_read_is_what_was_written_around_the_end_and_within_words() {
    const PIECES: [&[u8]; 3] = [b"abcdefghijk", b"lmnopqrstuv", b"wxyzABCDEFGH"];
    explore([0, 11, 23], || {
        let (mut producer, mut consumer) = ring();
        send(&mut producer, PIECES[0]);
        assert_eq!(receive(&mut consumer), PIECES[0]);
        let writer = thread::spawn(move || {
            send(&mut producer, PIECES[1]);
            send(&mut producer, PIECES[2]);
        });
        let mut got = receive(&mut consumer);
        let seen = got.len();
        writer.join().expect("the writing thread");
        got.extend(receive(&mut consumer));
        assert_eq!(got, PIECES[1..].concat());
        seen
    });
}

/// A full ring, out of which a word is taken while the other side writes what there is room for. Outcomes: how much that is.
#[test]
fn what_is_not_read_is_not_overwritten() {
    explore([0, 8], || {
        let (mut producer, mut consumer) = ring();
        send(&mut producer, b"abcdefghijklmnopqrstuvwx");
        let writer = thread::spawn(move || {
            let written = producer.write(b"01234567").expect("undamaged");
            producer.publish();
            written
        });
        let mut first = [0; 8];
        assert_eq!(consumer.read(&mut first), Ok(8));
        assert_eq!(&first, b"abcdefgh");
        let written = writer.join().expect("the writing thread");
        let rest = [&b"ijklmnopqrstuvwx"[..], &b"01234567"[..written]].concat();
        assert_eq!(receive(&mut consumer), rest);
        written
    });
}

/// A writer dies after any of its steps: what it has published is there, and nothing else.
#[test]
fn at_every_death_what_was_published_is_there_and_nothing_else() {
    for steps in 0..=4 {
        loom::model(move || {
            let (mut producer, mut consumer) = ring();
            let writer = thread::spawn(move || {
                let mut steps = 0..steps;
                for piece in [b"first ", b"second"] {
                    if steps.next().is_none() {
                        return;
                    }
                    assert_eq!(producer.write(piece), Ok(6));
                    if steps.next().is_none() {
                        return;
                    }
                    producer.publish();
                }
            });
            let mut got = receive(&mut consumer);
            writer.join().expect("the writing thread");
            got.extend(receive(&mut consumer));
            assert_eq!(got, &b"first second"[..6 * (steps / 2)]);
        });
    }
}

/// A futex: blocks only if the word is still the same, and a wake-up of who blocks is not lost.
struct Futex {
    word: AtomicU32,
    queue: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    fn new() -> Self {
        Self { word: AtomicU32::new(0), queue: Mutex::new(()), woken: Condvar::new() }
    }

    fn wait(&self, asked: u32) {
        let queue = self.queue.lock().expect("no panic");
        if self.word.load(SeqCst) == asked {
            drop(self.woken.wait(queue).expect("no panic"));
        }
    }

    fn wake(&self) {
        let _queue = self.queue.lock().expect("no panic");
        self.woken.notify_one();
    }

    /// As `link` does, after having made true what the other side waits for.
    fn wake_if_asked(&self) {
        if Doze::over(&self.word).is_due(Need::Anything) {
            self.wake();
        }
    }
}

/// The worker's sleep for frames, as in `link`: two frames, so that the first wake-up may come when the reader is awake.
#[test]
fn a_reader_that_sleeps_is_woken_for_every_frame() {
    let mut model = loom::model::Builder::new();
    // Without a bound it passes too, in a minute and a half.
    model.preemption_bound = Some(4);
    model.check(|| {
        let (mut producer, mut consumer) = ring();
        let futex = Arc::new(Futex::new());
        let writer = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                for frame in [b"first ", b"second"] {
                    send(&mut producer, frame);
                    futex.wake_if_asked();
                }
            })
        };
        let mut got = Vec::new();
        while got.len() < 12 {
            let more = receive(&mut consumer);
            if more.is_empty() {
                Doze::over(&futex.word).sleep_until(|| consumer.has_data(), |asked| futex.wait(asked));
            }
            got.extend(more);
        }
        assert_eq!(got, b"first second");
        writer.join().expect("the writing thread");
    });
}

/// The worker's sleep for room, as in `link`: the ring is full, and one word at a time is taken out of it.
#[test]
fn a_writer_that_waits_for_room_is_woken_when_there_is_enough() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring();
        send(&mut producer, b"abcdefghijklmnopqrstuvwx");
        let futex = Arc::new(Futex::new());
        let reader = {
            let futex = Arc::clone(&futex);
            thread::spawn(move || {
                let mut got = [0; 16];
                for part in got.chunks_mut(8) {
                    assert_eq!(consumer.read(part), Ok(8));
                    futex.wake_if_asked();
                }
                assert_eq!(&got, b"abcdefghijklmnop");
                consumer
            })
        };
        let has_room = || producer.room(16).expect("undamaged") >= 16;
        Doze::over(&futex.word).sleep_until(has_room, |asked| futex.wait(asked));
        send(&mut producer, b"0123456789ABCDEF");
        let mut consumer = reader.join().expect("the reading thread");
        assert_eq!(receive(&mut consumer), b"qrstuvwx0123456789ABCDEF");
    });
}

/// Both at once: a frame larger than the ring, whose pieces go through it while each side sleeps for the other.
#[test]
fn a_frame_larger_than_the_ring_goes_through_while_both_sides_sleep() {
    let frame: Vec<u8> = (0..40).collect();
    let mut model = loom::model::Builder::new();
    // Each side may sleep several times: more switches than that are switches between what has been seen.
    model.preemption_bound = Some(3);
    model.check(move || {
        let (mut producer, mut consumer) = ring();
        let (room, data) = (Arc::new(Futex::new()), Arc::new(Futex::new()));
        let writer = {
            let (room, data, frame) = (Arc::clone(&room), Arc::clone(&data), frame.clone());
            thread::spawn(move || {
                let mut rest = &frame[..];
                while !rest.is_empty() {
                    let written = producer.write(rest).expect("undamaged");
                    if written == 0 {
                        let has_room = || producer.room(1).expect("undamaged") > 0;
                        Doze::over(&room.word).sleep_until(has_room, |asked| room.wait(asked));
                        continue;
                    }
                    producer.publish();
                    data.wake_if_asked();
                    rest = &rest[written..];
                }
            })
        };
        let mut got = Vec::new();
        while got.len() < frame.len() {
            let more = receive(&mut consumer);
            if more.is_empty() {
                Doze::over(&data.word).sleep_until(|| consumer.has_data(), |asked| data.wait(asked));
                continue;
            }
            room.wake_if_asked();
            got.extend(more);
        }
        assert_eq!(got, frame);
        writer.join().expect("the writing thread");
    });
}

/// An eventfd in an epoll: a wake-up is kept for who sleeps next.
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
