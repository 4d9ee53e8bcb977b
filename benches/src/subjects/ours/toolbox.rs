//! The primitives of `executor::ipc`, used by the two workers of a pool at once. What they share are arguments of
//! their tasks.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use executor::ipc::{Lock, Queue, Value};
use executor::{Executor, ExecutorExt};
use rustix::time::{ClockId, clock_gettime};

use crate::pool::{self, check};
use crate::subject::{BenchError, Sample};
use crate::workload::{Metric, Scale, WORKERS};

/// One way from a producer to a consumer, from the first `put` to the last `get`; then there and back.
pub fn queue(executor: &Arc<dyn Executor>, scale: Scale) -> Result<Sample, BenchError> {
    let mut rate = 0.0;
    let messages = scale.queue_messages() as u64;
    for count in [messages / 10, messages] {
        let queue = Queue::<u64>::unbounded().map_err(BenchError::failed)?;
        let consumer = executor.submit(consume, (queue.clone(), count));
        let producer = executor.submit(produce, (queue, count));
        let begun = producer.wait().map_err(BenchError::failed)?;
        let (ended, sum) = consumer.wait().map_err(BenchError::failed)?;
        check(sum, count * (count - 1) / 2)?;
        rate = pool::rate(count as usize, ended.saturating_sub(begun));
    }

    let there = Queue::<u64>::unbounded().map_err(BenchError::failed)?;
    let back = Queue::<u64>::unbounded().map_err(BenchError::failed)?;
    let echo = executor.submit(echo, (there.clone(), back.clone()));
    let p50 = pool::median_round_trip(scale.round_trips(), |x| {
        there.put(x).map_err(BenchError::failed)?;
        check(back.get().map_err(BenchError::failed)?, x)
    })?;
    there.put(LAST).map_err(BenchError::failed)?;
    echo.wait().map_err(BenchError::failed)?;
    Ok(vec![(Metric::MessagesPerSecond, rate), (Metric::P50Us, p50)])
}

/// The message that ends the echo.
const LAST: u64 = u64::MAX;

fn produce((queue, count): (Queue<u64>, u64)) -> Duration {
    let begun = now();
    for x in 0..count {
        queue.put(x).expect("the queue is unbounded");
    }
    begun
}

fn consume((queue, count): (Queue<u64>, u64)) -> (Duration, u64) {
    let sum = (0..count).map(|_| queue.get().expect("the producer lives")).fold(0, u64::wrapping_add);
    (now(), sum)
}

fn echo((there, back): (Queue<u64>, Queue<u64>)) {
    loop {
        match there.get().expect("the other side lives") {
            LAST => return,
            x => back.put(x).expect("the queue is unbounded"),
        }
    }
}

/// Acquires and releases, alone and then from both workers.
pub fn lock(executor: &Arc<dyn Executor>, scale: Scale) -> Result<Sample, BenchError> {
    let lock = Lock::new().map_err(BenchError::failed)?;
    check_exclusion(executor, &lock)?;
    let pairs = scale.lock_pairs() as u64;
    take_and_release(&lock, pairs / 10);
    let begun = Instant::now();
    take_and_release(&lock, pairs);
    let uncontended = begun.elapsed().as_secs_f64() * 1e9 / pairs as f64;

    let time = scale.contended_time();
    let both = contend(time, |begin| executor.submit(take_until, (lock.clone(), begin, begin + time)))?;
    Ok(vec![
        (Metric::UncontendedNs, uncontended),
        (Metric::ContendedPerSecond, both as f64 / time.as_secs_f64()),
    ])
}

fn take_and_release(lock: &Lock, times: u64) {
    for _ in 0..times {
        drop(lock.lock().expect("no holder dies"));
    }
}

fn take_until((lock, begin, end): (Lock, Duration, Duration)) -> u64 {
    repeat(begin, end, BATCH, || take_and_release(&lock, BATCH))
}

/// Counts from both workers under the lock, by a read and a write that lose a count when both do it at once.
fn check_exclusion(executor: &Arc<dyn Executor>, lock: &Lock) -> Result<(), BenchError> {
    const TIME: Duration = Duration::from_millis(50);
    let count = Value::new(0u64).map_err(BenchError::failed)?;
    let both = contend(TIME, |begin| {
        executor.submit(count_until, (lock.clone(), count.clone(), begin, begin + TIME))
    })?;
    check(count.load(), both)
}

fn count_until((lock, count, begin, end): (Lock, Value<u64>, Duration, Duration)) -> u64 {
    repeat(begin, end, BATCH, || {
        for _ in 0..BATCH {
            let guard = lock.lock().expect("no holder dies");
            count.store(count.load() + 1);
            drop(guard);
        }
    })
}

/// Increments from both workers.
pub fn value(executor: &Arc<dyn Executor>, scale: Scale) -> Result<Sample, BenchError> {
    let value = Value::new(0i64).map_err(BenchError::failed)?;
    let time = scale.contended_time();
    let both = contend(time, |begin| executor.submit(increment_until, (value.clone(), begin, begin + time)))?;
    check(value.load() as u64, both)?;
    Ok(vec![(Metric::IncrementsPerSecond, both as f64 / time.as_secs_f64())])
}

fn increment_until((value, begin, end): (Value<i64>, Duration, Duration)) -> u64 {
    repeat(begin, end, BATCH, || {
        for _ in 0..BATCH {
            value.fetch_add(1);
        }
    })
}

/// How often a contender does its work between two looks at the clock.
const BATCH: u64 = 100;

/// Starts a task on each worker, which begins at the time that it is given; the sum of what they give.
pub fn contend(
    time: Duration,
    start: impl Fn(Duration) -> executor::TaskFuture<u64>,
) -> Result<u64, BenchError> {
    // Long enough from now for both to be there, and not so long as to be in the way of `time`.
    let begin = now() + Duration::from_millis(50);
    let both: Vec<_> = (0..WORKERS).map(|_| start(begin)).collect();
    thread::sleep(time);
    both.into_iter().try_fold(0, |sum, one| Ok(sum + one.wait().map_err(BenchError::failed)?))
}

/// Does so many things at a time until the end, and counts them.
pub fn repeat(begin: Duration, end: Duration, size: u64, batch: impl Fn()) -> u64 {
    while now() < begin {
        std::hint::spin_loop();
    }
    let mut count = 0;
    while now() < end {
        batch();
        count += size;
    }
    count
}

/// The time on the clock that all processes of this machine have.
fn now() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Speed;

    /// The checks are the test: two threads lose no message, no count and no increment either.
    #[test]
    fn two_threads_get_through_all_of_it() {
        let executor = executor::open("thread://?workers=2").unwrap();
        let scale = Scale::new(Speed::Slow, true);
        for measure in [queue, lock, value] {
            let sample = measure(&executor, scale).unwrap();
            assert!(sample.iter().all(|(_, value)| *value > 0.0), "{sample:?}");
        }
    }
}
