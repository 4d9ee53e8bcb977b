//! Time limits of tasks.

use std::time::{Duration, Instant};

use super::lab::{Lab, PATIENCE, error, value};
use super::list;
use super::signal::{note, pass};
use crate::context;
use crate::error::TaskError;
use crate::ext::ExecutorExt;

list![
    a_task_over_its_limit_is_told_and_its_future_resolves,
    a_task_over_its_limit_that_never_looks_resolves_at_the_limit,
    a_task_within_its_limit_gives_its_value,
    a_limit_counts_from_the_begin_and_not_from_the_submit,
    a_task_over_its_limit_is_not_tried_again,
    limits_of_many_tasks_do_not_mix,
];

fn until_told(tally: String) {
    let deadline = Instant::now() + PATIENCE;
    while !context().is_cancelled() {
        assert!(Instant::now() < deadline, "nobody has told this task to stop");
        std::thread::yield_now();
    }
    note(&tally, "told");
}

#[track_caller]
fn check_timed_out(error: &TaskError, expected: Duration) {
    match error {
        TaskError::TimedOut { limit, worker, .. } => {
            assert_eq!(*limit, expected);
            assert!(!worker.is_empty(), "it says where");
        }
        other => panic!("TimedOut was expected, not: {other}"),
    }
}

fn a_task_over_its_limit_is_told_and_its_future_resolves(lab: &Lab) {
    // Plenty of time to stop by itself.
    let ex = match lab.can.stops_running {
        true => lab.open(&[("workers", "1"), ("grace", "20s")]),
        false => lab.workers(1),
    };
    let tally = lab.tally("told");
    let limit = Duration::from_millis(30);
    let future = ex.task(until_told, tally.path()).timeout(limit).submit();
    check_timed_out(&error(future), limit);
    super::lab::eventually("the task is told", || tally.lines() == ["told"]);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    assert_eq!(ex.stats().lost_workers, 0, "who stops when told is not ended");
}

fn a_task_over_its_limit_that_never_looks_resolves_at_the_limit(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let limit = Duration::from_millis(50);
    let task = |(gate, is_held): (String, bool)| {
        pass(&gate, 0);
        // Where nobody could open the gate, the limit has to pass otherwise.
        while !is_held && !context().is_cancelled() {
            std::thread::yield_now();
        }
    };
    let start = Instant::now();
    let future = ex.task(task, (gate.address(), lab.can.concurrent)).timeout(limit).submit();
    check_timed_out(&error(future), limit);
    assert!(start.elapsed() >= limit);
    if !lab.can.stops_running {
        gate.open();
    }
    // Where the gate is still closed, only a worker that was ended makes room.
    assert_eq!(value(ex.submit(|n: u64| n, 2)), 2);
}

fn a_task_within_its_limit_gives_its_value(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> =
        (0..100u64).map(|n| ex.task(|n| n + 1, n).timeout(Duration::from_secs(20)).submit()).collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n + 1);
    }
    let endless = ex.task(|n: u64| n, 1).timeout(Duration::MAX).submit();
    assert_eq!(value(endless), 1);
}

fn a_limit_counts_from_the_begin_and_not_from_the_submit(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let running = ex.submit(|gate: String| pass(&gate, 0), gate.address());
    let limit = Duration::from_millis(500);
    let queued = ex.task(|n: u64| n, 1).timeout(limit).submit();
    // Longer than the limit, and it is still to come.
    let waited = queued.wait_timeout(limit + limit / 2);
    gate.open();
    value(running);
    match lab.can.concurrent {
        true => {
            assert_eq!(waited, None);
            assert_eq!(value(queued), 1);
        }
        false => assert_eq!(waited, Some(Ok(1))),
    }
}

fn a_task_over_its_limit_is_not_tried_again(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("begun");
    let task = |tally: String| {
        note(&tally, "begun");
        while !context().is_cancelled() {
            std::thread::yield_now();
        }
    };
    let limit = Duration::from_millis(30);
    let future = ex.task(task, tally.path()).timeout(limit).retries(3).submit();
    check_timed_out(&error(future), limit);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    assert_eq!(tally.lines().len(), 1);
}

fn limits_of_many_tasks_do_not_mix(lab: &Lab) {
    let ex = lab.workers(2);
    let task = |is_slow: bool| {
        while is_slow && !context().is_cancelled() {
            std::thread::yield_now();
        }
    };
    let futures: Vec<_> = (0..40)
        .map(|n| {
            let limit = Duration::from_millis(if n % 8 == 3 { 20 } else { 20_000 });
            ex.task(task, n % 8 == 3).timeout(limit).submit()
        })
        .collect();
    for (n, future) in futures.into_iter().enumerate() {
        match n % 8 {
            3 => check_timed_out(&error(future), Duration::from_millis(20)),
            _ => value(future),
        }
    }
}
