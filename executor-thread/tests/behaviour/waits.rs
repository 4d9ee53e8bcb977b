//! Waiting for tasks inside of tasks.

use executor_core::{Executor, ExecutorExt, Shutdown, context};
use executor_thread::{ThreadConfig, ThreadExecutor};
use futures::executor::block_on;

use crate::support::{chain, open};

fn fib(n: u64) -> u64 {
    if n < 2 {
        return n;
    }
    let ex = context().executor();
    let (a, b) = (ex.submit(fib, n - 1), ex.submit(fib, n - 2));
    a.wait().unwrap() + b.wait().unwrap()
}

fn chain_async_wait(n: u64) -> u64 {
    if n == 0 {
        return 0;
    }
    let future = context().executor().submit(chain_async_wait, n - 1);
    block_on(future).unwrap() + 1
}

#[test]
fn waits_inside_of_tasks_never_hang_a_full_pool() {
    for workers in [1, 2, 3] {
        let ex = open(workers);
        assert_eq!(ex.submit(fib, 15).wait(), Ok(610));
        assert_eq!(ex.submit(chain, 300).wait(), Ok(300));
        assert_eq!(ex.submit(chain_async_wait, 100).wait(), Ok(100));
    }
}

#[test]
fn tasks_of_a_full_pool_may_block_on_futures_by_other_means() {
    for workers in [1, 2] {
        let ex = open(workers);
        let futures: Vec<_> = (0..100).map(|_| ex.submit(chain_async_wait, 2)).collect();
        assert!(futures.into_iter().all(|it| it.wait() == Ok(2)));
        // The future is dropped before it is ready: the thread is back nevertheless.
        let dropped = ex.spawn(|| {
            let future = context().executor().submit(chain, 1);
            let ready = futures::future::ready(7);
            matches!(block_on(futures::future::select(future, ready)), futures::future::Either::Right(_))
        });
        assert!(dropped.wait().is_ok());
        assert_eq!(ex.submit(chain_async_wait, 1).wait(), Ok(1));
        block_on(ex.shutdown(Shutdown::Drain));
    }
}

#[test]
fn many_tasks_that_wait_need_no_stack_for_each() {
    for workers in [1, 2] {
        let ex = open(workers);
        let futures: Vec<_> = (0..20_000).map(|_| ex.submit(chain, 1)).collect();
        assert!(futures.into_iter().all(|it| it.wait() == Ok(1)));
    }
}

#[test]
fn a_wait_with_no_stack_left_is_an_error_and_not_a_crash() {
    for workers in [1, 2] {
        let config = ThreadConfig::default().with_workers(workers).with_stack_size(512 * 1024);
        let ex = ThreadExecutor::open(config).unwrap();
        let depth = ex.submit(chain, 1_000_000).wait().unwrap();
        assert!((10..1_000_000).contains(&depth), "{depth}");
        assert_eq!(ex.submit(chain, 3).wait(), Ok(3));
    }
}
