//! Models of who is awake, named by what they show. The reaper, a looker and a worker, each a thread of its own; an answer that
//! nobody takes leaves the reaper asleep for ever, which loom reports as a deadlock.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p executor-process --no-default-features --lib loom`.

mod loom {
    use std::sync::Arc;
    use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

    use loom::sync::atomic::AtomicU32;
    use loom::sync::{Condvar, Mutex};
    use loom::thread;

    use super::super::{Ears, Watch};
    use crate::ring::{Doze, Need};

    /// One worker's ring, as far as it matters here: how many answers it has published, and the word by which the parent
    /// asks for the bell.
    struct Ring {
        published: AtomicU32,
        taken: AtomicU32,
        asks: AtomicU32,
    }

    /// What the threads share.
    struct Pool {
        rings: [Ring; 1],
        core: Mutex<Watch>,
        /// The epoll in which the reaper blocks, with bell and alarm: a wake-up is kept.
        is_woken: Mutex<bool>,
        woken: Condvar,
    }

    impl Ears for [Ring; 1] {
        fn listen(&self, need: Need) {
            for ring in self {
                match need {
                    Need::Nothing => Doze::over(&ring.asks).awake(),
                    need => Doze::over(&ring.asks).ask(need),
                }
            }
        }

        fn has_answers(&self) -> bool {
            self.iter().any(|ring| ring.published.load(Acquire) != ring.taken.load(Relaxed))
        }
    }

    impl Pool {
        fn new() -> Arc<Self> {
            let zero = || AtomicU32::new(0);
            Arc::new(Self {
                rings: [Ring { published: zero(), taken: zero(), asks: zero() }],
                core: Mutex::new(Watch::new()),
                is_woken: Mutex::new(false),
                woken: Condvar::new(),
            })
        }

        fn with<T>(&self, f: impl FnOnce(&mut Watch, &[Ring; 1]) -> T) -> T {
            f(&mut self.core.lock().expect("no panic"), &self.rings)
        }

        /// Under the core's lock: takes what has come; how many were taken in all.
        fn read(rings: &[Ring; 1]) -> u32 {
            let [ring] = rings;
            let published = ring.published.load(Acquire);
            ring.taken.store(published, Relaxed);
            published
        }

        fn block(&self) {
            let mut is_woken = self.is_woken.lock().expect("no panic");
            while !*is_woken {
                is_woken = self.woken.wait(is_woken).expect("no panic");
            }
            *is_woken = false;
        }

        fn ring(&self) {
            *self.is_woken.lock().expect("no panic") = true;
            self.woken.notify_one();
        }

        /// The worker: each answer, and what it says of it.
        fn answer(&self, reasons: &[Need]) {
            let [ring] = &self.rings;
            for (answer, reason) in (1..).zip(reasons) {
                ring.published.store(answer, Release);
                if Doze::over(&ring.asks).is_due(*reason) {
                    self.ring();
                }
            }
        }

        /// The reaper, until so many answers were taken by whomever.
        fn reap(&self, answers: u32, naps: bool) {
            loop {
                let taken = self.with(|watch, rings| {
                    watch.wake(rings);
                    Self::read(rings)
                });
                if taken == answers {
                    return;
                }
                if naps && self.with(|watch, rings| watch.doze(Need::Idle, rings)) {
                    // The time for the nap was short, and has passed.
                    let taken = self.with(|watch, rings| {
                        watch.wake(rings);
                        Self::read(rings)
                    });
                    if taken == answers {
                        return;
                    }
                }
                if self.with(|watch, rings| watch.doze(Need::Anything, rings)) {
                    self.block();
                }
            }
        }

        /// A looker that looks once and leaves, whatever it has seen; who takes the last answer says so, as whoever has
        /// emptied a ring does what follows.
        fn look(&self, answers: u32) {
            self.with(|watch, rings| watch.start_looking(rings));
            if self.with(|_, rings| Self::read(rings)) == answers {
                self.ring();
            }
            if self.with(|watch, rings| watch.stop_looking(rings)) {
                self.ring();
            }
        }
    }

    fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    #[test]
    fn the_reaper_sleeps_on_no_answer() {
        check(5, || {
            let pool = Pool::new();
            let worker = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.answer(&[Need::Anything, Need::Anything]))
            };
            pool.reap(2, false);
            worker.join().expect("the worker");
        });
    }

    /// The first answer is nothing to wake who naps for, whether or not the nap is over.
    #[test]
    fn an_answer_that_comes_during_a_nap_is_seen_after_it() {
        check(5, || {
            let pool = Pool::new();
            let worker = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.answer(&[Need::Anything, Need::Idle]))
            };
            pool.reap(2, true);
            worker.join().expect("the worker");
        });
    }

    #[test]
    fn no_answer_is_left_unseen_when_the_looker_leaves_and_the_reaper_sleeps() {
        check(3, || {
            let pool = Pool::new();
            let worker = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.answer(&[Need::Anything]))
            };
            let looker = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.look(1))
            };
            pool.reap(1, false);
            worker.join().expect("the worker");
            looker.join().expect("the looker");
        });
    }

    #[test]
    fn a_second_looker_that_stays_sees_what_the_first_left() {
        check(2, || {
            let pool = Pool::new();
            let worker = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.answer(&[Need::Anything]))
            };
            let lookers: [_; 2] = std::array::from_fn(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || pool.look(1))
            });
            pool.reap(1, false);
            worker.join().expect("the worker");
            for looker in lookers {
                looker.join().expect("a looker");
            }
        });
    }
}
