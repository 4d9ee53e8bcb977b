//! The protocol of a task, without an executor.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use std::{future::Future, pin::pin};

use serde::{Deserialize, Serialize};

use super::*;
use crate::context::Host;
use crate::executor::Executor;
use crate::{Serial, TaskError};

struct NoHost;
impl Host for NoHost {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Serial::new())
    }
    fn worker(&self) -> String {
        "here".to_owned()
    }
}

fn host() -> Arc<dyn Host> {
    Arc::new(NoHost)
}

fn run(job: Job) -> RunOutcome {
    job.run(&host(), 1)
}

#[derive(Default)]
struct CountWakes(AtomicUsize);
impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts how many of it are alive.
struct Tracked(Arc<AtomicUsize>);
impl Tracked {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}
impl Drop for Tracked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_job_that_runs_resolves_its_future() {
    let (job, future) = Job::new(Call(|n: u64| n + 1), 41, None);
    assert_eq!(future.status(), TaskStatus::Queued);
    assert!(matches!(run(job), RunOutcome::Finished));
    assert_eq!(future.status(), TaskStatus::Done);
    assert_eq!(future.wait(), Ok(42));
}

#[test]
fn a_job_that_is_dropped_closes_its_future() {
    let (job, future) = Job::new(Call(|n: u64| n), 1, None);
    drop(job);
    assert_eq!(future.wait(), Err(TaskError::Closed));
}

#[test]
fn a_cancelled_job_does_not_begin() {
    let (job, future) = Job::from_fn(|| unreachable!("it was cancelled"));
    assert!(future.cancel());
    assert!(!future.cancel(), "the outcome is there already");
    assert!(matches!(run(job), RunOutcome::Gone));
    assert_eq!(future.status(), TaskStatus::Cancelled);
    assert_eq!(future.wait(), Err::<(), _>(TaskError::Cancelled));
}

#[test]
fn a_task_that_runs_is_told_of_a_cancel_and_its_value_arrives() {
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = std::sync::mpsc::channel();
    let (job, future) = Job::from_fn(move || {
        let context = crate::context();
        started.send(()).unwrap();
        receive.recv().unwrap();
        context.is_cancelled()
    });
    std::thread::scope(|scope| {
        scope.spawn(|| run(job));
        has_started.recv().unwrap();
        assert_eq!(future.status(), TaskStatus::Running);
        assert!(!future.cancel(), "threads are not stopped");
        send.send(()).unwrap();
    });
    assert_eq!(future.wait(), Ok(true));
}

#[test]
fn a_panic_is_the_outcome_with_message_location_and_backtrace() {
    let (job, future) = Job::new(Call(|n: u64| -> u64 { panic!("no {n}") }), 7, None);
    assert!(matches!(run(job), RunOutcome::Finished));
    match future.wait() {
        Err(TaskError::Panicked { message, location, backtrace }) => {
            assert_eq!(message, "no 7");
            assert!(location.contains("tests.rs"), "{location}");
            assert!(!backtrace.is_empty());
        }
        other => panic!("expected a panic, got {other:?}"),
    }
}

#[test]
fn a_panic_payload_whose_drop_panics_is_survived() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("again");
        }
    }
    let (job, future) = Job::from_fn(|| std::panic::panic_any(Bomb));
    assert!(matches!(run(job), RunOutcome::Finished));
    assert!(matches!(future.wait(), Err::<(), _>(TaskError::Panicked { .. })));
}

#[test]
fn an_argument_of_any_length_is_encoded_as_it_is() {
    for len in (0..70).chain([1000, 100_000, 10]) {
        let value = (len as u16, "x".repeat(len));
        let mut expected = Vec::new();
        crate::codec::encode_arg(&value, &mut expected).unwrap();
        let (mut job, future) = Job::new(Call(|value: (u16, String)| value), value.clone(), None);
        job.encode().unwrap();
        assert_eq!(job.encoded(), expected);
        job.encode().unwrap();
        let result = job.encoded().to_vec();
        job.complete(&result);
        assert_eq!(future.wait(), Ok(value));
    }
}

#[test]
fn an_argument_over_the_limit_stays_with_its_job() {
    for len in [5, 50, 70_000] {
        let (mut job, _future) = Job::new(Call(|text: String| text), "x".repeat(len), None);
        assert!(matches!(job.encode_within(4), Err(TaskError::Encode { .. })));
        // SAFETY: the job was made with this body.
        assert_eq!(unsafe { job.reclaim::<Call<String, String>>() }, Some("x".repeat(len)));
    }
}

#[test]
fn an_encoded_job_is_completed_from_bytes() {
    let (mut job, future) = Job::new(Call(|s: String| s.len()), "x".repeat(1000), None);
    job.encode().unwrap();
    let mut out = Vec::new();
    let target = job.target().unwrap();
    let incoming = crate::worker::Incoming {
        target: &target,
        arg: job.encoded().into(),
        task: job.id(),
        attempt: 1,
        token: 0,
    };
    let invocation = {
        let mut outlet = crate::Outlet::new(&mut out, crate::Carrier::bytes(usize::MAX));
        crate::worker::run(incoming, &host(), &mut outlet)
    };
    assert!(matches!(invocation, crate::Invocation::Done(Ok(()))));
    job.complete(&out);
    assert_eq!(future.wait(), Ok(1000));
}

/// Says what it keeps, and is written as nothing.
struct Keeps(Option<Arc<dyn Any + Send + Sync>>);

impl Serialize for Keeps {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(thing) = &self.0 {
            crate::attachment::keep(Arc::clone(thing));
        }
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Keeps {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <()>::deserialize(deserializer).map(|()| Self(None))
    }
}

#[test]
fn what_an_encoded_argument_keeps_lives_until_the_outcome() {
    let thing: Arc<dyn Any + Send + Sync> = Arc::new(());
    let make = || {
        let (mut job, future) = Job::new(Call(|_: Keeps| 1u8), Keeps(Some(Arc::clone(&thing))), None);
        job.encode().unwrap();
        (job, future)
    };
    let (job, future) = make();
    assert_eq!(Arc::strong_count(&thing), 2, "the argument has gone, and the job keeps the thing");
    job.complete(&[1]);
    assert_eq!(Arc::strong_count(&thing), 1, "the outcome is there, and nobody has asked for it yet");
    assert_eq!(future.wait(), Ok(1));

    let (job, future) = make();
    drop(job);
    assert_eq!(Arc::strong_count(&thing), 1);
    assert_eq!(future.wait(), Err(TaskError::Closed));
}

#[test]
fn a_result_that_does_not_decode_is_an_error_of_its_own_future() {
    let (mut job, future) = Job::new(Call(|n: u64| n.to_string()), 1, None);
    job.encode().unwrap();
    job.complete(&[200, 1, 2]);
    assert!(matches!(future.wait(), Err(TaskError::Decode { .. })));
}

#[test]
fn a_relayed_job_hands_its_bytes_to_the_sink() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (job, _handle) = Job::from_encoded(
        crate::Target::Named("x".into()),
        vec![1, 2, 3].into(),
        false,
        TaskOptions::default(),
        Vec::new(),
        move |result| sender.send(result).unwrap(),
    );
    assert_eq!(job.encoded(), [1, 2, 3]);
    job.complete(&[4]);
    assert_eq!(*receiver.recv().unwrap().unwrap().bytes, [4]);
}

#[test]
fn a_relayed_job_that_is_dropped_tells_its_sink() {
    let (sender, receiver) = std::sync::mpsc::channel();
    drop(Job::from_encoded(
        crate::Target::Named("x".into()),
        Vec::new().into(),
        false,
        TaskOptions::default(),
        Vec::new(),
        move |result| sender.send(result).unwrap(),
    ));
    assert_eq!(receiver.recv().unwrap().unwrap_err(), TaskError::Closed);
}

/// What a sink was told of a task.
type Outcome = (u64, Result<Vec<u8>, TaskError>, Duration);

/// A sink that keeps what it is told.
#[derive(Default)]
struct Keeper {
    outcomes: std::sync::Mutex<Vec<Outcome>>,
    flushes: AtomicUsize,
}

impl crate::RelaySink for Keeper {
    fn complete(&self, token: u64, outcome: Result<&crate::Parcel<'_>, &TaskError>, elapsed: Duration) {
        let outcome = outcome.map(|it| it.bytes.to_vec()).map_err(Clone::clone);
        self.outcomes.lock().unwrap().push((token, outcome, elapsed));
    }
    fn flush(&self) {
        self.flushes.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn relayed_jobs_tell_their_shared_sink_first_and_flush_it_by_the_notice() {
    let keeper = Arc::new(Keeper::default());
    let relay = |token| {
        let relayed = crate::Relayed {
            task: TaskId::from_raw(70 + token),
            target: crate::Target::Named("x".into()),
            arg: (&[1, 2]).into(),
            is_async: false,
            attempts_before: 3,
        };
        Job::relay(relayed, TaskOptions::default(), Vec::new(), Arc::clone(&keeper) as _, token).0
    };
    let (value, error, dropped) = (relay(1), relay(2), relay(3));
    assert_eq!((value.id().get(), value.attempts_before(), value.encoded()), (71, 3, &[1, 2][..]));
    value.note_elapsed(Duration::from_micros(5));
    let notices = [value.complete_deferred(&[9]), error.fail_deferred(TaskError::Full)];
    drop(dropped);
    let expected = vec![
        (1, Ok(vec![9]), Duration::from_micros(5)),
        (2, Err(TaskError::Full), Duration::ZERO),
        (3, Err(TaskError::Closed), Duration::ZERO),
    ];
    assert_eq!(*keeper.outcomes.lock().unwrap(), expected);
    assert_eq!(keeper.flushes.load(Ordering::SeqCst), 1, "of the one that was dropped");
    for notice in notices {
        assert!(notice.is_needed());
        notice.give();
    }
    assert_eq!(keeper.flushes.load(Ordering::SeqCst), 3);
}

#[test]
fn a_waker_is_woken_once_by_the_outcome() {
    let (job, future) = Job::new(Call(|n: u64| n), 5, None);
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    for _ in 0..3 {
        assert!(future.as_mut().poll(&mut cx).is_pending());
    }
    assert!(matches!(run(job), RunOutcome::Finished));
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert_eq!(future.as_mut().poll(&mut cx), Poll::Ready(Ok(5)));
}

#[test]
fn a_waiter_that_cancels_is_woken() {
    let (_job, future) = Job::new(Call(|n: u64| n), 5, None);
    let wakes = Arc::new(CountWakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut future = pin!(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(future.cancel());
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_time_limit_resolves_a_body_that_runs_on() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (started, has_started) = std::sync::mpsc::channel();
    let (job, future) = Job::from_fn(move || {
        started.send(()).unwrap();
        gone.recv().unwrap();
    });
    let handle = job.time_limit_handle();
    assert!(!handle.fail(TaskError::Closed), "it has not begun");
    let thread = std::thread::spawn(move || drop(run(job)));
    has_started.recv().unwrap();
    assert!(handle.fail(TaskError::timed_out(Duration::from_secs(1), "here")));
    assert!(matches!(future.wait(), Err(TaskError::TimedOut { .. })));
    go.send(()).unwrap();
    thread.join().unwrap();
}

/// Every order in which job and future can go away, before and after the outcome: nothing is dropped twice or never.
#[test]
fn nothing_leaks_whatever_goes_first() {
    for run_it in [false, true] {
        for cancel in [false, true] {
            for future_first in [false, true] {
                for take in [false, true] {
                    let alive = Arc::new(AtomicUsize::new(0));
                    let (arg, out) = (Tracked::new(&alive), Arc::clone(&alive));
                    let (job, future) = Job::from_fn(move || {
                        drop(arg);
                        Tracked::new(&out)
                    });
                    if cancel {
                        assert!(future.cancel());
                    }
                    let mut future = Some(future);
                    if future_first {
                        future = None;
                    }
                    if run_it {
                        drop(run(job));
                    } else {
                        drop(job);
                    }
                    if let Some(future) = future
                        && take
                    {
                        let value = future.wait();
                        assert_eq!(value.is_ok(), run_it && !cancel);
                    }
                    assert_eq!(
                        alive.load(Ordering::SeqCst),
                        0,
                        "run {run_it}, cancel {cancel}, future first {future_first}, take {take}"
                    );
                }
            }
        }
    }
}

#[test]
fn an_async_body_that_is_dropped_half_way_closes_its_future() {
    let (job, future) = Job::new(AsyncCall(|()| std::future::pending::<()>()), (), None);
    let RunOutcome::Async(body) = run(job) else { panic!("an async body is to be polled") };
    drop(body);
    assert_eq!(future.wait(), Err(TaskError::Closed));
}

#[test]
fn a_future_dropped_with_cancel_on_drop_cancels() {
    let (job, future) = Job::from_fn(|| unreachable!("it was cancelled"));
    drop(TaskFuture::<()>::cancel_on_drop(future));
    assert!(matches!(run(job), RunOutcome::Gone));
}

#[test]
fn a_pending_task_is_small() {
    assert_eq!(size_of::<TaskFuture<u64>>(), 8);
    assert_eq!(size_of::<Job>(), 8);
}

#[test]
fn futures_are_send_and_unpin() {
    fn check<T: Send + Unpin>() {}
    check::<TaskFuture<String>>();
}
