//! Looking again for a while before going to sleep, for as long as that pays off.
//!
//! Waking a core that sleeps takes 30 to 40 us here, in which a waker in a hurry has put hundreds of items. So who finds nothing to
//! do looks again for up to [`MOST`], as long as that succeeds. Each failure halves the time, down to none: the other
//! side has nothing to offer, or it waits for this very core, which is the same in the end. From then on nobody spins, unless
//! sleeps are short: then every so often one spin is tried again, more and more seldom as long as these fail.
//!
//! So an idle queue costs nothing, and a busy one on a machine with more to do than cores costs two switches a round trip. On a
//! single core nobody ever spins.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The longest spin: a little more than it takes to fall asleep and be woken.
const MOST: u32 = 50_000;
/// What is left of the spin is none at all below this.
const LEAST: u32 = 2_000;
/// After a sleep shorter than this, a spin might have been enough.
const SHORT: Duration = Duration::from_micros(150);
/// Short sleeps between two tries.
const INTERVAL: u32 = 16;
/// Failed tries double the interval, up to this.
const LONGEST_INTERVAL: u32 = 4096;

/// Whether another core can make progress while this one spins.
fn is_worth_it() -> bool {
    static CORES: OnceLock<bool> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1))
}

/// How long to spin for one kind of event, by one process. What threads do to it at the same time makes it a little less
/// precise.
#[derive(Debug)]
pub(super) struct Spin {
    /// 0 if one does not spin.
    nanos: AtomicU32,
    /// Short sleeps until the next try.
    until_try: AtomicU32,
    /// Short sleeps between the last two.
    interval: AtomicU32,
}

impl Spin {
    pub(super) fn new() -> Self {
        Self {
            nanos: AtomicU32::new(if is_worth_it() { MOST } else { 0 }),
            until_try: AtomicU32::new(INTERVAL),
            interval: AtomicU32::new(INTERVAL),
        }
    }

    /// Looks again and again, for a while; whether `ready` came true.
    pub(super) fn until(&self, ready: impl Fn() -> bool) -> bool {
        let nanos = self.nanos.load(Relaxed);
        if nanos == 0 {
            return false;
        }
        let found = look(nanos, ready);
        if found {
            self.has_succeeded(nanos)
        } else {
            self.has_failed(nanos)
        }
        found
    }

    fn has_succeeded(&self, nanos: u32) {
        if nanos < MOST {
            self.nanos.store(MOST, Relaxed);
        }
        if self.interval.load(Relaxed) != INTERVAL {
            self.interval.store(INTERVAL, Relaxed);
        }
    }

    fn has_failed(&self, nanos: u32) {
        let half = nanos / 2;
        // A single try is a try.
        let is_try = self.interval.load(Relaxed) > INTERVAL;
        self.nanos.store(if half < LEAST || is_try { 0 } else { half }, Relaxed);
    }

    /// Learns from a sleep.
    pub(super) fn slept(&self, length: Duration) {
        if length > SHORT || !is_worth_it() || self.nanos.load(Relaxed) != 0 {
            return;
        }
        let left = self.until_try.load(Relaxed).saturating_sub(1);
        if left > 0 {
            self.until_try.store(left, Relaxed);
            return;
        }
        let interval = self.interval.load(Relaxed).saturating_mul(2).min(LONGEST_INTERVAL);
        self.interval.store(interval, Relaxed);
        self.until_try.store(interval, Relaxed);
        self.nanos.store(MOST, Relaxed);
    }
}

fn look(nanos: u32, ready: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    loop {
        // Few pauses at first, for the answer that is nearly there; then some 200 ns between looks, so that the other side
        // keeps the cache line that it writes.
        for pauses in [1, 1, 2, 2, 4, 4, 4, 4, 4, 4] {
            if ready() {
                return true;
            }
            for _ in 0..pauses {
                std::hint::spin_loop();
            }
        }
        if start.elapsed().as_nanos() >= u128::from(nanos) {
            return ready();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn spins(spin: &Spin) -> bool {
        spin.nanos.load(Relaxed) > 0
    }

    #[test]
    fn failures_end_it_and_short_sleeps_have_it_tried_again_ever_more_seldom() {
        if !is_worth_it() {
            return;
        }
        let spin = Spin::new();
        while spin.until(|| false) || spins(&spin) {}
        spin.slept(Duration::from_secs(1));
        assert!(!spins(&spin), "long sleeps are slept");
        for expected in [16, 32, 64, 128] {
            let mut sleeps = 0;
            while !spins(&spin) {
                spin.slept(Duration::from_micros(5));
                sleeps += 1;
            }
            assert_eq!(sleeps, expected);
            assert!(!spin.until(|| false));
            assert!(!spins(&spin), "one try");
        }
    }

    #[test]
    fn a_success_brings_it_back() {
        if !is_worth_it() {
            return;
        }
        let spin = Spin::new();
        assert!(!spin.until(|| false));
        assert!(spin.until(|| true));
        assert_eq!(spin.nanos.load(Relaxed), MOST);
    }
}
