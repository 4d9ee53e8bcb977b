//! Where a sync handler runs: see the [module](super).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// So many calls are looked at from aside before any runs where it was read.
const FIRST_CALLS: u32 = 4;

/// A handler that takes less on average runs where its call was read. About twice what it costs to have it run by another
/// thread.
const QUICK: Duration = Duration::from_micros(50);

/// The weight of a new duration in the mean is one in so many.
const WEIGHT: u64 = 8;

/// Where a call is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the thread that has read it.
    Here,
    /// On a thread that may block.
    Aside,
}

/// How long a handler's calls have taken so far.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    calls: AtomicU32,
    mean_nanos: AtomicU64,
}

impl Pace {
    /// Where the next call is to run.
    pub(crate) fn place(&self) -> Place {
        // Relaxed, all of it: these are estimates, and nothing is published by them.
        let is_known = self.calls.load(Ordering::Relaxed) >= FIRST_CALLS;
        let mean = Duration::from_nanos(self.mean_nanos.load(Ordering::Relaxed));
        if is_known && mean < QUICK { Place::Here } else { Place::Aside }
    }

    /// A call took so long. Two calls that end at the same time may count as one.
    pub(crate) fn record(&self, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let calls = self.calls.load(Ordering::Relaxed);
        let mean = self.mean_nanos.load(Ordering::Relaxed);
        let mean = if calls == 0 { took } else { mean - mean / WEIGHT + took / WEIGHT };
        self.mean_nanos.store(mean, Ordering::Relaxed);
        if calls < FIRST_CALLS {
            self.calls.store(calls + 1, Ordering::Relaxed);
        }
    }
}
