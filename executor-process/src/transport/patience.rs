//! How a worker waits for its next task.

use std::hint;
use std::time::{Duration, Instant};

/// How long to look before going to sleep.
///
/// To look costs processor time, to be woken costs the one who wakes a system call, and the one who is woken up to some 40 µs
/// on a processor that sleeps. So it pays to look for about as long as that if something is likely to come, and not at all
/// otherwise; what was last time is the guess. On a single processor nobody else can act while this thread looks.
///
/// *Two on one processor.* If the one who is waited for runs on this thread's processor, each has its turn when the other offers
/// it. The system sees two threads that are never idle, and leaves them together for many milliseconds, while another processor
/// has nothing to do; a round trip then takes two changes of threads, 7 µs instead of 1.4 µs. But a thread that is woken is put
/// on an idle processor if there is one. So after some turns of this kind the thread goes to sleep at once, one time.
#[derive(Debug)]
pub struct Patience {
    budget: Duration,
    has_company: bool,
    /// How often in a row the thing came while another thread had this processor.
    shared_turns: u32,
}

/// The longest look: about what being woken costs.
const LONGEST_LOOK: Duration = Duration::from_micros(50);

/// How often to look before others are offered the processor. Half a microsecond.
const LOOKS: u32 = 16;

/// An offer that nobody takes is over sooner; one that is taken costs two changes of threads and what the other does.
const UNTAKEN: Duration = Duration::from_micros(1);

/// So many turns in a row are no chance. If there is no idle processor, one wake-up in so many turns is little.
const SHARED_TURNS: u32 = 32;

impl Patience {
    /// Of a side that expects something to come.
    #[must_use]
    pub fn new() -> Self {
        let has_company = crate::limits::usable_processors() > 1;
        let budget = if has_company { LONGEST_LOOK } else { Duration::ZERO };
        Self { budget, has_company, shared_turns: 0 }
    }

    /// Waits until `is_there`: looks for some time, then calls `block`, which returns when it is.
    pub fn wait(&mut self, is_there: impl Fn() -> bool, block: impl FnOnce()) {
        self.wait_offering(is_there, std::thread::yield_now, block);
    }

    /// Offers the processor to others by `offer`.
    fn wait_offering(&mut self, is_there: impl Fn() -> bool, offer: impl Fn(), block: impl FnOnce()) {
        let began = Instant::now();
        let mut now = began;
        while now - began < self.budget && self.shared_turns < SHARED_TURNS {
            for _ in 0..LOOKS {
                if is_there() {
                    self.shared_turns = 0;
                    return;
                }
                hint::spin_loop();
            }
            let offered = Instant::now();
            offer();
            now = Instant::now();
            if is_there() {
                let was_taken = now - offered > UNTAKEN;
                self.shared_turns = if was_taken { self.shared_turns + 1 } else { 0 };
                return;
            }
        }
        self.shared_turns = 0;
        block();
        // Would a longer look have found it?
        let pays = self.has_company && began.elapsed() < 2 * LONGEST_LOOK;
        self.budget = if pays { LONGEST_LOOK } else { self.budget / 4 };
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Waits with a partner that acts while it has this processor; true if the thread went to sleep.
    fn sleeps(patience: &mut Patience, partner_takes: Duration) -> bool {
        let (there, slept) = (Cell::new(false), Cell::new(false));
        let partner = || {
            std::thread::sleep(partner_takes);
            there.set(true);
        };
        patience.wait_offering(|| there.get(), partner, || slept.set(true));
        slept.get()
    }

    fn patient() -> Patience {
        Patience { budget: Duration::from_secs(60), has_company: true, shared_turns: 0 }
    }

    #[test]
    fn a_partner_on_the_same_processor_makes_the_thread_sleep_once() {
        let mut patience = patient();
        for _ in 0..SHARED_TURNS {
            assert!(!sleeps(&mut patience, 2 * UNTAKEN));
        }
        assert!(sleeps(&mut patience, 2 * UNTAKEN));
        patience.budget = patient().budget;
        assert!(!sleeps(&mut patience, 2 * UNTAKEN));
    }

    #[test]
    fn what_comes_while_the_thread_looks_is_no_shared_turn() {
        let mut patience = patient();
        for _ in 0..SHARED_TURNS - 1 {
            assert!(!sleeps(&mut patience, 2 * UNTAKEN));
        }
        patience.wait_offering(|| true, || unreachable!("it is there"), || unreachable!("it is there"));
        assert!(!sleeps(&mut patience, 2 * UNTAKEN));
    }
}
