//! Tasks for one particular worker.

use super::*;

fn pinned(index: u32) -> TaskSpec {
    TaskSpec { pin: Some(index), ..TaskSpec::default() }
}

#[test]
fn a_pinned_task_runs_on_its_worker_only() {
    let (mut pool, [a, b]) = Pool::with_workers([1, 1]);
    pool.submit_as(pinned(1), 11);
    pool.submit_as(pinned(0), 10);
    let mut sends = pool.sends();
    sends.sort_unstable();
    assert_eq!(sends, [(a, 10), (b, 11)]);
}

#[test]
fn a_pinned_task_waits_for_its_worker_to_be_replaced() {
    let (mut pool, [a, b]) = Pool::with_workers([1, 1]);
    pool.lose(b, |_| Began::No);
    pool.submit_as(pinned(1), 11);
    assert_eq!(pool.sends(), []);
    assert_eq!(pool.core.waiting(), 1);
    let b = pool.worker(1, 1);
    assert_eq!(pool.sends(), [(b, 11)]);
    assert_eq!(pool.core.held(a), 0);
}

#[test]
fn pinned_tasks_wait_for_credit_and_go_before_others() {
    let mut pool = Pool::with(SchedulerConfig { max_ahead: 0, ..SchedulerConfig::default() });
    let worker = pool.worker(0, 1);
    let first = pool.submit(0);
    assert_eq!(pool.sends(), [(worker, 0)]);
    pool.submit(1);
    pool.submit_as(pinned(0), 2);
    assert_eq!(pool.sends(), []);
    pool.finish(worker, first, us(1));
    assert_eq!(pool.sends(), [(worker, 2)]);
}

#[test]
fn a_pinned_task_ahead_moves_to_the_replacement_of_a_retiring_worker() {
    let (mut pool, [old]) = Pool::with_workers([1]);
    let running = pool.submit(0);
    pool.submit_as(pinned(0), 1);
    assert_eq!(pool.sends().len(), 2, "the pinned one first, the other ahead, or the other way round");
    let new = pool.worker(0, 1);
    pool.core.handle_retire(pool.now, old);
    let sends = pool.actions_answering(|_| true);
    assert_eq!(sends.iter().map(|action| pool.as_send(action).0).collect::<Vec<_>>(), [new]);
    pool.finish(old, running, us(1));
    pool.core.assert_consistent();
}

#[test]
fn a_pinned_task_ahead_is_not_taken_back_for_an_idle_worker() {
    let (mut pool, [_]) = Pool::with_workers([1]);
    pool.submit_as(pinned(0), 0);
    pool.submit_as(pinned(0), 1);
    assert_eq!(pool.sends().len(), 2);
    pool.worker(1, 1);
    assert_eq!(pool.actions(), []);
}

#[test]
fn pinned_async_tasks_need_async_room_only() {
    let (mut pool, [a]) = Pool::with_workers([1]);
    let spec = TaskSpec { is_async: true, ..pinned(0) };
    for payload in 0..10 {
        pool.submit_as(spec, payload);
    }
    assert_eq!(pool.sends().len(), 10);
    assert_eq!(pool.core.held(a), 0);
}

#[test]
fn a_waiting_pinned_task_can_be_cancelled() {
    let mut pool = Pool::new();
    let task = pool.submit_as(pinned(3), 1);
    assert_eq!(pool.core.handle_cancel(pool.now, task), Cancelled::Removed(1));
    pool.worker(3, 1);
    assert_eq!(pool.actions(), []);
}
