//! Random events on simulated workers: whatever happens, every task resolves exactly once.

use proptest::prelude::*;

use super::model::{Body, Operation, Park, World};
use super::*;

/// Times from a microsecond to a second, all orders of magnitude alike.
fn time() -> impl Strategy<Value = Duration> {
    (0..6u32, 1..10u64).prop_map(|(magnitude, digit)| us(digit * 10u64.pow(magnitude)))
}

fn spec(workers: u32) -> impl Strategy<Value = TaskSpec> {
    let limit = prop_oneof![4 => Just(None), 1 => time().prop_map(Some)];
    let priority = prop_oneof![2 => Just(0), 1 => -2..3i32];
    let pin = prop_oneof![6 => Just(None), 1 => (0..workers).prop_map(Some)];
    let retries = prop_oneof![1 => Just(0), 1 => 0..4u32];
    let chances = (prop::bool::weighted(0.3), prop::bool::weighted(0.2), any::<bool>());
    (limit, priority, pin, retries, chances).prop_map(
        |(timeout, priority, pin, retries, (idempotent, is_async, nested))| TaskSpec {
            priority,
            timeout,
            retries,
            idempotent,
            is_async,
            pin,
            nested,
        },
    )
}

fn body(workers: u32) -> impl Strategy<Value = Body> {
    let fatal = prop_oneof![9 => Just(0), 1 => 1..4u32];
    (spec(workers), time(), any::<bool>(), fatal).prop_map(|(spec, takes, heeds_stop, fatal_attempts)| Body {
        spec,
        takes,
        heeds_stop,
        fatal_attempts,
    })
}

fn operation(workers: u32, most: u32) -> impl Strategy<Value = Operation> {
    let mode =
        prop_oneof![Just(ShutdownMode::Drain), Just(ShutdownMode::CancelPending), Just(ShutdownMode::Kill)];
    prop_oneof![
        30 => (body(workers), 1..most).prop_map(|(body, count)| Operation::Submit(body, count)),
        20 => time().prop_map(Operation::Pass),
        10 => any::<u32>().prop_map(Operation::Cancel),
        5 => any::<u32>().prop_map(Operation::KillWorker),
        3 => any::<u32>().prop_map(Operation::Retire),
        3 => (any::<u32>(), time()).prop_map(|(n, time)| Operation::Block(n, time)),
        3 => (any::<u32>(), time()).prop_map(|(n, time)| Operation::Pause(n, time)),
        1 => mode.prop_map(Operation::Shutdown),
    ]
}

fn config() -> impl Strategy<Value = SchedulerConfig> {
    let breaker = prop_oneof![1 => 2..6u32, 2 => Just(u32::MAX)];
    let queue_limit = prop_oneof![1 => 5..100usize, 4 => Just(1 << 20)];
    (0..40u32, 1..5u32, breaker, queue_limit, time()).prop_map(
        |(max_ahead, max_async, breaker, queue_limit, grace)| SchedulerConfig {
            max_ahead,
            max_async,
            breaker,
            queue_limit,
            grace,
            ..SchedulerConfig::default()
        },
    )
}

/// A park and what happens to it.
fn run(
    workers: std::ops::Range<usize>,
    slots: std::ops::Range<u32>,
    steps: std::ops::Range<usize>,
    most: u32,
) -> impl Strategy<Value = (Park, Vec<Operation>)> {
    let latency = prop_oneof![1 => Just(Duration::ZERO), 1 => time().prop_map(|time| time / 20)];
    let slots = prop::collection::vec(slots, workers);
    let longest_run = prop_oneof![1 => Just(0), 1 => 1..50u32, 1 => Just(u32::MAX)];
    let hears_every = prop_oneof![1 => Just(Duration::ZERO), 1 => time()];
    (config(), slots, latency, time(), (longest_run, hears_every), steps).prop_flat_map(
        move |(config, slots, latency, restart, (run, hears_every), steps)| {
            let workers = slots.len() as u32;
            let park = Park { config, slots, latency, restart, run, hears_every };
            (Just(park), prop::collection::vec(operation(workers, most), steps))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn processes_resolve_every_task_once((park, operations) in run(1..6, 1..2, 1..60, 20)) {
        World::new(park).run(operations);
    }

    #[test]
    fn a_run_is_what_would_be_polled_one_by_one((park, operations) in run(1..6, 1..4, 1..60, 40)) {
        let trace = |run| World::new(Park { run, ..park.clone() }).run_traced(operations.clone());
        let one_by_one = trace(0);
        prop_assert_eq!(&trace(u32::MAX), &one_by_one);
        prop_assert_eq!(&trace(3), &one_by_one);
    }

    #[test]
    fn agents_resolve_every_task_once((park, operations) in run(1..6, 1..9, 1..60, 40)) {
        World::new(park).run(operations);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn a_thousand_workers_resolve_every_task_once((park, operations) in run(900..1001, 1..3, 100..200, 400)) {
        World::new(park).run(operations);
    }
}

/// A body of a plain task of that length.
fn plain(takes: Duration) -> Body {
    Body { spec: TaskSpec::default(), takes, heeds_stop: true, fatal_attempts: 0 }
}

fn processes(workers: usize) -> Park {
    let config = SchedulerConfig::default();
    let (latency, hears_every) = (Duration::ZERO, Duration::ZERO);
    Park { config, slots: vec![1; workers], latency, restart: ms(20), run: 0, hears_every }
}

#[test]
fn killing_a_worker_every_50_ms_loses_no_retried_task() {
    let retried = TaskSpec { retries: 10, ..TaskSpec::default() };
    let body = Body { spec: retried, ..plain(us(100)) };
    let mut operations = vec![Operation::Submit(body, 20_000)];
    for victim in 0..15 {
        operations.extend([Operation::Pass(ms(50)), Operation::KillWorker(victim)]);
    }
    let stats = World::new(processes(2)).run(operations);
    assert_eq!((stats.finished, stats.failed, stats.lost_workers), (20_000, 0, 15));
}

#[test]
fn quick_tasks_do_not_wait_for_slow_ones_among_them() {
    let mut operations = Vec::new();
    for _ in 0..4 {
        operations.push(Operation::Submit(plain(us(5)), 2000));
        operations.push(Operation::Submit(plain(Duration::from_secs(1)), 1));
    }
    // The 8,000 quick ones take 40 ms; a worker of the five is left for them at any time.
    operations.push(Operation::Pass(ms(500)));
    operations.push(Operation::Shutdown(ShutdownMode::Kill));
    let stats = World::new(processes(5)).run(operations);
    assert!(stats.finished >= 8000, "{stats:?}");
}
