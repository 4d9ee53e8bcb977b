//! Workers that are replaced before they get old, fat or worn.

use std::collections::BTreeSet;
use std::time::Duration;

use executor_core::{Executor, ExecutorExt, Shutdown};
use futures::executor::block_on;

use crate::support::{
    Folder, Gate, await_ends, children, config, eventually, gated, note, noted, open, pass, pid, tally,
    value, watch,
};

crate::tests![
    a_worker_is_replaced_after_its_count_of_tasks,
    the_replacement_is_ready_before_the_old_worker_leaves,
    an_idle_worker_is_replaced_at_its_age,
    a_busy_worker_is_replaced_at_its_age_when_its_task_has_ended,
    a_worker_that_holds_too_much_memory_is_replaced,
    tasks_that_wait_lose_nothing_by_recycling,
    a_pool_ends_in_the_midst_of_recycling,
    a_worker_that_dies_while_it_is_replaced_is_replaced_once,
];

fn a_worker_is_replaced_after_its_count_of_tasks() {
    let mut config = config(1);
    config.max_tasks = Some(5);
    let ex = open(config);
    // One at a time, and each replacement awaited, so that it shows which task was whose.
    let mut last = 0;
    for _ in 0..4 {
        let pids: Vec<i32> = (0..5).map(|_| value(ex.submit(pid, ()))).collect();
        assert!(pids.iter().all(|pid| *pid == pids[0]), "five tasks ran in one worker: {pids:?}");
        assert_ne!(pids[0], last, "and not in the one before");
        last = pids[0];
        eventually("the worker leaves", || !children().contains(&last) && children().len() == 1);
    }
    assert_eq!(ex.stats().lost_workers, 0, "that is no loss");
}

/// Workers wait at the gate before they report.
fn held_at(gate: &Gate) -> executor_process::ProcessConfig {
    config(1).with_env("TEST_START_GATE", gate.address())
}

fn the_replacement_is_ready_before_the_old_worker_leaves() {
    let mut starts = Gate::new();
    let mut config = held_at(&starts);
    config.max_tasks = Some(3);
    let ex = open(config);
    let first = ex.submit(pid, ());
    let old = starts.next() as i32;
    starts.release();
    assert_eq!(value(first), old);
    for _ in 0..2 {
        value(ex.submit(pid, ()));
    }
    let replacement = starts.next() as i32;
    let leaving = watch(old);
    // However long that takes, there is a worker.
    for _ in 0..10 {
        assert_eq!(value(ex.submit(pid, ())), old);
    }
    starts.release();
    await_ends("the old worker leaves", [leaving]);
    assert_eq!(value(ex.submit(pid, ())), replacement);
    assert_eq!(ex.stats().lost_workers, 0);
    starts.open();
}

fn an_idle_worker_is_replaced_at_its_age() {
    let mut config = config(1);
    config.max_age = Some(Duration::from_millis(200));
    let ex = open(config);
    let first = value(ex.submit(pid, ()));
    // Nothing is submitted meanwhile.
    eventually("the worker leaves", || !children().contains(&first) && !children().is_empty());
    assert_ne!(value(ex.submit(pid, ())), first);
    assert_eq!(ex.stats().lost_workers, 0);
}

fn a_busy_worker_is_replaced_at_its_age_when_its_task_has_ended() {
    let mut config = config(1);
    config.max_age = Some(Duration::from_millis(50));
    let ex = open(config);
    let mut gate = Gate::new();
    let task = |gate: String| {
        pass(&gate, u64::from(std::process::id()));
        std::process::id() as i32
    };
    let busy = ex.submit(task, gate.address());
    // The worker that runs it may be a replacement already, beside one that leaves.
    let old = gate.next() as i32;
    // Its replacement works while it is busy.
    let other = value(ex.submit(pid, ()));
    assert_ne!(other, old);
    let leaving = watch(old).expect("it is busy");
    gate.open();
    assert_eq!(value(busy), old, "the task that it was running is finished");
    await_ends("the old worker leaves", [Some(leaving)]);
}

fn a_worker_that_holds_too_much_memory_is_replaced() {
    let mut config = config(1);
    config.max_memory = Some(64 << 20);
    let ex = open(config);
    let leak = |bytes: u64| {
        std::mem::forget(std::hint::black_box(vec![1u8; bytes as usize]));
        std::process::id() as i32
    };
    let first = value(ex.submit(leak, 10));
    assert_eq!(value(ex.submit(leak, 10)), first, "it holds little");
    assert_eq!(value(ex.submit(leak, 100 << 20)), first);
    let leaving = watch(first);
    // It is looked at while it finishes tasks.
    eventually("another worker runs the tasks", || value(ex.submit(leak, 10)) != first);
    await_ends("the old worker leaves", [leaving]);
    assert_eq!(ex.stats().lost_workers, 0);
}

fn tasks_that_wait_lose_nothing_by_recycling() {
    let mut config = config(2);
    config.max_tasks = Some(20);
    let ex = open(config);
    let folder = Folder::new();
    let begun = folder.path("begun");
    let task = |(begun, n): (String, u64)| {
        note(&begun, &n.to_string());
        (n * n, std::process::id())
    };
    let futures: Vec<_> = (0..5000).map(|n| ex.submit(task, (begun.clone(), n))).collect();
    let mut pids = BTreeSet::new();
    for (n, future) in (0..).zip(futures) {
        let (square, pid) = value(future);
        assert_eq!(square, n * n);
        pids.insert(pid);
    }
    assert!(pids.len() > 3, "{} workers were used", pids.len());
    assert_eq!(tally(noted(&begun)).len(), 5000);
    assert_eq!(noted(&begun).len(), 5000, "each was begun once");
    assert_eq!(ex.stats().lost_workers, 0);
}

fn a_pool_ends_in_the_midst_of_recycling() {
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        let mut starts = Gate::new();
        let mut config = held_at(&starts);
        config.max_tasks = Some(1);
        let ex = open(config);
        let first = ex.submit(pid, ());
        let old = starts.next() as i32;
        starts.release();
        assert_eq!(value(first), old);
        // The replacement is being started, and does not report.
        let replacement = watch(starts.next() as i32);
        let mut gate = Gate::new();
        let running = ex.submit(gated, (gate.address(), 1));
        assert_eq!(gate.next(), 1);
        std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| block_on(ex.shutdown(how)));
            if how != Shutdown::Kill {
                gate.open();
                assert_eq!(value(running), old, "{how:?}");
            }
            shutdown.join().expect("it ends");
        });
        await_ends("the replacement has ended", [replacement]);
        assert_eq!(children(), Vec::<i32>::new(), "{how:?}");
    }
}

fn a_worker_that_dies_while_it_is_replaced_is_replaced_once() {
    let mut starts = Gate::new();
    let mut config = held_at(&starts);
    config.max_tasks = Some(1);
    let ex = open(config);
    let first = ex.submit(pid, ());
    let old = starts.next() as i32;
    starts.release();
    assert_eq!(value(first), old);
    let replacement = starts.next() as i32;
    let dead = watch(old);
    crate::support::kill(old, libc::SIGKILL);
    await_ends("it is killed", [dead]);
    let next = ex.submit(pid, ());
    starts.open();
    assert_eq!(value(next), replacement);
    eventually("one worker is there", || children().len() == 1);
}
