//! The table of workers: what each holds, what it may hold, and how loaded it counts.

use std::ops::{Index, IndexMut};
use std::time::{Duration, Instant};

use super::buckets::NOWHERE;
use super::config::SchedulerConfig;
use super::key::{FIRST_GENERATION, WorkerKey, next_generation};
use super::list::List;
use super::tasks::NIL;
use super::timers::TimerId;

/// Levels below this one have a free slot; from it on, a task would be handed ahead.
pub(super) const FIRST_AHEAD_LEVEL: u8 = 5;
/// The highest level of [`Buckets`](super::buckets::Buckets).
const LAST_LEVEL: u8 = 31;
/// Added to the level of a worker whose slot has not produced a result for long: async tasks go elsewhere if
/// they can.
const STALLED_PENALTY: u8 = 12;
/// Weight of a measurement above the running average, as a shift: 1/8, so that one outlier does not empty a
/// window.
const RISE_SHIFT: u32 = 3;
/// Weight of a measurement below it: 1/4. After one task of a second some twenty quick ones bring the window
/// back; a wrong guess in this direction is mended by the stall check.
const FALL_SHIFT: u32 = 2;
/// A task that takes this many times `target_ahead` is never handed ahead.
const LONG_TASK_FACTOR: u64 = 10;

#[derive(Debug)]
pub(super) struct Worker {
    generation: u32,
    /// The driver's number for it, for pins.
    pub(super) index: u32,
    slots: u32,
    /// Tasks per slot that may be handed ahead, as measured.
    window: u32,
    /// Running average of the measured time of its sync tasks; 0 before the first.
    average_ns: u32,

    /// Sync tasks in the order they were sent: first those in slots, then those ahead.
    pub(super) sync: List,
    /// The first task ahead.
    pub(super) first_ahead: u32,
    /// Length of `sync`.
    pub(super) held: u32,
    /// Tasks of `sync` that are in slots: min(held, slots).
    pub(super) running: u32,
    /// Running tasks that wait for others of their own pool.
    pub(super) blocked: u32,
    /// Tasks ahead that may be taken back, unpinned and not asked for.
    pub(super) loose: u32,
    /// Tasks with an unanswered `Revoke`.
    pub(super) revoking: u32,
    pub(super) asynchronous: List,
    pub(super) async_held: u32,
    /// Async tasks that may not have begun and were not asked for.
    pub(super) loose_async: u32,

    /// When a task last left a slot by finishing, or entered a worker without running ones.
    pub(super) last_progress: Instant,
    pub(super) stall_timer: Option<TimerId>,

    /// The levels at which the worker is filed in the three [`Buckets`](super::buckets::Buckets).
    pub(super) sync_level: u8,
    pub(super) loose_level: u8,
    pub(super) async_level: u8,
    pub(super) state: WorkerState,
    /// It has not finished anything for long; nothing is handed ahead until it does.
    pub(super) stalled: bool,
    /// The driver cannot send to it for the moment.
    pub(super) paused: bool,
    /// A task of its own index waits for it to have room.
    pub(super) awaited: bool,
}

/// The life of a worker; it only moves down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WorkerState {
    /// Takes tasks.
    Ready,
    /// Takes no new tasks; leaves when it has none.
    Retiring,
    /// To be killed: its loss is expected.
    Doomed,
    /// Gone; the slot is free.
    Gone,
}

impl Worker {
    fn new(generation: u32, index: u32, slots: u32, first_ahead: u32, now: Instant) -> Self {
        Self {
            generation,
            index,
            slots: slots.max(1),
            window: first_ahead,
            average_ns: 0,
            sync: List::EMPTY,
            first_ahead: NIL,
            held: 0,
            running: 0,
            blocked: 0,
            loose: 0,
            revoking: 0,
            asynchronous: List::EMPTY,
            async_held: 0,
            loose_async: 0,
            last_progress: now,
            stall_timer: None,
            sync_level: NOWHERE,
            loose_level: NOWHERE,
            async_level: NOWHERE,
            state: WorkerState::Ready,
            stalled: false,
            paused: false,
            awaited: false,
        }
    }

    /// One task at a time: killing it kills the worker.
    #[inline]
    pub(super) fn is_single(&self) -> bool {
        self.slots == 1
    }

    #[inline]
    pub(super) fn has_free_slot(&self) -> bool {
        self.held < self.slots
    }

    /// Fewer tasks run than could, until the next are promoted.
    #[inline]
    pub(super) fn has_empty_slot(&self) -> bool {
        self.running < self.slots
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.held == 0 && self.async_held == 0
    }

    /// Sync tasks it may hold now.
    #[inline]
    pub(super) fn credit(&self, config: &SchedulerConfig) -> u32 {
        if self.state != WorkerState::Ready || self.paused {
            return 0;
        }
        let ahead = if self.stalled || self.blocked > 0 { 0 } else { self.window.min(config.max_ahead) };
        self.slots.saturating_add(ahead.saturating_mul(self.slots))
    }

    pub(super) fn has_async_room(&self, config: &SchedulerConfig) -> bool {
        let stuck = self.is_single() && self.blocked > 0;
        self.state == WorkerState::Ready
            && !self.paused
            && !stuck
            && self.async_held < config.max_async.max(1).saturating_mul(self.slots)
    }

    /// Takes in the measured time of a finished task; [`size_window`](Self::size_window) follows.
    #[inline]
    pub(super) fn measure(&mut self, elapsed: Duration) {
        let sample = saturating_nanos(elapsed).max(1);
        self.average_ns = match self.average_ns {
            0 => sample,
            average if sample < average => average - ((average - sample) >> FALL_SHIFT),
            average => average + ((sample - average) >> RISE_SHIFT),
        };
    }

    /// Sizes the window by what has been measured, `results` times since it was last sized.
    #[inline]
    pub(super) fn size_window(&mut self, results: u32, config: &SchedulerConfig) {
        // Growing at most twofold a result: one lucky measurement must not fill a worker.
        let most = ((u64::from(self.window) + 1) << results.min(31)) - 1;
        self.window = self.measured_window(config).min(u32::try_from(most).unwrap_or(u32::MAX));
    }

    #[inline]
    fn measured_window(&self, config: &SchedulerConfig) -> u32 {
        let target = u64::try_from(config.target_ahead.as_nanos()).unwrap_or(u64::MAX);
        let average = u64::from(self.average_ns);
        let fit = (target / average).min(u64::from(config.max_ahead)) as u32;
        if fit == 0 && average < target.saturating_mul(LONG_TASK_FACTOR) {
            config.max_ahead.min(1)
        } else {
            fit
        }
    }

    /// Level among those that can take a sync task: 0 idle, 1 to 4 by quarters of its slots, then by the
    /// logarithm of what each slot has ahead.
    #[inline]
    pub(super) fn sync_level_now(&self, config: &SchedulerConfig) -> u8 {
        if self.held >= self.credit(config) || self.revoking > 0 {
            // Sent among tasks that are on their way back, a task would overtake them.
            NOWHERE
        } else if self.held == 0 {
            0
        } else if self.held < self.slots {
            1 + (u64::from(self.held) * 4 / u64::from(self.slots)) as u8
        } else {
            (FIRST_AHEAD_LEVEL + self.log2_per_slot(self.held - self.slots + 1)).min(LAST_LEVEL)
        }
    }

    /// How many sync tasks it takes to fill it or to reach another level, when its slots are full and it can take some.
    #[inline]
    pub(super) fn room_in_level(&self, config: &SchedulerConfig) -> u32 {
        let ahead = self.held - self.slots + 1;
        // Powers of two are where `log2_per_slot` changes, from that above `slots` on.
        let next_level = (1u64 << (32 - (ahead | self.slots).leading_zeros())) as u32;
        let room = self.credit(config) - self.held;
        if next_level == 0 { room } else { room.min(next_level - ahead) }
    }

    /// Level among those that tasks can be taken back from, by the logarithm of how many per slot.
    #[inline]
    pub(super) fn loose_level_now(&self) -> u8 {
        if self.loose == 0 || self.revoking > 0 {
            NOWHERE
        } else {
            self.log2_per_slot(self.loose).min(LAST_LEVEL)
        }
    }

    /// Level among those that can take an async task.
    pub(super) fn async_level_now(&self, config: &SchedulerConfig) -> u8 {
        if !self.has_async_room(config) {
            return NOWHERE;
        }
        let busy = u8::from(!self.has_free_slot());
        let stalled = if self.stalled { STALLED_PENALTY } else { 0 };
        (self.log2_per_slot(self.async_held + 1) + busy + stalled).min(LAST_LEVEL)
    }

    /// floor(log2(n / slots)), near enough, from 0.
    #[inline]
    fn log2_per_slot(&self, n: u32) -> u8 {
        self.slots.leading_zeros().saturating_sub(n.leading_zeros()) as u8
    }
}

/// Whole nanoseconds, up to the 4.29 s that fit.
#[inline]
fn saturating_nanos(time: Duration) -> u32 {
    match time.as_secs() {
        secs @ 0..=3 => secs as u32 * 1_000_000_000 + time.subsec_nanos(),
        _ => u32::MAX,
    }
}

/// All workers, by slot.
#[derive(Debug)]
pub(super) struct Workers {
    slots: Vec<Worker>,
    free: Vec<u32>,
}

impl Workers {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, index: u32, slots: u32, first_ahead: u32, now: Instant) -> u32 {
        match self.free.pop() {
            Some(slot) => {
                let generation = next_generation(self[slot].generation);
                self[slot] = Worker::new(generation, index, slots, first_ahead, now);
                slot
            }
            None => {
                self.slots.push(Worker::new(FIRST_GENERATION, index, slots, first_ahead, now));
                self.slots.len() as u32 - 1
            }
        }
    }

    /// Frees the slot of a worker that is in no bucket and has no timer.
    pub(super) fn remove(&mut self, slot: u32) {
        self[slot].state = WorkerState::Gone;
        self.free.push(slot);
    }

    #[inline]
    pub(super) fn find(&self, key: WorkerKey) -> Option<u32> {
        let (slot, generation) = key.parts();
        let worker = self.slots.get(slot as usize)?;
        (worker.generation == generation && worker.state != WorkerState::Gone).then_some(slot)
    }

    #[inline]
    pub(super) fn key(&self, slot: u32) -> WorkerKey {
        WorkerKey::new(slot, self[slot].generation)
    }

    /// The slots of all workers that are there.
    pub(super) fn present(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.slots).filter(|(_, worker)| worker.state != WorkerState::Gone).map(|(slot, _)| slot)
    }
}

impl Index<u32> for Workers {
    type Output = Worker;

    #[inline]
    fn index(&self, slot: u32) -> &Worker {
        &self.slots[slot as usize]
    }
}

impl IndexMut<u32> for Workers {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Worker {
        &mut self.slots[slot as usize]
    }
}
