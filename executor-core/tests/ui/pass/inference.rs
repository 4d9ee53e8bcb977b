use std::sync::Arc;

use executor_core::{Executor, ExecutorExt, Serial, Shared, TaskError, TaskFuture};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn double(n: u64) -> u64 {
    2 * n
}

#[derive(Serialize, serde::Deserialize)]
struct Point {
    x: i64,
}

impl Point {
    fn moved(self) -> Self {
        Self { x: self.x + 1 }
    }
}

fn twice<T>(ex: &(impl Executor + ?Sized), item: T) -> TaskFuture<(T, T)>
where
    T: Clone + Serialize + DeserializeOwned + Send + 'static,
{
    ex.submit(|item: T| (item.clone(), item), item)
}

fn is_send<T: Send>(value: T) -> T {
    value
}

fn main() -> Result<(), TaskError> {
    let ex: Arc<dyn Executor> = Arc::new(Serial::new());
    let answer: u64 = ex.submit(double, 21).wait()?;
    assert_eq!(answer, 42);
    // The type of the argument comes from the value, that of the result from its use.
    assert_eq!(ex.submit(|n| n + 1u8, 1).wait()?, 2);
    assert_eq!(ex.submit(|(a, b)| a + b, (1, 2)).wait()?, 3);
    assert_eq!(ex.submit(Point::moved, Point { x: 1 }).wait()?.x, 2);
    assert_eq!(ex.submit(Vec::<u8>::into_boxed_slice, vec![1]).wait()?.len(), 1);
    assert_eq!(twice(&*ex, 'x').wait()?, ('x', 'x'));
    assert_eq!(twice(&ex, vec![1]).wait()?, (vec![1], vec![1]));
    assert_eq!(ex.submit_async(|n| async move { n + 1 }, 1).wait()?, 2);
    assert_eq!(ex.task(|n| n + 1, 1).name("one").retries(1).submit().wait()?, 2);
    let squares: Result<Vec<u64>, _> = ex.map(|n| n * n, 0..4).into_iter().collect();
    assert_eq!(squares?, [0, 1, 4, 9]);
    let table = ex.share(vec![1, 2, 3]);
    assert_eq!(ex.submit(|(table, at): (Shared<Vec<i32>>, usize)| table[at], (table, 1)).wait()?, 2);
    let _ = is_send(ex.submit(double, 1));
    let _ = is_send(ex.map(double, 0..4).collect::<Vec<_>>());
    let _ = is_send(ex.ready());
    Ok(())
}
