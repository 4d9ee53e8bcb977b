//! Waiting for a word of shared memory to change, and saying that it has: the kernel's futexes, shared between processes.
//!
//! 1. A wait names the value that the word is expected to have. The kernel compares and falls asleep in one step, so what
//!    is written between the look and the sleep is never missed: the wait ends at once.
//! 2. A wait may end without reason. Who waits looks again.
//! 3. Times are absolute, by the monotonic clock, so that a wait which was interrupted by a signal ends when it was to end.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use rustix::io::Errno;
use rustix::thread::futex::{self, ClockId, Flags, Timespec, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::time::clock_gettime;

/// The most words that one [`wait_any`] can wait for; a limit of the kernel.
pub(crate) const MOST_WORDS: usize = 128;

/// When a wait ends at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Timespec>);

impl Deadline {
    /// No end.
    pub(crate) const NEVER: Self = Self(None);

    /// So long from now. What is too long for the clock never ends.
    pub(crate) fn after(duration: Duration) -> Self {
        Self(Timespec::try_from(duration).ok().and_then(|length| now().checked_add(length)))
    }

    /// The one or, if that is earlier, so long from now.
    pub(crate) fn or_after(self, duration: Duration) -> Self {
        self.earlier(Self::after(duration))
    }

    /// The earlier one.
    pub(crate) fn earlier(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(two)) if two < one => other,
            (None, Some(_)) => other,
            _ => self,
        }
    }

    /// How long it is until then; `None` if there is no end.
    pub(crate) fn left(self) -> Option<Timespec> {
        let end = self.0?;
        Some(
            end.checked_sub(now())
                .filter(|left| left.tv_sec >= 0)
                .unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 }),
        )
    }

    /// Whether it is over.
    pub(crate) fn has_passed(self) -> bool {
        self.0.is_some_and(|end| end <= now())
    }
}

fn now() -> Timespec {
    clock_gettime(rustix::time::ClockId::Monotonic)
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Somebody woke this waiter; it is the one whom that wake-up has reached. With several words: the index of the one.
    Woken(usize),
    /// A word had another value than was expected.
    Changed,
    /// The deadline has passed.
    TimedOut,
}

/// Waits while `word` is `expected`.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> Waited {
    loop {
        let result = match &deadline.0 {
            None => futex::wait(word, Flags::empty(), expected, None),
            end @ Some(_) => {
                futex::wait_bitset(word, Flags::empty(), expected, end.as_ref(), std::num::NonZeroU32::MAX)
            }
        };
        if let Some(waited) = understand(result.map(|()| 0)) {
            return waited;
        }
    }
}

/// Waits while each of the words has the value beside it. At most [`MOST_WORDS`].
///
/// # Panics
///
/// If there are none or too many words.
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], deadline: Deadline) -> Waited {
    assert!((1..=MOST_WORDS).contains(&words.len()), "{} words to wait for", words.len());
    let mut waits = [const { Wait::new() }; MOST_WORDS];
    for (wait, (word, expected)) in waits.iter_mut().zip(words) {
        wait.val = u64::from(*expected);
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        wait.flags = WaitFlags::SIZE_U32;
    }
    let waits = &waits[..words.len()];
    loop {
        let result = futex::waitv(waits, WaitvFlags::empty(), deadline.0.as_ref(), ClockId::Monotonic);
        if let Some(waited) = understand(result) {
            return waited;
        }
    }
}

/// `None` if a signal came in between.
fn understand(result: rustix::io::Result<usize>) -> Option<Waited> {
    match result {
        Ok(index) => Some(Waited::Woken(index)),
        Err(Errno::AGAIN) => Some(Waited::Changed),
        Err(Errno::TIMEDOUT) => Some(Waited::TimedOut),
        Err(Errno::INTR) => None,
        // Not by any state of the words: a kernel that lacks the call (which creation has ruled out) or has no memory for
        // the wait. The caller looks again, as after any wake-up without reason.
        Err(_) => {
            std::thread::yield_now();
            Some(Waited::Changed)
        }
    }
}

/// Wakes at most `most` of those who wait for `word`, and says how many that were.
pub(crate) fn wake(word: &AtomicU32, most: u32) -> usize {
    // The one error is an address that is not mapped, which a reference excludes.
    futex::wake(word, Flags::empty(), most.min(i32::MAX as u32)).unwrap_or(0)
}

/// Wakes all who wait for `word`.
pub(crate) fn wake_all(word: &AtomicU32) -> usize {
    wake(word, u32::MAX)
}

/// Whether this kernel can wait for several words at once: Linux 5.16.
pub(crate) fn has_wait_any() -> bool {
    use std::sync::OnceLock;
    static HAS: OnceLock<bool> = OnceLock::new();
    // No words at all is an argument that the kernel refuses, if it knows the call.
    *HAS.get_or_init(|| {
        let answer = futex::waitv(&[], WaitvFlags::empty(), None, ClockId::Monotonic);
        !matches!(answer, Err(Errno::NOSYS | Errno::PERM))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;
    use std::thread;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wait_for_a_value_that_is_not_there_ends_at_once() {
        let words = [AtomicU32::new(1), AtomicU32::new(2)];
        assert_eq!(wait(&words[0], 2, Deadline::NEVER), Waited::Changed);
        assert_eq!(wait_any(&[(&words[0], 1), (&words[1], 1)], Deadline::NEVER), Waited::Changed);
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let word = AtomicU32::new(0);
        for several in [false, true] {
            let start = Instant::now();
            let deadline = Deadline::after(Duration::from_millis(20));
            let waited = if several { wait_any(&[(&word, 0)], deadline) } else { wait(&word, 0, deadline) };
            assert_eq!(waited, Waited::TimedOut);
            assert!(start.elapsed() >= Duration::from_millis(20) && deadline.has_passed());
        }
    }

    #[test]
    fn a_wake_up_reaches_as_many_as_it_names() {
        let words = [AtomicU32::new(0), AtomicU32::new(0)];
        thread::scope(|scope| {
            let waiter = || wait_any(&[(&words[0], 0), (&words[1], 0)], Deadline::NEVER);
            let waiters = [scope.spawn(waiter), scope.spawn(waiter)];
            while wake(&words[1], 1) == 0 {
                thread::yield_now();
            }
            // One that was woken by a word sleeps on the other until it runs: it would take the next wake-up as well.
            while !waiters.iter().any(|waiter| waiter.is_finished()) {
                thread::yield_now();
            }
            while wake_all(&words[0]) == 0 {
                thread::yield_now();
            }
            let mut ends = waiters.map(|waiter| waiter.join().expect("a waiter"));
            ends.sort_by_key(|end| matches!(end, Waited::Woken(1)));
            assert_eq!(ends, [Waited::Woken(0), Waited::Woken(1)]);
        });
        assert_eq!(words[0].load(Relaxed), 0);
    }

    #[test]
    fn a_deadline_that_no_clock_reaches_is_none() {
        assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
        assert!(!Deadline::NEVER.has_passed());
        let soon = Deadline::after(Duration::from_secs(1));
        assert_eq!(soon.or_after(Duration::from_secs(1000)), soon);
        assert_ne!(Deadline::NEVER.or_after(Duration::from_secs(1)), Deadline::NEVER);
    }
}
