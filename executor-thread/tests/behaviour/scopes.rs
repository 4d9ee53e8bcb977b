//! Tasks that borrow.

use std::sync::atomic::{AtomicUsize, Ordering};

use executor_core::{Executor, Shutdown, TaskError};
use futures::executor::block_on;

use crate::support::open;

#[test]
fn a_scope_borrows_and_joins() {
    let ex = open(2);
    let counter = AtomicUsize::new(0);
    let total = ex.scope(|s| {
        let futures: Vec<_> = (0..100)
            .map(|n| {
                s.spawn({
                    let counter = &counter;
                    move || {
                        counter.fetch_add(1, Ordering::Relaxed);
                        n
                    }
                })
            })
            .collect();
        // These are not waited for by anybody but the scope.
        for _ in 0..100 {
            drop(s.spawn(|| counter.fetch_add(1, Ordering::Relaxed)));
        }
        futures.into_iter().map(|it| it.wait().unwrap()).sum::<usize>()
    });
    assert_eq!((total, counter.into_inner()), (4950, 200));
}

#[test]
fn a_scope_joins_also_when_it_panics_and_a_panic_inside_is_told_to_its_future() {
    let ex = open(2);
    let counter = AtomicUsize::new(0);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        ex.scope(|s| {
            for _ in 0..100 {
                drop(s.spawn(|| counter.fetch_add(1, Ordering::Relaxed)));
            }
            let failed = s.spawn(|| panic!("inside"));
            assert!(matches!(failed.wait(), Err::<(), _>(TaskError::Panicked { .. })));
            panic!("outside");
        })
    }));
    assert_eq!(caught.unwrap_err().downcast_ref::<&str>(), Some(&"outside"));
    assert_eq!(counter.into_inner(), 100);
}

#[test]
fn a_scope_inside_of_a_task_of_a_full_pool_ends() {
    let ex = open(1);
    let inner = ex.clone();
    let sum = ex.spawn(move || {
        let numbers = [1, 2, 3];
        inner.scope(|s| {
            numbers
                .iter()
                .map(|n| s.spawn(|| *n))
                .collect::<Vec<_>>()
                .into_iter()
                .map(|it| it.wait().unwrap())
                .sum::<i32>()
        })
    });
    assert_eq!(sum.wait(), Ok(6));
}

#[test]
fn a_scope_on_a_pool_that_is_closed_ends_too() {
    let ex = open(1);
    block_on(ex.shutdown(Shutdown::Drain));
    let value = 1;
    assert_eq!(ex.scope(|s| s.spawn(|| value).wait()), Err(TaskError::Closed));
}
