//! [`Barrier`].
//!
//! ```text
//! 0        monitor                                       (bell, rule 6: ring before the change)
//! 128      parties, generation, arrived, broken
//! 192      members: processes that have a handle
//! ...      records: who has arrived, one cache line each
//! ```
//!
//! 1. Who arrives takes a record, in whose note stands the generation. The last one to arrive takes none: it begins the next
//!    generation, and so lets the others go.
//! 2. The barrier breaks when a record of the present generation has a dead owner, when a waiter's time is over, or by
//!    `abort` or `reset`. Then every record of this generation is noted as [`BROKEN`], and whoever has it is told.
//! 3. Records are given back by those who wake. Two generations may have records at a time, hence twice as many as parties.
//! 4. A process that has a handle is a member. While anybody waits, members are looked at from time to time: one that
//!    has died will never arrive, so the barrier breaks.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::bell::{Bell, Monitor};
use super::error::IpcError;
use super::futex::Deadline;
use super::handle;
use super::keeper::Kept;
use super::record::{OfThread, Record};
use super::region::{Kind, Region, Shared};
use super::robust::{Held, PATIENCE, RobustLock};

const KIND: &Kind = &Kind { name: "Barrier", code: 9 };

const STATE: usize = size_of::<Monitor>();
const MEMBERS: usize = STATE + 64;
/// Processes that are looked at; more may take part.
const MOST_MEMBERS: usize = 112;
const RECORDS: usize = MEMBERS + MOST_MEMBERS * size_of::<AtomicU32>();
const RECORD: usize = size_of::<RobustLock>();
const _: () = assert!(RECORDS.is_multiple_of(RECORD));

const MOST_PARTIES: u32 = 65_536;

/// In a record's note: its generation was broken. No generation has this number.
const BROKEN: u32 = u32::MAX;

#[repr(C)]
struct State {
    parties: AtomicU32,
    generation: AtomicU32,
    arrived: AtomicU32,
    /// Zero, or why: a [`Break`].
    broken: AtomicU32,
}

// SAFETY: atomics.
unsafe impl Shared for State {}

/// Why a barrier broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Break {
    /// A thread or process that had arrived, or had a handle, has died.
    Death = 1,
    /// One who waited had no more time.
    Timeout = 2,
    /// [`Barrier::abort`].
    Abort = 3,
    /// [`Barrier::reset`] while somebody waited.
    Reset = 4,
}

impl Break {
    fn of(number: u32) -> Self {
        match number {
            1 => Self::Death,
            2 => Self::Timeout,
            3 => Self::Abort,
            _ => Self::Reset,
        }
    }
}

/// The barrier is broken: those who wait will not all come. [`Barrier::reset`] makes it whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the barrier is broken: {}", match .reason {
    Break::Death => "a process that takes part in it has died",
    Break::Timeout => "one who waited had no more time",
    Break::Abort => "it was aborted",
    Break::Reset => "it was reset",
})]
#[non_exhaustive]
pub struct BrokenBarrier {
    /// Why.
    pub reason: Break,
}

/// All have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    index: u32,
    is_leader: bool,
}

impl Arrival {
    /// How many had arrived before: a number below that of the parties, of each of which it is another.
    pub fn index(self) -> u32 {
        self.index
    }

    /// True for one of the parties: the last.
    pub fn is_leader(self) -> bool {
        self.is_leader
    }
}

/// Lets a number of parties go on when all of them have arrived; again and again.
///
/// # Deaths
///
/// If one who has arrived dies while it waits, or a process that has a handle dies, the barrier is broken for the others: their
/// waits, and all later ones, give [`BrokenBarrier`] until somebody calls [`reset`](Self::reset). The death of a process that
/// had not arrived is noticed within some 100 ms. (Of the first 112 processes with a handle. The copies that a fork makes of
/// its parent's handles do not count, but their clones do.)
///
/// # Examples
///
/// ```
/// use executor_process::ipc::Barrier;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let barrier = Barrier::new(2)?;
/// let there = barrier.clone(); // in another process, or thread
/// let other = std::thread::spawn(move || there.wait());
/// let one = barrier.wait()?;
/// let two = other.join().expect("no panic")?;
/// assert!(one.is_leader() != two.is_leader());
/// # Ok(())
/// # }
/// ```
pub struct Barrier {
    region: Arc<Region>,
    membership: Arc<Membership>,
    /// In which process this handle was made.
    process: u32,
}

impl Clone for Barrier {
    fn clone(&self) -> Self {
        Self::of(Arc::clone(&self.region))
    }
}

impl Drop for Barrier {
    fn drop(&mut self) {
        self.membership.leave(self.process);
    }
}

/// How far one has come.
enum Step<R> {
    Through(Arrival),
    Waits(R, u32, Arrival),
}

impl Barrier {
    /// A barrier for so many parties.
    ///
    /// # Errors
    ///
    /// No party, or more than 65,536; no descriptor or memory is left; or this system lacks what is needed (Linux 5.16,
    /// glibc).
    pub fn new(parties: u32) -> Result<Self, IpcError> {
        if parties > MOST_PARTIES {
            let (asked, most) = (u64::from(parties), u64::from(MOST_PARTIES));
            return Err(IpcError::TooLarge { what: KIND.name, asked, of: "parties", most });
        }
        // One for whom nobody is to wait goes through at once, as with one party.
        let parties = parties.max(1);
        let region = Region::create(KIND, RECORDS + 2 * parties as usize * RECORD)?;
        region.at::<State>(STATE).parties.store(parties, Relaxed);
        Ok(Self::of(region))
    }

    fn of(region: Arc<Region>) -> Self {
        let membership = Membership::of(&region);
        let process = membership.join();
        Self { region, membership, process }
    }

    fn monitor(&self) -> &Monitor {
        self.region.at(0)
    }

    fn state(&self) -> &State {
        self.region.at(STATE)
    }

    fn records(&self) -> &[RobustLock] {
        self.region.slice(RECORDS, (self.region.body_len() - RECORDS) / RECORD)
    }

    /// Those of the present generation.
    fn present(&self) -> impl Iterator<Item = &RobustLock> {
        let generation = self.state().generation.load(Relaxed);
        let is_present = move |record: &&RobustLock| {
            (record.is_locked() || record.is_orphan()) && record.note().load(Relaxed) == generation
        };
        self.records().iter().filter(is_present)
    }

    fn enter(&self) -> Held<'_> {
        self.monitor().enter(|| self.state().arrived.store(self.present().count() as u32, Relaxed))
    }

    /// How many have to arrive.
    pub fn parties(&self) -> u32 {
        self.state().parties.load(Relaxed)
    }

    /// How many wait at this moment; for display, as the answer may be wrong when it arrives.
    pub fn waiting(&self) -> u32 {
        self.state().arrived.load(Relaxed)
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.state().broken.load(Relaxed) != 0
    }

    /// Waits until all parties have arrived.
    ///
    /// # Blocking
    ///
    /// Until then.
    ///
    /// # Errors
    ///
    /// The barrier is broken, or was broken meanwhile.
    pub fn wait(&self) -> Result<Arrival, BrokenBarrier> {
        self.wait_until(Deadline::NEVER)
    }

    /// Waits until all parties have arrived, at most for `timeout`; then the barrier is broken.
    ///
    /// # Errors
    ///
    /// The barrier is broken, or was broken meanwhile.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Arrival, BrokenBarrier> {
        self.wait_until(Deadline::after(timeout))
    }

    /// Waits until all parties have arrived.
    ///
    /// # Errors
    ///
    /// The barrier is broken, or was broken meanwhile.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped while it waits has not arrived.
    pub fn wait_async(&self) -> impl Future<Output = Result<Arrival, BrokenBarrier>> + Send + use<> {
        let this = self.clone();
        async move {
            let (record, generation, arrival) = match this.arrive::<Kept>()? {
                Step::Through(arrival) => return Ok(arrival),
                Step::Waits(record, generation, arrival) => (record, generation, arrival),
            };
            let mut place = Place { barrier: &this, record: Some(record) };
            loop {
                let seen = this.monitor().bell().count();
                {
                    let _inside = this.enter();
                    let Some(record) = &place.record else { unreachable!("given back below only") };
                    if let Some(outcome) = this.outcome(record, generation, Deadline::NEVER) {
                        place.leave();
                        return outcome.map(|()| arrival);
                    }
                }
                Bell::wait(&this.region, Monitor::BELL, seen, Deadline::NEVER).await;
            }
        }
    }

    /// Breaks the barrier: all who wait, and all who will, are told.
    pub fn abort(&self) {
        let _inside = self.enter();
        self.break_it(Break::Abort);
    }

    /// Makes a new barrier of it. Who waits is told that it was broken.
    pub fn reset(&self) {
        let _inside = self.enter();
        self.break_it(Break::Reset);
        self.state().broken.store(0, Relaxed);
    }

    fn wait_until(&self, deadline: Deadline) -> Result<Arrival, BrokenBarrier> {
        let (record, generation, arrival) = match self.arrive::<OfThread>()? {
            Step::Through(arrival) => return Ok(arrival),
            Step::Waits(record, generation, arrival) => (record, generation, arrival),
        };
        loop {
            let seen = self.monitor().bell().count();
            let watched: Vec<_>;
            {
                let _inside = self.enter();
                if let Some(outcome) = self.outcome(&record, generation, deadline) {
                    record.give_back();
                    return outcome.map(|()| arrival);
                }
                watched = self.present().filter_map(RobustLock::watch).collect();
            }
            self.monitor().bell().sleep(seen, &watched, deadline.or_after(PATIENCE));
        }
    }

    /// Rule 1.
    fn arrive<R: Record>(&self) -> Result<Step<R>, BrokenBarrier> {
        let _inside = self.enter();
        let state = self.state();
        self.look_for_deaths();
        self.check()?;
        let (generation, arrived) = (state.generation.load(Relaxed), state.arrived.load(Relaxed));
        if arrived + 1 >= state.parties.load(Relaxed) {
            self.monitor().ring();
            self.next_generation();
            return Ok(Step::Through(Arrival { index: arrived, is_leader: true }));
        }
        let is_free = |record: &RobustLock| !record.is_locked() && !record.is_orphan();
        let index = self.records().iter().position(is_free);
        // All are in use only if those of an earlier generation have not woken yet, and this one has all but one.
        let record = index.and_then(|index| {
            self.records()[index].note().store(generation, Relaxed);
            R::take(&self.region, RECORDS + index * RECORD)
        });
        let Some(record) = record else {
            self.break_it(Break::Timeout);
            return Err(BrokenBarrier { reason: Break::Timeout });
        };
        state.arrived.store(arrived + 1, Relaxed);
        Ok(Step::Waits(record, generation, Arrival { index: arrived, is_leader: false }))
    }

    /// What has become of one who waits; inside.
    fn outcome(
        &self,
        record: &impl Record,
        generation: u32,
        deadline: Deadline,
    ) -> Option<Result<(), BrokenBarrier>> {
        let state = self.state();
        let is_broken = || record.lock().note().load(Relaxed) == BROKEN;
        if !is_broken() {
            if state.generation.load(Relaxed) != generation {
                return Some(Ok(()));
            }
            self.look_for_deaths();
            if !is_broken() && deadline.has_passed() {
                self.break_it(Break::Timeout);
            }
        }
        is_broken().then(|| {
            let reason = Break::of(state.broken.load(Relaxed));
            Some(Err(BrokenBarrier { reason }))
        })?
    }

    fn check(&self) -> Result<(), BrokenBarrier> {
        match self.state().broken.load(Relaxed) {
            0 => Ok(()),
            reason => Err(BrokenBarrier { reason: Break::of(reason) }),
        }
    }

    /// Rules 2 and 4; inside.
    fn look_for_deaths(&self) {
        let generation = self.state().generation.load(Relaxed);
        let mut somebody_died = self.membership.has_dead();
        for orphan in self.records().iter().filter(|record| record.is_orphan()) {
            somebody_died |= orphan.note().load(Relaxed) == generation;
            if !somebody_died {
                orphan.adopt();
            }
        }
        if somebody_died {
            self.break_it(Break::Death);
        }
    }

    /// Rule 2; inside. The first reason stays.
    fn break_it(&self, reason: Break) {
        let state = self.state();
        self.monitor().ring();
        if state.broken.load(Relaxed) == 0 {
            state.broken.store(reason as u32, Relaxed);
        }
        for record in self.present() {
            record.note().store(BROKEN, Relaxed);
        }
        self.records().iter().filter(|record| record.is_orphan()).for_each(RobustLock::adopt);
        self.next_generation();
    }

    fn next_generation(&self) {
        let state = self.state();
        let next = state.generation.load(Relaxed).wrapping_add(1);
        state.generation.store(if next == BROKEN { 0 } else { next }, Relaxed);
        state.arrived.store(0, Relaxed);
    }
}

/// A task's place, which is given up when its future is dropped.
struct Place<'a> {
    barrier: &'a Barrier,
    record: Option<Kept>,
}

impl Place<'_> {
    /// Inside.
    fn leave(&mut self) {
        if let Some(record) = self.record.take() {
            record.give_back();
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(record) = self.record.take().filter(Kept::is_of_this_process) else { return };
        let barrier = self.barrier;
        let _inside = barrier.enter();
        let state = barrier.state();
        if record.lock().note().load(Relaxed) == state.generation.load(Relaxed) {
            state.arrived.store(state.arrived.load(Relaxed).saturating_sub(1), Relaxed);
        }
        record.give_back();
    }
}

/// That this process has handles of a barrier (rule 4). One for each barrier and process.
struct Membership {
    region: Arc<Region>,
    of: Mutex<Member>,
}

#[derive(Default)]
struct Member {
    /// Handles that were made in this process. Copies that a fork has made are none: nobody may ever drop them.
    process: u32,
    handles: usize,
    /// Where it has signed in; `None` if there was no place.
    place: Option<usize>,
}

static MEMBERSHIPS: LazyLock<Mutex<HashMap<usize, Weak<Membership>>>> = LazyLock::new(Mutex::default);

impl Membership {
    fn of(region: &Arc<Region>) -> Arc<Self> {
        let mut all = MEMBERSHIPS.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Arc::as_ptr(region).addr();
        if let Some(known) = all.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let this = Arc::new(Self { region: Arc::clone(region), of: Mutex::default() });
        all.retain(|_, other| other.strong_count() > 0);
        all.insert(key, Arc::downgrade(&this));
        this
    }

    fn members(&self) -> &[AtomicU32] {
        self.region.slice(MEMBERS, MOST_MEMBERS)
    }

    /// One more handle; the first signs in. In which process.
    fn join(&self) -> u32 {
        let process = std::process::id();
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of.process != process {
            *of = Member { process, ..Member::default() };
        }
        of.handles += 1;
        if of.handles == 1 {
            let free = |member: &AtomicU32| member.compare_exchange(0, process, Relaxed, Relaxed).is_ok();
            of.place = self.members().iter().position(free);
        }
        process
    }

    /// One handle less, of those of that process; the last signs out.
    fn leave(&self, made_in: u32) {
        if made_in != std::process::id() {
            return;
        }
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        of.handles -= 1;
        if of.handles == 0
            && let Some(place) = of.place.take()
        {
            // Failure: it was taken for dead, which a living process is not.
            let _ = self.members()[place].compare_exchange(made_in, 0, Relaxed, Relaxed);
        }
    }

    /// Whether a member has died; it is one no more then. Inside of the monitor.
    fn has_dead(&self) -> bool {
        let own = std::process::id();
        let mut found = false;
        for member in self.members() {
            let process = member.load(Relaxed);
            if process != 0 && process != own && has_ended(process) {
                member.store(0, Relaxed);
                found = true;
            }
        }
        found
    }
}

/// Whether a process has ended, though its parent may not have looked yet. What cannot be told counts as living.
fn has_ended(process: u32) -> bool {
    let Some(pid) = Pid::from_raw(process.cast_signed()) else { return false };
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => {
            let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&at_once)).is_ok_and(|ready| ready > 0)
        }
        Err(error) => error == rustix::io::Errno::SRCH,
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handle::serialize(&self.region, &(), serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (region, ()) = handle::deserialize::<(), D>(KIND, deserializer)?;
        if region.body_len() <= RECORDS || !region.body_len().is_multiple_of(RECORD) {
            return Err(de::Error::custom("what came is a Barrier of another size"));
        }
        Ok(Self::of(region))
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("waiting", &self.waiting())
            .field("is_broken", &self.is_broken())
            .finish()
    }
}
