//! Values that many tasks use.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::lab::{Lab, value};
use super::list;
use super::signal::note;
use crate::ext::ExecutorExt;
use crate::shared::Shared;

list![
    a_shared_value_is_at_hand_in_each_task,
    a_shared_value_is_sent_once_to_each_worker,
    an_environment_of_a_map_is_sent_once_to_each_worker,
    shared_values_travel_inside_of_others,
    a_shared_value_that_its_owner_drops_stays_for_its_tasks,
    a_shared_value_may_be_a_result,
    two_executors_share_a_value,
    shared_values_come_and_go,
    a_large_shared_value_costs_little_per_task,
    a_replaced_worker_gets_shared_values_too,
    async_tasks_use_shared_values,
];

fn a_shared_value_is_at_hand_in_each_task(lab: &Lab) {
    let ex = lab.workers(2);
    let table = ex.share((0..1000u64).map(|n| n * n).collect::<Vec<_>>());
    assert_eq!(table.len(), 1000, "it derefs to its value here too");
    let futures: Vec<_> = (0..200)
        .map(|at| ex.submit(|(table, at): (Shared<Vec<u64>>, usize)| table[at], (table.clone(), at)))
        .collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n * n);
    }
}

/// Tells when it is read.
#[derive(Serialize)]
struct Told {
    path: String,
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (path,) = <(String,)>::deserialize(deserializer)?;
        note(&path, "read");
        Ok(Self { path })
    }
}

/// How often a value may be read: once by each worker, if at all.
#[track_caller]
fn check_reads(lab: &Lab, reads: usize, workers: usize) {
    match lab.can.serializes {
        true => assert!((1..=workers).contains(&reads), "read {reads} times by {workers} workers"),
        false => assert_eq!(reads, 0, "it is moved, not serialised"),
    }
}

fn a_shared_value_is_sent_once_to_each_worker(lab: &Lab) {
    let ex = lab.workers(2);
    let tally = lab.tally("reads");
    let shared = ex.share(Told { path: tally.path() });
    let futures: Vec<_> = (0..300)
        .map(|n| ex.submit(|(told, n): (Shared<Told>, usize)| told.path.len() + n, (shared.clone(), n)))
        .collect();
    for (n, future) in futures.into_iter().enumerate() {
        assert_eq!(value(future), tally.path().len() + n);
    }
    check_reads(lab, tally.lines().len(), 2);
}

fn an_environment_of_a_map_is_sent_once_to_each_worker(lab: &Lab) {
    let ex = lab.workers(2);
    let tally = lab.tally("reads");
    let env = Told { path: tally.path() };
    let lengths = ex.map_with(env, |env, n: usize| env.path.len() + n, 0..300).chunk_size(2).wait();
    let len = tally.path().len();
    assert_eq!(lengths, (0..300).map(|n| Ok(len + n)).collect::<Vec<_>>());
    check_reads(lab, tally.lines().len(), 2);
}

fn shared_values_travel_inside_of_others(lab: &Lab) {
    #[derive(Serialize, Deserialize)]
    struct Argument {
        list: Vec<Shared<String>>,
        table: BTreeMap<u32, Shared<Vec<u64>>>,
        none: Option<Shared<u8>>,
    }
    let ex = lab.workers(1);
    let (word, other) = (ex.share("word".to_owned()), ex.share("other".to_owned()));
    let argument = Argument {
        list: vec![word.clone(), other, word],
        table: BTreeMap::from([(7, ex.share(vec![1, 2, 3]))]),
        none: None,
    };
    let task = |argument: Argument| {
        let words: Vec<&str> = argument.list.iter().map(|it| it.as_str()).collect();
        (words.join(" "), argument.table[&7].iter().sum::<u64>(), argument.none.is_none())
    };
    assert_eq!(value(ex.submit(task, argument)), ("word other word".to_owned(), 6, true));
}

fn a_shared_value_that_its_owner_drops_stays_for_its_tasks(lab: &Lab) {
    let ex = lab.workers(1);
    let gate = lab.gate();
    let shared = ex.share("x".repeat(1000));
    let task = |(gate, shared): (String, Shared<String>)| {
        super::signal::pass(&gate, 0);
        shared.len()
    };
    let futures: Vec<_> = (0..3).map(|_| ex.submit(task, (gate.address(), shared.clone()))).collect();
    drop(shared);
    gate.open();
    for future in futures {
        assert_eq!(value(future), 1000);
    }
}

fn a_shared_value_may_be_a_result(lab: &Lab) {
    let ex = lab.workers(1);
    let shared = ex.share("back".to_owned());
    let back = value(ex.submit(|shared: Shared<String>| shared, shared));
    assert_eq!(*back, "back");
    let made = value(ex.submit(|n: u64| Shared::new(vec![n; 3]), 7));
    assert_eq!(*made, [7; 3]);
    // And on to the next task.
    assert_eq!(value(ex.submit(|shared: Shared<Vec<u64>>| shared.len(), made)), 3);
}

fn two_executors_share_a_value(lab: &Lab) {
    let (a, b) = (lab.workers(1), lab.workers(1));
    let shared = a.share(vec![1u64, 2, 3]);
    let sum = |shared: Shared<Vec<u64>>| shared.iter().sum::<u64>();
    for _ in 0..3 {
        let (on_a, on_b) = (a.submit(sum, shared.clone()), b.submit(sum, shared.clone()));
        assert_eq!((value(on_a), value(on_b)), (6, 6));
    }
}

fn shared_values_come_and_go(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> = (0..300u64)
        .map(|n| {
            // Dropped here at once: the task has the last one.
            let shared = ex.share(vec![n; 100]);
            ex.submit(|shared: Shared<Vec<u64>>| shared.iter().sum::<u64>(), shared)
        })
        .collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), 100 * n);
    }
}

fn a_large_shared_value_costs_little_per_task(lab: &Lab) {
    let ex = lab.workers(2);
    let text: String = (b'a'..=b'z').cycle().take(16 << 20).map(char::from).collect();
    let shared = ex.share(text);
    let futures: Vec<_> = (0..500usize)
        .map(|at| {
            let task = |(shared, at): (Shared<String>, usize)| shared.as_bytes()[at * 1000];
            ex.submit(task, (shared.clone(), at))
        })
        .collect();
    for (at, future) in futures.into_iter().enumerate() {
        assert_eq!(value(future), shared.as_bytes()[at * 1000]);
    }
}

fn a_replaced_worker_gets_shared_values_too(lab: &Lab) {
    if !lab.can.isolates {
        return lab.not_promised("isolates");
    }
    let ex = lab.workers(1);
    let shared = ex.share("still here".to_owned());
    for _ in 0..3 {
        let len = ex.submit(|shared: Shared<String>| shared.len(), shared.clone());
        assert_eq!(value(len), 10);
        let dying = ex.submit::<_, ()>(|_: Shared<String>| std::process::abort(), shared.clone());
        let lost = super::lab::error(dying);
        assert!(matches!(lost, crate::TaskError::WorkerLost { .. }), "{lost}");
    }
}

fn async_tasks_use_shared_values(lab: &Lab) {
    let ex = lab.workers(1);
    let shared = ex.share(vec![5u64; 10]);
    let task = |(shared, n): (Shared<Vec<u64>>, u64)| async move {
        super::signal::yield_now().await;
        shared.iter().sum::<u64>() + n
    };
    let futures: Vec<_> = (0..20).map(|n| ex.submit_async(task, (shared.clone(), n))).collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), 50 + n);
    }
}
