//! What is measured: the workloads, their metrics, the functions that run as tasks, and how many of them.
//!
//! Every subject runs the same functions. Slow subjects run fewer tasks, so that a round stays short. A rate can depend
//! on the count (`multiprocessing.Pool` did 18,000 tasks a second over 1,000 tasks and 19,000 to 28,000 over 10,000),
//! so figures of a quick run are not to be compared with those of a full one.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;
use std::time::Duration;

use crate::bytes::Bytes;
use crate::cli::{UnknownName, nearest};

/// Workers of every subject, where the workload does not say otherwise: threads, processes or slots.
pub const WORKERS: usize = 2;

/// Workers of `startup8`.
pub const MANY_WORKERS: usize = 8;

/// Bytes that `payload`, `blob` and `blob_in_place` send, and get back.
pub const PAYLOAD_BYTES: usize = 64 << 20;

/// Bytes of the value of `shared`.
pub const SHARED_BYTES: usize = 256 << 20;

/// Bytes of the object that `connection` sends, and gets back.
pub const OBJECT_BYTES: usize = 32;

/// The pause between the tasks of `roundtrip_paused`: long enough for both sides to have gone to sleep.
pub const PAUSE: Duration = Duration::from_millis(1);

/// A question that the benches ask of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Submit no-op tasks one by one, hold all handles, then await each.
    Noop,
    /// Submit one no-op task, wait for it, repeat, back to back.
    Roundtrip,
    /// The same with a pause of 1 ms before each task.
    RoundtripPaused,
    /// Map a function of about 1 µs over many items, with the subject's default chunking.
    Map,
    /// 64 MiB of bytes to a worker and back.
    Payload,
    /// The same in the type that the subject has for large pieces of bytes.
    Blob,
    /// 64 MiB written straight into shared memory and read there, and the same on the way back.
    BlobInPlace,
    /// One large value that many tasks read.
    Shared,
    /// CPU-bound tasks on two workers against the same tasks serially.
    Cpu,
    /// From nothing to the first result of a new pool.
    Startup,
    /// The same with eight workers.
    Startup8,
    /// Resident memory per task that waits in the queue.
    Pending,
    /// An open pool that has run tasks and has nothing to do.
    Idle,
    /// Messages through a queue between two processes.
    Queue,
    /// Acquire and release a lock, in one process and in two at once.
    Lock,
    /// Two processes increment one integer.
    Value,
    /// An object of 32 bytes to another process and back, by blocking calls.
    Connection,
    /// Calls of a function of another process over loopback TCP: many at once, and one after the other.
    Rpc,
    /// Two processes set and get items of a dict that a manager has.
    Manager,
}

impl Workload {
    /// All workloads, in the order in which they are run.
    pub const ALL: [Workload; 19] = [
        Workload::Noop,
        Workload::Roundtrip,
        Workload::RoundtripPaused,
        Workload::Map,
        Workload::Payload,
        Workload::Blob,
        Workload::BlobInPlace,
        Workload::Shared,
        Workload::Cpu,
        Workload::Startup,
        Workload::Startup8,
        Workload::Pending,
        Workload::Idle,
        Workload::Queue,
        Workload::Lock,
        Workload::Value,
        Workload::Connection,
        Workload::Rpc,
        Workload::Manager,
    ];

    /// The name on the command line and in the output.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Noop => "noop",
            Workload::Roundtrip => "roundtrip",
            Workload::RoundtripPaused => "roundtrip_paused",
            Workload::Map => "map",
            Workload::Payload => "payload",
            Workload::Blob => "blob",
            Workload::BlobInPlace => "blob_in_place",
            Workload::Shared => "shared",
            Workload::Cpu => "cpu",
            Workload::Startup => "startup",
            Workload::Startup8 => "startup8",
            Workload::Pending => "pending",
            Workload::Idle => "idle",
            Workload::Queue => "queue",
            Workload::Lock => "lock",
            Workload::Value => "value",
            Workload::Connection => "connection",
            Workload::Rpc => "rpc",
            Workload::Manager => "manager",
        }
    }

    /// The metrics that the workload yields, in the order in which they are printed.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Workload::Noop => &[Metric::TasksPerSecond],
            Workload::Roundtrip => &[Metric::P50Us, Metric::P99Us],
            Workload::RoundtripPaused => &[Metric::P50Us, Metric::P99Us],
            Workload::Map => &[Metric::ItemsPerSecond],
            Workload::Payload => &[Metric::GibPerSecond],
            Workload::Blob => &[Metric::GibPerSecond],
            Workload::BlobInPlace => &[Metric::GibPerSecond],
            Workload::Shared => &[Metric::MemoryRatio],
            Workload::Cpu => &[Metric::Efficiency],
            Workload::Startup => &[Metric::FirstResultMs],
            Workload::Startup8 => &[Metric::FirstResultMs],
            Workload::Pending => &[Metric::BytesPerTask],
            Workload::Idle => &[Metric::CpuPercent, Metric::WakeupsPerSecond],
            Workload::Queue => &[Metric::MessagesPerSecond, Metric::P50Us],
            Workload::Lock => &[Metric::UncontendedNs, Metric::ContendedPerSecond],
            Workload::Value => &[Metric::IncrementsPerSecond],
            Workload::Connection => &[Metric::P50Us],
            Workload::Rpc => &[Metric::CallsPerSecond, Metric::P50Us],
            Workload::Manager => &[Metric::OperationsPerSecond],
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
    /// Memory of the pool and of its parent together, as a multiple of the value's size.
    MemoryRatio,
    /// Speed-up over serial divided by the number of workers.
    Efficiency,
    /// Milliseconds from nothing to the first result.
    FirstResultMs,
    /// Resident bytes per pending task, handle included.
    BytesPerTask,
    /// Time on a processor, of all threads of all processes together, in percent of one core.
    CpuPercent,
    /// Times a second that any of these threads went to sleep again.
    WakeupsPerSecond,
    /// Messages that a consumer took, a second.
    MessagesPerSecond,
    /// Nanoseconds to acquire and release a lock that nobody else wants.
    UncontendedNs,
    /// Times a second that either of two processes acquired and released the lock.
    ContendedPerSecond,
    /// Increments a second by two processes together.
    IncrementsPerSecond,
    /// Remote calls that were answered, a second.
    CallsPerSecond,
    /// Gets and sets a second by two processes together.
    OperationsPerSecond,
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
            Metric::MemoryRatio => "memory_ratio",
            Metric::Efficiency => "efficiency",
            Metric::FirstResultMs => "first_result_ms",
            Metric::BytesPerTask => "bytes_per_task",
            Metric::CpuPercent => "cpu_percent",
            Metric::WakeupsPerSecond => "wakeups_per_second",
            Metric::MessagesPerSecond => "messages_per_second",
            Metric::UncontendedNs => "uncontended_ns",
            Metric::ContendedPerSecond => "contended_per_second",
            Metric::IncrementsPerSecond => "increments_per_second",
            Metric::CallsPerSecond => "calls_per_second",
            Metric::OperationsPerSecond => "operations_per_second",
        }
    }

    /// Whether a larger value is the better one.
    pub fn higher_is_better(self) -> bool {
        match self {
            Metric::TasksPerSecond
            | Metric::ItemsPerSecond
            | Metric::GibPerSecond
            | Metric::Efficiency
            | Metric::MessagesPerSecond
            | Metric::ContendedPerSecond
            | Metric::IncrementsPerSecond
            | Metric::CallsPerSecond
            | Metric::OperationsPerSecond => true,
            Metric::P50Us
            | Metric::P99Us
            | Metric::MemoryRatio
            | Metric::FirstResultMs
            | Metric::BytesPerTask
            | Metric::CpuPercent
            | Metric::WakeupsPerSecond
            | Metric::UncontendedNs => false,
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

    /// Timed round trips with pauses between them, after a warm-up of a tenth of them.
    pub fn paused_round_trips(self) -> usize {
        if self.quick { 100 } else { 1_000 }
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

    /// Timed echoes in place, after one of warm-up.
    pub fn in_place_echoes(self) -> usize {
        if self.quick { 2 } else { 20 }
    }

    /// Tasks of `shared`.
    pub fn shared_tasks(self) -> usize {
        if self.quick { 100 } else { 1_000 }
    }

    /// How long `idle` looks on.
    pub fn idle_time(self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 5 })
    }

    /// Messages that `queue` sends one way.
    pub fn queue_messages(self) -> usize {
        self.pick(1_000_000, 100_000, 100_000)
    }

    /// Pairs of acquire and release in `lock`, by one process.
    pub fn lock_pairs(self) -> usize {
        self.pick(10_000_000, 1_000_000, 1_000_000)
    }

    /// Calls of `rpc` that are in flight at once.
    pub fn calls(self) -> usize {
        self.pick(100_000, 100_000, 10_000)
    }

    /// How long two processes contend, in `lock`, `value` and `manager`.
    pub fn contended_time(self) -> Duration {
        Duration::from_millis(if self.quick { 100 } else { 1_000 })
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
