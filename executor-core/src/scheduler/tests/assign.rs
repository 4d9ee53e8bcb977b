//! Who gets the next task.

use super::*;

#[test]
fn tasks_wait_until_there_is_a_worker() {
    let mut pool = Pool::new();
    pool.submit(1);
    assert_eq!(pool.sends(), []);
    assert_eq!(pool.core.waiting(), 1);
    let worker = pool.worker(0, 1);
    assert_eq!(pool.sends(), [(worker, 1)]);
    assert_eq!((pool.core.waiting(), pool.core.running()), (0, 1));
}

#[test]
fn a_full_queue_gives_the_payload_back_and_has_room_after_a_send() {
    let mut pool = Pool::with(SchedulerConfig { queue_limit: 2, ..SchedulerConfig::default() });
    pool.submit_all(0..2);
    assert!(!pool.core.has_room());
    let rejected = pool.core.handle_submit(pool.now, TaskSpec::default(), 2);
    assert_eq!(rejected, Err(Rejected::Full(2)));
    pool.worker(0, 1);
    assert_eq!(pool.sends().len(), 2, "one running, one ahead");
    assert!(pool.core.has_room());
    pool.submit(3);
}

#[test]
fn idle_workers_come_before_handing_ahead() {
    let (mut pool, [a, b]) = Pool::with_workers([1, 1]);
    pool.warm_up(b, 3);
    pool.submit_all(0..2);
    let sends = pool.sends();
    assert_eq!(sends.len(), 2);
    assert!(sends.contains(&(a, 0)) || sends.contains(&(a, 1)), "{sends:?}");
    assert!(sends.contains(&(b, 0)) || sends.contains(&(b, 1)), "{sends:?}");
}

#[test]
fn tasks_of_one_priority_go_in_the_order_of_submit() {
    let mut pool = Pool::new();
    pool.submit_all(0..20);
    let worker = pool.worker(0, 20);
    assert_eq!(pool.sends(), (0..20).map(|n| (worker, n)).collect::<Vec<_>>());
}

#[test]
fn a_higher_priority_goes_first_whenever_it_was_submitted() {
    let mut pool = Pool::new();
    for (payload, priority) in [(0, 0), (1, -5), (2, 7), (3, 0), (4, 7), (5, i32::MIN), (6, i32::MAX)] {
        pool.submit_as(TaskSpec { priority, ..TaskSpec::default() }, payload);
    }
    pool.worker(0, 10);
    let order: Vec<u32> = pool.sends().into_iter().map(|(_, payload)| payload).collect();
    assert_eq!(order, [6, 2, 4, 0, 3, 1, 5]);
}

#[test]
fn a_worker_of_unknown_speed_gets_one_task_ahead() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.submit_all(0..100);
    assert_eq!(pool.sends().len(), 2);
    assert_eq!(pool.core.held(worker), pool.core.credit(worker));
}

#[test]
fn the_window_doubles_with_quick_tasks_up_to_what_the_target_holds() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let mut credits = vec![pool.core.credit(worker)];
    for _ in 0..8 {
        pool.warm_up(worker, 1);
        credits.push(pool.core.credit(worker));
    }
    assert_eq!(credits, [2, 4, 8, 16, 32, 64, 128, 256, 512]);
    pool.warm_up(worker, 4);
    assert_eq!(pool.core.credit(worker), 1 + 1000, "1 ms of tasks of 1 us, and the running one");
}

#[test]
fn the_window_never_exceeds_max_ahead_per_slot() {
    let mut pool = Pool::with(SchedulerConfig { max_ahead: 5, ..SchedulerConfig::default() });
    let worker = pool.worker(0, 3);
    pool.warm_up(worker, 20);
    pool.submit_all(0..100);
    assert_eq!(pool.sends().len(), 3 + 15);
}

#[test]
fn nothing_is_handed_ahead_where_tasks_are_long() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let first = pool.submit(0);
    assert_eq!(pool.sends(), [(worker, 0)]);
    pool.finish(worker, first, ms(10));
    pool.submit_all(1..10);
    assert_eq!(pool.sends(), [(worker, 1)]);
}

#[test]
fn tasks_of_some_milliseconds_get_one_ahead() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let first = pool.submit(0);
    assert_eq!(pool.sends(), [(worker, 0)]);
    pool.finish(worker, first, ms(3));
    pool.submit_all(1..10);
    assert_eq!(pool.sends().len(), 2);
}

#[test]
fn the_window_recovers_within_fifty_tasks_after_a_long_one() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let long = pool.submit(0);
    assert_eq!(pool.sends(), [(worker, 0)]);
    pool.finish(worker, long, Duration::from_secs(1));
    assert_eq!(pool.core.credit(worker), 1);
    pool.warm_up(worker, 50);
    assert!(pool.core.credit(worker) > 4, "{}", pool.core.credit(worker));
}

#[test]
fn the_least_loaded_worker_is_handed_ahead_first() {
    let (mut pool, [a, b]) = Pool::with_workers([1, 1]);
    for worker in [a, b] {
        // A task each, so that both are warm.
        for _ in 0..6 {
            let tasks = pool.submit_all(0..2);
            let sends = pool.sends();
            for (task, (to, _)) in tasks.into_iter().zip(sends) {
                pool.finish(to, task, us(1));
            }
        }
        assert!(pool.core.credit(worker) > 100);
    }
    pool.submit_all(0..64);
    pool.sends();
    let (a, b) = (pool.core.held(a), pool.core.held(b));
    assert_eq!(a + b, 64);
    assert!(a.abs_diff(b) <= 32, "{a} and {b}");
}

#[test]
fn slots_of_several_agents_fill_evenly() {
    let (mut pool, workers) = Pool::with_workers([8, 8, 8, 8]);
    pool.submit_all(0..16);
    pool.sends();
    assert_eq!(workers.map(|worker| pool.core.held(worker)), [4, 4, 4, 4]);
}

#[test]
fn async_tasks_do_not_occupy_a_slot() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let spec = TaskSpec { is_async: true, ..TaskSpec::default() };
    for payload in 0..50 {
        pool.submit_as(spec, payload);
    }
    assert_eq!(pool.sends().len(), 50);
    assert_eq!(pool.core.idle_workers(), 1);
    pool.submit(50);
    assert_eq!(pool.sends(), [(worker, 50)]);
    assert_eq!(pool.core.running(), 51);
}

#[test]
fn async_tasks_at_a_worker_are_limited_and_spread() {
    let mut pool = Pool::with(SchedulerConfig { max_async: 4, ..SchedulerConfig::default() });
    let (a, b) = (pool.worker(0, 1), pool.worker(1, 1));
    let spec = TaskSpec { is_async: true, ..TaskSpec::default() };
    let tasks: Vec<_> = (0..10).map(|payload| pool.submit_as(spec, payload)).collect();
    let sends = pool.sends();
    assert_eq!([a, b].map(|worker| sends.iter().filter(|send| send.0 == worker).count()), [4, 4]);
    assert_eq!(pool.core.waiting(), 2);
    let (to, payload) = sends[3];
    assert_eq!(pool.finish(to, tasks[3], ms(1)), Some(payload));
    assert_eq!(pool.sends(), [(to, 8)]);
}

#[test]
fn async_tasks_prefer_workers_without_a_running_task() {
    let (mut pool, [a, b]) = Pool::with_workers([1, 1]);
    pool.submit(0);
    let busy = pool.sends()[0].0;
    let idle = if busy == a { b } else { a };
    pool.submit_as(TaskSpec { is_async: true, ..TaskSpec::default() }, 1);
    assert_eq!(pool.sends(), [(idle, 1)]);
}

#[test]
fn a_late_or_foreign_result_is_ignored() {
    let (mut pool, [a, b]) = Pool::with_workers([1, 1]);
    let task = pool.submit(7);
    assert_eq!(pool.finish(a, task, us(1)), None, "it was not sent yet");
    let (to, _) = pool.sends()[0];
    let other = if to == a { b } else { a };
    assert_eq!(pool.finish(other, task, us(1)), None, "another worker has it");
    assert_eq!(pool.finish(to, task, us(1)), Some(7));
    assert_eq!(pool.finish(to, task, us(1)), None, "it is resolved");
    assert_eq!(pool.core.stats().finished, 1);
}

#[test]
fn a_task_that_cannot_be_sent_comes_back_and_frees_its_slot() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    let task = pool.submit(1);
    pool.sends();
    assert_eq!(pool.core.handle_not_sent(pool.now, worker, task), Some(1));
    assert_eq!(pool.core.idle_workers(), 1);
    assert_eq!(pool.core.stats().finished, 0);
}

#[test]
fn a_paused_worker_gets_nothing_until_it_is_resumed() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.core.handle_paused(pool.now, worker);
    pool.submit(1);
    assert_eq!(pool.sends(), []);
    pool.core.handle_resumed(pool.now, worker);
    assert_eq!(pool.sends(), [(worker, 1)]);
}

#[test]
fn nothing_is_handed_ahead_to_a_worker_whose_task_has_become_long() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.warm_up(worker, 5);
    pool.submit(0);
    assert_eq!(pool.sends(), [(worker, 0)]);
    pool.advance(ms(50));
    pool.submit(1);
    assert_eq!(pool.sends(), []);
}

#[test]
fn stats_count_what_is_where() {
    let (mut pool, [worker]) = Pool::with_workers([1]);
    pool.submit_all(0..5);
    pool.sends();
    let stats = pool.core.stats();
    assert_eq!((stats.waiting, stats.running, stats.ahead), (3, 1, 1));
    assert_eq!((stats.workers, stats.idle_workers), (1, 0));
    assert_eq!(pool.core.tasks_of(worker).count(), 2);
}
