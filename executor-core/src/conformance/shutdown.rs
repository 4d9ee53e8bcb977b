//! The end of an executor: every future is resolved, whichever way it ends.

use std::time::Duration;

use ::futures::executor::block_on;

use super::lab::{Lab, error, eventually, outcome, value};
use super::list;
use super::signal::{note, pass};
use crate::error::TaskError;
use crate::executor::Shutdown;
use crate::ext::ExecutorExt;

list![
    drain_runs_all_that_is_queued,
    nested_tasks_run_while_an_executor_drains,
    cancel_pending_lets_what_is_running_end,
    kill_resolves_everything_at_once,
    submits_after_a_shutdown_are_refused_and_the_argument_comes_back,
    a_shutdown_may_become_stricter,
    a_shutdown_of_an_idle_executor_ends,
    a_shutdown_that_nobody_awaits_goes_on,
    the_drop_of_an_executor_lets_its_tasks_run,
    a_map_on_a_closed_executor_gives_errors_and_ends,
    shutdowns_race_with_submits_and_no_future_is_lost,
];

fn gated((gate, tally, who): (String, String, u64)) -> u64 {
    pass(&gate, who);
    note(&tally, &who.to_string());
    who
}

fn drain_runs_all_that_is_queued(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> = (0..500u64).map(|n| ex.submit(|n| n + 1, n)).collect();
    block_on(ex.shutdown(Shutdown::Drain));
    assert!(futures.iter().all(|future| future.is_done()), "a shutdown returns when all is resolved");
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n + 1);
    }
}

fn nested_tasks_run_while_an_executor_drains(lab: &Lab) {
    let task = |(gate, n): (String, u64)| {
        pass(&gate, n);
        let nested = crate::context().executor().submit(|n: u64| n * n, n);
        nested.wait().unwrap() + 1
    };
    for is_dropped in [false, true] {
        let ex = lab.workers(1);
        let gate = lab.gate();
        let futures: Vec<_> = (0..3).map(|n| ex.submit(task, (gate.address(), n))).collect();
        if lab.can.concurrent {
            gate.wait_for(1);
        }
        if is_dropped {
            drop(ex);
        } else {
            // Goes on without being awaited.
            let _ = block_on(async { ::futures::poll!(ex.shutdown(Shutdown::Drain)) });
        }
        gate.open();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(value(future), n * n + 1);
        }
    }
}

fn cancel_pending_lets_what_is_running_end(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("ended"));
    let running = ex.submit(gated, (gate.address(), tally.path(), 0));
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    let queued: Vec<_> = (1..10).map(|n| ex.submit(gated, (gate.address(), tally.path(), n))).collect();
    std::thread::scope(|scope| {
        let shutdown = scope.spawn(|| block_on(ex.shutdown(Shutdown::CancelPending)));
        for (n, future) in (1..).zip(queued) {
            match lab.can.concurrent {
                true => assert_eq!(error(future), TaskError::Cancelled),
                false => assert_eq!(value(future), n),
            }
        }
        assert!(!lab.can.concurrent || !shutdown.is_finished(), "a task still runs");
        gate.open();
    });
    assert_eq!(value(running), 0);
    let ended = if lab.can.concurrent { 1 } else { 10 };
    assert_eq!(tally.lines().len(), ended);
}

fn kill_resolves_everything_at_once(lab: &Lab) {
    let ex = lab.workers(2);
    let (gate, tally) = (lab.gate(), lab.tally("ended"));
    let futures: Vec<_> = (0..20).map(|n| ex.submit(gated, (gate.address(), tally.path(), n))).collect();
    if lab.can.concurrent {
        gate.wait_for(2);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| block_on(ex.shutdown(Shutdown::Kill)));
        for (n, future) in (0..).zip(futures) {
            match lab.can.concurrent {
                // The gate is closed: nobody could end by itself.
                true => assert_eq!(error(future), TaskError::Cancelled, "task {n}"),
                false => assert_eq!(value(future), n),
            }
        }
        if !lab.can.stops_running {
            gate.open();
        }
    });
    gate.open();
}

fn submits_after_a_shutdown_are_refused_and_the_argument_comes_back(lab: &Lab) {
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        let ex = lab.workers(1);
        assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
        block_on(ex.shutdown(how));
        assert_eq!(error(ex.submit(|n: u64| n, 1)), TaskError::Closed, "after {how:?}");
        let refused = ex.task(|text: String| text, "mine".to_owned()).try_submit().expect_err("it is closed");
        assert_eq!(refused.error, TaskError::Closed);
        assert!(!refused.is_full());
        assert_eq!(refused.into_arg(), "mine");
        assert_eq!(block_on(ex.ready()), Err(TaskError::Closed));
        block_on(ex.shutdown(how));
    }
}

fn a_shutdown_may_become_stricter(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("ended"));
    let futures: Vec<_> = (0..5).map(|n| ex.submit(gated, (gate.address(), tally.path(), n))).collect();
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    std::thread::scope(|scope| {
        let drain = scope.spawn(|| block_on(ex.shutdown(Shutdown::Drain)));
        eventually(
            "the executor is closed",
            || matches!(ex.task(|n: u64| n, 1).try_submit(), Err(refused) if refused.error == TaskError::Closed),
        );
        assert!(!lab.can.concurrent || !drain.is_finished(), "five tasks are held at the gate");
        scope.spawn(|| block_on(ex.shutdown(Shutdown::Kill)));
        for (n, future) in (0..).zip(futures) {
            match lab.can.concurrent {
                true => assert_eq!(error(future), TaskError::Cancelled),
                false => assert_eq!(value(future), n),
            }
        }
        gate.open();
    });
}

fn a_shutdown_of_an_idle_executor_ends(lab: &Lab) {
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        // At once after it was opened, when its workers are still starting.
        block_on(lab.workers(2).shutdown(how));
        let used = lab.workers(2);
        assert_eq!(value(used.submit(|n: u64| n, 1)), 1);
        block_on(used.shutdown(how));
        assert_eq!(used.stats().queued + used.stats().running, 0);
    }
}

fn a_shutdown_that_nobody_awaits_goes_on(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("ended"));
    let futures: Vec<_> = (0..5).map(|n| ex.submit(gated, (gate.address(), tally.path(), n))).collect();
    {
        let mut shutdown = ex.shutdown(Shutdown::Drain);
        let polled = block_on(async { ::futures::poll!(&mut shutdown) });
        assert_eq!(polled.is_pending(), lab.can.concurrent);
    }
    gate.open();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n);
    }
    assert_eq!(error(ex.submit(|n: u64| n, 1)), TaskError::Closed);
}

fn the_drop_of_an_executor_lets_its_tasks_run(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("ended"));
    let mut futures: Vec<_> = (0..5).map(|n| ex.submit(gated, (gate.address(), tally.path(), n))).collect();
    drop(futures.pop());
    drop(ex);
    gate.open();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n);
    }
    eventually("the task without a future has run too", || tally.lines().len() == 5);
}

fn a_map_on_a_closed_executor_gives_errors_and_ends(lab: &Lab) {
    let ex = lab.workers(1);
    block_on(ex.shutdown(Shutdown::Drain));
    let results = ex.map(|n: u64| n, 0..10).wait();
    assert_eq!(results, vec![Err(TaskError::Closed); 10]);
}

fn shutdowns_race_with_submits_and_no_future_is_lost(lab: &Lab) {
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        let ex = lab.workers(2);
        std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| (0..2000u64).map(|n| ex.submit(|n| n, n)).collect::<Vec<_>>()))
                .collect();
            scope.spawn(|| {
                // Some tasks first, so that the shutdown falls among them.
                eventually("tasks end", || ex.stats().finished > 10);
                block_on(ex.shutdown(how));
            });
            for submitter in submitters {
                for (n, future) in (0..).zip(submitter.join().expect("it does not panic")) {
                    match outcome(future) {
                        Ok(value) => assert_eq!(value, n),
                        Err(TaskError::Closed) => {}
                        Err(TaskError::Cancelled) => assert_ne!(how, Shutdown::Drain),
                        Err(other) => panic!("task {n} with {how:?}: {other}"),
                    }
                }
            }
        });
        assert_eq!(ex.stats().queued, 0);
    }
    // Whoever waits for nothing in particular does not wait for ever either.
    let ex = lab.workers(1);
    let future = ex.submit(|n: u64| n, 1);
    block_on(ex.shutdown(Shutdown::CancelPending));
    assert!(future.wait_timeout(Duration::ZERO).is_some(), "it is resolved when the shutdown returns");
}
