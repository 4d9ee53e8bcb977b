//! The futures, without any runtime.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use futures::executor::block_on;
use futures::future::join_all;

use super::super::{PutError, Queue};

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn get_async_waits_for_an_item() {
    let queue = Queue::unbounded().expect("a queue");
    let mut get = pin!(queue.get_async());
    assert!(get.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| queue.put(5).expect("room"));
        assert_eq!(block_on(get).expect("an item"), 5);
    });
}

#[test]
fn put_async_waits_for_room() {
    let queue = Queue::bounded(1).expect("a queue");
    block_on(queue.put_async(1)).expect("room");
    let mut put = pin!(queue.put_async(2));
    assert!(put.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(queue.get().expect("an item"), 1));
        block_on(put).expect("room");
    });
    assert_eq!(queue.get().expect("an item"), 2);
}

#[test]
fn join_async_waits_until_all_is_done() {
    let queue = Queue::unbounded().expect("a queue");
    queue.put(()).expect("room");
    let mut join = pin!(queue.join_async());
    assert!(join.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| queue.task_done().expect("not too often"));
        block_on(join).expect("undamaged");
    });
}

#[test]
fn a_dropped_future_has_taken_nothing() {
    let queue = Queue::unbounded().expect("a queue");
    let waker = Waker::from(Arc::new(Counter::default()));
    {
        let mut get = pin!(queue.get_async());
        assert!(get.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    {
        let mut other = pin!(queue.get_async());
        assert!(other.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        queue.put(1).expect("room");
        // Woken or not, dropped before it looked.
    }
    assert_eq!(queue.try_get().expect("an item"), 1);
}

#[test]
fn an_item_that_does_not_encode_is_given_back_by_the_future() {
    struct Unspeakable;
    impl serde::Serialize for Unspeakable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no words"))
        }
    }
    let queue = Queue::unbounded().expect("a queue");
    let error = block_on(queue.put_async(Unspeakable)).expect_err("not encoded");
    assert!(matches!(error, PutError::Encode { item: Unspeakable, .. }), "{error}");
}

#[test]
fn many_futures_wait_on_one_thread() {
    let queue = Queue::bounded(1).expect("a queue");
    let puts = join_all((0..200u32).map(|n| queue.put_async(n)));
    let gets = join_all((0..200).map(|_| queue.get_async()));
    let (puts, gets) = block_on(futures::future::join(puts, gets));
    assert!(puts.into_iter().all(|put| put.is_ok()));
    let mut got: Vec<u32> = gets.into_iter().map(|got| got.expect("an item")).collect();
    got.sort_unstable();
    assert_eq!(got, (0..200).collect::<Vec<_>>());
}

#[test]
fn a_ready_future_is_ready_at_once() {
    let queue = Queue::unbounded().expect("a queue");
    queue.put(9).expect("room");
    let polled = pin!(queue.get_async()).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(9))));
}
