//! What the loss of a worker costs.

use super::*;

fn retries(retries: u32) -> TaskSpec {
    TaskSpec { retries, ..TaskSpec::default() }
}

#[test]
fn only_the_running_task_fails_and_the_rest_run_elsewhere_in_order() {
    let (mut pool, [a]) = Pool::with_workers([1]);
    pool.warm_up(a, 3);
    let tasks = pool.submit_all(0..5);
    assert_eq!(pool.sends().len(), 5);
    pool.lose(a, |task| if task == tasks[0] { Began::Yes } else { Began::No });
    let failure = Failure::WorkerLost { worker: a, attempts: 1 };
    assert_eq!(pool.actions(), [Action::Fail { task: tasks[0], payload: 0, failure }]);
    pool.submit(9);
    let b = pool.worker(0, 8);
    assert_eq!(pool.sends(), [1, 2, 3, 4, 9].map(|payload| (b, payload)), "before newer tasks");
    assert_eq!(pool.core.attempt(tasks[1]), Some(1), "not charged");
}

#[test]
fn a_task_with_retries_runs_again_at_most_that_often() {
    let mut pool = Pool::new();
    let task = pool.submit_as(retries(2), 7);
    for attempt in 1..=3 {
        let worker = pool.worker(0, 1);
        assert_eq!(pool.actions(), [Action::Send { worker, task, attempt }]);
        pool.lose(worker, |_| Began::Yes);
        if attempt == 3 {
            let failure = Failure::WorkerLost { worker, attempts: 3 };
            assert_eq!(pool.actions(), [Action::Fail { task, payload: 7, failure }]);
        }
    }
    assert_eq!(pool.core.stats().retried, 2);
    assert_eq!(pool.core.unresolved(), 0);
}

#[test]
fn unknown_counts_as_begun_unless_the_task_is_idempotent() {
    let (mut pool, [a]) = Pool::with_workers([4]);
    let plain = pool.submit(0);
    let idempotent = pool.submit_as(TaskSpec { idempotent: true, ..TaskSpec::default() }, 1);
    let retried = pool.submit_as(retries(1), 2);
    pool.sends();
    pool.lose(a, |_| Began::Unknown);
    let failure = Failure::WorkerLost { worker: a, attempts: 1 };
    assert_eq!(pool.actions(), [Action::Fail { task: plain, payload: 0, failure }]);
    assert_eq!(pool.core.attempt(idempotent), Some(1));
    assert_eq!(pool.core.attempt(retried), Some(2));
}

#[test]
fn an_idempotent_task_that_began_is_charged() {
    let (mut pool, [a]) = Pool::with_workers([1]);
    let task = pool.submit_as(TaskSpec { idempotent: true, ..TaskSpec::default() }, 1);
    pool.sends();
    pool.lose(a, |_| Began::Yes);
    let failure = Failure::WorkerLost { worker: a, attempts: 1 };
    assert_eq!(pool.actions(), [Action::Fail { task, payload: 1, failure }]);
}

#[test]
fn results_of_a_lost_worker_are_stale() {
    let (mut pool, [a]) = Pool::with_workers([1]);
    let task = pool.submit_as(retries(1), 1);
    pool.sends();
    pool.lose(a, |_| Began::Yes);
    let b = pool.worker(0, 1);
    assert_eq!(pool.sends(), [(b, 1)]);
    assert_ne!(a, b);
    assert_eq!(pool.finish(a, task, us(1)), None);
    pool.lose(a, |_| panic!("it is gone already"));
    assert_eq!(pool.finish(b, task, us(1)), Some(1));
}

#[test]
fn losing_one_task_of_an_agent_leaves_the_others_alone() {
    let (mut pool, [agent]) = Pool::with_workers([3]);
    let tasks = [pool.submit(0), pool.submit_as(retries(1), 1), pool.submit(2)];
    pool.sends();
    pool.core.handle_task_lost(pool.now, agent, tasks[0], Began::Yes);
    pool.core.handle_task_lost(pool.now, agent, tasks[1], Began::Yes);
    let failure = Failure::WorkerLost { worker: agent, attempts: 1 };
    let actions = pool.actions();
    assert_eq!(actions[0], Action::Fail { task: tasks[0], payload: 0, failure });
    assert_eq!(actions[1..], [Action::Send { worker: agent, task: tasks[1], attempt: 2 }]);
    assert_eq!(pool.finish(agent, tasks[2], us(1)), Some(2));
}

#[test]
fn deaths_in_a_row_break_the_pool() {
    let mut pool = Pool::with(SchedulerConfig { breaker: 3, ..SchedulerConfig::default() });
    let survivor = pool.worker(9, 1);
    let running = pool.submit(100);
    assert_eq!(pool.sends(), [(survivor, 100)]);
    pool.core.handle_blocked(pool.now, survivor, running);
    let pending = pool.submit_as(retries(100), 1);
    for _ in 0..2 {
        let worker = pool.worker(0, 1);
        assert_eq!(pool.sends(), [(worker, 1)]);
        pool.lose(worker, |_| Began::Yes);
        assert!(!pool.core.is_broken());
    }
    pool.core.handle_start_failed(pool.now);
    assert!(pool.core.is_broken() && !pool.core.has_room());
    assert_eq!(pool.actions(), [Action::Fail { task: pending, payload: 1, failure: Failure::Broken }]);
    let rejected = pool.core.handle_submit(pool.now, TaskSpec::default(), 2);
    assert_eq!(rejected, Err(Rejected::Broken(2)));
    assert_eq!(pool.finish(survivor, running, us(1)), Some(100), "what runs may end");
}

#[test]
fn a_finished_task_between_deaths_keeps_the_pool_whole() {
    let mut pool = Pool::with(SchedulerConfig { breaker: 2, ..SchedulerConfig::default() });
    for payload in 0..10 {
        let worker = pool.worker(0, 1);
        let task = pool.submit(payload);
        pool.sends();
        assert_eq!(pool.finish(worker, task, us(1)), Some(payload));
        pool.lose(worker, |_| Began::Yes);
    }
    assert!(!pool.core.is_broken());
    assert_eq!(pool.core.stats().lost_workers, 10);
}

#[test]
fn deaths_on_request_do_not_count_for_the_breaker() {
    let mut pool = Pool::with(SchedulerConfig { breaker: 1, ..SchedulerConfig::default() });
    for payload in 0..5 {
        let worker = pool.worker(0, 1);
        let task = pool.submit(payload);
        pool.sends();
        assert_eq!(pool.core.handle_cancel(pool.now, task), Cancelled::Resolved(payload));
        pool.actions_answering(|_| false);
        pool.advance(ms(1001));
        assert_eq!(pool.actions(), [Action::Kill { worker, task: Some(task) }]);
        pool.lose(worker, |_| Began::Yes);
    }
    let worker = pool.worker(0, 1);
    pool.submit(9);
    pool.sends();
    pool.core.handle_retire(pool.now, worker);
    pool.lose(worker, |_| Began::No);
    assert!(!pool.core.is_broken());
}

#[test]
fn a_task_taken_back_and_lost_at_once_is_requeued_once() {
    let (mut pool, [a]) = Pool::with_workers([1]);
    pool.warm_up(a, 3);
    let tasks = pool.submit_all(0..3);
    pool.sends();
    pool.core.handle_retire(pool.now, a);
    pool.actions();
    pool.lose(a, |task| if task == tasks[0] { Began::Yes } else { Began::No });
    pool.core.handle_revoked(pool.now, a, tasks[2], true);
    assert_eq!(pool.core.waiting(), 2);
    pool.core.assert_consistent();
}
