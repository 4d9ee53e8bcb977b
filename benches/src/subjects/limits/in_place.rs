//! `limit-in-place`: 64 MiB written once, straight into shared memory, and read there by the other process; then the
//! other way. Both processes have touched all pages before the clock starts, and nothing is copied.
//!
//! Whose turn it is, a word says, on which the other side sleeps: beside milliseconds of work, a wake-up is of no
//! account, and who spins would take the core from the other on a busy machine. In its turn a side alone uses both
//! buffers.

use std::cell::UnsafeCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::futex;

use super::mapping::{Shareable, SharedMemory, end_with};
use crate::bulk::{self, WORDS};
use crate::helper::{Helper, Role};
use crate::pool::{check, echo_rate};
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::{Metric, Scale, Speed, Workload};

pub fn subject() -> Box<dyn Subject> {
    Box::new(InPlace)
}

struct InPlace;

impl Subject for InPlace {
    fn name(&self) -> &str {
        "limit-in-place"
    }

    fn family(&self) -> Family {
        Family::Processes
    }

    fn side(&self) -> Side {
        Side::Limit
    }

    fn workloads(&self) -> &[Workload] {
        &[Workload::BlobInPlace]
    }

    fn sample(&self, _workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let (memory, file) =
            SharedMemory::<Buffers>::create().map_err(BenchError::io("cannot make shared memory"))?;
        memory.sample.store(std::process::id(), Ordering::Release);
        let _helper = Helper::start(Role::InPlace, file)?;

        let echoes = Scale::new(Speed::Millions, quick).in_place_echoes();
        echo(&memory, 0)?;
        let mut elapsed = Duration::ZERO;
        for seed in 1..=echoes as u64 {
            elapsed += echo(&memory, seed)?;
        }
        Ok(vec![(Metric::GibPerSecond, echo_rate(echoes, elapsed))])
    }
}

/// Writes, waits for the other side to read and write, and reads; how long all of it took.
fn echo(memory: &Buffers, seed: u64) -> Result<Duration, BenchError> {
    let begun = Instant::now();
    // SAFETY: it is our turn.
    bulk::write(seed, unsafe { memory.there.get_mut() });
    memory.give_turn(THEIRS);
    memory.await_turn(OURS);
    // SAFETY: it is our turn again.
    let sum = bulk::read(unsafe { memory.back.get_mut() });
    let elapsed = begun.elapsed();
    check(memory.sum.load(Ordering::Relaxed), bulk::expected(seed))?;
    check(sum, bulk::expected(bulk::answer(seed)))?;
    Ok(elapsed)
}

/// The other end, which lives as long as the sample.
///
/// # Errors
///
/// When the standard input is not the memory of a sample that is there.
pub fn serve(stdin: BorrowedFd<'_>) -> io::Result<()> {
    let memory = SharedMemory::<Buffers>::open(stdin)?;
    end_with(memory.sample.load(Ordering::Acquire))?;
    loop {
        memory.await_turn(THEIRS);
        // SAFETY: it is our turn, and the borrow ends before the next line.
        let words = unsafe { memory.there.get_mut() };
        let seed = words[0];
        memory.sum.store(bulk::read(words), Ordering::Relaxed);
        // SAFETY: it is still our turn.
        bulk::write(bulk::answer(seed), unsafe { memory.back.get_mut() });
        memory.give_turn(OURS);
    }
}

/// The turn of the sample, which is the first.
const OURS: u32 = 0;
/// The turn of the helper.
const THEIRS: u32 = 1;

#[repr(C)]
struct Buffers {
    /// The process number of the sample.
    sample: AtomicU32,
    turn: AtomicU32,
    /// What the helper has read.
    sum: AtomicU64,
    there: Buffer,
    back: Buffer,
}

// SAFETY: atomics, and buffers of plain numbers in cells.
unsafe impl Shareable for Buffers {}

impl Buffers {
    fn give_turn(&self, turn: u32) {
        self.turn.store(turn, Ordering::Release);
        // It fails only for an address that is not mapped.
        let _ = futex::wake(&self.turn, futex::Flags::empty(), 1);
    }

    fn await_turn(&self, turn: u32) {
        loop {
            let now = self.turn.load(Ordering::Acquire);
            if now == turn {
                return;
            }
            // Whatever ends the sleep, the turn says whether to go on.
            let _ = futex::wait(&self.turn, futex::Flags::empty(), now, None);
        }
    }
}

#[repr(C, align(4096))]
struct Buffer(UnsafeCell<[u64; WORDS]>);

// SAFETY: only `get_mut` gives access, whose caller takes care that nobody else has it.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// # Safety
    ///
    /// It is the caller's turn, the caller is one thread, and the borrow ends before the turn and before the next
    /// borrow.
    #[expect(clippy::mut_from_ref, reason = "whose turn it is decides, as in a lock")]
    unsafe fn get_mut(&self) -> &mut [u64] {
        // SAFETY: as the caller promises, nobody else uses the buffer.
        unsafe { &mut *self.0.get() }
    }
}
