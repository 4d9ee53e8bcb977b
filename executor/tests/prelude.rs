//! One line brings in all that a program needs.

use std::time::Duration;

use executor::prelude::*;

fn double(n: u64) -> u64 {
    n * 2
}

register! { "double" => double }

fn open() -> std::sync::Arc<dyn Executor> {
    executor::open("serial://").unwrap()
}

#[test]
fn the_prelude_is_enough_for_a_blocking_program() {
    executor::init();
    let ex = open();
    assert_eq!(ex.submit(double, 21).wait(), Ok(42));
    assert_eq!(ex.call::<_, u64>("double", 21u64).wait(), Ok(42));
    let named: TaskFuture<u64> = ex.task(double, 1).name("one").timeout(Duration::from_secs(60)).submit();
    assert_eq!(named.status(), TaskStatus::Done);
    let waited = wait((0..3).map(|n| ex.submit(double, n)), ReturnWhen::AllCompleted, None);
    let sum: u64 = as_completed(waited.done).into_iter().map(|it| it.wait().unwrap()).sum();
    assert_eq!(sum, 6);
    let table: Shared<Vec<u64>> = ex.share(vec![4, 5]);
    assert_eq!(ex.submit(|(table, at): (Shared<Vec<u64>>, usize)| table[at], (table, 1)).wait(), Ok(5));
    let results: Result<Vec<u64>, TaskError> = ex.map(double, 0..3).into_iter().collect();
    assert_eq!(results, Ok(vec![0, 2, 4]));
    assert_eq!(ex.submit(|()| context().attempt(), ()).wait(), Ok(1));
}

#[test]
fn the_prelude_is_enough_for_an_async_program() {
    futures::executor::block_on(async {
        let ex = open();
        assert_eq!(ex.submit_async(|n: u64| async move { n * 2 }, 21).await, Ok(42));
        let mut results = ex.map(double, 0..2).unordered();
        assert_eq!(results.next().await, Some(Ok(0)));
        assert_eq!(results.next().await, Some(Ok(2)));
        assert_eq!(results.next().await, None);
        let all: Vec<Result<u64, TaskError>> = ex.map(double, 0..2).collect().await;
        assert_eq!(all, [Ok(0), Ok(2)]);
        let mut completed = as_completed([ex.submit(double, 4)]);
        assert_eq!(completed.next().await.unwrap().await, Ok(8));
        ex.shutdown(Shutdown::Drain).await;
        assert_eq!(ex.submit(double, 1).await, Err(TaskError::Closed));
    });
}
