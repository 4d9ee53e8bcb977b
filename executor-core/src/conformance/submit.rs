//! Handing tasks over: what may be submitted, and that each gets its own answer.

use std::collections::BTreeSet;

use ::futures::executor::block_on;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::lab::{Lab, error, outcome, value};
use super::list;
use crate::dynamic::DynamicError;
use crate::error::TaskError;
use crate::executor::{Executor, Shutdown};
use crate::ext::ExecutorExt;

list![
    a_task_resolves_with_its_value,
    each_task_gets_its_own_answer,
    functions_methods_closures_and_generics_are_tasks,
    captures_travel_as_arguments,
    values_without_bytes_travel,
    large_values_travel_both_ways,
    ten_thousand_tasks_from_many_threads_each_get_their_answer,
    a_task_is_named_by_its_options,
    registered_functions_are_called_by_name,
    registered_functions_are_called_with_arguments_of_any_format,
    what_cannot_be_called_by_name_is_refused_before_it_is_submitted,
    a_call_with_an_argument_of_any_format_is_rejected_after_the_shutdown,
    an_unknown_name_fails_its_own_future_and_says_what_is_known,
    a_broadcast_runs_once_on_each_worker,
    an_executor_is_ready_when_it_has_workers_and_room,
];

fn fib(n: u64) -> u64 {
    if n < 2 { n } else { fib(n - 1) + fib(n - 2) }
}

fn a_task_resolves_with_its_value(lab: &Lab) {
    let ex = lab.open(&[]);
    assert_eq!(ex.submit(fib, 15).wait(), Ok(610));
    assert_eq!(block_on(ex.submit(fib, 16)), Ok(987));
}

fn each_task_gets_its_own_answer(lab: &Lab) {
    let ex = lab.open(&[]);
    let futures: Vec<_> = (0..1000u64).map(|n| ex.submit(|n| n * n, n)).collect();
    let ids: BTreeSet<_> = futures.iter().map(|future| future.id().get()).collect();
    assert_eq!(ids.len(), 1000, "ids name tasks");
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), n * n);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: i64,
    y: i64,
}

impl Point {
    fn mirrored(self) -> Self {
        Self { x: self.y, y: self.x }
    }
}

fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
    items.into_iter().max()
}

/// A closure over the generics of the function that encloses it.
fn doubled<T>(ex: &dyn Executor, item: T) -> Result<(T, T), TaskError>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
{
    outcome(ex.submit(|item: T| (item.clone(), item), item))
}

fn functions_methods_closures_and_generics_are_tasks(lab: &Lab) {
    let ex = lab.open(&[]);
    let point = Point { x: 1, y: -2 };
    assert_eq!(value(ex.submit(Point::mirrored, point)), Point { x: -2, y: 1 });
    assert_eq!(value(ex.submit(largest::<u8>, vec![3, 9, 4])), Some(9));
    assert_eq!(value(ex.submit(largest, vec!["a".to_owned(), "b".to_owned()])), Some("b".to_owned()));
    assert_eq!(doubled(&ex, 7u16), Ok((7, 7)));
    assert_eq!(doubled(&ex, "x".to_owned()), Ok(("x".to_owned(), "x".to_owned())));
    assert_eq!(value(ex.submit(str::to_uppercase_owned, "loud".to_owned())), "LOUD");
}

mod str {
    pub(super) fn to_uppercase_owned(text: String) -> String {
        text.to_uppercase()
    }
}

fn captures_travel_as_arguments(lab: &Lab) {
    let ex = lab.open(&[]);
    let (factor, offset) = (3u32, "b".to_owned());
    let future = ex.submit(|(factor, offset, n)| format!("{}{offset}", factor * n), (factor, offset, 14u32));
    assert_eq!(value(future), "42b");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

fn values_without_bytes_travel(lab: &Lab) {
    let ex = lab.open(&[]);
    value(ex.submit(|()| (), ()));
    assert_eq!(value(ex.submit(|nothing: Nothing| nothing, Nothing)), Nothing);
    assert_eq!(value(ex.submit(|bytes: Vec<u8>| bytes, Vec::new())), Vec::<u8>::new());
    assert_eq!(value(ex.submit(|text: String| text, String::new())), "");
    assert_eq!(value(ex.submit(|none: Option<u8>| none, None)), None);
}

fn large_values_travel_both_ways(lab: &Lab) {
    let ex = lab.workers(2);
    // Text, because its bytes are copied as a whole and not one by one, which without optimisation takes seconds.
    let text: String = (b'a'..=b'z').cycle().take(16 << 20).map(char::from).collect();
    let sent = ex.submit(|text: String| (text.len(), text.ends_with("klmnop")), text.clone());
    let echoed = ex.submit(|text: String| text, text.clone());
    // Small ones go beside them and are not disturbed.
    let small = ex.submit(|n: u64| n + 1, 1);
    assert_eq!(value(sent), (text.len(), text.ends_with("klmnop")));
    assert_eq!(value(small), 2);
    assert!(value(echoed) == text, "16 MiB there and back");
    let made = value(ex.submit(|len: usize| "x".repeat(len), 16 << 20));
    assert!(made == "x".repeat(16 << 20), "16 MiB from a worker");
}

fn ten_thousand_tasks_from_many_threads_each_get_their_answer(lab: &Lab) {
    let ex = lab.open(&[]);
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let ex = &ex;
            scope.spawn(move || {
                let first = thread * 1250;
                let futures: Vec<_> = (first..first + 1250).map(|n| ex.submit(|n| n + 1, n)).collect();
                for (n, future) in (first..).zip(futures) {
                    assert_eq!(value(future), n + 1);
                }
            });
        }
    });
}

fn a_task_is_named_by_its_options(lab: &Lab) {
    let ex = lab.open(&[]);
    let future = ex.task(|n: u64| n, 1).name("one").submit();
    assert_eq!(future.name(), Some("one"));
    assert_eq!(value(future), 1);
    assert_eq!(ex.submit(|n: u64| n, 1).name(), None);
}

crate::register! {
    "conformance::double" => |n: u64| 2 * n,
    "conformance::join" => |(a, b): (String, String)| a + &b,
    "conformance::fail" => |message: String| -> u64 { panic!("{message}") },
}

fn registered_functions_are_called_by_name(lab: &Lab) {
    let ex = lab.open(&[]);
    assert_eq!(value(ex.call::<_, u64>("conformance::double", 21u64)), 42);
    let joined = ex.call::<_, String>("conformance::join", ("a".to_owned(), "b".to_owned()));
    assert_eq!(value(joined), "ab");
    match error(ex.call::<_, u64>("conformance::fail", "on purpose".to_owned())) {
        TaskError::Panicked { message, .. } => assert_eq!(message, "on purpose"),
        other => panic!("a panic was expected, not: {other}"),
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("it is JSON")
}

fn registered_functions_are_called_with_arguments_of_any_format(lab: &Lab) {
    let ex = lab.open(&[]);
    let call = |name: &str, arg: &str| ex.call_dynamic(name, json(arg)).expect("it fits");
    let double = call("conformance::double", "21");
    let joined = call("conformance::join", r#"["a", "b"]"#);
    let failed = call("conformance::fail", r#""on purpose""#);
    assert_eq!(serde_json::to_string(&value(double)).unwrap(), "42");
    assert_eq!(serde_json::to_string(&value(joined)).unwrap(), r#""ab""#);
    match failed.wait() {
        Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "on purpose"),
        other => panic!("a panic was expected, not: {other:?}"),
    }
}

fn what_cannot_be_called_by_name_is_refused_before_it_is_submitted(lab: &Lab) {
    let ex = lab.open(&[]);
    match ex.call_dynamic("conformance::duoble", json("1")) {
        Err(DynamicError::UnknownName { name, nearest }) => {
            assert_eq!(name, "conformance::duoble");
            assert_eq!(nearest.first().map(String::as_str), Some("conformance::double"), "{nearest:?}");
        }
        other => panic!("UnknownName was expected, not: {other:?}"),
    }
    for (name, arg) in
        [("conformance::double", r#""x""#), ("conformance::join", r#"["a"]"#), ("conformance::join", "{}")]
    {
        match ex.call_dynamic(name, json(arg)) {
            Err(DynamicError::BadArgument { name: function, message }) => {
                assert_eq!(function, name);
                assert!(message.contains("invalid"), "{message}");
            }
            other => panic!("BadArgument was expected, not: {other:?}"),
        }
    }
}

fn a_call_with_an_argument_of_any_format_is_rejected_after_the_shutdown(lab: &Lab) {
    let ex = lab.open(&[]);
    block_on(ex.shutdown(Shutdown::Drain));
    let late = ex.call_dynamic("conformance::double", json("1")).expect("it fits");
    assert!(matches!(late.wait(), Err(TaskError::Closed)), "it is rejected as any other");
}

fn an_unknown_name_fails_its_own_future_and_says_what_is_known(lab: &Lab) {
    let ex = lab.open(&[]);
    let unknown = ex.call::<_, u64>("conformance::duoble", 21u64);
    let known = ex.call::<_, u64>("conformance::double", 21u64);
    match error(unknown) {
        TaskError::NotPortable { reason, .. } => {
            assert!(reason.contains("`conformance::duoble`"), "it names what was asked for: {reason}");
            assert!(reason.contains("`conformance::double`"), "it names the nearest: {reason}");
        }
        other => panic!("NotPortable was expected, not: {other}"),
    }
    assert_eq!(value(known), 42);
}

fn a_broadcast_runs_once_on_each_worker(lab: &Lab) {
    let ex = lab.workers(2);
    block_on(ex.ready()).unwrap();
    super::lab::eventually("the workers are there", || {
        ex.stats().workers == if lab.can.concurrent { 2 } else { 1 }
    });
    let futures = ex.broadcast(|factor: u64| (crate::context().worker(), 2 * factor), 21);
    assert_eq!(futures.len(), ex.stats().workers);
    let mut workers = BTreeSet::new();
    for future in futures {
        let (worker, product) = value(future);
        assert_eq!(product, 42);
        assert!(workers.insert(worker.clone()), "`{worker}` was asked twice");
    }
}

fn an_executor_is_ready_when_it_has_workers_and_room(lab: &Lab) {
    let ex = lab.workers(1);
    assert_eq!(block_on(ex.ready()), Ok(()));
    assert!(ex.stats().workers >= 1, "a worker is there: {:?}", ex.stats());
    assert_eq!(value(ex.submit(fib, 10)), 55);
}
