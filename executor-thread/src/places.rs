//! When a drainer starts, searches and leaves.
//!
//! # The protocol
//!
//! A drainer is *starting* from the call for it until its rayon job runs, *searching* while it looks for a task and
//! has none, and *busy* while it runs tasks one after the other. At most one drainer searches (starting counts as
//! searching), and there are at most as many drainers as threads.
//!
//! 1. **Submit.** The task is put into the queue; then, behind a fence, the word is read. A drainer that searches will find
//!    the task. If none does and there is a place, the submitter starts one. If there is no place, every thread is busy,
//!    and looks into the queue before it leaves.
//! 2. **Found.** A drainer that has found a task stops searching. If there is more in the queue, it calls as a submitter
//!    does: those who saw it searching relied on it.
//! 3. **Leave.** A drainer that finds nothing, or finds that another one searches, takes itself out of the word; then, behind a fence, it looks into the
//!    queue once more. If there is something, it comes back, unless another drainer searches or has taken the place.
//!
//! No wake-up is lost: a submit writes the queue and then reads the word; a drainer writes the word and then reads the queue; with a
//! fence between on both sides, at least one of them sees what the other wrote. A drainer that declines to come back
//! because another one searches hands the task to that one, which goes through 2 or 3 itself.

use crate::sync::{AtomicU64, Ordering, Padded, fence};

/// Drainers, of all kinds.
const ONE: u64 = 1;
/// Drainers that search, or are starting.
const SEARCHING: u64 = 1 << 20;
/// Drainers that are starting.
const STARTING: u64 = 1 << 40;
const FIELD: u64 = SEARCHING - 1;

pub(crate) struct Places {
    word: Padded<AtomicU64>,
    threads: AtomicU64,
}

/// What came of calling for a drainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Call {
    /// The caller has to start one.
    Start,
    /// One is starting already; when it runs is up to rayon.
    Starting,
    /// One searches.
    Searching,
    /// All places are taken.
    Busy,
}

/// The work of a drainer, of which this module knows only when.
pub(crate) trait Crew {
    type Task;
    /// Takes a task out of the queue.
    fn take(&self) -> Option<Self::Task>;
    fn run(&self, task: Self::Task);
    /// Whether there is a task in the queue.
    fn has_work(&self) -> bool;
    /// Waits a little for one. False if there was none for so long that the thread is better given back.
    fn search(&self) -> bool;
    /// Before leaving.
    fn rest(&self);
    /// Whether the drainer only stands in for one that is back.
    fn is_superfluous(&self) -> bool {
        false
    }
    /// There is a task for another drainer.
    fn call_another(&self);
}

impl Places {
    pub(crate) fn new(threads: usize) -> Self {
        Self { word: Padded(AtomicU64::new(0)), threads: AtomicU64::new(threads as u64) }
    }

    /// To be called after a task has been put into the queue.
    #[inline]
    pub(crate) fn call(&self) -> Call {
        fence(Ordering::SeqCst);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (all, searching, starting) = parts(word);
            if searching > starting {
                return Call::Searching;
            } else if starting > 0 {
                return Call::Starting;
            } else if all >= self.threads.load(Ordering::SeqCst) {
                return Call::Busy;
            }
            let next = word + ONE + SEARCHING + STARTING;
            match self.word.compare_exchange_weak(word, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Call::Start,
                Err(actual) => word = actual,
            }
        }
    }

    /// The drainer that was called for runs; it searches.
    pub(crate) fn begin(&self) {
        self.word.fetch_sub(STARTING, Ordering::SeqCst);
    }

    fn stop_searching(&self) {
        self.word.fetch_sub(SEARCHING, Ordering::SeqCst);
    }

    /// Begins to search, unless another drainer does.
    fn try_search(&self) -> bool {
        self.update(|word| (parts(word).1 == 0).then_some(word + SEARCHING))
    }

    /// Gives the place back.
    pub(crate) fn leave(&self, is_searching: bool) {
        self.word.fetch_sub(if is_searching { ONE + SEARCHING } else { ONE }, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Takes a place again, searching.
    fn try_return(&self) -> bool {
        self.update(|word| {
            let (all, searching, _) = parts(word);
            (searching == 0 && all < self.threads.load(Ordering::SeqCst)).then_some(word + ONE + SEARCHING)
        })
    }

    fn update(&self, change: impl Fn(u64) -> Option<u64>) -> bool {
        self.word.fetch_update(Ordering::SeqCst, Ordering::SeqCst, change).is_ok()
    }

    /// There is a place more: a thread's drainer is blocked, so that another one may stand in.
    pub(crate) fn add_place(&self) {
        self.threads.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The place is gone again. A drainer that has it leaves when it asks [`is_overfull`](Self::is_overfull).
    pub(crate) fn remove_place(&self) {
        self.threads.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn is_overfull(&self) -> bool {
        self.taken() > self.threads.load(Ordering::SeqCst)
    }

    /// How many drainers there are.
    pub(crate) fn taken(&self) -> u64 {
        parts(self.word.load(Ordering::SeqCst)).0
    }
}

fn parts(word: u64) -> (u64, u64, u64) {
    (word & FIELD, (word / SEARCHING) & FIELD, word / STARTING)
}

/// A drainer's life, from the start that it was called for.
pub(crate) fn drain(places: &Places, crew: &impl Crew) {
    places.begin();
    let mut is_searching = true;
    loop {
        // BUSY
        while let Some(task) = crew.take() {
            if is_searching {
                is_searching = false;
                places.stop_searching();
                if crew.has_work() {
                    crew.call_another();
                }
            }
            crew.run(task);
            if crew.is_superfluous() {
                break;
            }
        }
        // SEARCHING
        if !is_searching && !crew.is_superfluous() {
            is_searching = places.try_search();
        }
        if is_searching && crew.search() {
            continue;
        }
        // LEAVING
        crew.rest();
        places.leave(is_searching);
        if !crew.has_work() || !places.try_return() {
            return;
        }
        is_searching = true;
    }
}
