//! Values that do not survive the way: each stage, each cost the future concerned and nothing else.

use super::lab::{Lab, error, value};
use super::list;
use super::values::{Fault, Faulty};
use crate::error::TaskError;
use crate::ext::ExecutorExt;

list![
    a_faulty_argument_fails_its_own_future,
    a_faulty_result_fails_its_own_future,
    a_faulty_result_of_an_async_task_fails_its_own_future,
    a_faulty_item_of_a_map_fails_alone,
    a_faulty_argument_comes_back_from_try_submit,
    a_faulty_shared_value_fails_the_tasks_that_use_it,
];

/// Where values are not serialised, nothing is wrong with them.
#[track_caller]
fn check(lab: &Lab, fault: Fault, what: &str, outcome: Result<(), TaskError>) {
    if !lab.can.serializes {
        assert_eq!(outcome, Ok(()), "{what} with {fault:?}");
        return;
    }
    let named = match (&outcome, fault.is_at_the_sender()) {
        (Err(TaskError::Encode { what, .. }), true) => what,
        (Err(TaskError::Decode { what, .. }), false) => what,
        _ => panic!("{what} with {fault:?}: {outcome:?}"),
    };
    assert!(named.contains(what) && named.contains("Faulty"), "`{named}` names {what} and its type");
}

fn a_faulty_argument_fails_its_own_future(lab: &Lab) {
    let ex = lab.workers(1);
    for fault in Fault::ALL {
        let before = ex.submit(|n: u64| n, 1);
        let future = ex.submit(|_: Faulty| (), Faulty(fault));
        let after = ex.submit(|n: u64| n, 2);
        check(lab, fault, "argument", super::lab::outcome(future));
        assert_eq!((value(before), value(after)), (1, 2));
    }
    assert_eq!(ex.stats().lost_workers, 0);
}

fn a_faulty_result_fails_its_own_future(lab: &Lab) {
    let ex = lab.workers(1);
    for fault in Fault::ALL {
        let before = ex.submit(|n: u64| n, 1);
        let future = ex.submit(Faulty, fault);
        let after = ex.submit(|n: u64| n, 2);
        check(lab, fault, "result", super::lab::outcome(future).map(drop));
        assert_eq!((value(before), value(after)), (1, 2));
    }
    assert_eq!(ex.stats().lost_workers, 0);
}

fn a_faulty_result_of_an_async_task_fails_its_own_future(lab: &Lab) {
    let ex = lab.workers(1);
    for fault in Fault::ALL {
        let future = ex.submit_async(|fault: Fault| async move { Faulty(fault) }, fault);
        check(lab, fault, "result", super::lab::outcome(future).map(drop));
    }
    assert_eq!(value(ex.submit_async(|n: u64| async move { n }, 1)), 1);
}

fn a_faulty_item_of_a_map_fails_alone(lab: &Lab) {
    let ex = lab.workers(2);
    let items = || {
        (0..30).map(|n| match n % 5 {
            2 => Faulty(Fault::ALL[n / 5]),
            _ => Faulty(Fault::None),
        })
    };
    for chunk_size in [1, 7] {
        let sent: Vec<_> = ex.map(|_: Faulty| (), items()).chunk_size(chunk_size).wait();
        let faults = items().map(|item| item.0);
        let made: Vec<_> = ex.map(Faulty, faults).chunk_size(chunk_size).wait();
        assert_eq!((sent.len(), made.len()), (30, 30));
        for (n, (sent, made)) in sent.into_iter().zip(made).enumerate() {
            match n % 5 {
                2 => {
                    check(lab, Fault::ALL[n / 5], "argument", sent);
                    check(lab, Fault::ALL[n / 5], "result", made.map(drop));
                }
                _ => assert_eq!((sent, made), (Ok(()), Ok(Faulty(Fault::None)))),
            }
        }
    }
}

fn a_faulty_argument_comes_back_from_try_submit(lab: &Lab) {
    let ex = lab.workers(1);
    for fault in [Fault::Serialize, Fault::PanicInSerialize] {
        match ex.task(|_: Faulty| (), Faulty(fault)).try_submit() {
            Ok(future) if lab.can.serializes => {
                // A backend may serialise later than `submit`: then the future tells.
                assert!(matches!(error(future), TaskError::Encode { .. }));
            }
            Ok(future) => value(future),
            Err(refused) => {
                assert!(lab.can.serializes);
                assert!(matches!(refused.error, TaskError::Encode { .. }), "{}", refused.error);
                assert_eq!(refused.into_arg(), Faulty(fault));
            }
        }
    }
}

fn a_faulty_shared_value_fails_the_tasks_that_use_it(lab: &Lab) {
    let ex = lab.workers(1);
    for fault in Fault::ALL {
        let shared = ex.share(Faulty(fault));
        for _ in 0..2 {
            let future = ex.submit(|shared: crate::Shared<Faulty>| drop(shared), shared.clone());
            match super::lab::outcome(future) {
                Ok(()) => assert!(!lab.can.serializes, "{fault:?} has to show"),
                Err(TaskError::Encode { .. }) => assert!(fault.is_at_the_sender(), "{fault:?}"),
                Err(TaskError::Decode { .. }) => assert!(!fault.is_at_the_sender(), "{fault:?}"),
                Err(other) => panic!("{fault:?}: {other}"),
            }
        }
        assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    }
    assert_eq!(ex.stats().lost_workers, 0);
}
