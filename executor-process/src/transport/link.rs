//! The two ends of a worker's channel: frames through the rings of its board, and who wakes whom.
//!
//! | sleeper | waits for | asks by | is woken by |
//! | --- | --- | --- | --- |
//! | worker | frames | `Dozer::WorkerInput` | futex on that word |
//! | worker | room for its answers | `Dozer::WorkerRoom` | futex on that word |
//! | parent | answers | `Dozer::ParentInput` | the pool's bell, an eventfd |
//! | parent | room for frames | `Dozer::ParentRoom` | the pool's bell |
//!
//! The parent sleeps in `epoll`, where it waits for deaths and for time as well; hence the eventfd. There is one bell for
//! all workers of a pool, so a wake-up says that something has happened, and not where.
//!
//! Neither side makes a system call for one that is awake. A worker that runs out of frames looks for more for some time
//! before it sleeps ([`Patience`]), as waking a processor that sleeps takes longer than most tasks.
//!
//! A side that dies wakes nobody. The worker's death is seen by its pidfd and by the end of its socket; the parent's by
//! the kernel's parent-death signal and by the end of the same socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rustix::io::Errno;
use rustix::thread::futex;

use super::{FrameReader, OutBuf, Patience};
use crate::board::{Board, Dozer, FromWorker, Mapping, ToWorker, WorkerBoard};
use crate::ring::{Consumer, Damaged, Doze, Need, Producer};

/// What became of the bytes that were to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// All of them are on their way.
    All,
    /// The ring is full; the rest stays in the buffer. The bell rings when there is room.
    Full,
}

/// Why the worker's end is of no use any more: a task has taken away what is not its own. The process has to end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The parent's position cannot be right.
    #[error("{0}; a task has written over this process's memory")]
    Damaged(Damaged),
    /// The bell cannot be rung.
    #[error("the parent cannot be woken: {0}; a task has closed descriptors that it has not opened")]
    Bell(io::Error),
}

impl From<Damaged> for LinkError {
    fn from(damaged: Damaged) -> Self {
        Self::Damaged(damaged)
    }
}

/// The parent's end.
#[derive(Debug)]
pub struct ParentEnd {
    memory: Arc<Mapping>,
    frames: Producer<ToWorker>,
    answers: Consumer<FromWorker>,
}

impl ParentEnd {
    /// The end of a board that was just made. Only one for each board.
    #[must_use]
    pub fn new(board: &Board) -> Self {
        let memory = Arc::clone(board.memory());
        Self {
            frames: Producer::new(ToWorker(Arc::clone(&memory))),
            answers: Consumer::new(FromWorker(Arc::clone(&memory))),
            memory,
        }
    }

    /// Sends as much of `out` as fits, and wakes the worker if it sleeps. Never waits.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if the worker has overwritten its position.
    #[inline]
    pub fn send(&mut self, out: &mut OutBuf) -> Result<Sent, Damaged> {
        loop {
            let written = self.frames.write(out.as_slice())?;
            if written > 0 {
                out.consume(written);
                self.frames.publish();
                wake(&self.memory, Dozer::WorkerInput);
            }
            if out.is_empty() {
                return Ok(Sent::All);
            }
            self.doze(Dozer::ParentRoom).ask(Need::Anything);
            if self.frames.room(1)? == 0 {
                return Ok(Sent::Full);
            }
        }
    }

    /// Takes in what is there, at most once around the reader's buffer; returns how many bytes.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    #[inline]
    pub fn recv(&mut self, into: &mut FrameReader) -> Result<usize, Damaged> {
        let len = self.answers.read(into.spare())?;
        if len > 0 {
            into.filled(len);
            wake(&self.memory, Dozer::WorkerRoom);
        }
        Ok(len)
    }

    /// Whether the worker has said something that was not received.
    #[inline]
    #[must_use]
    pub fn has_answers(&self) -> bool {
        self.answers.has_data()
    }

    /// Asks for the bell. Look for answers once more after this, before going to sleep.
    #[inline]
    pub fn listen(&self, need: Need) {
        match need {
            Need::Nothing => self.doze(Dozer::ParentInput).awake(),
            need => self.doze(Dozer::ParentInput).ask(need),
        }
    }

    fn doze(&self, who: Dozer) -> Doze<'_, AtomicU32> {
        Doze::over(self.memory.doze(who))
    }
}

/// Wakes a thread of the worker if it waits for what has just become true.
#[inline]
fn wake(memory: &Mapping, who: Dozer) {
    let word = memory.doze(who);
    if Doze::over(word).is_due(Need::Anything) {
        // One thread at a time waits on each word. A failure would mean a bad address.
        let _ = futex::wake(word, futex::Flags::empty(), 1);
    }
}

/// Blocks until the word is no longer what a sleeper has asked; may return early.
fn sleep(word: &AtomicU32, asked: u32) {
    // Woken, interrupted, or asked for nothing any more: the caller looks again.
    let _ = futex::wait(word, futex::Flags::empty(), asked, None);
}

/// The worker's end: frames.
#[derive(Debug)]
pub struct WorkerInput {
    memory: Arc<Mapping>,
    frames: Consumer<ToWorker>,
    bell: Bell,
    patience: Patience,
}

impl WorkerInput {
    /// The end of a board. Only one for each board.
    #[must_use]
    pub fn new(board: &WorkerBoard, bell: Bell) -> Self {
        let memory = Arc::clone(board.memory());
        Self { frames: Consumer::new(ToWorker(Arc::clone(&memory))), memory, bell, patience: Patience::new() }
    }

    /// Takes in what is there, at most once around the reader's buffer; returns how many bytes.
    ///
    /// # Errors
    ///
    /// [`LinkError`].
    #[inline]
    pub fn try_recv(&mut self, into: &mut FrameReader) -> Result<usize, LinkError> {
        let len = self.frames.read(into.spare())?;
        if len > 0 {
            into.filled(len);
            if Doze::over(self.memory.doze(Dozer::ParentRoom)).is_due(Need::Anything) {
                self.bell.ring()?;
            }
        }
        Ok(len)
    }

    /// Takes in at least one byte.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    ///
    /// # Blocking
    ///
    /// Until the parent sends something. Who waits for the parent's death waits elsewhere.
    pub fn recv(&mut self, into: &mut FrameReader) -> Result<usize, LinkError> {
        let len = self.try_recv(into)?;
        if len > 0 {
            return Ok(len);
        }
        self.wait();
        self.try_recv(into)
    }

    #[cold]
    fn wait(&mut self) {
        let Self { memory, frames, patience, .. } = self;
        patience.wait(
            || frames.has_data(),
            || {
                let word = memory.doze(Dozer::WorkerInput);
                Doze::over(word).sleep_until(|| frames.has_data(), |asked| sleep(word, asked));
            },
        );
    }
}

/// The worker's end: answers.
#[derive(Debug)]
pub struct WorkerOutput {
    memory: Arc<Mapping>,
    answers: Producer<FromWorker>,
    bell: Bell,
}

impl WorkerOutput {
    /// The end of a board. Only one for each board.
    #[must_use]
    pub fn new(board: &WorkerBoard, bell: Bell) -> Self {
        let memory = Arc::clone(board.memory());
        Self { answers: Producer::new(FromWorker(Arc::clone(&memory))), memory, bell }
    }

    /// Publishes a whole frame. A frame that fits into the ring is there whole or not at all, whenever this process dies.
    /// The parent is woken only if it has to make room: [`Bell::tell`] does the rest.
    ///
    /// # Errors
    ///
    /// [`LinkError`].
    ///
    /// # Blocking
    ///
    /// Until the ring has room.
    #[inline]
    pub fn send(&mut self, frame: &[u8]) -> Result<(), LinkError> {
        if self.answers.room(frame.len())? >= frame.len() {
            self.answers.write(frame)?;
            self.answers.publish();
            return Ok(());
        }
        self.send_in_pieces(frame)
    }

    #[cold]
    fn send_in_pieces(&mut self, mut frame: &[u8]) -> Result<(), LinkError> {
        let all_at_once = frame.len() <= self.answers.capacity();
        while !frame.is_empty() {
            self.await_room(if all_at_once { frame.len() } else { 1 })?;
            let written = self.answers.write(frame)?;
            self.answers.publish();
            frame = &frame[written..];
        }
        Ok(())
    }

    fn await_room(&mut self, wanted: usize) -> Result<(), LinkError> {
        let Self { memory, answers, bell } = self;
        let word = memory.doze(Dozer::WorkerRoom);
        while answers.room(wanted)? < wanted {
            // The parent may be waiting for more to come.
            bell.tell(Need::Idle)?;
            let has_room = || answers.room(wanted).ok().is_none_or(|room| room >= wanted);
            Doze::over(word).sleep_until(has_room, |asked| sleep(word, asked));
        }
        Ok(())
    }
}

/// Wakes the parent.
#[derive(Clone, Debug)]
pub struct Bell {
    memory: Arc<Mapping>,
    bell: Arc<OwnedFd>,
}

impl Bell {
    /// The bell of the pool to which the board belongs.
    #[must_use]
    pub fn new(board: &WorkerBoard, bell: OwnedFd) -> Self {
        Self { memory: Arc::clone(board.memory()), bell: Arc::new(bell) }
    }

    /// Wakes the parent if it wants to be woken for `reason`: [`Need::Anything`] when there is an answer for it, and
    /// [`Need::Idle`] when this worker has nothing more to do.
    ///
    /// # Errors
    ///
    /// [`LinkError::Bell`].
    #[inline]
    pub fn tell(&self, reason: Need) -> Result<(), LinkError> {
        if Doze::over(self.memory.doze(Dozer::ParentInput)).is_due(reason) {
            self.ring()?;
        }
        Ok(())
    }

    #[cold]
    fn ring(&self) -> Result<(), LinkError> {
        match rustix::io::retry_on_intr(|| rustix::io::write(&*self.bell, &1u64.to_ne_bytes())) {
            // A full counter means that the parent is about to wake anyway.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(error) => Err(LinkError::Bell(error.into())),
        }
    }
}

/// An eventfd for [`Bell`]s: readable when one has rung.
///
/// # Errors
///
/// No descriptors left.
pub fn bell() -> io::Result<OwnedFd> {
    use rustix::event::{EventfdFlags, eventfd};
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

/// Takes back all that has rung so far.
pub fn hush(bell: impl AsFd) {
    let mut count = [0; 8];
    // Empty already: that is as good.
    let _ = rustix::io::read(bell, &mut count[..]);
}
