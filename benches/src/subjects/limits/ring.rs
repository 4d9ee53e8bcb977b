//! `limit-futex` and `limit-spin`: two processes and two rings in shared memory.
//!
//! A ring has one producer and one consumer. The producer fills a slot and then raises `written`; the consumer empties
//! it and then raises `taken`; both count slots ever, modulo 2^32. Who finds the ring empty or full waits for the other
//! side's count to change, either by looking at it all the time or on a futex. In the latter case:
//!
//! | sleeper | waker |
//! | --- | --- |
//! | 1. put the count that it wants into `asleep` | 1. raise the count |
//! | 2. fence | 2. fence |
//! | 3. look at the count once more; changed: do not sleep | 3. look at `asleep`; `AWAKE`, or more than the count: nobody to wake |
//! | 4. `FUTEX_WAIT` while the count is what it was | 4. exchange what was found there for `AWAKE` |
//! | 5. `asleep = AWAKE` | 5. exchanged: `FUTEX_WAKE` |
//!
//! The fences order step 1 of each before step 3 of the other, so one of them sees the other, and a count that changes
//! between 3 and 4 of the sleeper keeps it from sleeping. A waker that is late, and whose sleeper has seen the count
//! and has gone to sleep again, finds another count in `asleep` and leaves it alone.
//!
//! A consumer wants the next slot. A producer that finds the ring full wants half of it: for one slot at a time each message
//! would cost a wake-up.

use std::hint;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::time::Instant;

use rustix::io::Errno;
use rustix::thread::futex;

use super::mapping::{Shareable, SharedMemory, end_with};
use crate::helper::{Helper, Role};
use crate::pool::{self, check};
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::{Metric, Scale, Speed, Workload};

/// Slots of a ring, a power of two, so that a count modulo 2^32 tells the slot.
const SLOTS: usize = 1024;

/// Words of a message: 64 bytes, as much as a small task and its frame take.
const WORDS: usize = 8;

/// How a side waits for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It looks again and again.
    Spin,
    /// It sleeps on a futex at once.
    Futex,
}

pub fn subject(wait: Wait) -> Box<dyn Subject> {
    Box::new(RingLimit { wait })
}

struct RingLimit {
    wait: Wait,
}

impl Subject for RingLimit {
    fn name(&self) -> &str {
        match self.wait {
            Wait::Spin => "limit-spin",
            Wait::Futex => "limit-futex",
        }
    }

    fn family(&self) -> Family {
        Family::Processes
    }

    fn side(&self) -> Side {
        Side::Limit
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::Roundtrip, Workload::RoundtripPaused, Workload::Queue]
    }

    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Millions, quick);
        let peer = Peer::start(self.wait)?;
        match workload {
            Workload::Roundtrip => pool::round_trips(scale.round_trips(), |x| peer.ping(x)),
            Workload::RoundtripPaused => {
                pool::paused_round_trips(scale.paused_round_trips(), |x| peer.ping(x))
            }
            Workload::Queue => {
                let rate = peer.flood(scale.queue_messages())?;
                let trips = pool::round_trips(scale.round_trips(), |x| peer.ping(x))?;
                let p50 = trips.into_iter().filter(|(metric, _)| *metric == Metric::P50Us);
                Ok([(Metric::MessagesPerSecond, rate)].into_iter().chain(p50).collect())
            }
            other => Err(BenchError::Failed(format!("a bare ring has no {other}"))),
        }
    }
}

/// Sent to the helper: echo this message.
const PING: u64 = 0;
/// Sent to the helper: add this message up.
const COUNT: u64 = 1;
/// Sent to the helper: say what the sum is, and begin a new one.
const TELL: u64 = 2;

/// The process at the other end.
struct Peer {
    rings: SharedMemory<Rings>,
    wait: Wait,
    _helper: Helper,
}

impl Peer {
    fn start(wait: Wait) -> Result<Self, BenchError> {
        let (rings, file) =
            SharedMemory::<Rings>::create().map_err(BenchError::io("cannot make shared memory"))?;
        rings.sample.store(std::process::id(), Ordering::Release);
        let role = match wait {
            Wait::Spin => Role::SpinningRing,
            Wait::Futex => Role::FutexRing,
        };
        let helper = Helper::start(role, file)?;
        Ok(Self { rings, wait, _helper: helper })
    }

    fn ping(&self, x: u64) -> Result<(), BenchError> {
        self.rings.there.push(self.wait, message(PING, x));
        check(self.rings.back.pop(self.wait)[1], x)
    }

    /// Messages a second, one way.
    fn flood(&self, count: usize) -> Result<f64, BenchError> {
        // The first answer says that the helper is there.
        self.ping(0)?;
        let begun = Instant::now();
        for x in 0..count as u64 {
            self.rings.there.push(self.wait, message(COUNT, x));
        }
        self.rings.there.push(self.wait, message(TELL, 0));
        let sum = self.rings.back.pop(self.wait)[1];
        let elapsed = begun.elapsed();
        check(sum, count as u64 * (count as u64 - 1) / 2)?;
        Ok(pool::rate(count, elapsed))
    }
}

/// The other end, which lives as long as the sample.
///
/// # Errors
///
/// When the standard input is not the rings of a sample that is there.
pub fn serve(wait: Wait, stdin: BorrowedFd<'_>) -> io::Result<()> {
    let rings = SharedMemory::<Rings>::open(stdin)?;
    end_with(rings.sample.load(Ordering::Acquire))?;
    let mut sum = 0u64;
    loop {
        let received = rings.there.pop(wait);
        match received[0] {
            COUNT => sum = sum.wrapping_add(received[1]),
            TELL => rings.back.push(wait, message(TELL, std::mem::take(&mut sum))),
            _ => rings.back.push(wait, received),
        }
    }
}

fn message(kind: u64, value: u64) -> [u64; WORDS] {
    let mut message = [value; WORDS];
    message[0] = kind;
    message
}

#[repr(C)]
struct Rings {
    /// The process number of the sample.
    sample: AtomicU32,
    there: Ring,
    back: Ring,
}

// SAFETY: atomics only.
unsafe impl Shareable for Rings {}

#[repr(C)]
struct Ring {
    written: Count,
    taken: Count,
    slots: [[AtomicU64; WORDS]; SLOTS],
}

/// One side's count, in a cache line of its own.
#[repr(C, align(64))]
struct Count {
    slots: AtomicU32,
    /// The count that the other side waits for, or [`AWAKE`].
    asleep: AtomicU64,
}

/// No count: those have 32 bits.
const AWAKE: u64 = 1 << 32;

impl Ring {
    fn push(&self, wait: Wait, message: [u64; WORDS]) {
        let written = self.written.slots.load(Ordering::Relaxed);
        if written.wrapping_sub(self.taken.slots.load(Ordering::Acquire)) == SLOTS as u32 {
            self.taken.wait_for(wait, written.wrapping_sub(SLOTS as u32 / 2));
        }
        for (word, value) in self.slots[written as usize % SLOTS].iter().zip(message) {
            word.store(value, Ordering::Relaxed);
        }
        self.written.raise(wait, written.wrapping_add(1));
    }

    fn pop(&self, wait: Wait) -> [u64; WORDS] {
        let taken = self.taken.slots.load(Ordering::Relaxed);
        self.written.wait_for(wait, taken.wrapping_add(1));
        let slot = &self.slots[taken as usize % SLOTS];
        let message = std::array::from_fn(|word| slot[word].load(Ordering::Relaxed));
        self.taken.raise(wait, taken.wrapping_add(1));
        message
    }
}

impl Count {
    fn raise(&self, wait: Wait, slots: u32) {
        self.slots.store(slots, Ordering::Release);
        if wait == Wait::Futex {
            fence(Ordering::SeqCst);
            let asleep = self.asleep.load(Ordering::Relaxed);
            let (relaxed, woken) = (Ordering::Relaxed, AWAKE);
            if asleep != AWAKE
                && has_reached(slots, asleep as u32)
                && self.asleep.compare_exchange(asleep, woken, relaxed, relaxed).is_ok()
            {
                // It fails only for an address that is not mapped.
                let _ = futex::wake(&self.slots, futex::Flags::empty(), 1);
            }
        }
    }

    fn wait_for(&self, wait: Wait, wanted: u32) {
        loop {
            let slots = self.slots.load(Ordering::Acquire);
            if has_reached(slots, wanted) {
                return;
            }
            match wait {
                Wait::Spin => hint::spin_loop(),
                Wait::Futex => self.sleep_while(slots, wanted),
            }
        }
    }

    fn sleep_while(&self, slots: u32, wanted: u32) {
        self.asleep.store(u64::from(wanted), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.slots.load(Ordering::Relaxed) == slots {
            let slept = futex::wait(&self.slots, futex::Flags::empty(), slots, None);
            // Any other error would come again at once: then this spins, which is slow and right.
            debug_assert!(matches!(slept, Ok(()) | Err(Errno::AGAIN | Errno::INTR)), "{slept:?}");
        }
        self.asleep.store(AWAKE, Ordering::Relaxed);
    }
}

/// Whether a count is the wanted one or beyond, modulo 2^32.
fn has_reached(count: u32, wanted: u32) -> bool {
    count.wrapping_sub(wanted) <= u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::thread;

    use super::*;

    /// Sends more than fits into the ring from one thread to the other, each with a mapping of its own.
    fn send_through(wait: Wait) {
        const MESSAGES: u64 = 20 * SLOTS as u64;
        let (ours, file) = SharedMemory::<Rings>::create().unwrap();
        let theirs = SharedMemory::<Rings>::open(file.as_fd()).unwrap();
        let consumer = thread::spawn(move || {
            (0..MESSAGES).for_each(|x| assert_eq!(theirs.there.pop(wait), message(COUNT, x)));
        });
        for x in 0..MESSAGES {
            ours.there.push(wait, message(COUNT, x));
        }
        consumer.join().unwrap();
    }

    #[test]
    fn messages_arrive_whole_and_in_their_order() {
        send_through(Wait::Futex);
        send_through(Wait::Spin);
    }
}
