//! Models of the state word, named by promise. Run by
//! `RUSTFLAGS="--cfg loom" cargo test -p executor-core --release --lib loom`.
//!
//! They drive whole tasks. Only the state word is loom's, which is enough: it is all that orders the rest. What a
//! model's threads share otherwise (counts, thread-locals) is std's and does not take part.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ::loom::thread;

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

fn run(job: Job) -> RunOutcome {
    let host: Arc<dyn Host> = Arc::new(NoHost);
    job.run(&host, 1)
}

#[derive(Default)]
struct Flag(AtomicBool);
impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn poll<R>(future: &mut TaskFuture<R>, flag: &Arc<Flag>) -> Poll<Result<R, TaskError>> {
    Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(flag))))
}

/// The outcome, when all threads but the caller's have ended.
fn outcome<R>(mut future: TaskFuture<R>) -> Result<R, TaskError> {
    match poll(&mut future, &Arc::default()) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("everybody has ended, and the task has no outcome"),
    }
}

fn time_out() -> TaskError {
    TaskError::timed_out(Duration::from_secs(1), "here")
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
fn loom_a_wake_up_is_not_lost_between_register_and_completion() {
    ::loom::model(|| {
        let (job, mut future) = Job::from_fn(|| 7);
        let runner = thread::spawn(move || drop(run(job)));
        let (first, second) = (Arc::<Flag>::default(), Arc::<Flag>::default());
        for flag in [&first, &second] {
            if let Poll::Ready(result) = poll(&mut future, flag) {
                assert_eq!(result, Ok(7));
                runner.join().unwrap();
                return;
            }
        }
        runner.join().unwrap();
        assert!(second.0.load(Ordering::SeqCst), "the waker registered last is woken");
        assert_eq!(outcome(future), Ok(7));
    });
}

#[test]
fn loom_of_cancel_and_begin_exactly_one_wins() {
    ::loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(AtomicBool::new(false));
        let (inside, captured) = (Arc::clone(&begun), Tracked::new(&alive));
        let (job, future) = Job::from_fn(move || {
            inside.store(true, Ordering::SeqCst);
            captured
        });
        let runner = thread::spawn(move || drop(run(job)));
        let is_cancelled = future.cancel();
        runner.join().unwrap();
        assert_ne!(is_cancelled, begun.load(Ordering::SeqCst));
        match outcome(future) {
            Ok(_) => assert!(!is_cancelled),
            Err(error) => assert!(is_cancelled && error == TaskError::Cancelled),
        }
        assert_eq!(alive.load(Ordering::SeqCst), 0, "what the body captured is dropped");
    });
}

#[test]
fn loom_of_completion_and_time_limit_exactly_one_gives_the_output() {
    ::loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let captured = Tracked::new(&alive);
        let (job, future) = Job::from_fn(move || captured);
        let limit = job.time_limit_handle();
        let timer = thread::spawn(move || {
            limit.request_cancel();
            limit.fail(time_out())
        });
        drop(run(job));
        let has_struck = timer.join().unwrap();
        match outcome(future) {
            Ok(_) => assert!(!has_struck),
            Err(error) => assert!(has_struck && error == time_out()),
        }
        assert_eq!(alive.load(Ordering::SeqCst), 0, "the output is dropped once");
    });
}

#[test]
fn loom_of_completion_and_kill_exactly_one_gives_the_outcome_and_wakes() {
    ::loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let captured = Tracked::new(&alive);
        let (job, mut future) = Job::from_fn(move || captured);
        let handle = job.handle();
        let flag = Arc::default();
        assert!(poll(&mut future, &flag).is_pending());
        let killer = thread::spawn(move || handle.kill());
        drop(run(job));
        let is_killed = killer.join().unwrap();
        assert!(flag.0.load(Ordering::SeqCst));
        match outcome(future) {
            Ok(_) => assert!(!is_killed),
            Err(error) => assert!(is_killed && error == TaskError::Cancelled),
        }
        assert_eq!(alive.load(Ordering::SeqCst), 0, "the output is dropped once");
    });
}

#[test]
fn loom_of_kill_and_time_limit_and_completion_exactly_one_gives_the_outcome() {
    let mut model = ::loom::model::Builder::new();
    // Three threads: all executions would take minutes.
    model.preemption_bound = Some(2);
    model.check(|| {
        let (job, future) = Job::from_fn(|| 7);
        let (limit, handle) = (job.time_limit_handle(), job.handle());
        let timer = thread::spawn(move || limit.fail(time_out()));
        let killer = thread::spawn(move || handle.kill());
        drop(run(job));
        let (has_struck, is_killed) = (timer.join().unwrap(), killer.join().unwrap());
        match outcome(future) {
            Ok(value) => assert!(value == 7 && !has_struck && !is_killed),
            Err(TaskError::Cancelled) => assert!(is_killed && !has_struck),
            Err(error) => assert!(has_struck && !is_killed && error == time_out()),
        }
    });
}

#[test]
fn loom_the_last_of_job_and_future_frees_the_task_and_its_output() {
    ::loom::model(|| {
        let alive = Arc::new(AtomicUsize::new(0));
        let captured = Tracked::new(&alive);
        let (job, future) = Job::from_fn(move || captured);
        let runner = thread::spawn(move || drop(run(job)));
        drop(future);
        runner.join().unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

/// The steps of `Ref::register` over a slot that loom watches.
fn register(state: &state::State, slot: &::loom::cell::UnsafeCell<u32>) -> bool {
    if state.has_waker() && !state.try_unset_waker() {
        return false;
    }
    // SAFETY: rule 5, which this model checks: loom panics if another thread is at the slot.
    slot.with_mut(|waker| unsafe { *waker += 1 });
    state.try_set_waker()
}

#[test]
fn loom_a_future_that_polls_again_never_meets_the_completer_at_the_waker() {
    ::loom::model(|| {
        let shared = ::loom::sync::Arc::new((
            state::State::new(state::Content::Empty, 2),
            ::loom::cell::UnsafeCell::new(0),
        ));
        let completer = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (state, slot) = &*shared;
                let done = state.transition_to_done(
                    state::Content::Empty,
                    state::Content::Output,
                    state::Kind::Value,
                );
                if done == state::Finish::Published(state::Published::Wake) {
                    // SAFETY: as in `register`.
                    slot.with_mut(|waker| unsafe { *waker = 0 });
                }
            })
        };
        let (state, slot) = &*shared;
        // What a future does that was not done when it looked.
        let _ = register(state, slot) && register(state, slot);
        completer.join().unwrap();
    });
}

/// A task as loom watches it: the state, the waker slot, and the slot of the output.
type Watched = (state::State, ::loom::cell::UnsafeCell<u32>, ::loom::cell::UnsafeCell<u32>);

/// Frees it, which touches all there is.
fn free((_, waker, output): &Watched, freed: &AtomicUsize) {
    for slot in [waker, output] {
        // SAFETY: the last reference, which the model checks: loom panics if another thread is at a slot.
        slot.with_mut(|it| unsafe { *it = 0 });
    }
    freed.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn loom_a_completer_that_leaves_in_one_step_frees_the_task_or_leaves_it_to_the_future() {
    ::loom::model(|| {
        let slot = || ::loom::cell::UnsafeCell::new(0);
        let task: Watched = (state::State::new(state::Content::Empty, 2), slot(), slot());
        let task = ::loom::sync::Arc::new(task);
        let freed = Arc::new(AtomicUsize::new(0));
        let completer = {
            let (task, freed) = (task.clone(), Arc::clone(&freed));
            thread::spawn(move || {
                let (state, waker, output) = &*task;
                // SAFETY: rule 2: nobody else completes it.
                output.with_mut(|it| unsafe { *it = 7 });
                let (empty, full) = (state::Content::Empty, state::Content::Output);
                match state.transition_to_done_and_leave(empty, full, state::Kind::Value) {
                    state::Finish::Left => return,
                    state::Finish::Published(state::Published::Quiet) => {}
                    state::Finish::Published(state::Published::Wake) => {
                        // SAFETY: rule 5.
                        waker.with_mut(|it| unsafe { *it = 0 });
                    }
                    state::Finish::Killed => unreachable!("nobody kills it"),
                }
                if state.drop_reference() {
                    free(&task, &freed);
                }
            })
        };
        let (state, waker, output) = &*task;
        if state.load().is_done() || !register(state, waker) {
            // As `Ref::take` does first: a waker that was not taken orders nothing by itself.
            assert!(state.load().is_done());
            // SAFETY: rule 1: it is done.
            assert_eq!(output.with(|it| unsafe { *it }), 7);
        }
        if state.drop_reference() {
            free(&task, &freed);
        }
        completer.join().unwrap();
        assert_eq!(freed.load(Ordering::SeqCst), 1, "freed once");
    });
}

#[test]
fn loom_an_encoded_task_that_is_completed_elsewhere_is_decoded_once() {
    ::loom::model(|| {
        let body: super::Call<Vec<u64>, Vec<u64>> = super::Call(|numbers| numbers);
        let (mut job, mut future) = Job::new(body, vec![u64::MAX; 3], None);
        job.encode().unwrap();
        let flag = Arc::<Flag>::default();
        let completer = thread::spawn(move || {
            let result = job.encoded().to_vec();
            job.complete(&result);
        });
        let early = poll(&mut future, &flag);
        completer.join().unwrap();
        match early {
            Poll::Ready(result) => assert_eq!(result, Ok(vec![u64::MAX; 3])),
            Poll::Pending => {
                assert!(flag.0.load(Ordering::SeqCst), "the waker is woken");
                assert_eq!(outcome(future), Ok(vec![u64::MAX; 3]));
            }
        }
    });
}

#[test]
fn loom_what_a_job_prints_may_be_late_for_a_kill() {
    ::loom::model(|| {
        let (job, future) = Job::from_fn(|| 7);
        let handle = job.handle();
        let killer = thread::spawn(move || {
            handle.kill();
            let printed = future.printed().is_some();
            (printed, outcome(future))
        });
        job.set_printed(Printed { stdout: vec![1], stderr: Vec::new() });
        drop(run(job));
        let (_printed, outcome) = killer.join().unwrap();
        assert!(matches!(outcome, Ok(7) | Err(TaskError::Cancelled)));
    });
}
