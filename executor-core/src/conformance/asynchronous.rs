//! Tasks whose bodies are futures: many share a worker.

use std::time::Duration;

use super::lab::{Lab, PATIENCE, error, value};
use super::list;
use super::signal::{note, noted, timer, until_noted, yield_now};
use crate::error::TaskError;
use crate::ext::ExecutorExt;

list![
    an_async_task_resolves_with_its_value,
    a_hundred_async_tasks_share_one_worker,
    async_tasks_that_wait_leave_the_worker_to_others,
    thousands_of_async_tasks_each_get_their_answer,
    async_tasks_have_options,
    timers_end_in_their_order,
    an_async_task_that_is_cancelled_while_queued_never_begins,
    an_async_task_whose_future_is_dropped_runs_on,
];

fn an_async_task_resolves_with_its_value(lab: &Lab) {
    let ex = lab.workers(1);
    let future = ex.submit_async(|n: u64| async move { n * 2 }, 21);
    assert_eq!(value(future), 42);
    async fn named((text, times): (String, usize)) -> String {
        yield_now().await;
        text.repeat(times)
    }
    assert_eq!(value(ex.submit_async(named, ("ab".to_owned(), 2))), "abab");
}

fn a_hundred_async_tasks_share_one_worker(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("met");
    // The worker is there, so that each task reaches it by itself.
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    // Each waits until all have come. Where a task ends inside of `submit`, it can meet only itself.
    let party = if lab.can.concurrent { 100 } else { 1 };
    let task = |(path, party): (String, usize)| async move {
        note(&path, "here");
        let mut waited = Duration::ZERO;
        while noted(&path).len() < party {
            let pause = Duration::from_millis(20);
            assert!(waited < PATIENCE, "only {} of {party} have come", noted(&path).len());
            timer(pause).await;
            waited += pause;
        }
    };
    let futures: Vec<_> = (0..party).map(|_| ex.submit_async(task, (tally.path(), party))).collect();
    for future in futures {
        value(future);
    }
}

fn async_tasks_that_wait_leave_the_worker_to_others(lab: &Lab) {
    if !lab.can.concurrent {
        return lab.not_promised("concurrent");
    }
    let ex = lab.workers(1);
    let tally = lab.tally("go on");
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    // Enough of them for a worker to count as busy, if they counted.
    let waiting: Vec<_> = (0..50u64)
        .map(|n| {
            let task = |(path, n): (String, u64)| async move {
                until_noted(&path).await;
                n
            };
            ex.submit_async(task, (tally.path(), n))
        })
        .collect();
    // Tasks that are no futures run meanwhile, and one of them ends the wait.
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    assert!(waiting.iter().all(|future| !future.is_done()));
    value(ex.submit(|path: String| note(&path, "go on"), tally.path()));
    for (n, future) in (0..).zip(waiting) {
        assert_eq!(value(future), n);
    }
}

fn thousands_of_async_tasks_each_get_their_answer(lab: &Lab) {
    let ex = lab.workers(2);
    let task = |n: u64| async move {
        for _ in 0..n % 4 {
            yield_now().await;
        }
        n + 1
    };
    let futures: Vec<_> = (0..3000).map(|n| ex.submit_async(task, n)).collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n + 1);
    }
}

fn async_tasks_have_options(lab: &Lab) {
    let ex = lab.workers(1);
    let future = ex.task_async(|n: u64| async move { n }, 7).name("seven").priority(3).submit();
    assert_eq!(future.name(), Some("seven"));
    assert_eq!(value(future), 7);
    let limit = Duration::from_millis(30);
    let slow = |()| async {
        // Gives up when told, so that a backend which runs it inside of `submit` goes on.
        while !crate::context().is_cancelled() {
            timer(Duration::from_millis(5)).await;
        }
    };
    match error(ex.task_async(slow, ()).timeout(limit).submit()) {
        TaskError::TimedOut { limit: told, .. } => assert_eq!(told, limit),
        other => panic!("TimedOut was expected, not: {other}"),
    }
    assert_eq!(value(ex.submit_async(|n: u64| async move { n }, 1)), 1);
}

fn timers_end_in_their_order(lab: &Lab) {
    if !lab.can.concurrent {
        return lab.not_promised("concurrent");
    }
    let ex = lab.workers(1);
    let tally = lab.tally("ended");
    // The later submitted, the earlier it ends: each waits for the one behind it.
    let task = |(path, n): (String, u64)| async move {
        while noted(&path).len() as u64 != 9 - n {
            timer(Duration::from_millis(2)).await;
        }
        note(&path, &n.to_string());
    };
    let futures: Vec<_> = (0..10).map(|n| ex.submit_async(task, (tally.path(), n))).collect();
    for future in futures {
        value(future);
    }
    assert_eq!(tally.lines().concat(), "9876543210");
}

fn an_async_task_that_is_cancelled_while_queued_never_begins(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("begun"));
    // Behind a task that occupies the worker, with more async tasks than it takes at once it may be in either place.
    let held = ex.submit(|gate: String| super::signal::pass(&gate, 0), gate.address());
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    let task = |path: String| async move { note(&path, "begun") };
    let futures: Vec<_> = (0..10).map(|_| ex.submit_async(task, tally.path())).collect();
    let cancelled: Vec<bool> = futures.iter().map(|future| future.cancel()).collect();
    gate.open();
    value(held);
    let mut values = 0;
    for (future, is_cancelled) in futures.into_iter().zip(cancelled) {
        match super::lab::outcome(future) {
            Ok(()) => {
                assert!(!is_cancelled);
                values += 1;
            }
            Err(TaskError::Cancelled) => assert!(is_cancelled),
            Err(other) => panic!("a value or Cancelled was expected, not: {other}"),
        }
    }
    assert_eq!(value(ex.submit_async(|n: u64| async move { n }, 1)), 1);
    assert!(tally.lines().len() >= values, "who has a value has begun");
    if !lab.can.stops_running {
        assert_eq!(tally.lines().len(), values, "who is cancelled has not begun");
    }
}

fn an_async_task_whose_future_is_dropped_runs_on(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("ended");
    let task = |path: String| async move {
        timer(Duration::from_millis(5)).await;
        note(&path, "ended");
    };
    for _ in 0..3 {
        drop(ex.submit_async(task, tally.path()));
    }
    super::lab::eventually("all three have ended", || tally.lines().len() == 3);
}
