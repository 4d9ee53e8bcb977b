//! The caller's side of a task: its states, and the ways to wait for it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use ::futures::StreamExt;
use ::futures::executor::block_on;
use ::futures::future::join_all;

use super::lab::{Lab, PATIENCE, error, eventually, value};
use super::list;
use super::signal::{note, pass};
use crate::combine::{ReturnWhen, as_completed, wait};
use crate::ext::ExecutorExt;
use crate::task::TaskStatus;

list![
    a_future_goes_from_queued_over_running_to_done,
    a_wait_with_a_limit_gives_up_and_the_task_goes_on,
    a_future_that_is_dropped_lets_its_task_run,
    futures_are_awaited_in_any_runtime,
    a_future_may_be_awaited_on_another_thread,
    a_waker_is_woken_when_the_outcome_comes,
    wait_returns_when_the_first_is_done,
    wait_returns_when_the_first_has_failed,
    wait_for_the_first_error_waits_for_all_if_there_is_none,
    wait_returns_when_all_are_done,
    wait_with_a_limit_tells_done_from_not_done,
    wait_sees_what_is_done_already,
    as_completed_gives_the_first_resolved_first,
    as_completed_is_a_stream_too,
];

fn gated((gate, who): (String, u64)) -> u64 {
    pass(&gate, who);
    who
}

fn a_future_goes_from_queued_over_running_to_done(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let running = ex.submit(gated, (gate.address(), 1));
    let queued = ex.submit(gated, (gate.address(), 2));
    if lab.can.concurrent {
        gate.wait_for(1);
        eventually("a task that runs is shown as running", || running.status() == TaskStatus::Running);
        assert!(!running.is_done());
        assert_eq!(queued.status(), TaskStatus::Queued);
        assert_eq!(gate.arrived(), [1], "one worker runs one task at a time");
    }
    gate.open();
    eventually("both tasks end", || running.is_done() && queued.is_done());
    assert_eq!((running.status(), queued.status()), (TaskStatus::Done, TaskStatus::Done));
    assert!(!running.is_failed());
    assert_eq!((value(running), value(queued)), (1, 2));
}

fn a_wait_with_a_limit_gives_up_and_the_task_goes_on(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let future = ex.submit(gated, (gate.address(), 1));
    let waited = future.wait_timeout(Duration::from_millis(5));
    if lab.can.concurrent {
        assert_eq!(waited, None, "the task is held at the gate");
        gate.open();
        assert_eq!(value(future), 1);
    } else {
        assert_eq!(waited, Some(Ok(1)));
    }
}

fn a_future_that_is_dropped_lets_its_task_run(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("ran"));
    for who in 0..3u64 {
        let task = |(gate, tally, who): (String, String, u64)| {
            pass(&gate, who);
            note(&tally, &who.to_string());
        };
        drop(ex.submit(task, (gate.address(), tally.path(), who)));
    }
    gate.open();
    eventually("all three tasks have run", || tally.lines().len() == 3);
}

fn futures_are_awaited_in_any_runtime(lab: &Lab) {
    let ex = lab.open(&[]);
    let futures = (0..50u64).map(|n| ex.submit(|n| n + 1, n));
    let values = block_on(join_all(futures));
    assert_eq!(values, (1..51).map(Ok).collect::<Vec<_>>());
    let mut pool = ::futures::executor::LocalPool::new();
    let product = pool.run_until(async { ex.submit(|n: u64| n * 6, 7).await });
    assert_eq!(product, Ok(42));
}

fn a_future_may_be_awaited_on_another_thread(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let mut future = ex.submit(gated, (gate.address(), 1));
    // Polled here first, then there: the waker of the last poll is the one that is woken.
    let first = block_on(async { ::futures::poll!(&mut future) });
    assert_eq!(first.is_pending(), lab.can.concurrent);
    if first.is_ready() {
        return;
    }
    let waiter = std::thread::spawn(move || block_on(future));
    gate.open();
    assert_eq!(waiter.join().expect("it does not panic"), Ok(1));
}

fn a_waker_is_woken_when_the_outcome_comes(lab: &Lab) {
    #[derive(Default)]
    struct Wakes(AtomicUsize);
    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let ex = lab.workers(1);
    let gate = lab.gate();
    let mut future = pin!(ex.submit(gated, (gate.address(), 1)));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(polled.is_pending(), lab.can.concurrent);
    if polled.is_ready() {
        return;
    }
    assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
    gate.open();
    eventually("the waker is woken", || wakes.0.load(Ordering::SeqCst) > 0);
    assert!(future.is_done(), "nobody is woken for nothing");
    assert_eq!(block_on(future), Ok(1));
}

fn wait_returns_when_the_first_is_done(lab: &Lab) {
    let ex = lab.workers(2);
    let gate = lab.gate();
    let futures = vec![ex.submit(gated, (gate.address(), 1)), ex.submit(|(_, n)| n, (String::new(), 2))];
    let waited = wait(futures, ReturnWhen::FirstCompleted, PATIENCE);
    if lab.can.concurrent {
        assert_eq!((waited.done.len(), waited.not_done.len()), (1, 1));
    }
    gate.open();
    let mut values: Vec<u64> = waited.done.into_iter().chain(waited.not_done).map(value).collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2]);
}

fn wait_returns_when_the_first_has_failed(lab: &Lab) {
    let ex = lab.workers(2);
    let gate = lab.gate();
    let futures = vec![
        ex.submit(gated, (gate.address(), 1)),
        ex.submit(|(_, n)| n, (String::new(), 2)),
        ex.submit(|(_, n)| panic!("{n} fails on purpose"), (String::new(), 3)),
    ];
    let waited = wait(futures, ReturnWhen::FirstError, PATIENCE);
    assert!(waited.done.iter().any(|future| future.is_failed()), "{waited:?}");
    assert_eq!(waited.not_done.is_empty(), !lab.can.concurrent, "the first is held at the gate");
}

fn wait_for_the_first_error_waits_for_all_if_there_is_none(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> = (0..10u64).map(|n| ex.submit(|n| n, n)).collect();
    let waited = wait(futures, ReturnWhen::FirstError, PATIENCE);
    assert_eq!((waited.done.len(), waited.not_done.len()), (10, 0));
}

fn wait_returns_when_all_are_done(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> =
        (0..10u64).map(|n| ex.submit(|n| if n == 4 { panic!("on purpose") } else { n }, n)).collect();
    let waited = wait(futures, ReturnWhen::AllCompleted, PATIENCE);
    assert_eq!((waited.done.len(), waited.not_done.len()), (10, 0));
    for (n, future) in (0..).zip(waited.done) {
        if n == 4 {
            assert!(error(future).is_panic());
        } else {
            assert_eq!(value(future), n, "in the order of the input");
        }
    }
}

fn wait_with_a_limit_tells_done_from_not_done(lab: &Lab) {
    let ex = lab.workers(2);
    let gate = lab.gate();
    let quick = ex.submit(|(_, n)| n, (String::new(), 2));
    eventually("a task without work ends", || quick.is_done());
    let futures = vec![ex.submit(gated, (gate.address(), 1)), quick];
    let waited = wait(futures, ReturnWhen::AllCompleted, Duration::from_millis(5));
    assert_eq!(waited.not_done.len(), usize::from(lab.can.concurrent));
    gate.open();
    for future in waited.not_done {
        assert_eq!(value(future), 1, "a wait that gives up stops nothing");
    }
}

fn wait_sees_what_is_done_already(lab: &Lab) {
    let ex = lab.workers(1);
    let future = ex.submit(|n: u64| n, 1);
    eventually("a task without work ends", || future.is_done());
    let waited = wait([future], ReturnWhen::FirstCompleted, Duration::ZERO);
    assert_eq!(waited.done.len(), 1);
    let none = wait(Vec::<crate::TaskFuture<u64>>::new(), ReturnWhen::FirstCompleted, None);
    assert!(none.done.is_empty() && none.not_done.is_empty(), "there is nothing to wait for");
}

fn as_completed_gives_the_first_resolved_first(lab: &Lab) {
    let ex = lab.workers(2);
    let gate = lab.gate();
    let held = ex.submit(gated, (gate.address(), 1));
    let quick = ex.submit(|(_, n)| n, (String::new(), 2));
    let quick_id = quick.id();
    let mut completed = as_completed([held, quick]).into_iter();
    let first = completed.next().expect("two futures were given");
    if lab.can.concurrent {
        assert_eq!(first.id(), quick_id);
    }
    gate.open();
    let second = completed.next().expect("two futures were given");
    assert_eq!(value(first) + value(second), 3);
    assert!(completed.next().is_none());
}

fn as_completed_is_a_stream_too(lab: &Lab) {
    let ex = lab.open(&[]);
    let futures: Vec<_> = (0..100u64).map(|n| ex.submit(|n| n, n)).collect();
    let sum = block_on(as_completed(futures).fold(0, async |sum, future| sum + value(future)));
    assert_eq!(sum, 4950);
}
