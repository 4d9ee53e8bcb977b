//! Waiting for several tasks that end when the test says so.

use std::sync::Arc;
use std::task::Waker;

use super::*;
use crate::context::Host;
use crate::{Executor, Job, Serial, TaskError};

struct NoHost;

impl Host for NoHost {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Serial::new())
    }
    fn worker(&self) -> String {
        "here".to_owned()
    }
}

/// Tasks that give their number, and their jobs.
fn tasks(len: u64) -> (Vec<Job>, Vec<TaskFuture<u64>>) {
    (0..len).map(|n| Job::from_fn(move || n)).unzip()
}

fn run(job: Job) {
    let host: Arc<dyn Host> = Arc::new(NoHost);
    assert!(matches!(job.run(&host, 1), crate::RunOutcome::Finished));
}

fn values(futures: Vec<TaskFuture<u64>>) -> Vec<Result<u64, TaskError>> {
    futures.into_iter().map(TaskFuture::wait).collect()
}

#[test]
fn first_completed_returns_with_what_is_done_in_the_order_of_the_input() {
    let (mut jobs, futures) = tasks(4);
    run(jobs.remove(3));
    run(jobs.remove(1));
    let waited = wait(futures, ReturnWhen::FirstCompleted, None);
    assert_eq!(values(waited.done), [Ok(1), Ok(3)]);
    assert_eq!(waited.not_done.len(), 2);
}

#[test]
fn first_completed_is_woken_by_another_thread() {
    let (mut jobs, futures) = tasks(3);
    let job = jobs.remove(1);
    let thread = std::thread::spawn(|| run(job));
    let waited = wait(futures, ReturnWhen::FirstCompleted, None);
    thread.join().unwrap();
    assert_eq!(values(waited.done), [Ok(1)]);
}

#[test]
fn first_error_passes_over_values() {
    let (mut jobs, futures) = tasks(4);
    run(jobs.remove(0));
    let failed = jobs.remove(1);
    let thread = std::thread::spawn(move || failed.fail(TaskError::Full));
    let waited = wait(futures, ReturnWhen::FirstError, None);
    thread.join().unwrap();
    assert_eq!(values(waited.done), [Ok(0), Err(TaskError::Full)]);
    assert_eq!(waited.not_done.len(), 2);
}

#[test]
fn a_cancel_counts_as_an_error() {
    let (_jobs, futures) = tasks(2);
    assert!(futures[1].cancel());
    let waited = wait(futures, ReturnWhen::FirstError, None);
    assert_eq!(values(waited.done), [Err(TaskError::Cancelled)]);
}

#[test]
fn first_error_without_errors_waits_for_all() {
    let (jobs, futures) = tasks(3);
    let thread = std::thread::spawn(|| jobs.into_iter().rev().for_each(run));
    let waited = wait(futures, ReturnWhen::FirstError, None);
    thread.join().unwrap();
    assert_eq!(values(waited.done), [Ok(0), Ok(1), Ok(2)]);
}

#[test]
fn a_limit_ends_the_wait_and_stops_nothing() {
    let (mut jobs, futures) = tasks(3);
    run(jobs.remove(2));
    for when in [ReturnWhen::AllCompleted, ReturnWhen::FirstError] {
        let (_jobs, pending) = tasks(2);
        let waited = wait(pending, when, Duration::from_millis(2));
        assert_eq!((waited.done.len(), waited.not_done.len()), (0, 2), "{when:?}");
    }
    let waited = wait(futures, ReturnWhen::AllCompleted, Duration::ZERO);
    assert_eq!(values(waited.done), [Ok(2)]);
    jobs.into_iter().for_each(run);
    assert_eq!(values(waited.not_done), [Ok(0), Ok(1)]);
}

#[test]
fn a_limit_that_never_comes_is_none() {
    let (jobs, futures) = tasks(2);
    let thread = std::thread::spawn(|| jobs.into_iter().for_each(run));
    let waited = wait(futures, ReturnWhen::AllCompleted, Duration::MAX);
    thread.join().unwrap();
    assert_eq!(waited.done.len(), 2);
}

#[test]
fn completed_futures_come_in_the_order_of_their_ends() {
    let (jobs, futures) = tasks(5);
    let mut jobs: Vec<Option<Job>> = jobs.into_iter().map(Some).collect();
    let mut completed = as_completed(futures);
    let mut next = || Pin::new(&mut completed).poll_next(&mut Context::from_waker(Waker::noop()));
    for n in [3, 0, 4, 2, 1] {
        assert!(next().is_pending());
        run(jobs[n].take().unwrap());
        match next() {
            Poll::Ready(Some(future)) => assert_eq!(future.wait(), Ok(n as u64)),
            other => panic!("task {n} was expected, not {other:?}"),
        }
    }
    assert!(matches!(next(), Poll::Ready(None)));
    assert_eq!(completed.size_hint(), (0, Some(0)));
}

#[test]
fn completed_futures_are_iterated_with_their_errors() {
    let (mut jobs, futures) = tasks(3);
    drop(jobs.remove(1));
    let thread = std::thread::spawn(|| jobs.into_iter().for_each(run));
    let mut outcomes: Vec<_> = as_completed(futures).into_iter().map(|it| it.wait().ok()).collect();
    thread.join().unwrap();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [None, Some(0), Some(2)]);
}
