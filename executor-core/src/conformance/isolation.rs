//! Deaths of workers: each costs the task that was running, is told for what it was, and nothing else.

use std::collections::BTreeSet;

use ::futures::executor::block_on;
use serde::{Deserialize, Serialize};

use super::lab::{Lab, error, eventually, outcome, value};
use super::list;
use super::signal::{note, pass};
use crate::context;
use crate::error::TaskError;
use crate::executor::Shutdown;
use crate::ext::ExecutorExt;

list![
    each_way_to_die_is_told,
    last_words_are_part_of_the_error,
    a_death_costs_only_the_task_that_was_running,
    a_death_while_a_value_is_read_or_written_is_told,
    a_death_beside_large_values_loses_none_of_them,
    without_retries_a_body_begins_at_most_once,
    a_task_with_retries_is_begun_again,
    retries_end_and_the_error_says_how_often,
    deaths_in_a_row_trip_the_breaker,
    deaths_among_other_tasks_do_not_trip_the_breaker,
    a_worker_that_dies_while_idle_is_replaced,
    workers_that_are_killed_at_random_cost_retries_only,
    a_nested_task_that_kills_its_worker_fails_alone,
    a_map_goes_on_after_a_death,
    an_async_task_that_kills_its_worker_is_told,
    a_shutdown_ends_although_workers_die,
    workers_leave_with_the_shutdown,
    workers_ignore_an_interrupt_from_the_keyboard,
];

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Death {
    Abort,
    Exit,
    Kill,
    Fault,
    StackOverflow,
}

fn die(how: Death) {
    match how {
        Death::Abort => std::process::abort(),
        Death::Exit => std::process::exit(3),
        // SAFETY: plain system calls; this process ends, as it is meant to.
        Death::Kill => unsafe { libc::kill(libc::getpid(), libc::SIGKILL) }.unsigned_abs(),
        // SAFETY: as above; the signal's default action ends this process.
        Death::Fault => unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            libc::raise(libc::SIGSEGV).unsigned_abs()
        },
        Death::StackOverflow => recurse(&mut [1; 1024]),
    };
    // A signal to oneself may take a moment when other threads are there to take it.
    loop {
        std::thread::park();
    }
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn recurse(above: &mut [u32; 1024]) -> u32 {
    let mut frame = [above[7]; 1024];
    std::hint::black_box(&mut frame);
    recurse(&mut frame) + frame[above[3] as usize % 1024]
}

/// The parts of a `WorkerLost`: exit code, signal, attempts.
#[track_caller]
fn lost(error: TaskError) -> (Option<i32>, Option<i32>, u32) {
    match error {
        TaskError::WorkerLost { worker, exit, signal, attempts, .. } => {
            assert!(!worker.is_empty(), "the worker has a name");
            (exit, signal, attempts)
        }
        other => panic!("WorkerLost was expected, not: {other}"),
    }
}

fn each_way_to_die_is_told(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    for (how, exit, signal) in [
        (Death::Abort, None, Some(libc::SIGABRT)),
        (Death::Exit, Some(3), None),
        (Death::Kill, None, Some(libc::SIGKILL)),
        (Death::Fault, None, Some(libc::SIGSEGV)),
        (Death::StackOverflow, None, Some(libc::SIGABRT)),
    ] {
        let future = ex.submit(die, how);
        assert_eq!(lost(error(future)), (exit, signal, 1), "{how:?}");
        // The worker is replaced.
        assert_eq!(value(ex.submit(|n: u64| n, 1)), 1, "after {how:?}");
    }
    assert_eq!(ex.stats().lost_workers, 5);
    eventually("the last lost worker is replaced", || ex.stats().workers == 1);
}

fn last_words_are_part_of_the_error(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let task = |words: String| {
        eprintln!("{words}");
        std::process::abort();
    };
    let error = error(ex.submit::<_, ()>(task, "these are my last words".to_owned()));
    match &error {
        TaskError::WorkerLost { stderr_tail, .. } => {
            assert!(stderr_tail.contains("these are my last words"), "the tail is: {stderr_tail:?}");
        }
        other => panic!("WorkerLost was expected, not: {other}"),
    }
    let text = error.to_string();
    assert!(text.contains("these are my last words") && text.contains("SIGABRT"), "{text}");
}

fn a_death_costs_only_the_task_that_was_running(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    for workers in [1, 2] {
        let ex = lab.workers(workers);
        let gate = lab.gate();
        let task = |gate: String| {
            pass(&gate, 0);
            die(Death::Kill);
        };
        let dying = ex.submit(task, gate.address());
        gate.wait_for(1);
        let neighbours: Vec<_> =
            (0..100u64).map(|n| ex.submit(|n| (n * n, context().attempt()), n)).collect();
        gate.open();
        assert_eq!(lost(error(dying)), (None, Some(libc::SIGKILL), 1));
        for (n, future) in (0..).zip(neighbours) {
            assert_eq!(value(future), (n * n, 1), "{n} is not charged");
        }
        assert_eq!(ex.stats().lost_workers, 1);
        assert_eq!(ex.stats().retried, 0);
    }
}

/// Dies while it is serialised or deserialised.
#[derive(PartialEq)]
enum Fatal {
    WhenRead,
    WhenWritten,
}

impl Serialize for Fatal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self == Self::WhenWritten {
            die(Death::Kill);
        }
        serializer.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Fatal {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        die(Death::Exit);
        unreachable!("the process has ended")
    }
}

fn a_death_while_a_value_is_read_or_written_is_told(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let read = ex.submit(|_: Fatal| (), Fatal::WhenRead);
    assert_eq!(lost(error(read)), (Some(3), None, 1));
    let written = ex.submit(|()| Fatal::WhenWritten, ());
    match outcome(written) {
        Ok(_) => panic!("there is no value"),
        Err(error) => assert_eq!(lost(error), (None, Some(libc::SIGKILL), 1)),
    }
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}

fn a_death_beside_large_values_loses_none_of_them(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let text = "five".repeat(1 << 20);
    for _ in 0..3 {
        // The worker dies while what follows is being written to it.
        let dying = ex.submit(die, Death::Kill);
        let large: Vec<_> = (0..4).map(|_| ex.submit(|text: String| text, text.clone())).collect();
        assert_eq!(lost(error(dying)), (None, Some(libc::SIGKILL), 1));
        for future in large {
            assert!(value(future) == text, "4 MiB there and back");
        }
    }
}

fn without_retries_a_body_begins_at_most_once(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(2);
    let tally = lab.tally("begun");
    let task = |(tally, n): (String, u64)| {
        note(&tally, &n.to_string());
        if n % 10 == 7 {
            die(Death::Kill);
        }
        n
    };
    let futures: Vec<_> = (0..100).map(|n| ex.submit(task, (tally.path(), n))).collect();
    for (n, future) in (0..).zip(futures) {
        match outcome(future) {
            Ok(value) => assert_eq!((value, n % 10 == 7), (n, false)),
            Err(error) => {
                assert_eq!(lost(error), (None, Some(libc::SIGKILL), 1));
                assert_eq!(n % 10, 7);
            }
        }
    }
    let begun = tally.lines();
    let distinct: BTreeSet<_> = begun.iter().collect();
    assert_eq!((begun.len(), distinct.len()), (100, 100), "each was begun once");
}

fn a_task_with_retries_is_begun_again(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let tally = lab.tally("begun");
    let task = |tally: String| {
        let attempt = context().attempt();
        note(&tally, &attempt.to_string());
        if attempt == 1 {
            die(Death::Kill);
        }
        attempt
    };
    let future = ex.task(task, tally.path()).retries(3).submit();
    assert_eq!(value(future), 2);
    assert_eq!(tally.lines(), ["1", "2"]);
    assert_eq!(ex.stats().retried, 1);
}

fn retries_end_and_the_error_says_how_often(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    for retries in [0, 1, 2] {
        let tally = lab.tally(&format!("begun with {retries} retries"));
        let task = |tally: String| {
            note(&tally, "begun");
            die(Death::Abort);
        };
        let future = ex.task(task, tally.path()).retries(retries).submit();
        assert_eq!(lost(error(future)), (None, Some(libc::SIGABRT), retries + 1));
        assert_eq!(tally.lines().len(), retries as usize + 1);
        assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    }
}

fn deaths_in_a_row_trip_the_breaker(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(2);
    let tally = lab.tally("begun");
    let task = |(tally, n): (String, u64)| {
        note(&tally, &n.to_string());
        die(Death::Kill);
    };
    let futures: Vec<_> = (0..40).map(|n| ex.task(task, (tally.path(), n)).retries(2).submit()).collect();
    let mut broken = 0;
    for future in futures {
        match error(future) {
            TaskError::Broken { reason, .. } => {
                assert!(!reason.is_empty(), "it says why");
                broken += 1;
            }
            TaskError::WorkerLost { signal, attempts, .. } => {
                assert_eq!(signal, Some(libc::SIGKILL));
                assert!(attempts <= 3, "begun {attempts} times");
            }
            other => panic!("WorkerLost or Broken was expected, not: {other}"),
        }
    }
    assert!(broken > 0, "forty killers in a row are not all tried");
    let begun = tally.lines();
    assert!((0..40).all(|n: u64| begun.iter().filter(|it| **it == n.to_string()).count() <= 3));
    // It says so to whoever comes later, at once.
    assert!(matches!(error(ex.submit(|n: u64| n, 1)), TaskError::Broken { .. }));
    let refused = ex.task(|n: u64| n, 7).try_submit().expect_err("it has given up");
    assert!(matches!(refused.error, TaskError::Broken { .. }));
    assert_eq!(refused.into_arg(), 7);
    assert!(matches!(block_on(ex.ready()), Err(TaskError::Broken { .. })));
    block_on(ex.shutdown(Shutdown::Drain));
}

fn deaths_among_other_tasks_do_not_trip_the_breaker(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    for n in 0..25u64 {
        assert_eq!(lost(error(ex.submit(die, Death::Exit))).0, Some(3));
        assert_eq!(value(ex.submit(|n| n, n)), n);
    }
    assert_eq!(ex.stats().lost_workers, 25);
}

fn pid(_: ()) -> i32 {
    std::process::id() as i32
}

fn kill(pid: i32) {
    // SAFETY: a plain system call; the process is a worker of this test.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn is_alive(pid: i32) -> bool {
    // SAFETY: a plain system call without effect.
    unsafe { libc::kill(pid, 0) == 0 }
}

fn a_worker_that_dies_while_idle_is_replaced(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    for round in 0..3u64 {
        let worker = value(ex.submit(pid, ()));
        kill(worker);
        // At once, when nobody may have noticed yet, and later: nothing was begun, so nothing is lost.
        assert_eq!(value(ex.submit(|n: u64| n + 1, round)), round + 1);
        assert_ne!(value(ex.submit(pid, ())), worker);
    }
}

fn workers_that_are_killed_at_random_cost_retries_only(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(2);
    let task = |n: u64| {
        let mut sum = n;
        for k in 0..20_000u64 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(k));
        }
        (n, std::process::id() as i32)
    };
    let mut killed = BTreeSet::new();
    for wave in 0..30 {
        // All are with the pool before one of them costs a worker that has more to do.
        let futures: Vec<_> = (0..100).map(|n| ex.task(task, 100 * wave + n).retries(10).submit()).collect();
        for (n, future) in (0..).zip(futures) {
            let (value, worker) = value(future);
            assert_eq!(value, 100 * wave + n);
            if n == 50 && killed.insert(worker) {
                kill(worker);
            }
        }
    }
    assert!(killed.len() > 5, "{} workers were killed", killed.len());
}

fn a_nested_task_that_kills_its_worker_fails_alone(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let task = |n: u64| {
        let ex = context().executor();
        let (dying, fine) = (ex.submit(die, Death::Kill), ex.submit(|n: u64| n, n));
        (dying.wait(), fine.wait())
    };
    let (dying, fine) = value(ex.submit(task, 5));
    assert_eq!(lost(dying.expect_err("it has died")), (None, Some(libc::SIGKILL), 1));
    assert_eq!(fine, Ok(5));
}

fn a_map_goes_on_after_a_death(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(2);
    let task = |n: u64| {
        if n == 40 {
            die(Death::Abort);
        }
        n
    };
    let results = ex.map(task, 0..100).chunk_size(10).wait();
    for (n, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, n),
            Err(error) => {
                assert_eq!(lost(error), (None, Some(libc::SIGABRT), 1));
                assert_eq!(n / 10, 4, "a death costs the chunk that was running");
            }
        }
    }
}

fn an_async_task_that_kills_its_worker_is_told(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let future = ex.submit_async(
        |how: Death| async move {
            super::signal::yield_now().await;
            die(how);
        },
        Death::Abort,
    );
    assert_eq!(lost(error(future)), (None, Some(libc::SIGABRT), 1));
    assert_eq!(value(ex.submit_async(|n: u64| async move { n }, 1)), 1);
}

fn a_shutdown_ends_although_workers_die(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        let ex = lab.workers(2);
        let gate = lab.gate();
        let task = |gate: String| {
            pass(&gate, 0);
            die(Death::Kill);
        };
        let dying: Vec<_> = (0..2).map(|_| ex.submit(task, gate.address())).collect();
        gate.wait_for(2);
        let queued: Vec<_> = (0..20u64).map(|n| ex.submit(|n| n, n)).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| block_on(ex.shutdown(how)));
            gate.open();
            for future in dying {
                match error(future) {
                    TaskError::Cancelled if how == Shutdown::Kill => {}
                    error => assert_eq!(lost(error).1, Some(libc::SIGKILL)),
                }
            }
            for (n, future) in (0..).zip(queued) {
                match outcome(future) {
                    Ok(value) => assert_eq!(value, n),
                    Err(error) => {
                        assert_eq!(error, TaskError::Cancelled);
                        assert_ne!(how, Shutdown::Drain);
                    }
                }
            }
        });
    }
}

fn workers_leave_with_the_shutdown(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        let ex = lab.workers(2);
        eventually("both workers are there", || ex.stats().workers == 2);
        let pids: Vec<i32> = ex.broadcast(pid, ()).into_iter().map(value).collect();
        assert!(pids.iter().all(|pid| is_alive(*pid)));
        block_on(ex.shutdown(how));
        eventually("the workers have left", || !pids.iter().any(|pid| is_alive(*pid)));
    }
    // And with the drop of the last handle.
    let ex = lab.workers(1);
    let worker = value(ex.submit(pid, ()));
    drop(ex);
    eventually("the worker has left", || !is_alive(worker));
}

fn workers_ignore_an_interrupt_from_the_keyboard(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let gate = lab.gate();
    let task = |gate: String| {
        pass(&gate, u64::from(std::process::id()));
        1
    };
    let future = ex.submit(task, gate.address());
    let worker = gate.wait_for(1)[0];
    // SAFETY: a plain system call; the process is a worker of this test.
    assert_eq!(unsafe { libc::kill(worker as i32, libc::SIGINT) }, 0);
    gate.open();
    assert_eq!(value(future), 1, "the program decides what an interrupt means");
    assert_eq!(value(ex.submit(pid, ())), worker as i32);
}
