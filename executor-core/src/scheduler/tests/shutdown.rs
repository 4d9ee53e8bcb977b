//! The three ways to end.

use super::*;

/// A worker that runs task 0, with 1 ahead and 2, 3 queued.
fn busy() -> (Pool, WorkerKey, Vec<TaskKey>) {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let tasks = pool.submit_all(0..4);
    assert_eq!(pool.sends().len(), 2);
    (pool, worker, tasks)
}

#[test]
fn drain_runs_all_that_is_queued_and_takes_no_more() {
    let (mut pool, worker, tasks) = busy();
    pool.core.handle_shutdown(pool.now, ShutdownMode::Drain);
    let rejected = pool.core.handle_submit(pool.now, TaskSpec::default(), 9);
    assert_eq!(rejected, Err(Rejected::Closed(9)));
    for (payload, task) in (0..).zip(tasks) {
        assert!(!pool.core.is_drained());
        pool.sends();
        assert_eq!(pool.finish(worker, task, us(1)), Some(payload));
    }
    assert!(pool.core.is_drained());
}

#[test]
fn tasks_submitted_by_running_tasks_are_still_accepted_while_draining() {
    let (mut pool, worker, _) = busy();
    pool.core.handle_shutdown(pool.now, ShutdownMode::Drain);
    let nested = TaskSpec { nested: true, ..TaskSpec::default() };
    assert!(pool.core.handle_submit(pool.now, nested, 9).is_ok());
    pool.core.handle_shutdown(pool.now, ShutdownMode::CancelPending);
    assert_eq!(pool.core.handle_submit(pool.now, nested, 10), Err(Rejected::Closed(10)));
    assert_eq!(pool.core.held(worker), 2);
}

#[test]
fn cancel_pending_lets_the_running_task_end() {
    let (mut pool, worker, tasks) = busy();
    pool.core.handle_shutdown(pool.now, ShutdownMode::CancelPending);
    let failed: Vec<u32> = pool
        .actions_answering(|_| true)
        .into_iter()
        .map(|action| match action {
            Action::Fail { payload, failure: Failure::Cancelled, .. } => payload,
            other => panic!("expected a cancelled task: {other:?}"),
        })
        .collect();
    assert_eq!(failed, [1, 2, 3]);
    assert!(!pool.core.is_drained());
    assert_eq!(pool.finish(worker, tasks[0], us(1)), Some(0));
    assert!(pool.core.is_drained());
}

#[test]
fn cancel_pending_does_not_retry() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit_as(TaskSpec { retries: 5, ..TaskSpec::default() }, 0);
    pool.sends();
    pool.core.handle_shutdown(pool.now, ShutdownMode::CancelPending);
    pool.lose(worker, |_| Began::Yes);
    assert_eq!(pool.actions(), [Action::Fail { task, payload: 0, failure: Failure::Cancelled }]);
    assert!(pool.core.is_drained());
}

#[test]
fn kill_fails_everything_at_once_and_kills_every_worker() {
    let (mut pool, worker, _) = busy();
    pool.core.handle_shutdown(pool.now, ShutdownMode::Kill);
    let actions = pool.actions();
    let failed =
        actions.iter().filter(|action| matches!(action, Action::Fail { failure: Failure::Closed, .. }));
    assert_eq!(failed.count(), 4);
    assert!(actions.contains(&Action::Kill { worker, task: None }));
    assert_eq!(actions.len(), 5);
    assert!(pool.core.is_drained());
    pool.lose(worker, |_| panic!("a resolved task needs no verdict"));
    assert_eq!(pool.actions(), []);
    assert_eq!(pool.core.workers(), 0);
}

#[test]
fn a_worker_that_becomes_ready_after_the_kill_is_killed() {
    let mut pool = Pool::new();
    pool.core.handle_shutdown(pool.now, ShutdownMode::Kill);
    let worker = pool.worker(0, 1);
    assert_eq!(pool.actions(), [Action::Kill { worker, task: None }]);
}

#[test]
fn a_milder_shutdown_after_a_harder_one_changes_nothing() {
    let (mut pool, _, _) = busy();
    pool.core.handle_shutdown(pool.now, ShutdownMode::Kill);
    pool.actions();
    pool.core.handle_shutdown(pool.now, ShutdownMode::Drain);
    assert_eq!(pool.actions(), []);
    assert!(pool.core.is_drained());
}

#[test]
fn a_drained_pool_without_tasks_is_drained_at_once() {
    let mut pool = Pool::new();
    assert!(!pool.core.is_drained(), "it is open");
    pool.core.handle_shutdown(pool.now, ShutdownMode::Drain);
    assert!(pool.core.is_drained());
}

#[test]
fn pinned_tasks_without_a_worker_fail_too() {
    let mut pool = Pool::new();
    let task = pool.submit_as(TaskSpec { pin: Some(7), ..TaskSpec::default() }, 1);
    pool.core.handle_shutdown(pool.now, ShutdownMode::CancelPending);
    assert_eq!(pool.actions(), [Action::Fail { task, payload: 1, failure: Failure::Cancelled }]);
}
