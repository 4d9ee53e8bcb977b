//! Cancels and time limits.

use std::sync::mpsc::channel;
use std::time::Duration;

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError, TaskFuture, context};
use futures::executor::block_on;

use crate::support::{hold, open};

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
