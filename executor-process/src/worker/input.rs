//! Where frames come from: read by the main thread itself, or handed over by the reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use executor_core::wire::ToWorker;

use super::{Shared, fail};
use crate::transport::{FrameReader, WorkerInput};

/// The limit of frames is the parent's to keep; this is only what the length field can say.
const FRAME_LIMIT: usize = u32::MAX as usize;

pub(super) struct Input {
    stream: Mutex<Stream>,
    /// The reader is in charge.
    has_reader: AtomicBool,
    handed_over: Mutex<VecDeque<Next>>,
    arrived: Condvar,
}

struct Stream {
    ring: WorkerInput,
    reader: FrameReader,
}

/// A frame that the main thread has to deal with: a task, or the order to leave.
type Next = Vec<u8>;

/// Frames that the main thread has taken over and not dealt with: tasks, and the order to leave. Nobody else would deal with
/// them, so nothing waits for it to come back.
#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each one ends.
    ends: Vec<usize>,
    next: usize,
    start: usize,
}

impl Batch {
    /// The next frame.
    #[inline]
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        let end = *self.ends.get(self.next)?;
        let start = std::mem::replace(&mut self.start, end);
        self.next += 1;
        Some(&self.bytes[start..end])
    }

    fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn is_full(&self) -> bool {
        /// Beyond this, what is left is taken over when these are done.
        const BYTES: usize = 64 * 1024;
        self.bytes.len() >= BYTES
    }

    fn clear(&mut self) {
        self.bytes.clear();
        super::shrink(&mut self.bytes);
        self.ends.clear();
        (self.next, self.start) = (0, 0);
    }
}

impl Input {
    pub(super) fn new(ring: WorkerInput) -> Self {
        Self {
            stream: Mutex::new(Stream { ring, reader: FrameReader::new(FRAME_LIMIT) }),
            has_reader: AtomicBool::new(false),
            handed_over: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// The next frames for the main thread, at least one. True if it had to wait for them.
    pub(super) fn next(&self, shared: &Shared, batch: &mut Batch) -> bool {
        batch.clear();
        let mut has_waited = false;
        if !self.has_reader.load(Ordering::Acquire) {
            let mut stream = self.lock();
            // The reader may be started by an async body while this thread reads.
            while !self.has_reader.load(Ordering::Acquire) {
                stream.take_tasks(shared, batch);
                if !batch.is_empty() {
                    return has_waited;
                }
                stream.await_bytes(|| {
                    has_waited = true;
                    shared.on_idle();
                });
            }
        }
        let (next, had_to_wait) = self.next_handed_over(shared);
        batch.push(&next);
        has_waited || had_to_wait
    }

    fn next_handed_over(&self, shared: &Shared) -> (Next, bool) {
        let mut frames = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = frames.pop_front() {
            return (next, false);
        }
        drop(frames);
        shared.on_idle();
        frames = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match frames.pop_front() {
                Some(next) => return (next, true),
                None => frames = self.arrived.wait(frames).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Has a thread of its own read from here on. Once.
    pub(super) fn start_reader(shared: &Arc<Shared>) {
        if shared.input.has_reader.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = Arc::clone(shared);
        let started = std::thread::Builder::new().name("executor-reader".to_owned()).spawn(move || {
            let mut stream = shared.input.lock();
            let mut batch = Batch::default();
            loop {
                stream.take_tasks(&shared, &mut batch);
                if batch.is_empty() {
                    stream.await_bytes(|| {});
                    continue;
                }
                let mut frames = shared.input.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
                while let Some(frame) = batch.next() {
                    frames.push_back(frame.to_vec());
                }
                shared.input.arrived.notify_one();
                drop(frames);
                batch.clear();
            }
        });
        if let Err(error) = started {
            fail(&format!("the reader thread could not be started: {error}"));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Deals with what is there, and takes tasks over as they come.
    fn take_tasks(&mut self, shared: &Shared, batch: &mut Batch) {
        while !batch.is_full() {
            match self.reader.next_frame() {
                Ok(Some(frame)) if ToWorker::is_for_main(frame) => batch.push(frame),
                Ok(Some(frame)) => match ToWorker::decode(frame) {
                    Ok(other) => shared.handle(other),
                    Err(error) => fail(&error.to_string()),
                },
                Ok(None) => return,
                Err(error) => fail(&error.to_string()),
            }
        }
    }

    /// Waits for more. Calls `idle` before it does.
    fn await_bytes(&mut self, idle: impl FnOnce()) {
        let received = self.ring.try_recv(&mut self.reader).and_then(|len| match len {
            0 => {
                idle();
                self.ring.recv(&mut self.reader)
            }
            len => Ok(len),
        });
        if let Err(error) = received {
            fail(&error.to_string());
        }
    }
}
