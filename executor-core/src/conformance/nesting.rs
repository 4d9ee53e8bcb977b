//! Tasks that submit tasks, and wait for them, also on a full pool.

use ::futures::executor::block_on;
use ::futures::future::join_all;

use super::lab::{Lab, error, value};
use super::list;
use crate::combine::{ReturnWhen, as_completed, wait};
use crate::context;
use crate::error::TaskError;
use crate::ext::ExecutorExt;

list![
    a_task_waits_for_a_task_of_its_own_full_pool,
    tasks_wait_for_tasks_three_deep_with_one_worker,
    all_workers_may_wait_for_their_own_pool_at_once,
    a_task_awaits_what_it_submits,
    a_task_maps_within_a_map,
    a_task_waits_for_many,
    a_nested_panic_arrives_with_its_message,
    a_nested_task_is_cancelled_from_within,
    what_a_task_submits_outlives_it,
    an_async_task_awaits_what_it_submits,
    shared_values_travel_on_to_nested_tasks,
];

fn factorial(n: u64) -> u64 {
    if n == 0 {
        return 1;
    }
    n * context().executor().submit(factorial, n - 1).wait().unwrap()
}

fn a_task_waits_for_a_task_of_its_own_full_pool(lab: &Lab) {
    let ex = lab.workers(1);
    assert_eq!(value(ex.submit(factorial, 1)), 1);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}

fn tasks_wait_for_tasks_three_deep_with_one_worker(lab: &Lab) {
    let ex = lab.workers(1);
    assert_eq!(value(ex.submit(factorial, 3)), 6);
    // And again, so that what was given up meanwhile is had back.
    for n in 0..4 {
        assert_eq!(value(ex.submit(factorial, n)), (1..=n).product::<u64>());
    }
}

fn all_workers_may_wait_for_their_own_pool_at_once(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> = (0..20).map(|n| ex.submit(factorial, n % 4)).collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), (1..=n % 4).product::<u64>());
    }
}

fn a_task_awaits_what_it_submits(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |n: u64| {
        let ex = context().executor();
        let values = block_on(join_all((0..n).map(|n| ex.submit(|n| n * n, n))));
        values.into_iter().map(Result::unwrap).sum::<u64>()
    };
    assert_eq!(value(ex.submit(task, 10)), 285);
}

fn a_task_maps_within_a_map(lab: &Lab) {
    let ex = lab.workers(2);
    let row = |n: u64| {
        let ex = context().executor();
        let products: Result<Vec<u64>, _> =
            ex.map(|(n, m)| n * m, (0..10).map(|m| (n, m))).into_iter().collect();
        products.unwrap().into_iter().sum::<u64>()
    };
    let sums = ex.map(row, 0..10).wait();
    assert_eq!(sums, (0..10).map(|n| Ok(45 * n)).collect::<Vec<_>>());
}

fn a_task_waits_for_many(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |n: u64| {
        let ex = context().executor();
        let waited = wait((0..n).map(|n| ex.submit(|n| n, n)), ReturnWhen::AllCompleted, None);
        let futures = (0..n).map(|n| ex.submit(|n| n, n));
        let completed: u64 = as_completed(futures).into_iter().map(|it| it.wait().unwrap()).sum();
        completed + waited.done.into_iter().map(|it| it.wait().unwrap()).sum::<u64>()
    };
    assert_eq!(value(ex.submit(task, 10)), 90);
}

fn a_nested_panic_arrives_with_its_message(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |n: u64| {
        let nested = context().executor().submit(|n: u64| -> u64 { panic!("{n} deep") }, n);
        nested.wait()
    };
    // The error itself is a value that travels.
    match value(ex.submit(task, 7)) {
        Err(TaskError::Panicked { message, location, .. }) => {
            assert_eq!(message, "7 deep");
            assert!(location.contains("nesting.rs"), "{location}");
        }
        other => panic!("a panic was expected, not: {other:?}"),
    }
    let unwrapped =
        |n: u64| context().executor().submit(|n: u64| -> u64 { panic!("{n} deep") }, n).wait().unwrap();
    assert!(error(ex.submit(unwrapped, 7)).to_string().contains("7 deep"));
}

fn a_nested_task_is_cancelled_from_within(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("begun");
    let task = |tally: String| {
        let ex = context().executor();
        let note = |tally: String| super::signal::note(&tally, "begun");
        // The only worker is ours, so that this one waits.
        let future = ex.submit(note, tally);
        let is_cancelled = future.cancel();
        (is_cancelled, future.wait() == Err(TaskError::Cancelled))
    };
    let (is_cancelled, is_resolved_so) = value(ex.submit(task, tally.path()));
    assert_eq!((is_cancelled, is_resolved_so), (lab.can.concurrent, lab.can.concurrent));
    assert_eq!(tally.lines().len(), usize::from(!lab.can.concurrent));
}

fn what_a_task_submits_outlives_it(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("begun");
    let task = |tally: String| {
        for _ in 0..3 {
            let note = |tally: String| super::signal::note(&tally, "begun");
            drop(context().executor().submit(note, tally.clone()));
        }
    };
    value(ex.submit(task, tally.path()));
    super::lab::eventually("all three have run", || tally.lines().len() == 3);
}

fn an_async_task_awaits_what_it_submits(lab: &Lab) {
    let ex = lab.workers(1);
    let task = |n: u64| async move {
        let squares = (0..n).map(|n| context().executor().submit(|n| n * n, n));
        let mut sum = 0;
        for square in join_all(squares).await {
            sum += square.unwrap();
        }
        sum + context().executor().submit_async(|n: u64| async move { n }, n).await.unwrap()
    };
    let futures: Vec<_> = (0..10).map(|n| ex.submit_async(task, n)).collect();
    for (n, future) in (0u64..).zip(futures) {
        assert_eq!(value(future), (0..n).map(|n| n * n).sum::<u64>() + n);
    }
}

fn shared_values_travel_on_to_nested_tasks(lab: &Lab) {
    let ex = lab.workers(2);
    let table = ex.share((0..1000u64).collect::<Vec<_>>());
    let task = |(table, at): (crate::Shared<Vec<u64>>, usize)| {
        let ex = context().executor();
        let own = ex.share("x".repeat(at));
        let theirs =
            ex.submit(|(table, at): (crate::Shared<Vec<u64>>, usize)| table[at], (table.clone(), at));
        let ours = ex.submit(|text: crate::Shared<String>| text.len() as u64, own);
        theirs.wait().unwrap() + ours.wait().unwrap()
    };
    let futures: Vec<_> = (0..20).map(|at| ex.submit(task, (table.clone(), at))).collect();
    for (at, future) in (0..).zip(futures) {
        assert_eq!(value(future), 2 * at);
    }
}
