//! Models of the queue and of the drainers' places, named by promise. Run by
//! `RUSTFLAGS="--cfg loom" cargo test -p executor-thread --no-default-features --release --lib loom`
//! (tokio has models of its own under the same flag, which do not build from outside).

use std::ptr::{self, NonNull};

use ::loom::sync::Arc;
use ::loom::sync::Mutex;
use ::loom::thread::{self, JoinHandle};

use crate::places::{Call, Crew, Places, drain};
use crate::queue::{Queue, Refused};
use crate::sync::lock;

fn pointer(number: usize) -> NonNull<()> {
    NonNull::new(ptr::without_provenance_mut(number * 16)).expect("numbers start at 1")
}

fn number(pointer: NonNull<()>) -> usize {
    pointer.addr().get() / 16
}

/// Pops until `count` numbers have come.
fn pop(queue: &Queue, count: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        match queue.pop() {
            Some(it) => numbers.push(number(it)),
            None => thread::yield_now(),
        }
    }
    numbers
}

/// Explores all executions with at most so many preemptions.
fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(f);
}

#[test]
fn loom_a_queue_keeps_the_order_across_segments_that_are_used_again() {
    model(3, || {
        // Two slots a segment: the numbers go through three of them, the first one twice.
        let queue = Arc::new(Queue::new(4));
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                for n in 1..=5 {
                    while queue.push(pointer(n), 4).is_err() {
                        thread::yield_now();
                    }
                }
            })
        };
        assert_eq!(pop(&queue, 2), [1, 2]);
        pusher.join().unwrap();
        assert_eq!(pop(&queue, 3), [3, 4, 5]);
        assert!(queue.pop().is_none());
    });
}

#[test]
fn loom_what_two_push_two_pop_once_each() {
    model(2, || {
        let queue = Arc::new(Queue::new(4));
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                queue.push(pointer(1), 4).unwrap();
                queue.push(pointer(2), 4).unwrap();
            })
        };
        let popper = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.pop().map(number))
        };
        queue.push(pointer(3), 4).unwrap();
        let ours = queue.pop().map(number);
        pusher.join().unwrap();
        let theirs = popper.join().unwrap();
        let mut all: Vec<usize> = ours.into_iter().chain(theirs).collect();
        while let Some(it) = queue.pop() {
            all.push(number(it));
        }
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3]);
    });
}

#[test]
fn loom_a_push_and_a_close_agree_on_whether_the_push_came_first() {
    model(3, || {
        let queue = Arc::new(Queue::new(2));
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(pointer(1), 2))
        };
        queue.close();
        let len = queue.len();
        match pusher.join().unwrap() {
            Ok(()) => assert_eq!((len, queue.pop().map(number)), (1, Some(1))),
            Err(refused) => assert_eq!((len, refused), (0, Refused::Closed)),
        }
    });
}

/// A pool in small: the queue, the places, and drainers that are threads of their own.
struct Pool {
    queue: Queue,
    places: Places,
    ran: Mutex<Vec<usize>>,
    drainers: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            queue: Queue::new(4),
            places: Places::new(places),
            ran: Mutex::new(Vec::new()),
            drainers: Mutex::new(Vec::new()),
        })
    }

    /// Waits for all drainers, also those that others have started meanwhile.
    fn ran_at_the_end(&self) -> Vec<usize> {
        loop {
            let drainer = lock(&self.drainers).pop();
            match drainer {
                Some(drainer) => drainer.join().unwrap(),
                None => break,
            }
        }
        let mut ran = std::mem::take(&mut *lock(&self.ran));
        ran.sort_unstable();
        ran
    }
}

fn submit(pool: &Arc<Pool>, n: usize) {
    pool.queue.push(pointer(n), 4).unwrap();
    call(pool);
}

fn call(pool: &Arc<Pool>) {
    if pool.places.call() == Call::Start {
        let member = Member(Arc::clone(pool));
        let drainer = thread::spawn(move || drain(&member.0.places, &member));
        lock(&pool.drainers).push(drainer);
    }
}

struct Member(Arc<Pool>);

impl Crew for Member {
    type Task = usize;
    fn take(&self) -> Option<usize> {
        self.0.queue.pop().map(number)
    }
    fn run(&self, n: usize) {
        lock(&self.0.ran).push(n);
    }
    fn has_work(&self) -> bool {
        self.0.queue.has_written()
    }
    fn search(&self) -> bool {
        false
    }
    fn rest(&self) {}
    fn call_another(&self) {
        call(&self.0);
    }
}

#[test]
fn loom_no_wake_up_is_lost_between_a_drainer_that_leaves_and_a_submit() {
    model(3, || {
        let pool = Pool::new(1);
        submit(&pool, 1);
        submit(&pool, 2);
        assert_eq!(pool.ran_at_the_end(), [1, 2]);
        assert_eq!(pool.places.taken(), 0);
    });
}

#[test]
fn loom_no_wake_up_is_lost_when_two_submit_and_two_drain() {
    model(2, || {
        let pool = Pool::new(2);
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || submit(&pool, 1))
        };
        submit(&pool, 2);
        other.join().unwrap();
        assert_eq!(pool.ran_at_the_end(), [1, 2]);
        assert_eq!(pool.places.taken(), 0);
    });
}
