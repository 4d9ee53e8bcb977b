//! How long a thread looks for what it expects before it goes to sleep.
//!
//! Who calls one by one goes to sleep for each answer, and whoever answers for each call. To be woken on a processor that sleeps
//! takes 30 to 40 µs, in which the answer was there ten times over; the one who wakes pays as well. So it pays to look for about
//! as long if something is likely to come, and not at all otherwise. What was last time is the guess: a look that fails makes the
//! next one shorter, down to none, and a sleep that was short makes it long again, at first at once, and more and more seldom as long
//! as such looks fail. So nobody looks where nothing is going on, or where each answer takes a little longer than a look, and after
//! the last call of many there is one look.
//!
//! *Others first.* Each look begins by offering the processor to others, since the one who is waited for may need it. Where others
//! take it for longer than a whole look, there is more to do than processors, and the thread goes to sleep: who sleeps is scheduled
//! sooner than who offers. On a single processor nobody looks.
//!
//! *Two on one processor.* If the one who is waited for runs on this thread's processor, each has its turn when the other offers
//! it. The system sees two threads that are never idle, and leaves them together for many milliseconds, while another processor
//! may have nothing to do. But a thread that is woken is put on an idle processor if there is one. So after some turns of this
//! kind the thread goes to sleep at once, one time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The longest look: about what being woken costs.
const LONGEST_LOOK: Duration = Duration::from_micros(50);

/// An offer that nobody takes is over sooner; one that is taken costs two changes of threads and what the other does.
const UNTAKEN: Duration = Duration::from_nanos(1500);

/// So many turns in a row are no chance. If there is no idle processor, one wake-up in so many turns is little.
const SHARED_TURNS: u32 = 64;

/// After so many of the longest looks in a row that failed, one in `2.pow(MOST_FAILURES)` short sleeps is tried to be looked through.
const MOST_FAILURES: u32 = 6;

/// How long one thread looks for one kind of thing.
#[derive(Debug)]
pub(crate) struct Patience {
    budget: Duration,
    has_company: bool,
    /// How many of the longest looks have failed in a row.
    failures: u32,
    /// How many short sleeps to sleep before the next of the longest looks.
    until_try: u32,
    /// How often in a row the thing came while another thread had this processor.
    shared_turns: u32,
}

/// A look that goes on.
#[derive(Debug)]
pub(crate) struct Look {
    began: Instant,
    now: Instant,
    was_taken: bool,
}

impl Look {
    /// Whether it has gone on until then.
    pub(crate) fn has_reached(&self, deadline: Instant) -> bool {
        self.now >= deadline
    }
}

impl Patience {
    pub(crate) fn new() -> Self {
        let has_company = has_company();
        let budget = if has_company { LONGEST_LOOK } else { Duration::ZERO };
        Self { budget, has_company, failures: 0, until_try: 0, shared_turns: 0 }
    }

    /// Begins to wait.
    pub(crate) fn begin(&self) -> Look {
        let now = Instant::now();
        Look { began: now, now, was_taken: false }
    }

    /// Offers the processor to others; then the thing is to be looked for. False if it is time to go to sleep.
    pub(crate) fn offer(&mut self, look: &mut Look) -> bool {
        if look.now - look.began >= self.budget || self.shared_turns >= SHARED_TURNS {
            return false;
        }
        std::thread::yield_now();
        let now = Instant::now();
        let took = now - look.now;
        look.now = now;
        look.was_taken = took > UNTAKEN;
        true
    }

    /// The look has found it.
    pub(crate) fn found(&mut self, look: &Look) {
        self.failures = 0;
        self.shared_turns = if look.was_taken { self.shared_turns + 1 } else { 0 };
    }

    /// The thing came while the thread slept.
    pub(crate) fn slept(&mut self, look: &Look) {
        let has_ended_early = look.now - look.began < self.budget;
        if std::mem::take(&mut self.shared_turns) >= SHARED_TURNS || has_ended_early {
            return; // nothing is learned from a look that was none
        }
        if self.budget == LONGEST_LOOK {
            self.failures = (self.failures + 1).min(MOST_FAILURES);
            self.until_try = (1 << self.failures) - 1;
        }
        // Would a longer look have found it?
        let was_short = self.has_company && look.began.elapsed() < 2 * LONGEST_LOOK;
        match self.until_try.checked_sub(1) {
            None if was_short => self.budget = LONGEST_LOOK,
            Some(left) if was_short => {
                self.until_try = left;
                self.budget /= 4;
            }
            _ => self.budget /= 4,
        }
    }
}

/// Whether another processor can make progress while this one looks.
fn has_company() -> bool {
    static COMPANY: OnceLock<bool> = OnceLock::new();
    *COMPANY.get_or_init(|| std::thread::available_parallelism().is_ok_and(|usable| usable.get() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patient() -> Patience {
        Patience { budget: LONGEST_LOOK, has_company: true, failures: 0, until_try: 0, shared_turns: 0 }
    }

    /// How many times a thread looks that finds nothing.
    fn looks(patience: &mut Patience, look: &mut Look) -> usize {
        std::iter::from_fn(|| patience.offer(look).then_some(())).count()
    }

    #[test]
    fn looks_that_fail_become_shorter_down_to_none() {
        let mut patience = patient();
        for _ in 0..16 {
            let mut look = patience.begin();
            looks(&mut patience, &mut look);
            look.began -= 3 * LONGEST_LOOK; // so long it slept
            patience.slept(&look);
        }
        let mut look = patience.begin();
        assert_eq!(looks(&mut patience, &mut look), 0);
    }

    #[test]
    fn a_short_sleep_has_it_look_again() {
        let mut patience = Patience { budget: Duration::ZERO, ..patient() };
        // Unless this thread is interrupted in between, and then it is the next time.
        let looks_again = (0..1000).any(|_| {
            let mut look = patience.begin();
            let looked = patience.offer(&mut look);
            patience.slept(&look);
            looked
        });
        assert!(looks_again);
    }

    #[test]
    fn looks_that_go_on_failing_become_rare_even_if_sleeps_are_short() {
        let mut patience = patient();
        let mut looked = 0;
        for _ in 0..1000 {
            looked += usize::from(patience.budget == LONGEST_LOOK);
            let mut look = patience.begin();
            looks(&mut patience, &mut look);
            look.began = look.began.max(look.now - patience.budget); // as if nobody had interrupted it
            patience.slept(&look);
        }
        assert!(looked < 30, "{looked} looks");
    }

    #[test]
    fn a_single_processor_is_not_looked_on() {
        let mut patience = Patience { budget: Duration::ZERO, has_company: false, ..patient() };
        for _ in 0..3 {
            let mut look = patience.begin();
            assert_eq!(looks(&mut patience, &mut look), 0);
            patience.slept(&look);
        }
    }

    #[test]
    fn a_partner_on_the_same_processor_makes_the_thread_sleep_once() {
        let mut patience = Patience { budget: Duration::from_secs(60), ..patient() };
        for _ in 0..SHARED_TURNS {
            let mut look = patience.begin();
            assert!(patience.offer(&mut look));
            patience.found(&Look { was_taken: true, ..look });
        }
        let mut look = patience.begin();
        assert!(!patience.offer(&mut look));
        patience.slept(&look);
        assert_eq!(patience.shared_turns, 0);
    }
}
