//! The table of tasks: slots in chunks, threaded by their own links into whichever [`List`](super::list::List) each is
//! in.

use std::ops::{Index, IndexMut};
use std::time::Duration;

use super::config::TaskSpec;
use super::key::{FIRST_GENERATION, TaskKey, WorkerKey, next_generation};
use super::timers::TimerId;

/// No slot: the end of a list, or no worker.
pub(super) const NIL: u32 = u32::MAX;

const CHUNK_SHIFT: u32 = 9;
/// Slots per chunk. Growing by chunks never copies the table, and wastes at most one of them (20 KiB).
const CHUNK: usize = 1 << CHUNK_SHIFT;

/// Where a task is. A task is in exactly one list, and this says in which.
///
/// ```text
///   Free -> Queued -> Ahead -> Running -> Free       sync
///              |  \______________^  |
///              |                    |
///              +----> Async --------+---> Free       async
///   Ahead, Running, Async -> Queued                  taken back, or worker lost
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: the slot is in the list of free ones.
    Free,
    /// In a queue.
    Queued,
    /// At a worker, behind the tasks in its slots.
    Ahead,
    /// At a worker, in one of its slots: the worker may have begun it.
    Running,
    /// At a worker as an async task: the worker may have begun it.
    Async,
}

/// How far the taking back of a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revoke {
    /// Not asked.
    No,
    /// The action waits to be polled.
    Asked,
    /// The driver has it and owes an answer.
    Sent,
    /// The worker had begun the task.
    Refused,
}

/// One task. Its payload is gone as soon as it is resolved; while a worker still holds it after that, it is a
/// *ghost*.
///
/// With a pointer for a payload it fills its 32 bytes, two to a cache line and none across (with a payload of four
/// times that, a line of its own): the cost of an event is that of the lines it touches.
#[derive(Debug)]
#[repr(align(32))]
pub(super) struct Task<T> {
    pub(super) payload: Option<T>,
    /// Where in [`Tasks::rares`] its other options are; `NIL` for most tasks, which have none.
    rare: u32,
    generation: u32,
    /// Means nothing for the first of a list; [`List::before`](super::list::List::before) knows.
    pub(super) prev: u32,
    pub(super) next: u32,
    /// The slot of the worker that holds it.
    pub(super) worker: u32,
    pub(super) place: Place,
    pub(super) revoke: Revoke,
    pub(super) flags: Flags,
}

/// Options that few tasks set, and what becomes of them.
#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) priority: i32,
    pub(super) retries: u32,
    /// Attempts that were lost and charged.
    pub(super) charged: u32,
    pub(super) timeout: Option<Duration>,
    pub(super) pin: Option<u32>,
    pub(super) timer: Option<TimerId>,
    /// Workers that still owe an answer about a stay of this task that has ended by its loss. It may be there
    /// again by then, and asked for again.
    pub(super) stale_answers: Vec<WorkerKey>,
}

/// Yes-or-no properties of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    /// From the spec.
    pub(super) const IDEMPOTENT: Self = Self(1);
    /// From the spec.
    pub(super) const ASYNC: Self = Self(2);
    /// From the spec: it has a pin.
    pub(super) const PINNED: Self = Self(4);
    /// It waits for a task of its own pool.
    pub(super) const BLOCKED: Self = Self(8);
    /// It counts in `loose` or `loose_async` of its worker: it may be taken back, and nobody has tried.
    pub(super) const LOOSE: Self = Self(16);

    #[inline]
    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    /// Clears a flag; whether it was set.
    #[inline]
    pub(super) fn take(&mut self, flag: Self) -> bool {
        let had = self.has(flag);
        self.0 &= !flag.0;
        had
    }
}

impl<T> Task<T> {
    fn vacant(next: u32) -> Self {
        Self {
            payload: None,
            rare: NIL,
            generation: FIRST_GENERATION,
            prev: NIL,
            next,
            worker: NIL,
            place: Place::Free,
            revoke: Revoke::No,
            flags: Flags::default(),
        }
    }

    /// Resolved, but still at a worker.
    #[inline]
    pub(super) fn is_ghost(&self) -> bool {
        self.payload.is_none()
    }

    #[inline]
    pub(super) fn is_async(&self) -> bool {
        self.flags.has(Flags::ASYNC)
    }

    /// A worker holds it.
    #[inline]
    pub(super) fn is_at_worker(&self) -> bool {
        matches!(self.place, Place::Ahead | Place::Running | Place::Async)
    }

    /// A sync task at a worker with nothing to settle when it leaves: no timer, no `Revoke`, nobody waited for. Its
    /// `LOOSE` flag is for the worker's count.
    #[inline]
    pub(super) fn is_simply_held(&self) -> bool {
        self.rare == NIL
            && self.revoke == Revoke::No
            && self.flags.0 & (Flags::ASYNC.0 | Flags::BLOCKED.0 | Flags::PINNED.0) == 0
    }

    #[inline]
    pub(super) fn key(&self, slot: u32) -> TaskKey {
        TaskKey::new(slot, self.generation)
    }
}

/// Aligned to cache lines, so that none of its tasks lies across two if their size is a power of two.
#[derive(Debug)]
#[repr(align(64))]
struct Chunk<T>([Task<T>; CHUNK]);

/// All tasks, by slot.
#[derive(Debug)]
pub(super) struct Tasks<T> {
    chunks: Vec<Box<Chunk<T>>>,
    free: u32,
    len: usize,
    rares: Vec<Rare>,
    free_rares: Vec<u32>,
}

impl<T> Tasks<T> {
    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), free: NIL, len: 0, rares: Vec::new(), free_rares: Vec::new() }
    }

    /// Tasks in the table, ghosts included.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot of a task that is still there.
    #[inline]
    pub(super) fn find(&self, key: TaskKey) -> Option<u32> {
        let (slot, generation) = key.parts();
        let chunk = self.chunks.get((slot >> CHUNK_SHIFT) as usize)?;
        let task = &chunk.0[slot as usize % CHUNK];
        (task.generation == generation && task.place != Place::Free).then_some(slot)
    }

    #[inline]
    pub(super) fn key(&self, slot: u32) -> TaskKey {
        self[slot].key(slot)
    }

    /// The task that a worker holds under that key.
    #[inline]
    pub(super) fn held_mut(&mut self, key: TaskKey, worker: u32) -> Option<&mut Task<T>> {
        let (slot, generation) = key.parts();
        let chunk = self.chunks.get_mut((slot >> CHUNK_SHIFT) as usize)?;
        let task = &mut chunk.0[slot as usize % CHUNK];
        (task.generation == generation && task.worker == worker && task.is_at_worker()).then_some(task)
    }

    #[inline]
    pub(super) fn insert(&mut self, spec: &TaskSpec, payload: T) -> u32 {
        if self.free == NIL {
            self.grow();
        }
        let slot = self.free;
        let task = &mut self[slot];
        let next = task.next;
        task.payload = Some(payload);
        task.place = Place::Queued;
        task.revoke = Revoke::No;
        task.flags = flags_of(spec);
        self.free = next;
        self.len += 1;
        if spec.priority != 0 || spec.retries != 0 || spec.timeout.is_some() || spec.pin.is_some() {
            *self.rare_or_new(slot) = rare_of(spec);
        }
        slot
    }

    /// Empties a slot that is in no list and has no timer.
    #[inline]
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        if self[slot].rare != NIL {
            self.remove_rare(slot);
        }
        let free = self.free;
        let task = &mut self[slot];
        task.place = Place::Free;
        task.generation = next_generation(task.generation);
        task.worker = NIL;
        task.next = free;
        let payload = task.payload.take();
        self.free = slot;
        self.len -= 1;
        payload
    }

    #[cold]
    fn grow(&mut self) {
        let first = (self.chunks.len() << CHUNK_SHIFT) as u32;
        let last = first + CHUNK as u32 - 1;
        let vacant = |n| match first + n as u32 {
            slot if slot == last => Task::vacant(NIL),
            slot => Task::vacant(slot + 1),
        };
        self.chunks.push(Box::new(Chunk(std::array::from_fn(vacant))));
        self.free = first;
    }

    #[inline]
    pub(super) fn rare(&self, slot: u32) -> Option<&Rare> {
        match self[slot].rare {
            NIL => None,
            rare => Some(&self.rares[rare as usize]),
        }
    }

    #[inline]
    pub(super) fn rare_mut(&mut self, slot: u32) -> Option<&mut Rare> {
        match self[slot].rare {
            NIL => None,
            rare => Some(&mut self.rares[rare as usize]),
        }
    }

    /// The other options of a task, which has some from now on.
    #[cold]
    pub(super) fn rare_or_new(&mut self, slot: u32) -> &mut Rare {
        if self[slot].rare == NIL {
            self[slot].rare = self.free_rares.pop().unwrap_or_else(|| {
                self.rares.push(Rare::default());
                self.rares.len() as u32 - 1
            });
        }
        let rare = self[slot].rare;
        &mut self.rares[rare as usize]
    }

    #[cold]
    fn remove_rare(&mut self, slot: u32) {
        let rare = std::mem::replace(&mut self[slot].rare, NIL);
        let old = std::mem::take(&mut self.rares[rare as usize]);
        debug_assert!(old.timer.is_none(), "a timer would outlive its task");
        self.free_rares.push(rare);
    }

    #[inline]
    pub(super) fn priority(&self, slot: u32) -> i32 {
        self.rare(slot).map_or(0, |rare| rare.priority)
    }

    pub(super) fn pin(&self, slot: u32) -> Option<u32> {
        self.rare(slot).and_then(|rare| rare.pin)
    }

    /// The running or next attempt, from 1.
    #[inline]
    pub(super) fn attempt(&self, slot: u32) -> u32 {
        self.rare(slot).map_or(1, |rare| rare.charged.saturating_add(1))
    }
}

#[inline]
fn flags_of(spec: &TaskSpec) -> Flags {
    let bit = |set: bool, flag: Flags| if set { flag.0 } else { 0 };
    Flags(
        bit(spec.idempotent, Flags::IDEMPOTENT)
            | bit(spec.is_async, Flags::ASYNC)
            | bit(spec.pin.is_some(), Flags::PINNED),
    )
}

fn rare_of(spec: &TaskSpec) -> Rare {
    let TaskSpec { priority, timeout, retries, pin, .. } = *spec;
    Rare { priority, retries, timeout, pin, ..Rare::default() }
}

impl<T> Index<u32> for Tasks<T> {
    type Output = Task<T>;

    #[inline]
    fn index(&self, slot: u32) -> &Task<T> {
        &self.chunks[(slot >> CHUNK_SHIFT) as usize].0[slot as usize % CHUNK]
    }
}

impl<T> IndexMut<u32> for Tasks<T> {
    #[inline]
    fn index_mut(&mut self, slot: u32) -> &mut Task<T> {
        &mut self.chunks[(slot >> CHUNK_SHIFT) as usize].0[slot as usize % CHUNK]
    }
}
