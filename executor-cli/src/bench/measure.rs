//! One measurement: what is timed, and on how many tasks.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use executor::prelude::*;

use super::workload::Workload;

/// What `payload` sends, and gets back.
const PAYLOAD: usize = 64 << 20;

/// Iterations of [`spin`] that take about a microsecond; a fixed count, so that all executors do the same work.
const SPINS_PER_MICROSECOND: u64 = 400;

/// The most tasks on their way; below the default length of every queue.
const WINDOW: usize = 10_000;

/// The most tasks or items in a measurement, which bounds its memory.
const MOST: usize = 1_000_000;

/// Measures with ever more tasks until the time is a fair part of the budget; gives how many tasks fill it.
pub fn warm_up(workload: Workload, ex: &dyn Executor, budget: Duration) -> Result<usize, TaskError> {
    let mut size = workload.least();
    loop {
        let begin = Instant::now();
        once(workload, ex, size)?;
        let elapsed = begin.elapsed();
        if elapsed * 4 >= budget || size >= MOST {
            let fitting = size as f64 * budget.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
            return Ok((fitting as usize).clamp(workload.least(), MOST));
        }
        size = (size * 4).min(MOST);
    }
}

/// The workload's figures over so many tasks, in the order of its metrics.
pub fn once(workload: Workload, ex: &dyn Executor, size: usize) -> Result<Vec<f64>, TaskError> {
    match workload {
        Workload::Noop => submit_all(ex, size).map(|time| vec![per_second(size, time)]),
        Workload::Roundtrip => round_trips(ex, size),
        Workload::Map => map(ex, size).map(|time| vec![per_second(size, time)]),
        Workload::Payload => payload(ex, size),
        Workload::Cpu => cpu(ex, size),
    }
}

impl Workload {
    /// How many tasks a measurement has at least.
    fn least(self) -> usize {
        match self {
            Self::Noop | Self::Map => 1_000,
            Self::Roundtrip => 100,
            Self::Payload => 1,
            Self::Cpu => 16,
        }
    }
}

/// One by one, at most a window of them on their way, each result awaited.
fn submit_all(ex: &dyn Executor, size: usize) -> Result<Duration, TaskError> {
    let mut pending: VecDeque<TaskFuture<u64>> = VecDeque::with_capacity(WINDOW);
    let begin = Instant::now();
    for n in 0..size as u64 {
        if pending.len() == WINDOW {
            take_first(&mut pending)?;
        }
        let mut arg = n;
        let future = loop {
            match ex.task(noop, arg).try_submit() {
                Ok(future) => break future,
                // A queue that was configured to be shorter than the window.
                Err(refused) if refused.is_full() && !pending.is_empty() => {
                    take_first(&mut pending)?;
                    arg = refused.into_arg();
                }
                Err(refused) => return Err(refused.error),
            }
        };
        pending.push_back(future);
    }
    while !pending.is_empty() {
        take_first(&mut pending)?;
    }
    Ok(begin.elapsed())
}

fn take_first(pending: &mut VecDeque<TaskFuture<u64>>) -> Result<(), TaskError> {
    match pending.pop_front() {
        Some(future) => future.wait().map(drop),
        None => Ok(()),
    }
}

fn round_trips(ex: &dyn Executor, size: usize) -> Result<Vec<f64>, TaskError> {
    let mut micros = Vec::with_capacity(size);
    for n in 0..size as u64 {
        let begin = Instant::now();
        ex.submit(noop, n).wait()?;
        micros.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    Ok(vec![percentile(&micros, 50), percentile(&micros, 99)])
}

/// The nearest rank: at least so many percent of the values are not above it.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

fn map(ex: &dyn Executor, size: usize) -> Result<Duration, TaskError> {
    let begin = Instant::now();
    for result in ex.map(spin_1us, 0..size as u64) {
        result?;
    }
    Ok(begin.elapsed())
}

fn payload(ex: &dyn Executor, size: usize) -> Result<Vec<f64>, TaskError> {
    let mut bytes = vec![7; PAYLOAD];
    let begin = Instant::now();
    for _ in 0..size {
        bytes = ex.submit(echo, bytes).wait()?;
    }
    let gib = (2 * PAYLOAD * size) as f64 / (1u64 << 30) as f64;
    Ok(vec![gib / begin.elapsed().as_secs_f64().max(1e-9)])
}

/// How much faster than one after the other here, divided by the number of workers.
fn cpu(ex: &dyn Executor, size: usize) -> Result<Vec<f64>, TaskError> {
    let begin = Instant::now();
    for n in 0..size as u64 {
        std::hint::black_box(burn(n));
    }
    let serial = begin.elapsed();
    let begin = Instant::now();
    for result in ex.map(burn, 0..size as u64) {
        result?;
    }
    let speed_up = serial.as_secs_f64() / begin.elapsed().as_secs_f64();
    Ok(vec![speed_up / ex.stats().workers.max(1) as f64])
}

fn per_second(tasks: usize, time: Duration) -> f64 {
    tasks as f64 / time.as_secs_f64().max(1e-9)
}

/// The task of `noop` and `roundtrip`.
pub fn noop(n: u64) -> u64 {
    n
}

fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn spin_1us(seed: u64) -> u64 {
    spin(seed, SPINS_PER_MICROSECOND)
}

fn burn(seed: u64) -> u64 {
    spin(seed, 2_000 * SPINS_PER_MICROSECOND)
}

/// A xorshift chain: each step needs the one before, so that no compiler can shorten it.
#[inline(never)]
fn spin(seed: u64, iterations: u64) -> u64 {
    let mut x = seed | 1;
    for _ in 0..iterations {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        x = x.wrapping_mul(0x2545_F491_4F6C_DD1D);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!(percentile(&values, 50), 100.0);
        assert_eq!(percentile(&values, 99), 198.0);
        assert_eq!(percentile(&[5.0], 99), 5.0);
    }

    #[test]
    fn every_workload_gives_a_value_for_each_of_its_metrics() {
        let ex = executor::open("serial://").unwrap();
        for workload in Workload::ALL {
            let values = once(workload, &*ex, 1).unwrap();
            assert_eq!(values.len(), workload.metrics().len(), "{workload:?}");
            assert!(values.iter().all(|it| it.is_finite() && *it > 0.0), "{workload:?}: {values:?}");
        }
    }
}
