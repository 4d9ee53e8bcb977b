//! What was handed ahead comes back when it would run sooner elsewhere.

use super::*;

fn revoked(actions: &[Action<u32>]) -> Vec<TaskKey> {
    actions
        .iter()
        .map(|action| match action {
            Action::Revoke { task, .. } => *task,
            other => panic!("expected a revoke: {other:?}"),
        })
        .collect()
}

/// A pool of one warm worker that runs task 0 and holds 1 to 8 ahead.
fn loaded() -> (Pool, WorkerKey, Vec<TaskKey>) {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.warm_up(worker, 6);
    let tasks = pool.submit_all(0..9);
    assert_eq!(pool.sends().len(), 9);
    (pool, worker, tasks)
}

#[test]
fn an_idle_worker_takes_half_of_what_is_ahead_elsewhere() {
    let (mut pool, a, tasks) = loaded();
    let b = pool.worker(1, 1);
    let actions = pool.actions();
    assert_eq!(revoked(&actions), [tasks[8], tasks[7], tasks[6], tasks[5]], "the last first");
    for task in revoked(&actions) {
        pool.core.handle_revoked(pool.now, a, task, true);
    }
    let order: Vec<u32> = pool.sends().iter().map(|send| send.1).collect();
    assert_eq!(order, [5, 6, 7, 8]);
    assert_eq!(pool.core.worker_of(tasks[5]), Some(b));
}

#[test]
fn nobody_is_asked_again_before_the_answer() {
    let (mut pool, a, tasks) = loaded();
    pool.worker(1, 1);
    assert_eq!(revoked(&pool.actions()).len(), 4);
    pool.worker(2, 1);
    assert_eq!(pool.actions(), []);
    pool.core.handle_revoked(pool.now, a, tasks[8], false);
    assert_eq!(pool.actions(), [], "three answers are owed");
}

#[test]
fn a_refused_task_stays_and_is_not_asked_for_again() {
    let (mut pool, a, tasks) = loaded();
    pool.worker(1, 1);
    for task in revoked(&pool.actions()) {
        pool.core.handle_revoked(pool.now, a, task, false);
    }
    assert_eq!(revoked(&pool.actions()), [tasks[4], tasks[3]]);
    assert_eq!(pool.finish(a, tasks[8], us(1)), Some(8));
}

#[test]
fn an_answer_that_was_not_asked_for_is_ignored() {
    let (mut pool, a, tasks) = loaded();
    pool.core.handle_revoked(pool.now, a, tasks[3], true);
    assert_eq!(pool.core.worker_of(tasks[3]), Some(a));
    assert_eq!(pool.actions(), []);
}

#[test]
fn a_result_that_crosses_the_request_wins() {
    let (mut pool, a, tasks) = loaded();
    pool.worker(1, 1);
    pool.actions();
    assert_eq!(pool.finish(a, tasks[8], us(1)), Some(8));
    pool.core.handle_revoked(pool.now, a, tasks[8], false);
    pool.core.assert_consistent();
    assert_eq!(pool.core.stats().finished, 6 + 1);
}

/// The answer to the first request arrives while the second one is out: taken for the second, it would let both
/// sides forget the task. Found by simulation.
#[test]
fn an_answer_about_a_lost_stay_is_not_taken_for_one_about_the_next() {
    let (mut pool, [agent]) = Pool::with_workers([1]);
    let first = pool.submit(0);
    let task = pool.submit_as(TaskSpec { retries: 1, ..TaskSpec::default() }, 1);
    assert_eq!(pool.sends().len(), 2);
    pool.advance(ms(11));
    assert_eq!(pool.actions(), [Action::Revoke { worker: agent, task }]);
    pool.core.handle_task_lost(pool.now, agent, task, Began::Yes);
    assert_eq!(pool.finish(agent, first, us(1)), Some(0));
    pool.submit_as(TaskSpec { priority: 1, ..TaskSpec::default() }, 2);
    assert_eq!(pool.sends(), [(agent, 2), (agent, 1)]);
    pool.core.handle_retire(pool.now, agent);
    assert_eq!(pool.actions(), [Action::Revoke { worker: agent, task }], "asked for again");
    pool.core.handle_revoked(pool.now, agent, task, false);
    assert_eq!(pool.core.worker_of(task), Some(agent), "that was the first answer");
    pool.core.handle_revoked(pool.now, agent, task, true);
    assert_eq!(pool.core.worker_of(task), None, "and this the second");
    assert_eq!(pool.core.waiting(), 1);
}

#[test]
fn a_request_that_is_overtaken_before_it_is_polled_is_dropped() {
    let (mut pool, a, tasks) = loaded();
    pool.core.handle_retire(pool.now, a);
    assert_eq!(pool.finish(a, tasks[1], us(1)), Some(1));
    assert!(!revoked(&pool.actions()).contains(&tasks[1]));
}

#[test]
fn what_waits_behind_a_slow_task_is_taken_back_after_the_stall_check() {
    let (mut pool, a, tasks) = loaded();
    pool.advance(ms(9));
    assert_eq!(pool.actions(), []);
    pool.advance(ms(2));
    assert_eq!(pool.actions_answering(|_| true), [], "and nothing is sent back there");
    assert_eq!(pool.core.held(a), 1);
    assert_eq!(pool.core.waiting(), 8);
    assert_eq!(pool.finish(a, tasks[0], ms(11)), Some(0));
    assert_eq!(pool.sends()[0], (a, 1), "in order");
}

#[test]
fn a_worker_that_goes_on_finishing_is_not_stalled() {
    let (mut pool, a, tasks) = loaded();
    for task in &tasks[..3] {
        pool.advance(ms(6));
        assert_eq!(pool.actions(), []);
        pool.finish(a, *task, us(1));
    }
}

#[test]
fn a_flood_of_quick_tasks_passes_by_a_slow_one() {
    let (mut pool, [a, b]) = Pool::with_workers([1, 1]);
    let slow = pool.submit(1_000_000);
    let (stuck, _) = pool.sends()[0];
    let quick = if stuck == a { b } else { a };
    pool.submit_all(0..5000);
    // The quick worker takes 1 us per task; the other sits on its first.
    let start = pool.now;
    let mut done = 0;
    while done < 5000 {
        for action in pool.actions_answering(|task| task != slow) {
            pool.as_send(&action);
        }
        let ready: Vec<_> = pool.core.tasks_of(quick).collect();
        for task in ready {
            pool.now += us(1);
            assert!(pool.finish(quick, task, us(1)).is_some());
            done += 1;
        }
        pool.advance(us(10));
        assert!(pool.now - start < ms(100), "{done} done, the rest waits behind the slow one");
    }
    assert_eq!(pool.finish(stuck, slow, ms(1000)), Some(1_000_000));
}

#[test]
fn a_blocked_task_gives_back_what_is_ahead_and_its_worker_gets_nothing() {
    let (mut pool, a, tasks) = loaded();
    pool.core.handle_blocked(pool.now, a, tasks[0]);
    assert_eq!(pool.actions_answering(|_| true), []);
    assert_eq!((pool.core.blocked(), pool.core.waiting()), (1, 8));
    let extra = pool.worker(1, 1);
    assert_eq!(pool.sends()[0], (extra, 1), "the compensating worker takes over");
    pool.core.handle_unblocked(pool.now, a, tasks[0]);
    assert_eq!(pool.core.blocked(), 0);
    assert!(pool.sends().iter().any(|send| send.0 == a));
}

#[test]
fn a_blocked_task_that_ends_counts_as_blocked_no_longer() {
    let (mut pool, a, tasks) = loaded();
    pool.core.handle_blocked(pool.now, a, tasks[0]);
    pool.core.handle_blocked(pool.now, a, tasks[0]);
    assert_eq!(pool.core.blocked(), 1);
    assert_eq!(pool.finish(a, tasks[0], us(1)), Some(0));
    assert_eq!(pool.core.blocked(), 0);
    pool.core.assert_consistent();
}

#[test]
fn an_async_task_sent_before_its_worker_blocked_is_asked_back() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let outer = pool.submit(0);
    let inner = pool.submit_as(TaskSpec { is_async: true, ..TaskSpec::default() }, 1);
    assert_eq!(pool.sends().len(), 2);
    pool.core.handle_blocked(pool.now, worker, outer);
    assert_eq!(pool.actions(), [Action::Revoke { worker, task: inner }]);
    pool.core.handle_revoked(pool.now, worker, inner, true);
    assert_eq!(pool.sends(), [], "not to the blocked worker");
    let extra = pool.worker(1, 1);
    assert_eq!(pool.sends(), [(extra, 1)]);
}

#[test]
fn an_async_task_behind_a_long_one_is_asked_back_once() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.submit(0);
    let waiting = pool.submit_as(TaskSpec { is_async: true, ..TaskSpec::default() }, 1);
    pool.sends();
    pool.advance(ms(11));
    assert_eq!(pool.actions(), [Action::Revoke { worker, task: waiting }]);
    pool.core.handle_revoked(pool.now, worker, waiting, true);
    assert_eq!(pool.sends(), [(worker, 1)], "there is no other worker");
    pool.advance(ms(50));
    assert_eq!(pool.actions(), []);
}

#[test]
fn a_retiring_worker_leaves_when_its_running_task_has_ended() {
    let (mut pool, a, tasks) = loaded();
    pool.core.handle_retire(pool.now, a);
    assert_eq!(pool.actions_answering(|_| true), []);
    assert_eq!(pool.core.waiting(), 8);
    assert_eq!(pool.finish(a, tasks[0], us(1)), Some(0));
    assert_eq!(pool.actions(), [Action::Retired { worker: a }]);
    assert_eq!(pool.core.workers(), 0);
    let b = pool.worker(0, 1);
    assert_eq!(pool.sends()[0], (b, 1));
}

#[test]
fn an_idle_worker_retires_at_once() {
    let (mut pool, [a]) = Pool::with_workers([1]);
    pool.core.handle_retire(pool.now, a);
    assert_eq!(pool.actions(), [Action::Retired { worker: a }]);
}
