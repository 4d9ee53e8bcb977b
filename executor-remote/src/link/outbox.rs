//! Sending: frames of many threads, few records, few system calls, and nobody blocks.
//!
//! 1. Frames are *gathered* in a buffer under a short lock, and *flushed*: whoever finds the wire free takes all that has
//!    gathered, seals it and writes it. Who finds the wire taken goes away: its holder looks again after he has given it
//!    back, so that nothing stays behind. (Who appends does so before he tries the wire; the holder looks after he
//!    has let go of it. One of the two comes later, and sees the other.)
//! 2. Writes do not block. What the socket does not take stays with the wire, `blocked` is set, and the *pusher*, a thread
//!    of the connection, waits until the socket takes more. Meanwhile frames gather.
//! 3. A flush may be put off by [`DELAY`], in the hope that more comes; the pusher sees to it that it happens.
//! 4. `held` counts bytes that the peer has made this side keep: frames not yet written, and what the owner adds by
//!    [`hold`](Outbox::hold). Who reads from the peer waits while there is too much of it.
//! 5. After a failure, or when the stream has been closed, frames are dropped. A failure shuts the socket down, so
//!    that the reading half ends as well.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::noise::{RecordError, Sealer};

#[cfg(test)]
mod tests;

/// How long a flush may be put off. A fifth of the millisecond of work that a scheduler hands ahead, so that a worker does
/// not run dry; long enough for a hundred small results.
const DELAY: Duration = Duration::from_micros(200);
/// Plaintext that is sealed before it is written.
const PIECE: usize = 256 * 1024;
/// Buffers that were needed for large frames are given back when they are larger than this.
const KEEP: usize = 1 << 20;

/// The sending half of a connection, shared by all who have something to send.
pub(crate) struct Outbox {
    gather: Mutex<Gather>,
    /// To the pusher: something changed.
    work: Condvar,
    /// To who waits for room.
    room: Condvar,
    wire: Mutex<Wire>,
    stream: TcpStream,
}

#[derive(Default)]
struct Gather {
    frames: Vec<u8>,
    /// When the frames have to be flushed at the latest, if somebody has put that off.
    due: Option<Instant>,
    /// Rule 2.
    blocked: bool,
    /// The stream is to be closed behind the frames.
    closing: bool,
    /// It has been, or it failed.
    over: bool,
    /// Rule 4.
    held: usize,
    /// Whether the pusher sleeps without an end.
    pusher_idle: bool,
    /// Whether somebody waits for room.
    room_wanted: bool,
}

struct Wire {
    sealer: Sealer,
    /// Frames that have been taken to be sealed, and how far that is done.
    frames: Vec<u8>,
    sealed_to: usize,
    /// Records, and how far they are written.
    records: Vec<u8>,
    written_to: usize,
    closed: bool,
}

enum Progress {
    /// All that had gathered is written.
    Done,
    /// The socket takes no more.
    Blocked,
}

impl Outbox {
    pub(crate) fn new(stream: TcpStream, sealer: Sealer) -> Self {
        let wire = Wire {
            sealer,
            frames: Vec::new(),
            sealed_to: 0,
            records: Vec::new(),
            written_to: 0,
            closed: false,
        };
        Self {
            gather: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            wire: Mutex::new(wire),
            stream,
        }
    }

    fn gather(&self) -> MutexGuard<'_, Gather> {
        self.gather.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends frames; gives how many bytes wait to be flushed now. `release` is what the owner [held](Self::hold) for
    /// what is answered.
    pub(crate) fn append(&self, release: usize, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let mut gather = self.gather();
        let before = gather.frames.len();
        if !gather.over && !gather.closing {
            write(&mut gather.frames);
        }
        let waiting = gather.frames.len();
        gather.held = (gather.held + waiting - before).saturating_sub(release);
        if release > 0 && gather.room_wanted {
            self.room.notify_all();
        }
        waiting
    }

    /// Counts bytes that the peer makes this side keep.
    pub(crate) fn hold(&self, bytes: usize) {
        self.gather().held += bytes;
    }

    /// Waits until no more than `limit` bytes are held, or it is over, for at most `patience`. Whether there is room.
    pub(crate) fn wait_for_room(&self, limit: usize, patience: Duration) -> bool {
        let mut gather = self.gather();
        if gather.held <= limit || gather.over {
            return true;
        }
        gather.room_wanted = true;
        let full = |gather: &mut Gather| gather.held > limit && !gather.over;
        let waited = self.room.wait_timeout_while(gather, patience, full);
        let (mut gather, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        gather.room_wanted = false;
        !timed_out.timed_out()
    }

    /// Writes what has gathered, as far as the socket takes it.
    pub(crate) fn flush(&self) {
        while self.has_work() {
            let mut wire = match self.wire.try_lock() {
                Ok(wire) => wire,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return, // rule 1
            };
            match self.push(&mut wire) {
                Ok(Progress::Done) => {}
                Ok(Progress::Blocked) => {
                    self.gather().blocked = true;
                    self.work.notify_one();
                }
                Err(error) => {
                    tracing::debug!(%error, "sending failed");
                    self.fail();
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        let gather = self.gather();
        !gather.blocked && !gather.over && (!gather.frames.is_empty() || gather.closing)
    }

    /// Flushes within [`DELAY`].
    pub(crate) fn flush_soon(&self) {
        let mut gather = self.gather();
        if gather.due.is_none() && !gather.frames.is_empty() {
            gather.due = Some(Instant::now() + DELAY);
            if gather.pusher_idle {
                self.work.notify_one();
            }
        }
    }

    /// Closes the stream behind what has gathered, so that the peer knows that nothing is missing.
    pub(crate) fn close(&self) {
        self.gather().closing = true;
        self.flush();
    }

    /// Cuts the connection.
    pub(crate) fn fail(&self) {
        let mut gather = self.gather();
        gather.over = true;
        gather.frames = Vec::new();
        self.work.notify_all();
        self.room.notify_all();
        drop(gather);
        // It may be shut down already; then there is nothing to do.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Takes what has gathered to the socket. Whoever calls this holds the wire.
    fn push(&self, wire: &mut Wire) -> io::Result<Progress> {
        loop {
            while wire.written_to < wire.records.len() {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                match send(&self.stream, &wire.records[wire.written_to..], flags) {
                    Ok(written) => wire.written_to += written,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(Progress::Blocked),
                    Err(errno) => return Err(errno.into()),
                }
            }
            wire.written_to = 0;
            reset(&mut wire.records);
            if wire.closed {
                self.finish();
                return Ok(Progress::Done);
            }
            if wire.sealed_to == wire.frames.len() && !self.take(wire)? {
                return Ok(Progress::Done);
            }
            if wire.closed {
                // Nothing may be sealed behind the record that closes the stream.
                continue;
            }
            let end = wire.frames.len().min(wire.sealed_to + PIECE);
            wire.sealer.seal(&wire.frames[wire.sealed_to..end], &mut wire.records).map_err(broken)?;
            wire.sealed_to = end;
        }
    }

    /// Takes what has gathered over to the wire. Whether there is anything to be sealed or written.
    fn take(&self, wire: &mut Wire) -> io::Result<bool> {
        let written = wire.frames.len();
        wire.sealed_to = 0;
        reset(&mut wire.frames);
        let mut gather = self.gather();
        gather.due = None;
        gather.held = gather.held.saturating_sub(written);
        if written > 0 && gather.room_wanted {
            self.room.notify_all();
        }
        std::mem::swap(&mut gather.frames, &mut wire.frames);
        if !wire.frames.is_empty() {
            return Ok(true);
        }
        if gather.closing && !gather.over {
            wire.sealer.close(&mut wire.records).map_err(broken)?;
            wire.closed = true;
            return Ok(true);
        }
        Ok(false)
    }

    /// The end of the stream is written.
    fn finish(&self) {
        self.gather().over = true;
        self.work.notify_all();
        self.room.notify_all();
        // The peer may have been quicker.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The body of the connection's pusher thread; returns when it is over.
    pub(crate) fn run_pusher(&self) {
        loop {
            let mut gather = self.gather();
            let blocked = loop {
                if gather.over {
                    return;
                }
                if gather.blocked {
                    break true;
                }
                gather = match gather.due {
                    None => {
                        gather.pusher_idle = true;
                        let mut woken = self.work.wait(gather).unwrap_or_else(PoisonError::into_inner);
                        woken.pusher_idle = false;
                        woken
                    }
                    Some(due) => {
                        let left = due.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            // Whoever holds the wire at this moment looks again: rule 1.
                            gather.due = None;
                            break false;
                        }
                        self.work.wait_timeout(gather, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            };
            drop(gather);
            if blocked {
                let mut fds = [PollFd::new(&self.stream, PollFlags::OUT)];
                // An error shows again when the write is tried.
                let _ = poll(&mut fds, None);
                self.gather().blocked = false;
                self.resume();
            } else {
                self.flush();
            }
        }
    }

    /// As [`flush`](Self::flush), also when only the wire has something left.
    fn resume(&self) {
        let mut wire = self.wire.lock().unwrap_or_else(PoisonError::into_inner);
        match self.push(&mut wire) {
            Ok(Progress::Done) => {}
            Ok(Progress::Blocked) => self.gather().blocked = true,
            Err(error) => {
                tracing::debug!(%error, "sending failed");
                self.fail();
            }
        }
        drop(wire);
        self.flush();
    }
}

fn reset(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    }
}

fn broken(error: RecordError) -> io::Error {
    io::Error::other(error)
}
