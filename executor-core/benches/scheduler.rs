//! What does the scheduler cost per event, and per pending task, and does that grow with the workers?
//!
//! Simulated workers finish tasks in the order in which they were sent; the simulation is one ring of
//! (worker, task), so that nearly all the time is the scheduler's. Three loads:
//!
//! - *quick*: tasks of 1 us, all submitted before the first is sent; workers are handed up to 1,000 ahead.
//! - *long*: tasks of 20 ms, likewise; nothing is handed ahead, every result makes a worker idle for a moment.
//! - *flow*: tasks of 1 us submitted as others finish, so that the queue stays short, as under back-pressure.
//! - *batch*: the same, but events come in batches: submits, then runs of sends, then the results of each worker. A
//!   driver that reads rings or sockets drives it so.
//!
//! An event is a submit, a send or a result: three per task. Except in *batch*, actions are polled to the end after
//! every single event, which is the dearest way to drive it. Each figure is the median of five rounds, after one that is
//! not counted; rounds go over all sizes in turn, so that drift of the machine hits all of them.
//!
//! `cargo bench -p executor-core --bench scheduler [-- --json]`

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use executor_core::scheduler::{Action, Scheduler, SchedulerConfig, TaskKey, TaskSpec, WorkerKey};

const TASKS: u64 = 1_000_000;
const WORKERS: [u32; 5] = [2, 10, 100, 1_000, 10_000];
const ROUNDS: usize = 5;
/// Tasks under way in *flow*, per worker: one running, some ahead.
const FLOW_PER_WORKER: u64 = 8;

/// Events that come together in *batch*: results of one worker, and as many submits for them.
const BATCH: usize = 64;

/// Counts bytes that are allocated and not freed.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting
// touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a driver keeps for a task: as large as a pointer, and like one never 0.
type Payload = &'static u8;
static PAYLOAD: u8 = 0;

/// The park: results come in the order of the sends.
struct Bench {
    core: Scheduler<Payload>,
    under_way: VecDeque<Option<(WorkerKey, TaskKey)>>,
    now: Instant,
    takes: Duration,
}

impl Bench {
    fn new(workers: u32, takes: Duration) -> Self {
        let mut core = Scheduler::new(SchedulerConfig::default());
        let now = Instant::now();
        for index in 0..workers {
            core.handle_worker_ready(now, index, 1);
        }
        // Its memory touched before the clock starts: the ring is not what is measured.
        let mut under_way = VecDeque::from(vec![None; TASKS as usize]);
        under_way.clear();
        Self { core, under_way, now, takes }
    }

    fn submit(&mut self) {
        let accepted = self.core.handle_submit(self.now, TaskSpec::default(), &PAYLOAD);
        assert!(accepted.is_ok(), "the queue is long enough");
    }

    fn poll(&mut self) {
        while let Some(action) = self.core.poll_action(self.now) {
            match action {
                Action::Send { worker, task, .. } => self.under_way.push_back(Some((worker, task))),
                Action::Revoke { worker, task } => self.core.handle_revoked(self.now, worker, task, true),
                other => panic!("nothing else is to happen here: {other:?}"),
            }
        }
    }

    /// One result; false when nothing is under way.
    ///
    /// A task that was taken back is in the ring twice and finishes at the first of them; the second is stale.
    fn finish(&mut self) -> bool {
        while let Some((worker, task)) = self.under_way.pop_front().flatten() {
            if black_box(self.core.handle_finished(self.now, worker, task, self.takes)).is_some() {
                return true;
            }
        }
        false
    }

    /// All tasks first, then all results.
    fn run_from_full_queue(&mut self) {
        for _ in 0..TASKS {
            self.submit();
        }
        self.poll();
        while self.finish() {
            self.poll();
        }
    }

    /// A batch of submits for every batch of results.
    fn run_in_batches(&mut self) {
        let first = (self.core.workers() * BATCH).min(TASKS as usize);
        for _ in 0..first {
            self.submit();
        }
        self.poll_in_runs();
        let mut left = TASKS as usize - first;
        while self.finish_batch() {
            for _ in 0..BATCH.min(left) {
                self.submit();
            }
            left = left.saturating_sub(BATCH);
            self.poll_in_runs();
        }
    }

    fn poll_in_runs(&mut self) {
        loop {
            while let Some(mut run) = self.core.poll_run(self.now) {
                let worker = run.worker();
                while let Some(send) = run.next_task() {
                    black_box(send.payload);
                    self.under_way.push_back(Some((worker, send.task)));
                }
            }
            match self.core.poll_action(self.now) {
                None => return,
                Some(Action::Send { worker, task, .. }) => self.under_way.push_back(Some((worker, task))),
                Some(Action::Revoke { worker, task }) => {
                    self.core.handle_revoked(self.now, worker, task, true);
                }
                Some(other) => panic!("nothing else is to happen here: {other:?}"),
            }
        }
    }

    /// Up to a batch of results of one worker; false when nothing is under way.
    fn finish_batch(&mut self) -> bool {
        let Some(&Some((worker, _))) = self.under_way.front() else {
            return false;
        };
        let mut results = self.core.handle_results(self.now, worker);
        for _ in 0..BATCH {
            match self.under_way.front() {
                Some(&Some((from, task))) if from == worker => {
                    black_box(results.finished(task, self.takes));
                    self.under_way.pop_front();
                }
                _ => break,
            }
        }
        true
    }

    /// A submit for every result.
    fn run_as_flow(&mut self) {
        let workers = self.core.workers() as u64;
        let first = (workers * FLOW_PER_WORKER).min(TASKS);
        for _ in 0..first {
            self.submit();
            self.poll();
        }
        for _ in first..TASKS {
            self.finish();
            self.poll();
            self.submit();
            self.poll();
        }
        while self.finish() {
            self.poll();
        }
    }
}

#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    takes: Duration,
    run: fn(&mut Bench),
}

const LOADS: [Load; 4] = [
    Load { name: "quick", takes: Duration::from_micros(1), run: Bench::run_from_full_queue },
    Load { name: "long", takes: Duration::from_millis(20), run: Bench::run_from_full_queue },
    Load { name: "flow", takes: Duration::from_micros(1), run: Bench::run_as_flow },
    Load { name: "batch", takes: Duration::from_micros(1), run: Bench::run_in_batches },
];

fn nanoseconds_per_event(load: Load, workers: u32) -> f64 {
    let mut bench = Bench::new(workers, load.takes);
    let start = Instant::now();
    (load.run)(&mut bench);
    let elapsed = start.elapsed();
    assert_eq!(bench.core.stats().finished, TASKS);
    elapsed.as_nanos() as f64 / (3 * TASKS) as f64
}

fn bytes_per_pending_task() -> f64 {
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut core = Scheduler::new(SchedulerConfig::default());
    let now = Instant::now();
    for _ in 0..TASKS {
        assert!(core.handle_submit(now, TaskSpec::default(), &PAYLOAD).is_ok(), "the queue is long enough");
    }
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    assert_eq!(black_box(&core).waiting(), TASKS as usize);
    bytes as f64 / TASKS as f64
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let mut samples = [[[0.0; ROUNDS]; WORKERS.len()]; LOADS.len()];
    for round in 0..=ROUNDS {
        for (load, samples) in LOADS.iter().zip(&mut samples) {
            for (workers, samples) in WORKERS.iter().zip(samples) {
                let sample = nanoseconds_per_event(*load, *workers);
                if round > 0 {
                    samples[round - 1] = sample;
                }
            }
        }
    }
    for (load, samples) in LOADS.iter().zip(&mut samples) {
        for (workers, samples) in WORKERS.iter().zip(samples.iter_mut()) {
            samples.sort_by(f64::total_cmp);
            report(json, load.name, *workers, samples);
        }
        let growth = samples[WORKERS.len() - 1][ROUNDS / 2] / samples[0][ROUNDS / 2];
        if !json {
            println!("{:6} from 2 to 10,000 workers: {growth:.2} times the cost", load.name);
        }
    }
    let bytes = bytes_per_pending_task();
    if json {
        print_json("pending", "bytes_per_task", [bytes; 3]);
    } else {
        println!("{bytes:.1} bytes per pending task");
    }
}

fn report(json: bool, load: &str, workers: u32, sorted: &[f64; ROUNDS]) {
    let [min, median, max] = [sorted[0], sorted[ROUNDS / 2], sorted[ROUNDS - 1]];
    if json {
        print_json(&format!("{load}-{workers}"), "ns_per_event", [min, median, max]);
        return;
    }
    let events = 1e3 / median;
    let tasks = events / 3.0;
    print!("{load:6} {workers:6} workers: {median:5.1} ns per event ({min:.1} to {max:.1}), ");
    println!("{events:5.1} M events/s, {tasks:4.1} M tasks/s");
}

fn print_json(workload: &str, metric: &str, [min, median, max]: [f64; 3]) {
    let figures = format!(r#""min": {min:.1}, "median": {median:.1}, "max": {max:.1}"#);
    println!(r#"{{"subject": "scheduler", "workload": "{workload}", "metric": "{metric}", {figures}}}"#);
}
