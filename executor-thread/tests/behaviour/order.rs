//! Which task begins when, the limit of the queue, and what is counted.

use std::sync::{Arc, Mutex};

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError, TaskFuture, context};
use executor_thread::{ThreadConfig, ThreadExecutor};
use futures::executor::block_on;

use crate::support::{hold, open, poll};

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
