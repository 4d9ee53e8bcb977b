//! Runs of sends, and results taken in together.

use super::*;

/// Takes up to so many tasks out of the next run; `None` when there is none.
fn take_run(pool: &mut Pool, most: usize) -> Option<(WorkerKey, Vec<u32>)> {
    let mut run = pool.core.poll_run(pool.now)?;
    let worker = run.worker();
    let mut payloads = Vec::new();
    while payloads.len() < most
        && let Some(send) = run.next_task()
    {
        assert_eq!(send.attempt, 1);
        payloads.push(*send.payload);
    }
    drop(run);
    pool.core.assert_consistent();
    Some((worker, payloads))
}

#[test]
fn a_run_fills_a_worker_up_to_its_credit() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.warm_up(worker, 4);
    assert_eq!(pool.core.credit(worker), 32);
    pool.submit_all(0..40);
    let mut sent = Vec::new();
    let mut runs = 0;
    while let Some((to, payloads)) = take_run(&mut pool, usize::MAX) {
        assert_eq!(to, worker);
        sent.extend(payloads);
        runs += 1;
    }
    assert_eq!(sent, (0..32).collect::<Vec<_>>());
    assert!(runs <= 6, "the running one, 1, 2, 4, 8 and 16 ahead: {runs}");
    assert_eq!(pool.actions(), [], "nothing is left to send");
    assert_eq!((pool.core.waiting(), pool.core.held(worker)), (8, 32));
}

#[test]
fn what_a_driver_leaves_of_a_run_waits_on_in_its_order() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.warm_up(worker, 6);
    let tasks = pool.submit_all(0..20);
    assert_eq!(take_run(&mut pool, 9), Some((worker, vec![0])), "a free slot takes one");
    assert_eq!(take_run(&mut pool, 0), Some((worker, vec![])));
    assert_eq!(take_run(&mut pool, 9), Some((worker, vec![1])));
    assert_eq!(take_run(&mut pool, 1), Some((worker, vec![2])));
    assert_eq!(pool.core.handle_cancel(pool.now, tasks[3]), Cancelled::Removed(3));
    assert_eq!(take_run(&mut pool, 1), Some((worker, vec![4])));
    let sent: Vec<u32> = pool.sends().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(sent, (5..20).collect::<Vec<_>>());
}

#[test]
fn a_payload_can_be_changed_as_it_is_sent() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit(1);
    *pool.core.poll_run(pool.now).expect("a task waits").next_task().expect("it is in the run").payload = 2;
    assert_eq!(pool.finish(worker, task, us(1)), Some(2));
}

#[test]
fn what_is_no_send_of_a_plain_task_is_left_to_poll_action() {
    let (mut pool, [worker]) = Pool::with_workers([4]);
    assert_eq!(take_run(&mut pool, 1), None, "nothing waits");
    pool.submit(0);
    for spec in [
        TaskSpec { pin: Some(0), ..TaskSpec::default() },
        TaskSpec { priority: 1, ..TaskSpec::default() },
        TaskSpec { is_async: true, ..TaskSpec::default() },
    ] {
        pool.submit_as(spec, 1);
    }
    assert_eq!(take_run(&mut pool, 1), None);
    let sends: Vec<u32> = pool.sends().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(sends, [1, 1, 0, 1], "pinned, by priority, async last");
    pool.submit(2);
    pool.core.handle_shutdown(pool.now, ShutdownMode::CancelPending);
    assert_eq!(take_run(&mut pool, 1), None, "it is to fail");
    assert_eq!(pool.core.worker_index(worker), Some(0));
}

#[test]
fn results_together_leave_the_worker_as_one_by_one() {
    let after = |together: bool| {
        let (mut pool, [worker]) = Pool::with_workers([1]);
        pool.warm_up(worker, 5);
        let tasks = pool.submit_all(0..30);
        pool.sends();
        pool.advance(us(7));
        let finished: Vec<_> = tasks.iter().take(20).zip(1..).collect();
        let mut payloads = Vec::new();
        if together {
            let mut results = pool.core.handle_results(pool.now, worker);
            payloads.extend(finished.iter().map(|(task, took)| results.finished(**task, us(*took))));
        } else {
            payloads.extend(finished.iter().map(|(task, took)| pool.finish(worker, **task, us(*took))));
        }
        assert_eq!(payloads, (0..20).map(Some).collect::<Vec<_>>());
        pool.core.assert_consistent();
        let left: Vec<TaskKey> = pool.core.tasks_of(worker).collect();
        assert_eq!(left, tasks[20..]);
        (pool.core.stats(), pool.core.credit(worker), pool.core.held(worker))
    };
    assert_eq!(after(true), after(false));
}

#[test]
fn results_in_any_order_and_of_any_kind_of_task_are_taken_in_together() {
    let (mut pool, [worker]) = Pool::with_workers([2]);
    let limited = TaskSpec { timeout: Some(ms(5)), ..TaskSpec::default() };
    let plain = pool.submit(0);
    let timed = pool.submit_as(limited, 1);
    let ahead = pool.submit_as(limited, 2);
    let last = pool.submit(3);
    let asynchronous = pool.submit_as(TaskSpec { is_async: true, ..TaskSpec::default() }, 4);
    assert_eq!(pool.sends().len(), 5);
    assert_eq!(pool.core.handle_cancel(pool.now, plain), Cancelled::Resolved(0));
    let mut results = pool.core.handle_results(pool.now, worker);
    assert_eq!(results.finished(timed, us(1)), Some(1));
    assert_eq!(results.finished(timed, us(1)), None, "it is resolved");
    assert_eq!(results.finished(plain, us(1)), None, "it was cancelled");
    assert_eq!(results.finished(asynchronous, us(1)), Some(4));
    drop(results);
    pool.core.assert_consistent();
    assert_eq!(pool.core.running(), 2, "those ahead have the slots");
    pool.advance(ms(6));
    let failed = |action: &Action<u32>| matches!(action, Action::Fail { task, .. } if *task == ahead);
    assert!(pool.actions().iter().any(failed), "its limit counts from when it got a slot");
    assert_eq!(pool.finish(worker, last, us(1)), Some(3));
    assert_eq!(pool.core.stats().finished, 3);
}

#[test]
fn results_of_a_worker_that_is_gone_are_ignored() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit(0);
    pool.sends();
    pool.lose(worker, |_| Began::No);
    assert_eq!(pool.core.handle_results(pool.now, worker).finished(task, us(1)), None);
    assert_eq!((pool.core.waiting(), pool.core.stats().finished), (1, 0));
}

#[test]
fn a_retiring_worker_leaves_with_its_last_results() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let tasks = pool.submit_all(0..2);
    pool.sends();
    pool.core.handle_retire(pool.now, worker);
    let mut results = pool.core.handle_results(pool.now, worker);
    assert_eq!(results.finished(tasks[0], us(1)), Some(0));
    assert_eq!(results.finished(tasks[1], us(1)), Some(1));
    drop(results);
    assert_eq!(pool.actions(), [Action::Retired { worker }]);
}
