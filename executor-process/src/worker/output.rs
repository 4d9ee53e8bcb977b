//! What the worker says: frames go into the journal, and from there to the socket.
//!
//! A frame is in the journal before its task counts as finished, so the socket can wait: results are written together
//! when there is no more input, when many have gathered, or, when a task turns out to be long, by the *flusher*, a thread
//! that looks every [`STRAGGLE`] while results wait and sleeps otherwise.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::Duration;

use executor_core::wire::FromWorker;

use super::{Shared, fail, leave};
use crate::board::Journal;
use crate::transport::{Channel, SocketChannel};

/// The longest that a result waits behind a task that takes long.
const STRAGGLE: Duration = Duration::from_micros(500);

/// The flusher goes to sleep after so many looks at nothing: waking it costs more than some of these.
const CALM: u32 = 20;

/// From so many bytes on, results are written although there is more to do. A quarter of the journal.
const FLUSH_BYTES: usize = 16 * 1024;

pub(super) struct Output {
    writer: Mutex<Writer>,
    /// The flusher is awake.
    is_watched: AtomicBool,
    flusher: OnceLock<Thread>,
}

struct Writer {
    socket: SocketChannel,
    journal: Journal,
    scratch: Vec<u8>,
    /// Counts writes to the socket, so that the flusher sees whether it is needed.
    writes: u64,
}

impl Output {
    pub(super) fn new(socket: SocketChannel, journal: Journal) -> Self {
        Self {
            writer: Mutex::new(Writer { socket, journal, scratch: Vec::new(), writes: 0 }),
            is_watched: AtomicBool::new(false),
            flusher: OnceLock::new(),
        }
    }

    /// Encodes and writes a frame, and sends it at once.
    pub(super) fn send(&self, frame: &FromWorker<'_>) {
        let mut writer = self.lock();
        let mut scratch = std::mem::take(&mut writer.scratch);
        scratch.clear();
        frame.encode(&mut scratch);
        writer.write(&scratch);
        super::shrink(&mut scratch);
        writer.scratch = scratch;
        writer.flush();
    }

    /// Writes a whole frame; it is sent when that suits.
    pub(super) fn write(&self, frame: &[u8]) {
        let mut writer = self.lock();
        writer.write(frame);
        if writer.journal.pending().len() >= FLUSH_BYTES {
            writer.flush();
        }
    }

    /// Sends all that waits.
    pub(super) fn flush(&self) {
        self.lock().flush();
    }

    /// A task is about to begin, which may take long: if results wait, the flusher looks after them.
    pub(super) fn expect_delay(&self) {
        if self.is_watched.load(Ordering::Relaxed) || self.lock().journal.pending().is_empty() {
            return;
        }
        if !self.is_watched.swap(true, Ordering::AcqRel)
            && let Some(flusher) = self.flusher.get()
        {
            flusher.unpark();
        }
    }

    /// Starts the flusher, asleep.
    pub(super) fn start_flusher(shared: &Arc<Shared>) {
        let this = Arc::clone(shared);
        let started = std::thread::Builder::new()
            .name("executor-flusher".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || this.output.keep_flushing());
        match started {
            Ok(thread) => drop(shared.output.flusher.set(thread.thread().clone())),
            Err(error) => fail(&format!("the flusher thread could not be started: {error}")),
        }
    }

    fn keep_flushing(&self) -> ! {
        loop {
            while !self.is_watched.load(Ordering::Acquire) {
                std::thread::park();
            }
            let mut calm = 0;
            let mut seen = u64::MAX;
            while calm < CALM {
                std::thread::park_timeout(STRAGGLE);
                let mut writer = self.lock();
                if writer.journal.pending().is_empty() {
                    calm += 1;
                    continue;
                }
                calm = 0;
                // Results that have waited for a whole look are late.
                if writer.writes == seen {
                    writer.flush();
                }
                seen = writer.writes;
            }
            self.is_watched.store(false, Ordering::Release);
            // Who wrote before this store relied on us; who writes after it calls again.
            let mut writer = self.lock();
            if !writer.journal.pending().is_empty() {
                writer.flush();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    fn write(&mut self, frame: &[u8]) {
        if self.journal.append(frame) {
            return;
        }
        self.flush();
        if !self.journal.append(frame) {
            // Larger than the journal: it is finished when the socket has it.
            self.journal.announce(frame.len());
            let sent = self.socket.send(frame);
            check(sent);
            self.journal.skip(frame.len());
        }
    }

    fn flush(&mut self) {
        if self.journal.pending().is_empty() {
            return;
        }
        self.writes += 1;
        let sent = self.socket.send(self.journal.pending());
        check(sent);
        let len = self.journal.pending().len();
        self.journal.flushed(len);
    }
}

/// A channel that takes no more means that the parent is gone.
fn check(sent: std::io::Result<()>) {
    match sent {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => leave(),
        Err(error) => fail(&format!("writing to the channel failed: {error}")),
    }
}
