//! What `thread://` promises. No test waits for a time to pass, except for time limits themselves.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::{future::Future, pin::pin};

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError, TaskFuture, TaskStatus, context};
use executor_thread::{ThreadConfig, ThreadExecutor};
use futures::executor::block_on;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

fn open(workers: usize) -> ThreadExecutor {
    ThreadExecutor::open(ThreadConfig::default().with_workers(workers)).unwrap()
}

/// A task that occupies a thread until the sender is dropped; it has begun when this returns.
fn hold(ex: &ThreadExecutor) -> (Sender<()>, TaskFuture<()>) {
    let (release, released) = channel::<()>();
    let (begin, begun) = channel();
    let future = ex.spawn(move || {
        begin.send(()).unwrap();
        let _ = released.recv();
    });
    begun.recv().unwrap();
    (release, future)
}

fn poll<F: Future + ?Sized>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn arguments_and_results_are_moved_and_never_serialised() {
    #[derive(Debug, PartialEq)]
    struct Unserialisable(u64);
    impl serde::Serialize for Unserialisable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("must not be asked"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Unserialisable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("must not be asked"))
        }
    }
    let future = open(1).submit(|it: Unserialisable| Unserialisable(it.0 + 1), Unserialisable(41));
    assert_eq!(future.wait(), Ok(Unserialisable(42)));
}

#[test]
fn a_panic_costs_its_own_task_only() {
    let ex = open(1);
    let lost = ex.submit(|()| -> u64 { panic!("on purpose") }, ());
    assert!(matches!(lost.wait(), Err(TaskError::Panicked { message, .. }) if message == "on purpose"));
    assert_eq!(ex.submit(|n: u64| n, 1).wait(), Ok(1));
}

#[test]
fn a_parallel_iterator_inside_of_a_task_uses_the_pools_threads() {
    let ex = ThreadExecutor::open(ThreadConfig::default().with_workers(2).with_name("mine")).unwrap();
    // Two pieces that meet: each goes on only when the other one runs too, so both threads must take part.
    let meeting = Arc::new(std::sync::Barrier::new(2));
    let names = ex.spawn(move || {
        assert_eq!(rayon::current_num_threads(), 2);
        let name = || {
            meeting.wait();
            std::thread::current().name().map(str::to_owned)
        };
        rayon::join(name, name)
    });
    let (one, other) = names.wait().unwrap();
    let names: HashSet<_> = [one.unwrap(), other.unwrap()].into();
    assert_eq!(names, HashSet::from(["mine-0".to_owned(), "mine-1".to_owned()]));
}

#[test]
fn rayons_work_gets_through_while_tasks_keep_coming() {
    let ex = open(2);
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Each task submits its successor, on both threads, until the pieces of the iterator have met.
    fn again(ex: &ThreadExecutor, is_over: &Arc<std::sync::atomic::AtomicBool>) {
        let (ex, is_over) = (ex.clone(), Arc::clone(is_over));
        if !is_over.load(Ordering::Relaxed) {
            drop(ex.clone().spawn(move || again(&ex, &is_over)));
        }
    }
    for _ in 0..4 {
        again(&ex, &is_over);
    }
    let met = ex.spawn(|| {
        let meeting = std::sync::Barrier::new(2);
        rayon::join(|| meeting.wait(), || meeting.wait());
    });
    assert_eq!(met.wait(), Ok(()));
    is_over.store(true, Ordering::Relaxed);
}

#[test]
fn higher_priorities_begin_first_and_within_one_the_order_is_kept() {
    let ex = open(1);
    let (release, held) = hold(&ex);
    static ORDER: Mutex<Vec<i32>> = Mutex::new(Vec::new());
    let futures: Vec<_> = [0, 5, -3, 0, 5, 7, -3, 1]
        .into_iter()
        .enumerate()
        .map(|(at, priority)| {
            let label = priority * 10 + at as i32;
            ex.task(|label: i32| ORDER.lock().unwrap().push(label), label).priority(priority).submit()
        })
        .collect();
    drop(release);
    held.wait().unwrap();
    futures.into_iter().for_each(|it| it.wait().unwrap());
    assert_eq!(*ORDER.lock().unwrap(), [75, 51, 54, 17, 0, 3, -28, -24]);
}

#[test]
fn a_full_queue_gives_the_argument_back_and_tells_when_there_is_room() {
    for priority in [0, 1] {
        let ex = ThreadExecutor::open(ThreadConfig::default().with_workers(1).with_queue(2)).unwrap();
        let (release, held) = hold(&ex);
        let submit = |n: u64| ex.task(|n: u64| n, n).priority(priority).try_submit();
        let (first, second) = (submit(1).unwrap(), submit(2).unwrap());
        let refused = submit(3).unwrap_err();
        assert!(refused.is_full());
        assert_eq!(refused.into_arg(), 3);
        assert_eq!(ex.submit(|n: u64| n, 4).wait(), Err(TaskError::Full));
        let mut ready = ex.ready();
        assert!(poll(ready.as_mut()).is_pending());
        drop(release);
        assert_eq!(block_on(ready), Ok(()));
        held.wait().unwrap();
        assert_eq!((first.wait(), second.wait()), (Ok(1), Ok(2)));
        assert_eq!(submit(5).unwrap().wait(), Ok(5));
    }
}

#[test]
fn a_map_over_a_short_queue_loses_nothing() {
    let ex = ThreadExecutor::open(ThreadConfig::default().with_workers(2).with_queue(3)).unwrap();
    let sum: u64 =
        ex.map(|n: u64| n + 1, 0..20_000).chunk_size(1).buffer(50).into_iter().map(Result::unwrap).sum();
    assert_eq!(sum, 20_000 * 20_001 / 2);
}

#[test]
fn a_task_cancelled_in_the_queue_never_begins() {
    let ex = open(1);
    let (release, held) = hold(&ex);
    let futures: Vec<_> = (0..3).map(|_| ex.spawn(|| unreachable!("it was cancelled"))).collect();
    assert!(futures.iter().all(TaskFuture::cancel));
    drop(release);
    held.wait().unwrap();
    assert_eq!(ex.submit(|n: u64| n, 1).wait(), Ok(1));
    for future in futures {
        assert_eq!(future.wait(), Err::<(), _>(TaskError::Cancelled));
    }
}

#[test]
fn a_cancelled_task_that_runs_sees_the_flag_and_its_value_arrives() {
    let ex = open(1);
    let (begin, begun) = channel();
    let future = ex.spawn(move || {
        begin.send(()).unwrap();
        while !context().is_cancelled() {
            std::thread::yield_now();
        }
        7
    });
    begun.recv().unwrap();
    assert!(!future.cancel());
    assert_eq!(future.wait(), Ok(7));
}

#[test]
fn a_time_limit_resolves_the_future_and_raises_the_flag() {
    let ex = open(2);
    for limit in [Duration::ZERO, Duration::from_millis(5)] {
        let stopped: TaskFuture<bool> = ex
            .task(
                |()| {
                    while !context().is_cancelled() {
                        std::thread::yield_now();
                    }
                    true
                },
                (),
            )
            .timeout(limit)
            .submit();
        match stopped.wait() {
            Err(TaskError::TimedOut { limit: told, worker, .. }) => {
                assert_eq!(told, limit);
                assert!(worker.starts_with("thread "), "{worker}");
            }
            other => panic!("expected a time-out, got {other:?}"),
        }
    }
    let endless =
        ex.task_async(|()| std::future::pending::<()>(), ()).timeout(Duration::from_millis(5)).submit();
    assert!(matches!(endless.wait(), Err(TaskError::TimedOut { .. })));
}

#[test]
fn a_time_limit_is_counted_from_the_begin_and_ends_with_the_task() {
    let ex = open(1);
    let (release, held) = hold(&ex);
    let long = ex.task(|n: u64| n, 1).timeout(Duration::from_secs(3600)).submit();
    let short = ex.task(|()| context().is_cancelled(), ()).timeout(Duration::from_secs(1)).submit();
    assert_eq!(short.wait_timeout(Duration::from_millis(1)), None);
    drop(release);
    held.wait().unwrap();
    assert_eq!(long.wait(), Ok(1));
    assert_eq!(short.wait(), Ok(false));
    // Nothing of the limits is left that would keep the pool.
    block_on(ex.shutdown(Shutdown::Drain));
}

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

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let ex = context().executor();
    let (a, b) = (ex.submit(fib, n - 1), ex.submit(fib, n - 2));
    a.wait().unwrap() + b.wait().unwrap()
}

fn chain(n: u64) -> u64 {
    if n == 0 { 0 } else { context().executor().submit(chain, n - 1).wait().map_or(0, |it| it + 1) }
}

fn chain_async_wait(n: u64) -> u64 {
    if n == 0 {
        return 0;
    }
    let future = context().executor().submit(chain_async_wait, n - 1);
    block_on(future).unwrap() + 1
}

#[test]
fn waits_inside_of_tasks_never_hang_a_full_pool() {
    for workers in [1, 2, 3] {
        let ex = open(workers);
        assert_eq!(ex.submit(fib, 15).wait(), Ok(610));
        assert_eq!(ex.submit(chain, 300).wait(), Ok(300));
        assert_eq!(ex.submit(chain_async_wait, 100).wait(), Ok(100));
    }
}

#[test]
fn tasks_of_a_full_pool_may_block_on_futures_by_other_means() {
    for workers in [1, 2] {
        let ex = open(workers);
        let futures: Vec<_> = (0..100).map(|_| ex.submit(chain_async_wait, 2)).collect();
        assert!(futures.into_iter().all(|it| it.wait() == Ok(2)));
        // The future is dropped before it is ready: the thread is back nevertheless.
        let dropped = ex.spawn(|| {
            let future = context().executor().submit(chain, 1);
            let ready = futures::future::ready(7);
            matches!(block_on(futures::future::select(future, ready)), futures::future::Either::Right(_))
        });
        assert!(dropped.wait().is_ok());
        assert_eq!(ex.submit(chain_async_wait, 1).wait(), Ok(1));
        block_on(ex.shutdown(Shutdown::Drain));
    }
}

#[test]
fn many_tasks_that_wait_need_no_stack_for_each() {
    for workers in [1, 2] {
        let ex = open(workers);
        let futures: Vec<_> = (0..20_000).map(|_| ex.submit(chain, 1)).collect();
        assert!(futures.into_iter().all(|it| it.wait() == Ok(1)));
    }
}

#[test]
fn a_wait_with_no_stack_left_is_an_error_and_not_a_crash() {
    for workers in [1, 2] {
        let config = ThreadConfig::default().with_workers(workers).with_stack_size(512 * 1024);
        let ex = ThreadExecutor::open(config).unwrap();
        let depth = ex.submit(chain, 1_000_000).wait().unwrap();
        assert!((10..1_000_000).contains(&depth), "{depth}");
        assert_eq!(ex.submit(chain, 3).wait(), Ok(3));
    }
}

#[test]
fn a_piece_of_a_parallel_iterator_may_wait_for_a_task() {
    for workers in [1, 2] {
        let ex = open(workers);
        let sum = ex.submit(
            |()| {
                let ex = context().executor();
                (0..64u64).into_par_iter().map(|n| ex.submit(|n: u64| n, n).wait().unwrap()).sum::<u64>()
            },
            (),
        );
        assert_eq!(sum.wait(), Ok(64 * 63 / 2));
    }
}

#[test]
fn tasks_that_submit_their_successors_do_not_starve_others() {
    let ex = open(1);
    let stop = Arc::new(());
    fn again(ex: &ThreadExecutor, stop: &std::sync::Weak<()>) {
        let (ex, stop) = (ex.clone(), stop.clone());
        if stop.upgrade().is_some() {
            drop(ex.clone().spawn(move || again(&ex, &stop)));
        }
    }
    again(&ex, &Arc::downgrade(&stop));
    let other = ex.submit(|n: u64| n, 1);
    assert_eq!(other.wait(), Ok(1));
    drop(stop);
    block_on(ex.shutdown(Shutdown::Drain));
}

#[test]
fn a_broadcast_runs_once_on_each_thread() {
    let ex = open(3);
    let (release, held) = hold(&ex);
    let futures = ex.broadcast(|()| context().worker(), ());
    drop(release);
    held.wait().unwrap();
    let workers: Vec<_> = futures.into_iter().map(|it| it.wait().unwrap()).collect();
    assert_eq!(workers, ["thread 0", "thread 1", "thread 2"]);
}

#[test]
fn a_broadcast_reaches_threads_that_wait_inside_of_tasks() {
    let ex = open(1);
    let names = ex.submit(
        |()| {
            let futures = context().executor().broadcast(|()| context().worker(), ());
            futures.into_iter().map(|it| it.wait().unwrap()).collect::<Vec<_>>()
        },
        (),
    );
    assert_eq!(names.wait(), Ok(vec!["thread 0".to_owned()]));
}

#[test]
fn no_wake_up_is_lost_between_submits_and_threads_that_go_to_sleep() {
    let ex = open(2);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for n in 0..5_000u64 {
                    assert_eq!(ex.submit(|n: u64| n, n).wait(), Ok(n));
                    if n % 64 == 0 {
                        // Long enough for the threads to go to sleep, however fast they are.
                        (0..n % 5).for_each(|_| std::thread::yield_now());
                    }
                }
            });
        }
    });
    assert_eq!(ex.stats().queued, 0);
}

#[test]
fn stats_count() {
    let ex = open(2);
    let (release, held) = hold(&ex);
    let (release_other, held_other) = hold(&ex);
    let queued = ex.submit(|n: u64| n, 1);
    let urgent = ex.task(|n: u64| n, 2).priority(1).submit();
    let stats = ex.stats();
    assert_eq!((stats.workers, stats.queued, stats.running), (2, 2, 2));
    drop((release, release_other));
    held.wait().unwrap();
    held_other.wait().unwrap();
    assert_eq!((queued.wait(), urgent.wait()), (Ok(1), Ok(2)));
    block_on(ex.shutdown(Shutdown::Drain));
    let stats = ex.stats();
    assert_eq!((stats.queued, stats.running, stats.finished), (0, 0, 4));
}

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
fn tasks_cancelled_in_the_queue_make_room_at_once() {
    let ex = ThreadExecutor::open(ThreadConfig::default().with_workers(1).with_queue(2)).unwrap();
    let (release, held) = hold(&ex);
    for priority in [0, 1] {
        let futures: Vec<_> =
            (0..2u64).map(|n| ex.task(|n: u64| n, n).priority(priority).try_submit().unwrap()).collect();
        let mut ready = ex.ready();
        assert!(poll(ready.as_mut()).is_pending());
        assert!(futures.iter().all(TaskFuture::cancel));
        assert_eq!(block_on(ready), Ok(()));
        assert_eq!(ex.stats().queued, 0);
    }
    let next = ex.task(|n: u64| n, 3).try_submit().unwrap();
    drop(release);
    held.wait().unwrap();
    assert_eq!(next.wait(), Ok(3));
    // Those that were cancelled have been come across, and the bound is what it was.
    let (release, held) = hold(&ex);
    let kept = [ex.submit(|n: u64| n, 1), ex.submit(|n: u64| n, 2)];
    assert_eq!(ex.submit(|n: u64| n, 3).wait(), Err(TaskError::Full));
    drop(release);
    held.wait().unwrap();
    assert!(kept.into_iter().all(|it| it.wait().is_ok()));
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

#[test]
fn a_scope_borrows_and_joins() {
    let ex = open(2);
    let counter = AtomicUsize::new(0);
    let total = ex.scope(|s| {
        let futures: Vec<_> = (0..100)
            .map(|n| {
                s.spawn({
                    let counter = &counter;
                    move || {
                        counter.fetch_add(1, Ordering::Relaxed);
                        n
                    }
                })
            })
            .collect();
        // These are not waited for by anybody but the scope.
        for _ in 0..100 {
            drop(s.spawn(|| counter.fetch_add(1, Ordering::Relaxed)));
        }
        futures.into_iter().map(|it| it.wait().unwrap()).sum::<usize>()
    });
    assert_eq!((total, counter.into_inner()), (4950, 200));
}

#[test]
fn a_scope_joins_also_when_it_panics_and_a_panic_inside_is_told_to_its_future() {
    let ex = open(2);
    let counter = AtomicUsize::new(0);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ex.scope(|s| {
            for _ in 0..100 {
                drop(s.spawn(|| counter.fetch_add(1, Ordering::Relaxed)));
            }
            let failed = s.spawn(|| panic!("inside"));
            assert!(matches!(failed.wait(), Err::<(), _>(TaskError::Panicked { .. })));
            panic!("outside");
        })
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"outside"));
    assert_eq!(counter.into_inner(), 100);
}

#[test]
fn a_scope_inside_of_a_task_of_a_full_pool_ends() {
    let ex = open(1);
    let inner = ex.clone();
    let sum = ex.spawn(move || {
        let numbers = [1, 2, 3];
        inner.scope(|s| {
            numbers
                .iter()
                .map(|n| s.spawn(|| *n))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|it| it.wait().unwrap())
                .sum::<i32>()
        })
    });
    assert_eq!(sum.wait(), Ok(6));
}

#[test]
fn a_scope_on_a_pool_that_is_closed_ends_too() {
    let ex = open(1);
    block_on(ex.shutdown(Shutdown::Drain));
    let value = 1;
    assert_eq!(ex.scope(|s| s.spawn(|| value).wait()), Err(TaskError::Closed));
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
