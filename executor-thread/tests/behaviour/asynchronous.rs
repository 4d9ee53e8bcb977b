//! Bodies that are futures, and handles in async programs.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use executor_core::{ExecutorExt, context};
use executor_thread::ThreadExecutor;
use futures::executor::block_on;

use crate::support::open;

#[test]
fn many_async_bodies_share_the_pool() {
    let ex = open(1);
    // Each waits for the next: one thread that ran them one after the other would never end.
    static SENDERS: Mutex<Vec<Option<futures::channel::oneshot::Sender<u64>>>> = Mutex::new(Vec::new());
    static RECEIVERS: Mutex<Vec<Option<futures::channel::oneshot::Receiver<u64>>>> = Mutex::new(Vec::new());
    const COUNT: usize = 100;
    for _ in 0..COUNT {
        let (sender, receiver) = futures::channel::oneshot::channel();
        SENDERS.lock().unwrap().push(Some(sender));
        RECEIVERS.lock().unwrap().push(Some(receiver));
    }
    let chain = |at: usize| async move {
        let next = RECEIVERS.lock().unwrap()[at].take().unwrap();
        let value = if at + 1 == COUNT { 1 } else { next.await.unwrap() + 1 };
        if at > 0 {
            SENDERS.lock().unwrap()[at - 1].take().unwrap().send(value).unwrap();
        }
        value
    };
    let futures: Vec<_> = (0..COUNT).map(|at| ex.submit_async(chain, at)).collect();
    let values: Vec<_> = futures.into_iter().map(|it| it.wait().unwrap()).collect();
    assert_eq!(values[0], COUNT as u64);
}

#[cfg(feature = "tokio")]
#[test]
fn an_async_body_runs_inside_of_tokio_and_its_timers_work() {
    let ex = open(1);
    let slept = ex.submit_async(
        |()| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            context().worker()
        },
        (),
    );
    assert_eq!(slept.wait(), Ok("thread 0".to_owned()));
}

#[test]
fn block_on_runs_a_body_to_its_end_anywhere() {
    let (send, receive) = channel();
    let other = send.clone();
    executor_thread::block_on(Box::pin(async move {
        // Inside of a runtime too.
        executor_thread::block_on(Box::pin(async move { other.send(1).unwrap() }));
        send.send(2).unwrap();
    }));
    assert_eq!(receive.iter().collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_single_thread_that_waits_runs_what_an_async_task_submits() {
    let ex = open(1);
    let answer = ex.submit(
        |n: u64| {
            let inner = context().executor().submit_async(
                |n: u64| async move { context().executor().submit(|n: u64| n * 2, n).await.unwrap() + 1 },
                n,
            );
            inner.wait().unwrap() + 1
        },
        20,
    );
    assert_eq!(answer.wait(), Ok(42));
}

#[test]
fn handles_and_futures_can_be_sent() {
    fn check<T: Send + Sync + Clone + std::fmt::Debug>() {}
    check::<ThreadExecutor>();
    let future = pin!(async {
        let ex = open(1);
        ex.submit(|n: u64| n, 1).await
    });
    assert_eq!(block_on(future), Ok(1));
}
