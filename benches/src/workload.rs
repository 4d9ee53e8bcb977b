//! What is measured: the workloads, their metrics, the functions that run as tasks, and how many of them.
//!
//! Every subject runs the same functions. Slow subjects run fewer tasks, so that a round stays short. A rate can depend
//! on the count (`multiprocessing.Pool` did 18,000 tasks a second over 1,000 tasks and 19,000 to 28,000 over 10,000),
//! so figures of a quick run are not to be compared with those of a full one.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use crate::bytes::Bytes;
use crate::cli::{UnknownName, nearest};

/// Workers of every subject: threads, processes or slots.
pub const WORKERS: usize = 2;

/// Bytes that `payload` sends, and gets back.
pub const PAYLOAD_BYTES: usize = 64 << 20;

/// A question that the benches ask of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Submit no-op tasks one by one, hold all handles, then await each.
    Noop,
    /// Submit one no-op task, wait for it, repeat, back to back.
    Roundtrip,
    /// Map a function of about 1 µs over many items, with the subject's default chunking.
    Map,
    /// 64 MiB of bytes to a worker and back.
    Payload,
    /// CPU-bound tasks on two workers against the same tasks serially.
    Cpu,
    /// From nothing to the first result of a new pool.
    Startup,
    /// Resident memory per task that waits in the queue.
    Pending,
}

impl Workload {
    /// All workloads, in the order in which they are run.
    pub const ALL: [Workload; 7] = [
        Workload::Noop,
        Workload::Roundtrip,
        Workload::Map,
        Workload::Payload,
        Workload::Cpu,
        Workload::Startup,
        Workload::Pending,
    ];

    /// The name on the command line and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Noop => "noop",
            Workload::Roundtrip => "roundtrip",
            Workload::Map => "map",
            Workload::Payload => "payload",
            Workload::Cpu => "cpu",
            Workload::Startup => "startup",
            Workload::Pending => "pending",
        }
    }

    /// The metrics that the workload yields, in the order in which they are printed.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Workload::Noop => &[Metric::TasksPerSecond],
            Workload::Roundtrip => &[Metric::P50Us, Metric::P99Us],
            Workload::Map => &[Metric::ItemsPerSecond],
            Workload::Payload => &[Metric::GibPerSecond],
            Workload::Cpu => &[Metric::Efficiency],
            Workload::Startup => &[Metric::FirstResultMs],
            Workload::Pending => &[Metric::BytesPerTask],
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Workload::ALL
            .into_iter()
            .find(|workload| workload.name() == name)
            .ok_or_else(|| nearest("workload", name, Workload::ALL.map(Workload::name)))
    }
}

/// A figure that a workload yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// No-op tasks a second.
    TasksPerSecond,
    /// Median round trip in microseconds.
    P50Us,
    /// 99th percentile of the round trip in microseconds.
    P99Us,
    /// Mapped items a second.
    ItemsPerSecond,
    /// Bytes sent plus bytes that came back, in GiB a second.
    GibPerSecond,
    /// Speed-up over serial divided by the number of workers.
    Efficiency,
    /// Milliseconds from nothing to the first result.
    FirstResultMs,
    /// Resident bytes per pending task, handle included.
    BytesPerTask,
}

impl Metric {
    /// The name in the output.
    pub fn name(self) -> &'static str {
        match self {
            Metric::TasksPerSecond => "tasks_per_second",
            Metric::P50Us => "p50_us",
            Metric::P99Us => "p99_us",
            Metric::ItemsPerSecond => "items_per_second",
            Metric::GibPerSecond => "gib_per_second",
            Metric::Efficiency => "efficiency",
            Metric::FirstResultMs => "first_result_ms",
            Metric::BytesPerTask => "bytes_per_task",
        }
    }

    /// Whether a larger value is the better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Metric::TasksPerSecond | Metric::ItemsPerSecond | Metric::GibPerSecond | Metric::Efficiency => {
                true
            }
            Metric::P50Us | Metric::P99Us | Metric::FirstResultMs | Metric::BytesPerTask => false,
        }
    }
}

/// How fast a subject is expected to be, which decides how many tasks it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// Millions of tasks a second: pools of threads, and process pools that batch.
    Millions,
    /// Some hundred thousand a second: RPC over a socket.
    Thousands,
    /// Some ten thousand a second: a system call or a pickle per task.
    Slow,
}

/// The size of a measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    speed: Speed,
    quick: bool,
}

impl Scale {
    /// The full size for a subject of this speed, or a tenth of it when `quick`.
    pub fn new(speed: Speed, quick: bool) -> Self {
        Self { speed, quick }
    }

    /// Tasks of `noop`.
    pub fn noop_tasks(self) -> usize {
        self.pick(1_000_000, 100_000, 10_000)
    }

    /// Timed round trips, after a warm-up of a tenth of them.
    pub fn round_trips(self) -> usize {
        self.pick(20_000, 10_000, 3_000)
    }

    /// Items of `map`.
    pub fn map_items(self) -> usize {
        if self.quick { 100_000 } else { 1_000_000 }
    }

    /// Pending tasks of `pending`.
    pub fn pending_tasks(self) -> usize {
        self.pick(1_000_000, 100_000, 100_000)
    }

    /// Tasks of `cpu`, of about 2 ms each.
    pub fn cpu_tasks(self) -> usize {
        if self.quick { 32 } else { 160 }
    }

    /// Timed payload echoes, after one of warm-up.
    pub fn payload_echoes(self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    fn pick(self, millions: usize, thousands: usize, slow: usize) -> usize {
        let full = match self.speed {
            Speed::Millions => millions,
            Speed::Thousands => thousands,
            Speed::Slow => slow,
        };
        if self.quick { full.div_ceil(10) } else { full }
    }
}

/// Iterations of `spin` that take about 1 µs: 400 took 0.99 to 1.03 µs on an AMD EPYC. It is a fixed count, and not
/// calibrated at the start, so that all subjects and rounds do the same work.
const SPINS_PER_MICROSECOND: u64 = 400;

/// The task of `noop`, `roundtrip` and `pending`.
pub fn noop(x: u64) -> u64 {
    x
}

/// The function of `map`: about 1 µs of arithmetic, the same on every machine and in every round.
pub fn spin_1us(x: u64) -> u64 {
    spin(x, SPINS_PER_MICROSECOND)
}

/// The task of `cpu`: about 2 ms of arithmetic.
pub fn burn(x: u64) -> u64 {
    spin(x, 2_000 * SPINS_PER_MICROSECOND)
}

/// The task of `payload`.
pub fn echo(bytes: Bytes) -> Bytes {
    bytes
}

/// The task that keeps a worker busy: returns when the other end of the FIFO at `path` is closed.
///
/// Opening a FIFO waits for the other side, so whoever has opened the writing end knows that the task has begun.
pub fn hold(path: String) -> u64 {
    let released = || -> io::Result<usize> {
        let mut fifo = std::fs::File::open(&path)?;
        fifo.read_to_end(&mut Vec::new())
    };
    match released() {
        Ok(_) => 0,
        Err(error) => panic!("cannot hold the worker on {path}: {error}"),
    }
}

/// A xorshift chain: each step needs the one before, so no compiler can shorten, vectorise or interleave it.
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
mod tests;
