//! Pools in tasks, and tasks that wait for tasks of their own pool.

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError, context};
use futures::executor::block_on;

use crate::support::{
    Gate, await_ends, children, config, error, eventually, gated, lost, open, outcome, pid, value, watch,
    workers,
};

crate::tests![
    a_task_opens_a_pool_of_its_own,
    a_pool_in_a_task_ends_with_its_worker,
    waits_within_the_bound_are_relieved,
    waits_beyond_the_bound_are_refused_and_do_not_hang,
    without_extra_workers_a_nested_wait_is_refused_at_once,
    extra_workers_leave_when_nobody_waits,
    a_worker_that_dies_while_it_waits_takes_its_nested_tasks_back,
    long_arguments_of_nested_tasks_are_counted_right,
];

fn a_task_opens_a_pool_of_its_own() {
    let ex = workers(1);
    let task = |n: u64| {
        let inner = crate::support::workers(2);
        let futures: Vec<_> = (0..n).map(|n| inner.submit(|n| (n * n, std::process::id()), n)).collect();
        let values: Vec<(u64, u32)> = futures.into_iter().map(value).collect();
        block_on(inner.shutdown(Shutdown::Drain));
        let squares: Vec<u64> = values.iter().map(|(square, _)| *square).collect();
        (squares, values.iter().all(|(_, worker)| *worker != std::process::id()), children())
    };
    let expected: Vec<u64> = (0..10).map(|n| n * n).collect();
    for _ in 0..3 {
        assert_eq!(value(ex.submit(task, 10)), (expected.clone(), true, Vec::new()));
    }
}

fn a_pool_in_a_task_ends_with_its_worker() {
    let ex = workers(1);
    let mut gate = Gate::new();
    let task = |gate: String| {
        let inner = crate::support::workers(2);
        let running: Vec<_> = (0..2).map(|_| inner.submit(announced, gate.clone())).collect();
        running.into_iter().map(value).count()
    };
    let future = ex.submit(task, gate.address());
    let inner = [gate.next(), gate.next()].map(|pid| watch(pid as i32));
    assert!(inner.iter().all(Option::is_some), "they run");
    let worker = children()[0];
    crate::support::kill(worker, libc::SIGKILL);
    assert_eq!(lost(error(future)).signal, Some(libc::SIGKILL));
    await_ends("the workers of the inner pool have ended", inner);
}

/// Tells which process it runs in, and waits.
fn announced(gate: String) {
    crate::support::pass(&gate, u64::from(std::process::id()));
}

/// Waits for a task that waits for a task, and so on.
fn deep(n: u64) -> Result<u64, TaskError> {
    match n {
        0 => Ok(0),
        n => outcome(context().executor().submit(deep, n - 1))?.map(|it| it + 1),
    }
}

fn pool(workers: usize, extra: usize) -> executor_process::ProcessExecutor {
    let mut config = config(workers);
    config.extra_workers = Some(extra);
    open(config)
}

fn waits_within_the_bound_are_relieved() {
    assert_eq!(value(pool(1, 1).submit(deep, 1)), Ok(1));
    assert_eq!(value(pool(1, 5).submit(deep, 5)), Ok(5));
    assert_eq!(value(pool(2, 3).submit(deep, 4)), Ok(4));
}

fn waits_beyond_the_bound_are_refused_and_do_not_hang() {
    let ex = pool(1, 1);
    for depth in [2, 3, 10] {
        match value(ex.submit(deep, depth)) {
            Err(TaskError::NestedTooDeep { blocked, .. }) => assert_eq!(blocked, 2, "at depth {depth}"),
            other => panic!("NestedTooDeep was expected, not: {other:?}"),
        }
        // The pool is as good as new.
        assert_eq!(value(ex.submit(deep, 1)), Ok(1));
    }
    // Many at once: each gets its value or is refused.
    let futures: Vec<_> = (0..20).map(|n| (n, ex.submit(deep, n % 4))).collect();
    for (n, future) in futures {
        match value(future) {
            Ok(depth) => assert_eq!(depth, n % 4),
            Err(TaskError::NestedTooDeep { .. }) => assert!(n % 4 > 0),
            Err(other) => panic!("NestedTooDeep was expected, not: {other}"),
        }
    }
}

fn without_extra_workers_a_nested_wait_is_refused_at_once() {
    let ex = pool(1, 0);
    assert!(matches!(value(ex.submit(deep, 1)), Err(TaskError::NestedTooDeep { blocked: 1, .. })));
    assert_eq!(value(ex.submit(deep, 0)), Ok(0));
    // With a second worker there is somebody to run it.
    let ex = pool(2, 0);
    assert_eq!(value(ex.submit(deep, 1)), Ok(1));
}

fn extra_workers_leave_when_nobody_waits() {
    let ex = pool(1, 10);
    let first = value(ex.submit(pid, ()));
    assert_eq!(value(ex.submit(deep, 6)), Ok(6));
    eventually("only the first worker is left", || children() == [first]);
    assert_eq!(value(ex.submit(pid, ())), first);
    assert_eq!(ex.stats().lost_workers, 0, "they are no losses");
    // And again.
    assert_eq!(value(ex.submit(deep, 3)), Ok(3));
    eventually("only the first worker is left", || children() == [first]);
}

fn a_worker_that_dies_while_it_waits_takes_its_nested_tasks_back() {
    let ex = pool(1, 2);
    let mut gate = Gate::new();
    let task = |gate: String| {
        let ex = context().executor();
        let nested: Vec<_> = (0..20).map(|n| ex.submit(gated, (gate.clone(), n))).collect();
        nested.into_iter().map(value).count()
    };
    let first = value(ex.submit(pid, ()));
    let future = ex.submit(task, gate.address());
    // The first nested task runs in an extra worker while the other waits for it.
    gate.next();
    crate::support::kill(first, libc::SIGKILL);
    assert_eq!(lost(error(future)).signal, Some(libc::SIGKILL));
    gate.open();
    assert_eq!(value(ex.submit(|n: u64| n, 3)), 3);
    eventually("one worker is left", || children().len() == 1);
    eventually("nothing waits or runs", || {
        let stats = ex.stats();
        (stats.queued, stats.running) == (0, 0)
    });
}

fn long_arguments_of_nested_tasks_are_counted_right() {
    let mut config = config(1);
    config.max_bytes = 10_000;
    let ex = open(config);
    let task = |len: usize| {
        let nested: Vec<_> = (0..10)
            .map(|_| context().executor().submit(|bytes: Vec<u8>| bytes.len(), vec![1; len]))
            .collect();
        nested.into_iter().map(value).sum::<usize>()
    };
    for _ in 0..10 {
        assert_eq!(value(ex.submit(task, 5000)), 50_000, "nested tasks do not wait for room");
        // The bytes of the last one are given back soon.
        eventually("there is room again", || ex.task(|n: u64| n, 1).try_submit().is_ok());
    }
}
