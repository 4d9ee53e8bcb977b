//! Running tasks that are to end: by cancel, by their limit.

use std::time::{Duration, Instant};

use executor_core::{Executor, ExecutorExt, TaskError, context};

use crate::support::{
    Folder, Gate, PATIENCE, await_ends, config, error, kill, note, noted, open, outcome, pass, pid, value,
    watch,
};

crate::tests![
    a_cancelled_future_does_not_wait_for_the_grace,
    a_task_that_ignores_its_cancel_is_killed_after_the_grace,
    a_task_that_heeds_its_cancel_leaves_its_worker_alive,
    a_task_beyond_its_limit_that_does_not_end_is_killed_after_the_grace,
    a_task_beyond_its_limit_that_ends_leaves_its_worker_alive,
    a_kill_takes_only_the_task_that_was_to_end,
    what_a_killed_task_has_started_ends_with_it,
];

const GRACE: Duration = Duration::from_millis(300);

fn pool(workers: usize) -> executor_process::ProcessExecutor {
    open(config(workers).with_grace(GRACE))
}

/// Tells its process, and does not end.
fn deaf(gate: String) {
    pass(&gate, u64::from(std::process::id()));
    loop {
        std::thread::park();
    }
}

/// Tells its process, and ends when it is told to.
fn obedient(gate: String) {
    pass(&gate, u64::from(std::process::id()));
    while !context().is_cancelled() {
        std::thread::yield_now();
    }
}

fn a_cancelled_future_does_not_wait_for_the_grace() {
    // Far longer than anybody waits for a future here.
    let ex = open(config(1).with_grace(100 * PATIENCE));
    let mut gate = Gate::new();
    let future = ex.submit(deaf, gate.address());
    let worker = gate.next() as i32;
    gate.release();
    assert!(future.cancel(), "it will be cancelled");
    assert_eq!(error(future), TaskError::Cancelled);
    assert_eq!(ex.stats().lost_workers, 0, "the task has its grace");
    // The drop of the pool would wait for it.
    kill(worker, libc::SIGKILL);
}

fn a_task_that_ignores_its_cancel_is_killed_after_the_grace() {
    let ex = pool(1);
    let mut gate = Gate::new();
    let future = ex.submit(deaf, gate.address());
    let worker = gate.next() as i32;
    let process = watch(worker);
    gate.release();
    let began = Instant::now();
    assert!(future.cancel(), "it will be cancelled");
    assert_eq!(error(future), TaskError::Cancelled);
    await_ends("the worker is killed", [process]);
    assert!(began.elapsed() >= GRACE, "the task had its grace: {:?}", began.elapsed());
    assert_ne!(value(ex.submit(pid, ())), worker, "it is replaced");
}

fn a_task_that_heeds_its_cancel_leaves_its_worker_alive() {
    let ex = open(config(1).with_grace(PATIENCE));
    let mut gate = Gate::new();
    for _ in 0..3 {
        let future = ex.submit(obedient, gate.address());
        let worker = gate.next() as i32;
        gate.release();
        assert!(future.cancel());
        assert_eq!(error(future), TaskError::Cancelled);
        assert_eq!(value(ex.submit(pid, ())), worker, "it goes on to the next task");
    }
}

fn a_task_beyond_its_limit_that_does_not_end_is_killed_after_the_grace() {
    let ex = pool(1);
    let mut gate = Gate::new();
    let limit = Duration::from_millis(100);
    let began = Instant::now();
    let future = ex.task(deaf, gate.address()).timeout(limit).retries(5).submit();
    let worker = gate.next() as i32;
    let process = watch(worker);
    gate.release();
    match error(future) {
        TaskError::TimedOut { limit: told, .. } => assert_eq!(told, limit),
        other => panic!("TimedOut was expected, not: {other}"),
    }
    await_ends("the worker is killed", [process]);
    assert!(began.elapsed() >= limit + GRACE, "the task had its grace: {:?}", began.elapsed());
    assert_ne!(value(ex.submit(pid, ())), worker);
}

fn a_task_beyond_its_limit_that_ends_leaves_its_worker_alive() {
    let ex = open(config(1).with_grace(PATIENCE));
    let mut gate = Gate::new();
    let future = ex.task(obedient, gate.address()).timeout(Duration::from_millis(100)).submit();
    let worker = gate.next() as i32;
    gate.release();
    assert!(matches!(error(future), TaskError::TimedOut { .. }));
    assert_eq!(value(ex.submit(pid, ())), worker);
}

fn a_kill_takes_only_the_task_that_was_to_end() {
    let ex = pool(2);
    let mut gate = Gate::new();
    let folder = Folder::new();
    let begun = folder.path("begun");
    let task = |(begun, n): (String, u64)| {
        note(&begun, &n.to_string());
        (n, context().attempt())
    };
    for _ in 0..3 {
        let future = ex.submit(deaf, gate.address());
        gate.next();
        gate.release();
        let others: Vec<_> = (0..200).map(|n| ex.submit(task, (begun.clone(), n))).collect();
        future.cancel();
        assert_eq!(error(future), TaskError::Cancelled);
        for (n, other) in (0..).zip(others) {
            assert_eq!(outcome(other), Ok((n, 1)));
        }
    }
    assert_eq!(noted(&begun).len(), 600, "each was begun once");
}

fn what_a_killed_task_has_started_ends_with_it() {
    let ex = pool(1);
    let mut gate = Gate::new();
    let task = |gate: String| {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("sleep is there");
        pass(&gate, u64::from(child.id()));
        child.wait().expect("our child").code()
    };
    let future = ex.submit(task, gate.address());
    let child = watch(gate.next() as i32);
    assert!(child.is_some(), "it runs");
    gate.release();
    future.cancel();
    await_ends("the task's child has ended", [child]);
}
