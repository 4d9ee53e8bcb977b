use std::time::{Duration, Instant};

use super::*;

#[test]
fn the_runtime_is_one_for_the_process() {
    let (first, second) = (start().unwrap(), handle());
    assert_eq!(first.id(), second.id());
}

#[test]
fn a_thread_without_a_runtime_awaits_what_runs_there() {
    let (done, answer) = tokio::sync::oneshot::channel();
    handle().spawn(async move { done.send(std::thread::current().name().map(String::from)) });
    assert_eq!(block_on(answer).unwrap().as_deref(), Some("executor-io"));
}

#[test]
fn block_on_may_be_nested() {
    assert_eq!(block_on(async { block_on(async { 1 }) + 1 }), 2);
    assert_eq!(futures::executor::block_on(async { block_on(async { 1 }) + 1 }), 2);
}

#[test]
fn a_deadline_ends_the_wait() {
    let begun = Instant::now();
    let limit = Duration::from_millis(20);
    assert_eq!(block_on_until(std::future::pending::<()>(), Some(begun + limit)), None);
    assert!(begun.elapsed() >= limit);
    assert_eq!(block_on_until(std::future::ready(3), Some(begun)), Some(3));
}
