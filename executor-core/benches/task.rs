//! What does a task cost outside of scheduler, transport and worker?
//!
//! A backend without workers takes jobs as a process pool does (target, encode, take charge), keeps them in a queue,
//! and completes them from bytes. Everything is on one thread, so that no cache line travels: what is measured is the
//! work. Per task:
//!
//! - *submit*: `submit` until the job is in the queue.
//! - *send*: what a pool asks a job before it sends it.
//! - *complete*: from the result's bytes.
//! - *take*: `wait` of a future that is resolved.
//!
//! Tasks go through in batches of 256, as large as what is under way in a pool with tasks of a microsecond. Each figure
//! is the median of the batches.
//!
//! `cargo bench -p executor-core --bench task [-- --json]`

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use executor_core::{
    CancelOutcome, Capabilities, Executor, ExecutorExt, Job, Owner, OwnerId, Rejected, Shutdown, Stats,
    TaskError, TaskFuture, TaskId, register_owner,
};

const BATCH: usize = 256;
const BATCHES: usize = 4_000;
/// Not counted.
const WARM_UP: usize = 400;

/// Counts allocations.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting
// touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // One thread: a load and a store will do, so that the count costs next to nothing.
        ALLOCATIONS.store(ALLOCATIONS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Whom futures would ask.
struct Nobody;

impl Owner for Nobody {
    fn cancel(&self, _: &AtomicU64, _: TaskId) -> CancelOutcome {
        CancelOutcome::FlagRaised
    }
    fn revoke(&self, _: &AtomicU64, _: TaskId) -> bool {
        false
    }
    fn progress(&self, _: &AtomicU64, _: TaskId) -> Option<f64> {
        None
    }
    fn has_begun(&self, _: &AtomicU64, _: TaskId) -> bool {
        false
    }
}

/// Keeps jobs until they are completed.
struct Queue {
    owner: OwnerId,
    jobs: Jobs,
}

/// Of one thread, unlike what the type promises: a lock would be measured with every task.
struct Jobs(UnsafeCell<Vec<Job>>);

// SAFETY: this program has one thread.
unsafe impl Sync for Jobs {}

impl Jobs {
    fn push(&self, job: Job) {
        // SAFETY: one thread, and nothing is called meanwhile that would get here.
        unsafe { &mut *self.0.get() }.push(job);
    }

    fn take(&self) -> Vec<Job> {
        // SAFETY: as above.
        std::mem::replace(unsafe { &mut *self.0.get() }, Vec::with_capacity(BATCH))
    }
}

#[async_trait::async_trait]
impl Executor for Queue {
    fn submit_job(&self, mut job: Job) -> Result<(), Rejected> {
        let checked = job.target().and_then(|_| job.encode_within(1 << 30));
        if let Err(error) = checked {
            return Err(Rejected { job, error });
        }
        if job.set_owner(&self.owner, 0) {
            self.jobs.push(job);
        }
        Ok(())
    }
    async fn ready(&self) -> Result<(), TaskError> {
        Ok(())
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("queue")
    }
    fn stats(&self) -> Stats {
        Stats::new(0)
    }
    async fn shutdown(&self, _: Shutdown) {}
}

#[derive(Default)]
struct Samples([Vec<f64>; 4]);

const PARTS: [&str; 4] = ["submit", "send", "complete", "take"];

/// One batch; times of its parts are added to the samples.
fn run_batch(queue: &Queue, futures: &mut Vec<TaskFuture<u64>>, frame: &mut Vec<u8>, samples: &mut Samples) {
    let mut mark = Instant::now();
    let mut part = |n: usize| {
        let now = Instant::now();
        samples.0[n].push((now - mark).as_nanos() as f64 / BATCH as f64);
        mark = Instant::now();
    };
    for n in 0..BATCH as u64 {
        futures.push(queue.submit(|n: u64| n + 1, n));
    }
    part(0);
    let jobs = queue.jobs.take();
    frame.clear();
    for job in &jobs {
        let options = black_box(job.options());
        let is_plain = options.priority == 0 && options.timeout.is_none() && !job.is_async();
        assert!(is_plain && job.shares().is_empty());
        black_box(job.target()).expect("a function of this program");
        frame.extend_from_slice(job.encoded());
        job.word().store(1, Ordering::Relaxed);
    }
    black_box(&frame);
    part(1);
    for job in jobs {
        let notice = job.complete_deferred(&[7u8][..]);
        assert!(!notice.is_needed());
    }
    part(2);
    for future in futures.drain(..) {
        assert_eq!(future.wait(), Ok(7));
    }
    part(3);
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let owner: Arc<dyn Owner> = Arc::new(Nobody);
    let queue = Queue { owner: register_owner(Arc::downgrade(&owner)), jobs: Jobs(UnsafeCell::default()) };
    let queue = black_box(&queue);
    let (mut futures, mut frame) = (Vec::with_capacity(BATCH), Vec::new());
    let mut samples = Samples::default();
    for _ in 0..WARM_UP {
        run_batch(queue, &mut futures, &mut frame, &mut samples);
    }
    let mut samples = Samples(std::array::from_fn(|_| Vec::with_capacity(BATCHES)));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..BATCHES {
        run_batch(queue, &mut futures, &mut frame, &mut samples);
    }
    // One for the vector of jobs that each batch takes.
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before - BATCHES;
    let mut sum = 0.0;
    for (part, samples) in PARTS.iter().zip(&mut samples.0) {
        samples.sort_by(f64::total_cmp);
        let [low, median, high] = [BATCHES / 10, BATCHES / 2, BATCHES * 9 / 10].map(|n| samples[n]);
        sum += median;
        report(json, part, "ns_per_task", [low, median, high]);
    }
    report(json, "all", "ns_per_task", [sum; 3]);
    report(json, "all", "allocations_per_task", [allocations as f64 / (BATCH * BATCHES) as f64; 3]);
}

fn report(json: bool, workload: &str, metric: &str, [low, median, high]: [f64; 3]) {
    if json {
        let figures = format!(r#""min": {low:.2}, "median": {median:.2}, "max": {high:.2}"#);
        println!(r#"{{"subject": "task", "workload": "{workload}", "metric": "{metric}", {figures}}}"#);
    } else {
        println!("{workload:8} {metric}: {median:6.2} ({low:.2} to {high:.2})");
    }
}
