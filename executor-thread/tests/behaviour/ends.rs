//! Shutdown, the last handle, and the ends of the threads.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError, TaskFuture, TaskStatus, context};
use executor_thread::ThreadExecutor;
use futures::executor::block_on;

use crate::support::{chain, hold, open, poll};

#[test]
fn drain_runs_all_that_is_queued_and_refuses_the_rest() {
    let ex = open(1);
    let (release, held) = hold(&ex);
    let queued: Vec<_> = (0..100u64).map(|n| ex.submit(|n: u64| n, n)).collect();
    let slow = ex.submit_async(|()| async { futures::future::ready(9).await }, ());
    let mut shutdown = ex.shutdown(Shutdown::Drain);
    assert!(poll(shutdown.as_mut()).is_pending());
    assert_eq!(ex.submit(|n: u64| n, 1).wait(), Err(TaskError::Closed));
    assert_eq!(ex.task(|n: u64| n, 1).priority(1).submit().wait(), Err(TaskError::Closed));
    assert_eq!(block_on(ex.ready()), Err(TaskError::Closed));
    drop(release);
    block_on(shutdown);
    assert!(held.is_done() && slow.is_done() && queued.iter().all(TaskFuture::is_done));
    for (n, future) in queued.into_iter().enumerate() {
        assert_eq!(future.wait(), Ok(n as u64));
    }
    block_on(ex.shutdown(Shutdown::Kill));
    assert_eq!(ex.submit(|n: u64| n, 1).wait(), Err(TaskError::Closed));
}

#[test]
fn what_tasks_submit_while_the_pool_drains_runs_too() {
    fn nested(n: u64) -> u64 {
        context().executor().submit(chain, n).wait().unwrap() + 1
    }
    for is_dropped in [false, true] {
        let ex = open(1);
        let (release, held) = hold(&ex);
        let sync = ex.submit(nested, 5);
        let from_async = ex.submit_async(|n| async move { context().executor().submit(chain, n).await }, 5);
        match is_dropped {
            true => drop(ex),
            false => assert!(poll(ex.shutdown(Shutdown::Drain).as_mut()).is_pending()),
        }
        drop(release);
        held.wait().unwrap();
        assert_eq!(sync.wait(), Ok(6));
        assert_eq!(from_async.wait(), Ok(Ok(5)));
    }
}

#[test]
fn a_handle_that_a_task_left_behind_is_refused_when_the_pool_has_ended() {
    let ex = open(1);
    let left = ex.spawn(|| context().executor()).wait().unwrap();
    block_on(ex.shutdown(Shutdown::Drain));
    assert_eq!(left.submit(|n: u64| n, 1).wait(), Err(TaskError::Closed));
}

#[test]
fn cancel_pending_lets_running_tasks_end() {
    let ex = open(1);
    let (release, held) = hold(&ex);
    let queued: Vec<_> =
        (0..100u64).map(|n| ex.task(|n: u64| n, n).priority(n as i32 % 2).submit()).collect();
    let mut drain = ex.shutdown(Shutdown::Drain);
    assert!(poll(drain.as_mut()).is_pending());
    let mut shutdown = ex.shutdown(Shutdown::CancelPending);
    assert!(poll(shutdown.as_mut()).is_pending());
    for future in queued {
        assert_eq!(future.wait(), Err(TaskError::Cancelled));
    }
    assert_eq!(held.status(), TaskStatus::Running);
    drop(release);
    block_on(shutdown);
    block_on(drain);
    assert_eq!(held.wait(), Ok(()));
}

#[test]
fn kill_resolves_what_runs_although_it_runs_on() {
    let ex = open(2);
    let (release, held) = hold(&ex);
    let (begin, begun) = channel();
    let endless = ex.submit_async(|()| std::future::pending::<()>(), ());
    // Two tasks on one thread: one waits for the other, and the wait runs it on top.
    let inner = ex.clone();
    let nested = ex.spawn(move || {
        let child = inner.spawn(move || {
            begin.send(()).unwrap();
            while !context().is_cancelled() {
                std::thread::yield_now();
            }
        });
        child.wait()
    });
    begun.recv().unwrap();
    let queued = ex.submit(|n: u64| n, 1);
    block_on(ex.shutdown(Shutdown::Kill));
    assert!(held.is_done() && endless.is_done() && queued.is_done() && nested.is_done());
    assert_eq!(held.wait(), Err(TaskError::Cancelled));
    assert_eq!(endless.wait(), Err(TaskError::Cancelled));
    assert_eq!(nested.wait().unwrap_err(), TaskError::Cancelled);
    assert!(queued.wait().is_err());
    drop(release);
}

#[test]
fn kill_while_tasks_stream_resolves_every_future_once() {
    for _ in 0..50 {
        let ex = open(2);
        let futures: Vec<_> = (0..2_000u64).map(|n| ex.submit(|n: u64| n, n)).collect();
        block_on(ex.shutdown(Shutdown::Kill));
        assert!(futures.iter().all(TaskFuture::is_done));
        for (n, future) in futures.into_iter().enumerate() {
            let result = future.wait();
            assert!(result == Ok(n as u64) || result == Err(TaskError::Cancelled), "{result:?}");
        }
    }
}

/// Tells when the thread that it lives on ends.
struct Tell(Sender<()>);

impl Drop for Tell {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// A receiver whose iteration ends when all threads of the pool have ended.
fn threads_end(ex: &ThreadExecutor, workers: usize) -> Receiver<()> {
    thread_local! { static TELL: std::cell::RefCell<Option<Tell>> = const { std::cell::RefCell::new(None) } }
    let (send, receive) = channel();
    let meeting = Arc::new(std::sync::Barrier::new(workers));
    let futures: Vec<_> = (0..workers)
        .map(|_| {
            let (send, meeting) = (send.clone(), Arc::clone(&meeting));
            ex.spawn(move || {
                meeting.wait();
                TELL.with(|it| *it.borrow_mut() = Some(Tell(send)));
            })
        })
        .collect();
    futures.into_iter().for_each(|it| it.wait().unwrap());
    receive
}

#[test]
fn after_the_last_handle_what_is_queued_still_runs_and_then_the_threads_end() {
    let ex = open(2);
    let ended = threads_end(&ex, 2);
    let (release, held) = hold(&ex);
    let (release_other, held_other) = hold(&ex);
    let queued: Vec<_> = (0..100u64).map(|n| ex.submit(|n: u64| n, n)).collect();
    drop(ex.clone());
    drop(ex);
    drop((release, release_other));
    assert_eq!((held.wait(), held_other.wait()), (Ok(()), Ok(())));
    for (n, future) in queued.into_iter().enumerate() {
        assert_eq!(future.wait(), Ok(n as u64));
    }
    assert_eq!(ended.iter().count(), 2);
}

#[test]
fn an_idle_pool_ends_with_its_last_handle() {
    let ex = open(2);
    let ended = threads_end(&ex, 2);
    drop(ex);
    assert_eq!(ended.iter().count(), 2);
}

#[test]
fn shutdown_returns_when_the_threads_have_left() {
    let ex = open(2);
    let ended = threads_end(&ex, 2);
    block_on(ex.shutdown(Shutdown::Drain));
    assert_eq!(ended.iter().count(), 2);
}

#[test]
fn a_handle_taken_inside_of_a_task_outlives_the_others() {
    let ex = open(1);
    let (go, gone) = channel::<()>();
    let future = ex.spawn(move || {
        let ex = context().executor();
        let _ = gone.recv();
        ex
    });
    while future.status() == TaskStatus::Queued {
        std::thread::yield_now();
    }
    drop(go);
    let inner = future.wait().unwrap();
    drop(ex);
    assert_eq!(inner.submit(|n: u64| n, 5).wait(), Ok(5));
}
