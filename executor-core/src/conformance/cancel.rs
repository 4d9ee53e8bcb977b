//! Cancelling: what is queued never begins, what runs is told, and ended where that is possible.

use std::time::{Duration, Instant};

use super::lab::{Lab, PATIENCE, error, eventually, value};
use super::list;
use super::signal::{note, pass};
use crate::context;
use crate::error::TaskError;
use crate::ext::ExecutorExt;
use crate::task::TaskStatus;

list![
    a_queued_task_that_is_cancelled_never_begins,
    a_running_task_that_is_cancelled_is_told,
    a_running_task_that_never_looks_is_cancelled_as_the_backend_can,
    cancelling_what_is_done_changes_nothing,
    cancel_on_drop_cancels_what_is_queued,
    cancel_on_drop_tells_what_is_running,
    cancelling_one_task_leaves_its_neighbours_alone,
    a_cancelled_async_task_leaves_its_neighbours_alone,
];

fn gated((gate, who): (String, u64)) -> u64 {
    pass(&gate, who);
    who
}

/// Waits at the gate, so that it is known to run, and then until it is told to stop.
fn until_told((gate, tally): (String, String)) -> bool {
    pass(&gate, 0);
    let context = context();
    let deadline = Instant::now() + PATIENCE;
    while !context.is_cancelled() {
        assert!(Instant::now() < deadline, "nobody has told this task to stop");
        std::thread::yield_now();
    }
    note(&tally, "told");
    true
}

fn a_queued_task_that_is_cancelled_never_begins(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("begun"));
    let running = ex.submit(gated, (gate.address(), 1));
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    let queued: Vec<_> = (0..20)
        .map(|n: u64| ex.submit(|(tally, n): (String, u64)| note(&tally, &n.to_string()), (tally.path(), n)))
        .collect();
    for (n, future) in queued.iter().enumerate().filter(|(n, _)| n % 2 == 0) {
        assert_eq!(future.cancel(), lab.can.concurrent, "task {n}: {future:?}");
        if lab.can.concurrent {
            assert_eq!(future.status(), TaskStatus::Cancelled);
            assert!(!future.cancel(), "it is cancelled already");
        }
    }
    if lab.can.remote {
        // A worker on another machine gives back what it was sent ahead as soon as it hears of it.
        eventually("what was cancelled is taken back", || {
            let stats = ex.stats();
            stats.queued + stats.running <= 1 + queued.len() / 2
        });
    }
    gate.open();
    assert_eq!(value(running), 1);
    for (n, future) in queued.into_iter().enumerate() {
        if n % 2 == 0 && lab.can.concurrent {
            assert_eq!(error(future), TaskError::Cancelled);
        } else {
            value(future);
        }
    }
    let expected: Vec<_> =
        (0..20).filter(|n| n % 2 == 1 || !lab.can.concurrent).map(|n| n.to_string()).collect();
    assert_eq!(tally.lines(), expected, "these have begun, in this order");
}

fn a_running_task_that_is_cancelled_is_told(lab: &Lab) {
    if !lab.can.concurrent {
        return lab.not_promised("concurrent");
    }
    // Plenty of time to stop by itself.
    let ex = match lab.can.stops_running {
        true => lab.open(&[("workers", "1"), ("grace", "20s")]),
        false => lab.workers(1),
    };
    let (gate, tally) = (lab.gate(), lab.tally("told"));
    let future = ex.submit(until_told, (gate.address(), tally.path()));
    gate.wait_for(1);
    gate.open();
    let is_resolved = future.cancel();
    assert_eq!(is_resolved, lab.can.stops_running);
    match is_resolved {
        true => assert_eq!(error(future), TaskError::Cancelled),
        false => assert!(value(future), "the value arrives"),
    }
    eventually("the task is told", || tally.lines() == ["told"]);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    assert_eq!(ex.stats().lost_workers, 0, "who stops when told is not ended");
}

fn a_running_task_that_never_looks_is_cancelled_as_the_backend_can(lab: &Lab) {
    if !lab.can.concurrent {
        return lab.not_promised("concurrent");
    }
    let ex = lab.workers(1);
    let gate = lab.gate();
    let future = ex.submit(gated, (gate.address(), 1));
    gate.wait_for(1);
    let start = Instant::now();
    assert_eq!(future.cancel(), lab.can.stops_running);
    if lab.can.stops_running {
        assert_eq!(error(future), TaskError::Cancelled);
        assert!(start.elapsed() < Duration::from_secs(10), "a cancelled future is resolved soon");
        // The gate stays closed: only a worker that was ended makes room.
        assert_eq!(value(ex.submit(|n: u64| n, 2)), 2);
    } else {
        gate.open();
        assert_eq!(value(future), 1, "the value arrives");
    }
}

fn cancelling_what_is_done_changes_nothing(lab: &Lab) {
    let ex = lab.workers(1);
    let (fine, failed) = (ex.submit(|n: u64| n, 1), ex.submit(|n: u64| -> u64 { panic!("{n}") }, 1));
    eventually("both end", || fine.is_done() && failed.is_done());
    assert!(!fine.cancel() && !failed.cancel());
    assert_eq!(fine.status(), TaskStatus::Done);
    assert_eq!(value(fine), 1);
    assert!(error(failed).is_panic());
}

fn cancel_on_drop_cancels_what_is_queued(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("begun"));
    let running = ex.submit(gated, (gate.address(), 1));
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    let mark = |(tally, n): (String, u64)| note(&tally, &n.to_string());
    drop(ex.submit(mark, (tally.path(), 1)).cancel_on_drop());
    drop(ex.submit(mark, (tally.path(), 2)));
    let last = ex.submit(mark, (tally.path(), 3));
    gate.open();
    assert_eq!(value(running), 1);
    value(last);
    let expected: &[&str] = if lab.can.concurrent { &["2", "3"] } else { &["1", "2", "3"] };
    assert_eq!(tally.lines(), expected);
}

fn cancel_on_drop_tells_what_is_running(lab: &Lab) {
    if !lab.can.concurrent {
        return lab.not_promised("concurrent");
    }
    let ex = match lab.can.stops_running {
        true => lab.open(&[("workers", "1"), ("grace", "20s")]),
        false => lab.workers(1),
    };
    let (gate, tally) = (lab.gate(), lab.tally("told"));
    let future = ex.submit(until_told, (gate.address(), tally.path())).cancel_on_drop();
    gate.wait_for(1);
    gate.open();
    drop(future);
    eventually("the task is told", || tally.lines() == ["told"]);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}

fn cancelling_one_task_leaves_its_neighbours_alone(lab: &Lab) {
    let ex = lab.workers(2);
    let gate = lab.gate();
    let stopped = ex.submit(gated, (gate.address(), 1));
    let neighbour = ex.submit(gated, (gate.address(), 2));
    let queued: Vec<_> = (0..100u64).map(|n| ex.submit(|n| n + 1, n)).collect();
    if lab.can.concurrent {
        gate.wait_for(2);
    }
    let is_cancelled = stopped.cancel();
    // If the neighbour's worker were ended too, it would be held for ever, or lost.
    if lab.can.stops_running {
        for (n, future) in (0..).zip(queued) {
            assert_eq!(value(future), n + 1);
        }
        assert!(!neighbour.is_done(), "it is held at the gate");
    }
    gate.open();
    assert_eq!(value(neighbour), 2);
    match is_cancelled {
        true => assert_eq!(error(stopped), TaskError::Cancelled),
        false => assert_eq!(value(stopped), 1),
    }
}

fn a_cancelled_async_task_leaves_its_neighbours_alone(lab: &Lab) {
    if !lab.can.concurrent {
        return lab.not_promised("concurrent");
    }
    let ex = match lab.can.stops_running {
        true => lab.open(&[("workers", "1"), ("grace", "20s")]),
        false => lab.workers(1),
    };
    let tally = lab.tally("events");
    let task = |(tally, who): (String, u64)| async move {
        note(&tally, &format!("{who} begun"));
        let deadline = Instant::now() + PATIENCE;
        let is_over = |context: &crate::Context| {
            context.is_cancelled() || super::signal::noted(&tally).contains(&"over".to_owned())
        };
        while !is_over(&context()) {
            assert!(Instant::now() < deadline, "nobody has told this task to stop");
            super::signal::timer(Duration::from_millis(5)).await;
        }
        note(&tally, &format!("{who} told"));
        who
    };
    let futures: Vec<_> = (0..3).map(|who| ex.submit_async(task, (tally.path(), who))).collect();
    eventually("all three share the worker", || tally.lines().len() == 3);
    let is_resolved = futures[1].cancel();
    assert_eq!(is_resolved, lab.can.stops_running);
    eventually("the one is told", || tally.lines().contains(&"1 told".to_owned()));
    assert!(!futures[0].is_done() && !futures[2].is_done(), "the others run on");
    note(&tally.path(), "over");
    for (who, future) in (0..).zip(futures) {
        match who {
            1 if is_resolved => assert_eq!(error(future), TaskError::Cancelled),
            _ => assert_eq!(value(future), who),
        }
    }
}
