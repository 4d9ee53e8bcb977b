//! A worker as the core knows it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use executor_core::scheduler::{TaskKey, WorkerKey};
use executor_core::wire::{Packed, ToWorker};
use executor_core::{Parcel, RelayHandle, ShareBlob, ShareId, TaskError};

use crate::board::{Board, SlotState, Ticket, WINDOW};
use crate::config::ProcessConfig;
use crate::limits;
use crate::ring::Need;
use crate::segment::{Book, Note, OwnBook, UnpackError};
use crate::sys::Child;
use crate::transport::{FrameReader, OutBuf, ParentEnd, Sent};

/// From so many bytes on, a buffer is written although its worker has plenty to do: some forty tasks, with one fence for all.
const FLUSH_BYTES: usize = 2 * 1024;

/// Up to so many tasks with a worker that are no futures, frames are written at once: it may run dry before its next answers.
const FLUSH_TASKS: usize = 16;

/// With so many bytes unwritten, no more tasks are sent to a worker.
const PAUSE_BYTES: usize = 1 << 20;

/// How often a worker's memory is looked at.
const MEMORY_CHECK: Duration = Duration::from_secs(1);

/// How long a worker may take to leave, with nothing left to do.
const LEAVE_TIME: Duration = Duration::from_secs(10);

/// Where a worker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It has been started and has not said a word.
    Starting,
    /// It takes tasks.
    Ready,
    /// It is being replaced, and takes no more.
    Retiring,
    /// It has been told to leave.
    Leaving,
}

pub(super) struct Worker {
    pub(super) index: u32,
    pub(super) life: Life,
    /// The scheduler's name for it, once it is ready.
    pub(super) key: Option<WorkerKey>,
    pid: i32,
    /// `None` once the reaper has taken it to bury it.
    child: Option<Child>,
    pub(super) board: Board,
    link: ParentEnd,
    /// What has come from it; `None` while that is being dealt with.
    reader: Option<FrameReader>,
    out: OutBuf,
    /// The ring is full; the bell rings when there is room.
    is_full: bool,
    /// It has said what no worker says, and is not listened to any more.
    is_damaged: bool,
    /// The scheduler has been told to send nothing.
    pub(super) is_paused: bool,
    /// It is an extra worker, and there is nothing for it at the moment.
    pub(super) is_steered_off: bool,
    /// It is in the core's list of workers to be flushed.
    pub(super) is_dirty: bool,
    slots: Slots,
    /// How many of the tasks in `slots` are still in `out`, or were and have been taken back.
    unsent: usize,
    /// What was granted to it, and by it.
    pub(super) book: OwnBook,
    shares: HashMap<ShareId, Weak<ShareBlob>>,
    /// As of when `shares` was last looked through for dead ones.
    dropped: u64,
    /// Nested tasks that it has submitted and that have not been answered.
    pub(super) nested: HashMap<u64, RelayHandle>,
    /// Values that nested tasks refer to.
    pub(super) nested_shares: HashMap<ShareId, Arc<ShareBlob>>,
    /// We have sent it a signal that it does not survive.
    pub(super) is_killed: bool,
    /// Why we have.
    pub(super) kill_reason: String,
    /// What waits for it should be written at once.
    pub(super) is_urgent: bool,
    /// Until when it should have left.
    leaves_by: Option<Instant>,
    pub(super) started: Instant,
    pub(super) finished: u64,
    memory_checked: Instant,
    /// A younger worker of the same index has been started in its stead.
    pub(super) is_replaced: bool,
}

impl Worker {
    pub(super) fn new(
        index: u32,
        child: Child,
        board: Board,
        link: ParentEnd,
        book: Arc<Book>,
        frame_limit: usize,
        now: Instant,
    ) -> Self {
        Self {
            index,
            life: Life::Starting,
            key: None,
            pid: child.id(),
            child: Some(child),
            board,
            link,
            reader: Some(FrameReader::new(frame_limit)),
            out: OutBuf::new(),
            is_full: false,
            is_damaged: false,
            is_paused: false,
            is_steered_off: false,
            is_dirty: false,
            slots: Slots::new(),
            unsent: 0,
            book: OwnBook(book),
            shares: HashMap::new(),
            dropped: 0,
            nested: HashMap::new(),
            nested_shares: HashMap::new(),
            is_killed: false,
            kill_reason: String::new(),
            is_urgent: false,
            leaves_by: None,
            started: now,
            finished: 0,
            memory_checked: now,
            is_replaced: false,
        }
    }

    /// As it appears in errors.
    pub(super) fn name(&self) -> String {
        format!("process {}", self.pid)
    }

    /// Opens a slot for a task; `None` if all are taken.
    pub(super) fn offer(&mut self, task: TaskKey) -> Option<Ticket> {
        let slot = self.slots.free.pop()?;
        let ticket = self.board.offer(usize::from(slot));
        self.slots.held[usize::from(slot)] = Some((task, ticket));
        self.unsent += 1;
        Some(ticket)
    }

    /// The task in a slot, which is free from here on; `None` if the ticket is not the slot's present one.
    pub(super) fn close(&mut self, ticket: Ticket) -> Option<TaskKey> {
        let held = self.slots.held.get_mut(ticket.slot())?;
        match *held {
            Some((task, present)) if present == ticket => {
                *held = None;
                self.slots.free.push(ticket.slot() as u16);
                Some(task)
            }
            _ => None,
        }
    }

    /// The task in a slot.
    pub(super) fn task_in(&self, ticket: Ticket) -> Option<TaskKey> {
        let (task, present) = (*self.slots.held.get(ticket.slot())?)?;
        (present == ticket).then_some(task)
    }

    /// The slot of a task that it holds. Looks through them all: for the rare case that its payload does not tell.
    pub(super) fn ticket_of(&self, task: TaskKey) -> Option<Ticket> {
        let held = self.slots.held.iter().flatten().find(|(it, _)| *it == task)?;
        Some(held.1)
    }

    /// Tasks with it that have not been answered.
    pub(super) fn held(&self) -> usize {
        WINDOW - self.slots.free.len()
    }

    /// What it had begun, of all that it holds. After its death the answer is final.
    pub(super) fn begun(&self) -> HashMap<TaskKey, bool> {
        let state = |ticket| match self.board.state(ticket) {
            SlotState::Offered | SlotState::Revoked => false,
            SlotState::Begun | SlotState::Damaged => true,
        };
        let held = self.slots.held.iter().flatten();
        held.map(|(task, ticket)| (*task, state(*ticket))).collect()
    }

    /// Sends the shared values that it has not got, and has it forget those that nobody needs any more.
    pub(super) fn send_shares(&mut self, shares: &[Arc<ShareBlob>]) {
        let dropped = ShareBlob::dropped();
        if self.dropped != dropped {
            self.dropped = dropped;
            let out = self.out.raw();
            self.shares.retain(|id, blob| {
                let is_alive = blob.strong_count() > 0;
                if !is_alive {
                    ToWorker::Unshare(*id).encode(out);
                }
                is_alive
            });
        }
        for blob in shares {
            if !self.shares.contains_key(&blob.id()) {
                let packing = self.book.packing(blob.bulk(), blob.attachments());
                ToWorker::Share(blob.id(), packing.of(blob.bytes())).encode(self.out.raw());
                self.shares.insert(blob.id(), Arc::downgrade(blob));
            }
        }
    }

    /// Tells it what of its memory is used no more, and what of ours is gone.
    pub(super) fn send_notes(&mut self) {
        for note in self.book.take_notes() {
            match note {
                Note::Release(name, count) => ToWorker::Release(name, count),
                Note::Withdraw(name) => ToWorker::Withdraw(name),
            }
            .encode(self.out.raw());
        }
    }

    /// A value of its, with what has come beside it. The outer error is for the worker, the inner one for the task.
    #[inline]
    pub(super) fn unpacked<'a>(
        &self,
        what: &str,
        outcome: Result<Packed<'a>, TaskError>,
    ) -> Result<Result<Parcel<'a>, TaskError>, String> {
        match outcome.map(|value| self.book.unpack(value)) {
            Ok(Ok(parcel)) => Ok(Ok(parcel)),
            Ok(Err(UnpackError::Lost(reason))) => Ok(Err(TaskError::decode(what, reason))),
            Ok(Err(UnpackError::Nonsense(reason))) => Err(reason),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Whether values that it was sent may have died.
    pub(super) fn has_stale_shares(&self) -> bool {
        !self.shares.is_empty() && self.dropped != ShareBlob::dropped()
    }

    /// A shared value by id: one that it has sent itself, or one that it was sent.
    pub(super) fn known_share(&self, id: ShareId) -> Option<Arc<ShareBlob>> {
        let own = self.nested_shares.get(&id).cloned();
        own.or_else(|| self.shares.get(&id)?.upgrade())
    }

    /// Whether it has done, lived or grown enough.
    pub(super) fn is_worn(&mut self, config: &ProcessConfig, now: Instant) -> bool {
        config.max_tasks.is_some_and(|most| self.finished >= most)
            || config.max_age.is_some_and(|most| now.duration_since(self.started) >= most)
            || config.max_memory.is_some_and(|most| self.holds_more_than(most, now))
    }

    /// Looks about once a second: reading the figure takes some microseconds.
    fn holds_more_than(&mut self, bytes: u64, now: Instant) -> bool {
        if self.finished > 1 && now.duration_since(self.memory_checked) < MEMORY_CHECK {
            return false;
        }
        self.memory_checked = now;
        limits::resident_bytes(self.pid).is_ok_and(|held| held > bytes)
    }

    /// When somebody has to look after it, whatever it does.
    pub(super) fn deadline(&self, config: &ProcessConfig) -> Option<Instant> {
        if self.is_killed {
            return None;
        }
        match self.life {
            Life::Starting => self.started.checked_add(config.start_timeout),
            Life::Ready if self.is_replaced => None,
            Life::Ready => self.started.checked_add(config.max_age?),
            Life::Retiring => None,
            Life::Leaving => self.leaves_by,
        }
    }

    /// Tells it to leave when it has done what it was given.
    pub(super) fn dismiss(&mut self, now: Instant) {
        self.life = Life::Leaving;
        self.leaves_by = now.checked_add(LEAVE_TIME);
        self.is_urgent = true;
        ToWorker::Exit.encode(self.out.raw());
    }

    /// Ends it, and with it what its tasks have started in its process group.
    pub(super) fn kill(&mut self, reason: &str) {
        if !self.is_killed {
            self.is_killed = true;
            self.kill_reason = reason.to_owned();
            // It may be dead already, which the reaper is about to find out.
            if let Some(child) = &self.child {
                let _ = child.kill(libc::SIGKILL);
            }
        }
    }

    /// Hands the process over to whoever buries it.
    pub(super) fn take_child(&mut self) -> Option<Child> {
        self.child.take()
    }

    /// Where frames for it are appended.
    pub(super) fn out(&mut self) -> &mut Vec<u8> {
        self.out.raw()
    }

    /// Whether its frames should be written now rather than together with later ones: not while it has plenty to do, and will
    /// therefore have answers soon, with which the next look at `dirty` comes. `held` are the tasks with it that are no
    /// futures: those may wait for whatever they like, one for another that is not written yet.
    pub(super) fn wants_flush(&self, held: usize) -> bool {
        !self.out.is_empty()
            && !self.is_full
            && (self.is_urgent
                || held.saturating_sub(self.unsent) <= FLUSH_TASKS
                || self.out.len() >= FLUSH_BYTES)
    }

    /// Writes as much as the ring takes. True if it takes no more for now.
    pub(super) fn flush(&mut self) -> bool {
        self.is_urgent = false;
        self.unsent = 0;
        if self.out.is_empty() || self.is_damaged {
            self.out.clear();
            self.is_full = false;
            return false;
        }
        match self.link.send(&mut self.out) {
            Ok(sent) => self.is_full = sent == Sent::Full,
            Err(error) => self.condemn(&error.to_string()),
        }
        self.is_full
    }

    /// It says what no worker says, so that nothing it says is worth anything from here on.
    pub(super) fn condemn(&mut self, reason: &str) {
        self.is_damaged = true;
        self.is_full = false;
        self.out.clear();
        self.kill(reason);
    }

    /// Whether it has said something.
    #[inline]
    pub(super) fn has_answers(&self) -> bool {
        self.link.has_answers() && !self.is_damaged
    }

    /// Takes in what it has said, for [`give_back`](Self::give_back) when that is dealt with.
    pub(super) fn take_answers(&mut self) -> Option<FrameReader> {
        let mut reader = self.reader.take()?;
        match self.link.recv(&mut reader) {
            Ok(_) => Some(reader),
            Err(error) => {
                self.condemn(&error.to_string());
                None
            }
        }
    }

    /// Takes the reader back. What it has not got yet is the rest of a frame.
    pub(super) fn give_back(&mut self, reader: FrameReader) {
        self.reader = Some(reader);
    }

    /// How it is to ring the bell.
    pub(super) fn listen(&self, need: Need) {
        self.link.listen(need);
    }

    /// Whether it has been told everything, or the reaper sees to it.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty() || self.is_full
    }

    /// Whether the scheduler should send it nothing for the moment.
    pub(super) fn should_pause(&self) -> bool {
        self.out.len() >= PAUSE_BYTES
    }
}

/// Which task is in which claim slot.
struct Slots {
    held: Box<[Option<(TaskKey, Ticket)>]>,
    free: Vec<u16>,
}

impl Slots {
    fn new() -> Self {
        Self { held: vec![None; WINDOW].into_boxed_slice(), free: (0..WINDOW as u16).rev().collect() }
    }
}
