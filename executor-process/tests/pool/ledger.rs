//! A ledger that tasks write and the test reads, in a file that all of them map: which tasks have begun, how often, and
//! which each worker is in.
//!
//! A worker that was stopped by a signal tells by it whether a kill will lose a task, and which.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// More workers than a test can kill.
const WORKERS: usize = 100_000;

/// The header: how many workers have taken a slot.
const HEADER: usize = 1;
/// The words of a worker's slot: its process, and the task that it is in plus one.
const SLOT: usize = 2;

pub struct Ledger {
    words: &'static [AtomicU32],
}

impl Ledger {
    /// A new one for so many tasks.
    pub fn create(path: &str, tasks: usize) -> Self {
        let file =
            File::options().read(true).write(true).create_new(true).open(path).expect("the test's folder");
        let words = HEADER + SLOT * WORKERS + tasks;
        file.set_len((words * size_of::<AtomicU32>()) as u64).expect("room for a sparse file");
        Self::map(&file)
    }

    fn open(path: &str) -> Self {
        Self::map(&File::options().read(true).write(true).open(path).expect("the test has made it"))
    }

    fn map(file: &File) -> Self {
        let bytes = file.metadata().expect("a file").len() as usize;
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        // SAFETY: a new mapping at an address of the kernel's choice, of a file that keeps its length.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, fd, 0) };
        assert_ne!(start, libc::MAP_FAILED, "a file can be mapped");
        // SAFETY: the mapping is that long, aligned to a page, and stays until the drop, before which `words` is given
        // to nobody; atomics may be written by others.
        let words = unsafe { std::slice::from_raw_parts(start.cast(), bytes / size_of::<AtomicU32>()) };
        Self { words }
    }

    fn slot(&self, worker: usize) -> &[AtomicU32] {
        &self.words[HEADER + SLOT * worker..][..SLOT]
    }

    fn begun(&self) -> &[AtomicU32] {
        &self.words[HEADER + SLOT * WORKERS..]
    }

    /// Whether each task has begun exactly so many times.
    #[track_caller]
    pub fn assert_all_begun(&self, times: u32) {
        for (task, begun) in self.begun().iter().enumerate() {
            assert_eq!(begun.load(Ordering::SeqCst), times, "begins of task {task}");
        }
    }

    /// The task that a worker is in, which has to stand still while it is asked.
    pub fn task_of(&self, pid: i32) -> Option<u32> {
        let workers = self.words[0].load(Ordering::SeqCst) as usize;
        let slot = (0..workers).map(|worker| self.slot(worker)).rev();
        let slot = slot.into_iter().find(|slot| slot[0].load(Ordering::SeqCst) == pid as u32)?;
        slot[1].load(Ordering::SeqCst).checked_sub(1)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: the mapping that was made, of which nothing is borrowed any more.
        unsafe { libc::munmap(self.words.as_ptr().cast_mut().cast(), size_of_val(self.words)) };
    }
}

/// The body of a task, noted in the ledger at `path` as begun, and as what this worker is in until it ends.
pub fn noted<R>(path: &str, task: u32, body: impl FnOnce() -> R) -> R {
    static LEDGER: OnceLock<(Ledger, usize)> = OnceLock::new();
    let (ledger, worker) = LEDGER.get_or_init(|| {
        let ledger = Ledger::open(path);
        let worker = ledger.words[0].fetch_add(1, Ordering::SeqCst) as usize;
        ledger.slot(worker)[0].store(std::process::id(), Ordering::SeqCst);
        (ledger, worker)
    });
    let slot = ledger.slot(*worker);
    // In this order: who is killed while it is in a task has begun it.
    ledger.begun()[task as usize].fetch_add(1, Ordering::SeqCst);
    slot[1].store(task + 1, Ordering::SeqCst);
    let value = body();
    slot[1].store(0, Ordering::SeqCst);
    value
}
