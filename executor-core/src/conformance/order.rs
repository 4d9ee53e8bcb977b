//! Who is begun when, and how many may wait.

use std::sync::Arc;

use ::futures::executor::block_on;

use super::lab::{Lab, error, eventually, value};
use super::list;
use super::signal::{Gate, note, pass};
use crate::error::TaskError;
use crate::executor::Executor;
use crate::ext::ExecutorExt;
use crate::task::TaskFuture;

list![
    tasks_are_begun_in_the_order_of_submission,
    tasks_of_higher_priority_are_begun_first,
    a_full_queue_gives_the_argument_back,
    a_full_queue_resolves_what_is_submitted_all_the_same,
    ready_waits_until_there_is_room,
    a_cancelled_task_makes_room,
    tasks_run_beside_one_another_on_several_workers,
    stats_count_what_waits_runs_and_has_ended,
];

fn gated((gate, who): (String, u64)) -> u64 {
    pass(&gate, who);
    who
}

fn noting((tally, who): (String, i64)) {
    note(&tally, &who.to_string());
}

fn tasks_are_begun_in_the_order_of_submission(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("begun"));
    let first = ex.submit(gated, (gate.address(), 0));
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    let futures: Vec<_> = (0..200).map(|n| ex.submit(noting, (tally.path(), n))).collect();
    gate.open();
    value(first);
    for future in futures {
        value(future);
    }
    assert_eq!(tally.lines(), (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
}

fn tasks_of_higher_priority_are_begun_first(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("begun"));
    let first = ex.submit(gated, (gate.address(), 0));
    let priorities = [0, 5, -3, 0, 7, -3, 5, 0, i32::MAX, i32::MIN];
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    let futures: Vec<_> = (0i64..)
        .zip(priorities)
        .map(|(n, priority)| ex.task(noting, (tally.path(), n)).priority(priority).submit())
        .collect();
    if lab.can.concurrent {
        // What had been handed ahead to the busy worker is back.
        eventually("all wait", || ex.stats().queued == priorities.len());
    }
    gate.open();
    value(first);
    for future in futures {
        value(future);
    }
    let mut expected: Vec<usize> = (0..priorities.len()).collect();
    if lab.can.concurrent {
        expected.sort_by_key(|n| std::cmp::Reverse(priorities[*n]));
    }
    assert_eq!(tally.lines(), expected.iter().map(usize::to_string).collect::<Vec<_>>());
}

fn a_full_queue_gives_the_argument_back(lab: &Lab) {
    let ex = lab.open(&[("workers", "1"), ("queue", "10")]);
    let gate = lab.gate();
    let first = ex.submit(gated, (gate.address(), 0));
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    let mut accepted = Vec::new();
    for n in 1..=30u64 {
        match ex.task(gated, (gate.address(), n)).try_submit() {
            Ok(future) => accepted.push((n, future)),
            Err(refused) => {
                assert!(refused.is_full(), "{}", refused.error);
                assert_eq!(refused.into_arg(), (gate.address(), n));
            }
        }
    }
    if lab.can.concurrent {
        // A few may have been handed ahead to the worker.
        assert!((10..=20).contains(&accepted.len()), "{} of 30 fit into a queue of 10", accepted.len());
    } else {
        assert_eq!(accepted.len(), 30, "nothing ever waits");
    }
    gate.open();
    assert_eq!(value(first), 0);
    for (n, future) in accepted {
        assert_eq!(value(future), n);
    }
    block_on(ex.ready()).unwrap();
    assert!(ex.task(gated, (gate.address(), 7)).try_submit().is_ok(), "there is room again");
}

fn a_full_queue_resolves_what_is_submitted_all_the_same(lab: &Lab) {
    let ex = lab.open(&[("workers", "1"), ("queue", "10")]);
    let gate = lab.gate();
    let futures: Vec<_> = (0..50).map(|n| ex.submit(gated, (gate.address(), n))).collect();
    let full = futures.iter().filter(|future| future.is_failed()).count();
    gate.open();
    let mut seen_full = 0;
    for (n, future) in (0..).zip(futures) {
        match super::lab::outcome(future) {
            Ok(value) => assert_eq!(value, n),
            Err(error) => {
                assert_eq!(error, TaskError::Full);
                assert!(error.is_retryable());
                seen_full += 1;
            }
        }
    }
    assert_eq!(seen_full, full, "it is told at once");
    assert_eq!(seen_full > 0, lab.can.concurrent);
}

/// Submits tasks that are held at the gate, until the queue of this length is full and stays so.
fn fill(ex: &Arc<dyn Executor>, gate: &Gate, queue: usize, futures: &mut Vec<TaskFuture<u64>>) {
    eventually("the queue is full and stays so", || {
        while let Ok(future) = ex.task(gated, (gate.address(), 1)).try_submit() {
            futures.push(future);
            assert!(futures.len() < 10 * queue, "{:?}", ex.stats());
        }
        // What was handed ahead is taken back, which counts too.
        ex.stats().queued >= queue
    });
}

fn ready_waits_until_there_is_room(lab: &Lab) {
    let ex = lab.open(&[("workers", "1"), ("queue", "4")]);
    let gate = lab.gate();
    let mut futures = vec![ex.submit(gated, (gate.address(), 0))];
    if !lab.can.concurrent {
        assert_eq!(block_on(ex.ready()), Ok(()));
        return;
    }
    gate.wait_for(1);
    fill(&ex, &gate, 4, &mut futures);
    let mut ready = ex.ready();
    let polled = block_on(async { ::futures::poll!(&mut ready) });
    assert!(polled.is_pending(), "with {:?} it is {polled:?}", ex.stats());
    std::thread::scope(|scope| {
        // Three wait at once, and nobody is forgotten.
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| block_on(ex.ready()))).collect();
        gate.open();
        assert_eq!(block_on(ready), Ok(()));
        for waiter in waiters {
            assert_eq!(waiter.join().expect("it does not panic"), Ok(()));
        }
    });
    for future in futures {
        value(future);
    }
}

fn a_cancelled_task_makes_room(lab: &Lab) {
    if !lab.can.concurrent {
        return lab.not_promised("concurrent");
    }
    let ex = lab.open(&[("workers", "1"), ("queue", "4")]);
    let gate = lab.gate();
    let running = ex.submit(gated, (gate.address(), 0));
    gate.wait_for(1);
    let mut futures = Vec::new();
    fill(&ex, &gate, 4, &mut futures);
    for future in futures {
        assert!(future.cancel());
        assert_eq!(error(future), TaskError::Cancelled);
    }
    // The gate is closed: only the cancelled ones can have made room.
    block_on(ex.ready()).unwrap();
    let next = ex.task(gated, (gate.address(), 2)).try_submit().expect("there is room");
    gate.open();
    assert_eq!((value(running), value(next)), (0, 2));
}

fn tasks_run_beside_one_another_on_several_workers(lab: &Lab) {
    let ex = lab.workers(3);
    let gate = lab.gate();
    let futures: Vec<_> = (0..6).map(|n| ex.submit(gated, (gate.address(), n))).collect();
    if lab.can.concurrent {
        // Three must be there at the same time for this to end.
        gate.wait_for(3);
    }
    gate.open();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n);
    }
}

fn stats_count_what_waits_runs_and_has_ended(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let futures: Vec<_> = (0..5).map(|n| ex.submit(gated, (gate.address(), n))).collect();
    if lab.can.concurrent {
        gate.wait_for(1);
        eventually("one runs and four wait", || {
            let stats = ex.stats();
            stats.running == 1 && stats.queued == 4 && stats.workers == 1
        });
    }
    gate.open();
    for future in futures {
        value(future);
    }
    eventually("five have ended", || {
        let stats = ex.stats();
        stats.running == 0 && stats.queued == 0 && stats.finished == 5
    });
    let stats = ex.stats();
    assert_eq!((stats.lost_workers, stats.retried), (0, 0));
}
