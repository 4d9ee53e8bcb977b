//! Cancels and time limits.

use super::*;

fn limited(timeout: Duration) -> TaskSpec {
    TaskSpec { timeout: Some(timeout), ..TaskSpec::default() }
}

#[test]
fn a_queued_task_that_is_cancelled_is_never_sent() {
    let mut pool = Pool::new();
    let tasks = pool.submit_all(0..3);
    assert_eq!(pool.core.handle_cancel(pool.now, tasks[1]), Cancelled::Removed(1));
    assert_eq!(pool.core.handle_cancel(pool.now, tasks[1]), Cancelled::Unknown);
    let worker = pool.worker(0, 8);
    assert_eq!(pool.sends(), [(worker, 0), (worker, 2)]);
}

#[test]
fn a_task_ahead_that_is_cancelled_is_taken_back_and_dropped() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let tasks = pool.submit_all(0..2);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, tasks[1]), Cancelled::Resolved(1));
    assert_eq!(pool.actions(), [Action::Revoke { worker, task: tasks[1] }]);
    pool.core.handle_revoked(pool.now, worker, tasks[1], true);
    assert_eq!(pool.actions(), []);
    assert_eq!((pool.core.held(worker), pool.core.waiting()), (1, 0));
}

#[test]
fn a_begun_task_that_is_cancelled_is_stopped_then_killed() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit(1);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, task), Cancelled::Resolved(1));
    assert_eq!(pool.core.payload(task), None);
    assert_eq!(pool.actions_answering(|_| false), [Action::Stop { worker, task }]);
    pool.advance(ms(999));
    assert_eq!(pool.actions(), []);
    pool.advance(ms(1));
    assert_eq!(pool.actions(), [Action::Kill { worker, task: Some(task) }]);
    pool.submit(2);
    assert_eq!(pool.sends(), [], "nothing goes to a worker that is about to die");
    pool.lose(worker, |_| panic!("a resolved task needs no verdict"));
    assert_eq!(pool.actions(), [], "no second resolution");
    let next = pool.worker(0, 1);
    assert_eq!(pool.sends(), [(next, 2)]);
}

#[test]
fn a_cancelled_task_that_stops_in_time_costs_no_worker() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit(1);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, task), Cancelled::Resolved(1));
    pool.actions_answering(|_| false);
    assert_eq!(pool.finish(worker, task, ms(1)), None, "nobody waits for its result");
    assert_eq!(pool.core.poll_timeout(), None);
    pool.submit(2);
    assert_eq!(pool.sends(), [(worker, 2)]);
}

#[test]
fn a_task_that_ends_when_the_kill_is_due_but_not_polled_saves_its_worker() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit(1);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, task), Cancelled::Resolved(1));
    pool.actions_answering(|_| false);
    pool.advance(ms(1000));
    pool.finish(worker, task, ms(1));
    assert_eq!(pool.actions(), []);
    pool.submit(2);
    assert_eq!(pool.sends(), [(worker, 2)]);
}

#[test]
fn nothing_stays_behind_a_task_that_is_being_stopped() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.warm_up(worker, 4);
    let tasks = pool.submit_all(0..5);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, tasks[0]), Cancelled::Resolved(0));
    let actions = pool.actions_answering(|task| task != tasks[0]);
    assert_eq!(actions, [Action::Stop { worker, task: tasks[0] }]);
    assert_eq!(pool.core.waiting(), 4);
}

#[test]
fn killing_one_task_of_an_agent_keeps_the_agent() {
    let (mut pool, [agent]) = Pool::with_workers([2]);
    let task = pool.submit(1);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, task), Cancelled::Resolved(1));
    pool.actions_answering(|_| false);
    pool.advance(ms(1000));
    assert_eq!(pool.actions(), [Action::Kill { worker: agent, task: Some(task) }]);
    pool.submit(2);
    assert_eq!(pool.sends(), [(agent, 2)], "its other slot is free");
    pool.core.handle_task_lost(pool.now, agent, task, Began::Yes);
    assert_eq!(pool.actions(), []);
    assert_eq!(pool.core.held(agent), 1);
}

#[test]
fn a_worker_whose_cancelled_task_had_not_begun_is_handed_ahead_again() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.warm_up(worker, 4);
    let task = pool.submit(0);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, task), Cancelled::Resolved(0));
    assert_eq!(pool.actions_answering(|_| true), []);
    assert!(pool.core.credit(worker) > 2);
}

#[test]
fn a_time_limit_counts_from_the_slot_and_not_from_the_submit() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let first = pool.submit(0);
    let second = pool.submit_as(limited(ms(5)), 1);
    assert_eq!(pool.sends().len(), 2);
    pool.advance(ms(8));
    assert_eq!(pool.actions(), [], "the second has not begun");
    pool.finish(worker, first, ms(8));
    pool.advance(ms(4));
    assert_eq!(pool.actions(), []);
    pool.advance(ms(1));
    let actions = pool.actions_answering(|_| false);
    let failure = Failure::TimedOut { limit: ms(5), attempts: 1 };
    assert_eq!(
        actions,
        [Action::Fail { task: second, payload: 1, failure }, Action::Stop { worker, task: second }]
    );
    pool.advance(ms(1000));
    assert_eq!(pool.actions(), [Action::Kill { worker, task: Some(second) }]);
}

#[test]
fn a_task_within_its_limit_leaves_no_timer() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit_as(limited(ms(5)), 1);
    pool.sends();
    assert_eq!(pool.core.poll_timeout(), Some(pool.now + ms(5)));
    assert_eq!(pool.finish(worker, task, ms(1)), Some(1));
    assert_eq!(pool.core.poll_timeout(), None);
}

#[test]
fn a_limit_beyond_the_clock_is_no_limit() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit_as(limited(Duration::MAX), 1);
    pool.sends();
    assert_eq!(pool.core.poll_timeout(), None);
    assert_eq!(pool.finish(worker, task, ms(1)), Some(1));
}

#[test]
fn each_attempt_has_the_whole_limit() {
    let mut pool = Pool::new();
    let task = pool.submit_as(TaskSpec { retries: 1, ..limited(ms(5)) }, 1);
    let a = pool.worker(0, 1);
    pool.sends();
    pool.advance(ms(4));
    pool.lose(a, |_| Began::Yes);
    assert_eq!(pool.core.poll_timeout(), None);
    let b = pool.worker(0, 1);
    pool.sends();
    pool.advance(ms(4));
    assert_eq!(pool.actions(), []);
    assert_eq!(pool.finish(b, task, ms(4)), Some(1));
}

#[test]
fn an_async_task_is_limited_from_its_send() {
    let (mut pool, [_]) = Pool::with_workers([1]);
    let spec = TaskSpec { is_async: true, ..limited(ms(5)) };
    let task = pool.submit_as(spec, 1);
    pool.sends();
    pool.advance(ms(5));
    let failure = Failure::TimedOut { limit: ms(5), attempts: 1 };
    let actions = pool.actions_answering(|_| false);
    assert!(actions.contains(&Action::Fail { task, payload: 1, failure }), "{actions:?}");
}

#[test]
fn a_cancelled_task_with_an_unanswered_request_is_killed_only_once_it_can_have_begun() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let tasks = pool.submit_all(0..2);
    pool.sends();
    assert_eq!(pool.core.handle_cancel(pool.now, tasks[1]), Cancelled::Resolved(1));
    assert_eq!(pool.actions(), [Action::Revoke { worker, task: tasks[1] }]);
    pool.advance(ms(2000));
    assert_eq!(pool.actions(), [], "task 0 is innocent");
    assert_eq!(pool.finish(worker, tasks[0], ms(2000)), Some(0));
    pool.advance(ms(1000));
    assert_eq!(pool.actions(), [Action::Kill { worker, task: Some(tasks[1]) }]);
}

#[test]
fn a_task_being_taken_back_that_is_cancelled_is_dropped_when_it_comes() {
    let (mut pool, [a]) = Pool::with_workers([1]);
    let tasks = pool.submit_all(0..2);
    pool.sends();
    pool.worker(1, 1);
    assert_eq!(pool.actions(), [Action::Revoke { worker: a, task: tasks[1] }]);
    assert_eq!(pool.core.handle_cancel(pool.now, tasks[1]), Cancelled::Resolved(1));
    assert_eq!(pool.actions(), [], "one request at a time");
    pool.core.handle_revoked(pool.now, a, tasks[1], true);
    assert_eq!(pool.actions(), []);
    assert_eq!(pool.core.unresolved(), 1);
}
