//! What a task learns of its own circumstances, and tells of its progress.

use super::lab::{Lab, eventually, value};
use super::list;
use super::signal::{pass, yield_now};
use crate::context;
use crate::ext::ExecutorExt;

list![
    a_task_knows_its_id_its_attempt_and_its_worker,
    there_is_no_task_outside_of_tasks,
    an_async_task_keeps_its_circumstances_over_awaits,
    a_task_keeps_its_circumstances_over_nested_waits,
    progress_is_seen_while_the_task_runs,
    progress_of_an_async_task_is_seen_too,
    a_task_submits_to_another_executor_of_its_own,
];

fn a_task_knows_its_id_its_attempt_and_its_worker(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |()| {
        let context = context();
        (context.task().get(), context.attempt(), context.worker(), context.is_cancelled())
    };
    let mut names = Vec::new();
    for _ in 0..3 {
        let future = ex.submit(task, ());
        let expected = future.id().get();
        let (id, attempt, worker, is_cancelled) = value(future);
        assert_eq!((id, attempt, is_cancelled), (expected, 1, false));
        assert!(!worker.is_empty(), "a worker has a name");
        names.push(worker);
    }
    assert!(names.iter().all(|name| *name == names[0]), "there is one worker: {names:?}");
}

fn there_is_no_task_outside_of_tasks(lab: &Lab) {
    let ex = lab.workers(1);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    let context = context();
    assert_eq!((context.attempt(), context.task().get(), context.is_cancelled()), (0, 0, false));
    assert_eq!(context.worker(), "");
    context.progress(0.5);
}

fn an_async_task_keeps_its_circumstances_over_awaits(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |_: u64| async move {
        let before = (context().task().get(), context().attempt(), context().worker());
        for _ in 0..5 {
            yield_now().await;
            assert_eq!((context().task().get(), context().attempt(), context().worker()), before);
        }
        before.0
    };
    let futures: Vec<_> = (0..20).map(|n| ex.submit_async(task, n)).collect();
    for future in futures {
        let id = future.id().get();
        assert_eq!(value(future), id);
    }
}

fn a_task_keeps_its_circumstances_over_nested_waits(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |()| {
        let before = context().task().get();
        let nested = context().executor().submit(|()| context().task().get(), ());
        let nested_id = nested.id().get();
        // Where this thread runs the nested task itself, that one's circumstances end with it.
        let seen_there = nested.wait().unwrap();
        (before, context().task().get(), seen_there == nested_id || seen_there != before)
    };
    let future = ex.submit(task, ());
    let id = future.id().get();
    assert_eq!(value(future), (id, id, true));
}

fn progress_is_seen_while_the_task_runs(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let task = |gate: String| {
        context().progress(0.25);
        pass(&gate, 0);
        context().progress(0.75);
        pass(&gate, 1);
    };
    let future = ex.submit(task, gate.address());
    if lab.can.concurrent {
        gate.wait_for(1);
        eventually("the first progress is seen", || future.progress() == Some(0.25));
        gate.release();
        gate.wait_for(2);
        eventually("the second progress is seen", || future.progress() == Some(0.75));
    }
    gate.open();
    value(future);
    assert_eq!(ex.submit(|n: u64| n, 1).progress(), None, "who tells nothing has told nothing");
}

fn progress_of_an_async_task_is_seen_too(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("go on");
    let task = |path: String| async move {
        context().progress(0.5);
        super::signal::until_noted(&path).await;
    };
    if !lab.can.concurrent {
        super::signal::note(&tally.path(), "go on");
    }
    let future = ex.submit_async(task, tally.path());
    if lab.can.concurrent {
        eventually("the progress is seen", || future.progress() == Some(0.5));
    }
    super::signal::note(&tally.path(), "go on");
    value(future);
}

fn a_task_submits_to_another_executor_of_its_own(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |n: u64| {
        let outer = context().task().get();
        let own = crate::Serial::new();
        let doubled = own.submit(|n: u64| (2 * n, context().worker()), n).wait().unwrap();
        assert_eq!(doubled.1, "serial", "inside of that task, its own executor counts");
        assert_eq!(context().task().get(), outer);
        doubled.0
    };
    assert_eq!(value(ex.submit(task, 21)), 42);
}
