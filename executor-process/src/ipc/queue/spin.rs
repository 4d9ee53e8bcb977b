//! Looking again for a while before going to sleep, for as long as that has paid off.
//!
//! Waking a core that sleeps takes 30 to 40 us here, in which a waker in a hurry has put hundreds of items. So who finds nothing to
//! do looks again for up to [`MOST`], if that has lately been enough; a wait that was much longer halves the time, so that one who
//! mostly waits long goes to sleep at once, and an idle queue costs nothing. On a single core nobody ever spins: the other side
//! cannot move meanwhile.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The longest spin: a little more than it takes to fall asleep and be woken.
const MOST: Duration = Duration::from_micros(50);
/// A sleep shorter than this would have been better spun.
const SHORT: Duration = Duration::from_micros(150);
/// What is left of the spin is none at all below this.
const LEAST: Duration = Duration::from_micros(2);

/// Whether another core can make progress while this one spins.
pub(super) fn is_worth_it() -> bool {
    static CORES: OnceLock<bool> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1))
}

/// How long to spin for one kind of event, by one process.
#[derive(Debug)]
pub(super) struct Spin {
    nanos: AtomicU32,
}

impl Spin {
    pub(super) fn new() -> Self {
        Self { nanos: AtomicU32::new(if is_worth_it() { MOST.subsec_nanos() } else { 0 }) }
    }

    /// Looks again and again, for a while; whether `ready` came true.
    pub(super) fn until(&self, ready: impl Fn() -> bool) -> bool {
        let nanos = self.nanos.load(Relaxed);
        if nanos == 0 {
            return false;
        }
        let start = Instant::now();
        loop {
            // Few looks at first, for the answer that is nearly there; then some 200 ns between them, so that the other side keeps
            // the cache line that it writes.
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

    /// Learns from a sleep that came after the spin.
    pub(super) fn slept(&self, length: Duration) {
        if !is_worth_it() {
            return;
        }
        if length <= SHORT {
            self.nanos.store(MOST.subsec_nanos(), Relaxed);
        } else {
            let half = self.nanos.load(Relaxed) / 2;
            self.nanos.store(if half < LEAST.subsec_nanos() { 0 } else { half }, Relaxed);
        }
    }
}
