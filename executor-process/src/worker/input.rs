//! Where frames come from: read by the main thread itself, or handed over by the reader.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use executor_core::wire::ToWorker;

use super::{Shared, fail};
use crate::transport::{Channel, FrameReader, Received, SocketChannel};

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
    socket: SocketChannel,
    reader: FrameReader,
}

/// What the main thread has to do next.
pub(super) enum Next {
    /// Deal with this frame: a task, or the order to leave.
    Frame(Vec<u8>),
    /// The parent is gone.
    Closed,
}

impl Input {
    pub(super) fn new(socket: SocketChannel) -> Self {
        Self {
            stream: Mutex::new(Stream { socket, reader: FrameReader::new(FRAME_LIMIT) }),
            has_reader: AtomicBool::new(false),
            handed_over: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// The next frame for the main thread.
    pub(super) fn next(&self, shared: &Shared) -> Next {
        if self.has_reader.load(Ordering::Acquire) {
            return self.next_handed_over(shared);
        }
        let mut stream = self.lock();
        loop {
            if self.has_reader.load(Ordering::Acquire) {
                // It was started by an async body, while this thread was reading.
                drop(stream);
                return self.next_handed_over(shared);
            }
            match stream.next(shared, || shared.output.flush()) {
                Some(next) => return next,
                None => continue,
            }
        }
    }

    fn next_handed_over(&self, shared: &Shared) -> Next {
        let mut frames = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = frames.pop_front() {
            return next;
        }
        drop(frames);
        shared.output.flush();
        frames = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match frames.pop_front() {
                Some(next) => return next,
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
            loop {
                if let Some(next) = stream.next(&shared, || {}) {
                    let is_end = matches!(next, Next::Closed);
                    let mut frames = shared.input.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
                    frames.push_back(next);
                    shared.input.arrived.notify_one();
                    if is_end {
                        // Whatever the main thread is busy with, nobody wants it any more.
                        super::leave();
                    }
                }
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
    /// Goes one step: `None` if that led to nothing for the main thread. Calls `idle` before it waits for input.
    fn next(&mut self, shared: &Shared, idle: impl FnOnce()) -> Option<Next> {
        match self.reader.next_frame() {
            Ok(Some(frame)) => match ToWorker::decode(frame) {
                Ok(ToWorker::Task(_) | ToWorker::Exit) => Some(Next::Frame(frame.to_vec())),
                Ok(other) => {
                    shared.handle(other);
                    None
                }
                Err(error) => fail(&error.to_string()),
            },
            Ok(None) => {
                idle();
                match self.socket.recv(&mut self.reader) {
                    Ok(Received::Bytes(_) | Received::Nothing) => None,
                    Ok(Received::Closed) => Some(Next::Closed),
                    Err(error) => fail(&format!("reading from the channel failed: {error}")),
                }
            }
            Err(error) => fail(&error.to_string()),
        }
    }
}
