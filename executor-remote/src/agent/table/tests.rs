use std::sync::Arc;
use std::time::Duration;

use executor_core::{Job, Parcel, RelaySink, Relayed, Target, TaskError, TaskId, TaskOptions};

use super::*;

struct Nowhere;

impl RelaySink for Nowhere {
    fn complete(&self, _: u64, _: Result<&Parcel<'_>, &TaskError>, _: Duration) {}
    fn flush(&self) {}
}

fn handle() -> RelayHandle {
    let relayed = Relayed {
        task: TaskId::from_raw(1),
        target: Target::Named("nothing".to_owned()),
        arg: Vec::new().into(),
        is_async: false,
        attempts_before: 0,
    };
    Job::relay(relayed, TaskOptions::default(), Vec::new(), Arc::new(Nowhere), 0).1
}

fn table_with(number: u64) -> Table {
    let mut table = Table::default();
    assert!(table.insert(number, handle(), 10, Instant::now()));
    table
}

#[test]
fn an_outcome_frees_the_number_and_the_bytes() {
    let mut table = table_with(3);
    assert_eq!(table.on_outcome(3, false), Reply::Done(10));
    assert!(table.is_empty());
    assert_eq!(table.on_outcome(3, false), Reply::Nothing);
    assert!(table.insert(3, handle(), 20, Instant::now()));
}

#[test]
fn a_number_is_given_once_and_is_not_too_great() {
    let mut table = table_with(3);
    assert!(!table.insert(3, handle(), 10, Instant::now()));
    assert!(!table.insert(MOST as u64, handle(), 10, Instant::now()));
    assert!(!table.insert(u64::MAX, handle(), 10, Instant::now()));
    assert_eq!(table.on_outcome(3, true), Reply::Done(10), "cancelled by nobody of ours");
    assert!(table.is_empty());
}

/// All orders in which the pool may answer a revoke and tell the outcome: one reply each time, and a free number.
#[test]
fn a_revoke_leads_to_one_reply_whatever_comes_first() {
    // The outcome during the call, if any: whether it is a cancel. The answer. The outcome after the call, if any.
    let cases = [
        (Some(true), true, None, [Reply::Nothing, Reply::Revoked(10), Reply::Nothing]),
        (Some(true), false, None, [Reply::Nothing, Reply::Done(10), Reply::Nothing]),
        (Some(false), false, None, [Reply::Done(10), Reply::Nothing, Reply::Nothing]),
        (None, true, Some(true), [Reply::Nothing, Reply::Nothing, Reply::Revoked(10)]),
        (None, false, Some(false), [Reply::Nothing, Reply::Refused, Reply::Done(10)]),
    ];
    for (during, taken, after, expected) in cases {
        let mut table = table_with(5);
        let lent = table.begin_revoke(5).unwrap();
        let first = during.map_or(Reply::Nothing, |cancelled| table.on_outcome(5, cancelled));
        let second = table.end_revoke(5, lent, taken);
        let third = after.map_or(Reply::Nothing, |cancelled| table.on_outcome(5, cancelled));
        assert_eq!([first, second, third], expected, "{during:?}, {taken}, {after:?}");
        assert!(table.is_empty());
    }
}

#[test]
fn a_refused_revoke_leaves_a_task_that_can_be_stopped() {
    let mut table = table_with(5);
    let lent = table.begin_revoke(5).unwrap();
    assert_eq!(table.end_revoke(5, lent, false), Reply::Refused);
    let lent = table.borrow(5).unwrap();
    assert!(table.borrow(5).is_none(), "lent once");
    table.give_back(5, lent);
    assert!(table.borrow(5).is_some());
    assert!(table.begin_revoke(77).is_none(), "there is no such task");
}

#[test]
fn progress_is_news_when_it_has_changed() {
    let mut table = table_with(0);
    assert!(table.borrow_old(Instant::now() - Duration::from_secs(1)).is_empty(), "it is too young");
    for (progress, is_news) in [(None, false), (Some(0.5), true), (Some(0.5), false), (Some(0.6), true)] {
        let (number, lent) = table.borrow_old(Instant::now()).pop().unwrap();
        assert_eq!(table.note_progress(number, lent, progress), is_news, "{progress:?}");
    }
}
