//! Measures anything that is a [`Pool`]: one function per workload, the timed part marked.

use std::fs::File;
use std::hint::black_box;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use crate::processes;
use crate::report::quantile;
use crate::subject::{BenchError, Handle, Pool, Sample};
use crate::workload::{self, MANY_WORKERS, Metric, PAUSE, PAYLOAD_BYTES, Scale, WORKERS, Workload};

/// Measures `workload` on the pool that `open` gives.
///
/// # Errors
///
/// When the pool fails, or gives wrong results.
pub fn measure<P: Pool>(
    workload: Workload,
    scale: Scale,
    open: impl FnOnce(usize) -> Result<P, BenchError>,
) -> Result<Sample, BenchError> {
    match workload {
        Workload::Noop => noop(&open(WORKERS)?, scale),
        Workload::Roundtrip => roundtrip(&open(WORKERS)?, scale),
        Workload::RoundtripPaused => roundtrip_paused(&open(WORKERS)?, scale),
        Workload::Map => map(&open(WORKERS)?, scale),
        Workload::Payload => payload(&open(WORKERS)?, scale),
        Workload::Cpu => cpu(&open(WORKERS)?, scale),
        Workload::Startup => startup(|| open(WORKERS)),
        Workload::Startup8 => startup(|| open(MANY_WORKERS)),
        Workload::Pending => pending(&open(WORKERS)?, scale),
        Workload::Idle => idle(&open(WORKERS)?, scale),
        Workload::Rpc => {
            let pool = open(WORKERS)?;
            calls(scale, |x| pool.noop(x))
        }
        Workload::Blob
        | Workload::BlobInPlace
        | Workload::Shared
        | Workload::Queue
        | Workload::Lock
        | Workload::Value
        | Workload::Connection
        | Workload::Manager => Err(BenchError::Failed(format!("pools in general have no {workload}"))),
    }
}

fn noop<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    let (tasks, wave) = (scale.noop_tasks(), P::MAX_PENDING);
    let mut handles = Vec::with_capacity(tasks.min(wave));
    submit_then_await(|x| pool.noop(x), tasks, wave, &mut handles)?;

    let begun = Instant::now();
    submit_then_await(|x| pool.noop(x), tasks, wave, &mut handles)?;
    let elapsed = begun.elapsed();
    Ok(vec![(Metric::TasksPerSecond, rate(tasks, elapsed))])
}

/// Submits `tasks` no-ops, all of them before the first is awaited unless the pool holds no more than `wave`.
fn submit_then_await<H: Handle>(
    submit: impl Fn(u64) -> H,
    tasks: usize,
    wave: usize,
    handles: &mut Vec<H>,
) -> Result<(), BenchError> {
    let mut sum = 0u64;
    let mut next = 0;
    while next < tasks {
        let end = tasks.min(next.saturating_add(wave));
        handles.extend((next..end).map(|x| submit(x as u64)));
        sum += H::wait_sum(handles)?;
        next = end;
    }
    check(sum, (tasks as u64) * (tasks as u64 - 1) / 2)
}

/// Times `call`, which calls a function that gives back its argument: all calls at once, then one after the other.
pub fn calls<H: Handle>(scale: Scale, call: impl Fn(u64) -> H) -> Result<Sample, BenchError> {
    let count = scale.calls();
    let mut handles = Vec::with_capacity(count);
    submit_then_await(&call, count.div_ceil(10), count, &mut handles)?;

    let begun = Instant::now();
    submit_then_await(&call, count, count, &mut handles)?;
    let elapsed = begun.elapsed();
    let p50 = median_round_trip(scale.round_trips(), |x| check(call(x).wait()?, x))?;
    Ok(vec![(Metric::CallsPerSecond, rate(count, elapsed)), (Metric::P50Us, p50)])
}

fn roundtrip<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    let once = |x: u64| check(pool.noop(x).wait()?, x);
    round_trips(scale.round_trips(), once)
}

fn roundtrip_paused<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    let once = |x: u64| check(pool.noop(x).wait()?, x);
    paused_round_trips(scale.paused_round_trips(), once)
}

/// Times `once` again and again, back to back, after a warm-up of a tenth as many.
pub fn round_trips(
    count: usize,
    once: impl FnMut(u64) -> Result<(), BenchError>,
) -> Result<Sample, BenchError> {
    trips(count, || (), once)
}

/// The median in microseconds of [`round_trips`].
pub fn median_round_trip(
    count: usize,
    once: impl FnMut(u64) -> Result<(), BenchError>,
) -> Result<f64, BenchError> {
    let micros = sorted_trips(count, || (), once)?;
    Ok(quantile(&micros, 0.50))
}

/// As [`round_trips`], with a pause before each, which is not timed.
pub fn paused_round_trips(
    count: usize,
    once: impl FnMut(u64) -> Result<(), BenchError>,
) -> Result<Sample, BenchError> {
    trips(count, || thread::sleep(PAUSE), once)
}

fn trips(
    count: usize,
    pause: impl Fn(),
    once: impl FnMut(u64) -> Result<(), BenchError>,
) -> Result<Sample, BenchError> {
    let micros = sorted_trips(count, pause, once)?;
    Ok(vec![(Metric::P50Us, quantile(&micros, 0.50)), (Metric::P99Us, quantile(&micros, 0.99))])
}

/// The times of the trips in microseconds, shortest first.
fn sorted_trips(
    count: usize,
    pause: impl Fn(),
    mut once: impl FnMut(u64) -> Result<(), BenchError>,
) -> Result<Vec<f64>, BenchError> {
    for x in 0..count.div_ceil(10) {
        pause();
        once(x as u64)?;
    }
    let mut micros = Vec::with_capacity(count);
    for x in 0..count {
        pause();
        let begun = Instant::now();
        once(x as u64)?;
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    Ok(micros)
}

fn map<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    mapping(scale.map_items(), |items| pool.map_sum(items))
}

/// Times `map_sum`, which maps [`workload::spin_1us`] and adds the results up.
pub fn mapping(
    items: usize,
    mut map_sum: impl FnMut(Vec<u64>) -> Result<u64, BenchError>,
) -> Result<Sample, BenchError> {
    // The warm-up is also the check: a tenth of the items, one by one in this thread.
    let some: Vec<u64> = (0..items as u64 / 10).collect();
    let expected = sum_of(some.iter().map(|&x| workload::spin_1us(x)));
    check(map_sum(some)?, expected)?;

    let input: Vec<u64> = (0..items as u64).collect();
    let begun = Instant::now();
    let sum = map_sum(input)?;
    let elapsed = begun.elapsed();
    black_box(sum);
    Ok(vec![(Metric::ItemsPerSecond, rate(items, elapsed))])
}

fn payload<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    echoes(scale.payload_echoes(), |bytes| pool.echo(bytes))
}

/// Times `echo` of 64 MiB; what comes back is what is sent next.
pub fn echoes(
    count: usize,
    mut echo: impl FnMut(Vec<u8>) -> Result<Vec<u8>, BenchError>,
) -> Result<Sample, BenchError> {
    let original: Vec<u8> = (0..PAYLOAD_BYTES).map(|i| (i % 251) as u8).collect();
    let mut bytes = echo(original.clone())?;

    let begun = Instant::now();
    for _ in 0..count {
        bytes = echo(bytes)?;
    }
    let elapsed = begun.elapsed();
    if bytes != original {
        return Err(BenchError::failed("the payload came back changed"));
    }
    Ok(vec![(Metric::GibPerSecond, echo_rate(count, elapsed))])
}

/// GiB a second of so many echoes of a payload, both directions counted.
pub fn echo_rate(count: usize, elapsed: Duration) -> f64 {
    let moved = 2 * PAYLOAD_BYTES * count;
    moved as f64 / f64::from(1 << 30) / elapsed.as_secs_f64()
}

fn cpu<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    let mut handles = Vec::new();
    burning(scale.cpu_tasks(), |seeds| burn_on(|x| pool.burn(x), seeds, &mut handles))
}

fn burn_on<H: Handle>(
    burn: impl Fn(u64) -> H,
    seeds: Range<u64>,
    handles: &mut Vec<H>,
) -> Result<u64, BenchError> {
    handles.extend(seeds.map(burn));
    H::wait_sum(handles)
}

/// Times `burn_sum`, which runs [`workload::burn`] on each seed and adds the results up, against the same serially.
/// Serial and parallel passes take turns, so that drift of the machine hits both.
pub fn burning(
    tasks: usize,
    mut burn_sum: impl FnMut(Range<u64>) -> Result<u64, BenchError>,
) -> Result<Sample, BenchError> {
    const PASSES: usize = 4;
    let seeds = 0..(tasks / PASSES) as u64;
    burn_sum(0..WORKERS as u64)?;

    let (mut serial, mut parallel) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..PASSES {
        let begun = Instant::now();
        let expected = sum_of(seeds.clone().map(workload::burn));
        serial += begun.elapsed();

        let begun = Instant::now();
        let sum = burn_sum(seeds.clone())?;
        parallel += begun.elapsed();
        check(sum, expected)?;
    }
    Ok(vec![(Metric::Efficiency, efficiency(serial, parallel))])
}

/// The speed-up over serial as a share of the workers.
fn efficiency(serial: Duration, parallel: Duration) -> f64 {
    serial.as_secs_f64() / parallel.as_secs_f64() / WORKERS as f64
}

fn startup<P: Pool>(open: impl FnOnce() -> Result<P, BenchError>) -> Result<Sample, BenchError> {
    first_result(|| {
        let pool = open()?;
        check(pool.noop(1).wait()?, 1)?;
        Ok(pool)
    })
}

/// Times `first`, which opens a pool and waits for its first result; the pool is closed outside the timed part.
pub fn first_result<P>(first: impl FnOnce() -> Result<P, BenchError>) -> Result<Sample, BenchError> {
    let begun = Instant::now();
    let pool = first()?;
    let elapsed = begun.elapsed();
    drop(pool);
    Ok(vec![(Metric::FirstResultMs, elapsed.as_secs_f64() * 1e3)])
}

fn pending<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    let tasks = scale.pending_tasks().min(P::MAX_PENDING);
    check(pool.noop(1).wait()?, 1)?;
    let blockade = Blockade::new()?;
    let mut held: Vec<_> = blockade.paths().map(|path| pool.hold(path)).collect();
    let barrier = blockade.wait_until_held()?;

    let before = resident_bytes()?;
    let mut handles = Vec::with_capacity(tasks);
    handles.extend((0..tasks).map(|x| pool.noop(x as u64)));
    let after = resident_bytes()?;

    drop(barrier);
    Handle::wait_sum(&mut held)?;
    let sum = Handle::wait_sum(&mut handles)?;
    check(sum, (tasks as u64) * (tasks as u64 - 1) / 2)?;
    let bytes = after.saturating_sub(before) as f64 / tasks as f64;
    Ok(vec![(Metric::BytesPerTask, bytes)])
}

fn idle<P: Pool>(pool: &P, scale: Scale) -> Result<Sample, BenchError> {
    const TASKS: usize = 1_000;
    submit_then_await(|x| pool.noop(x), TASKS, TASKS.min(P::MAX_PENDING), &mut Vec::new())?;
    processes::idle(scale.idle_time())
}

/// A FIFO per worker, in a folder that goes with the value.
struct Blockade {
    folder: TempDir,
}

impl Blockade {
    fn new() -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::io("cannot make a folder"))?;
        let blockade = Self { folder };
        for path in blockade.paths() {
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .map_err(|errno| BenchError::io(format!("cannot make {path}"))(errno.into()))?;
        }
        Ok(blockade)
    }

    fn paths(&self) -> impl Iterator<Item = String> {
        let folder = self.folder.path();
        (0..WORKERS).map(move |i| folder.join(i.to_string()).display().to_string())
    }

    /// Returns once each worker is inside [`workload::hold`]; they leave it when the files are dropped.
    fn wait_until_held(&self) -> Result<Vec<File>, BenchError> {
        self.paths()
            .map(|path| {
                File::options().write(true).open(&path).map_err(BenchError::io(format!("cannot open {path}")))
            })
            .collect()
    }
}

/// The resident set of this process.
fn resident_bytes() -> Result<u64, BenchError> {
    let statm = std::fs::read_to_string("/proc/self/statm")
        .map_err(BenchError::io("cannot read /proc/self/statm"))?;
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|field| field.parse().ok());
    let pages = pages.ok_or_else(|| BenchError::failed("/proc/self/statm has no second field"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// So many in that time, a second.
pub fn rate(count: usize, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

fn sum_of(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::wrapping_add)
}

/// Whether a result is the right one.
pub fn check(got: u64, expected: u64) -> Result<(), BenchError> {
    if got == expected {
        Ok(())
    } else {
        Err(BenchError::Failed(format!("wrong result: {got} instead of {expected}")))
    }
}
