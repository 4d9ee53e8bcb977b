//! What the worker says: frames go into the ring of its board, where they survive it.
//!
//! A frame that is published is there for the parent whatever becomes of this process, so what remains is when to wake the
//! parent, if it sleeps: at the latest when a task begins that may take long, or when there is nothing more to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use executor_core::wire::FromWorker;

use super::fail;
use crate::ring::Need;
use crate::transport::{Bell, WorkerOutput};

pub(super) struct Output {
    writer: Mutex<Writer>,
    bell: Bell,
    /// Something was published that the parent has not been told of.
    is_untold: AtomicBool,
}

struct Writer {
    ring: WorkerOutput,
    scratch: Vec<u8>,
}

impl Output {
    pub(super) fn new(ring: WorkerOutput, bell: Bell) -> Self {
        let writer = Writer { ring, scratch: Vec::new() };
        Self { writer: Mutex::new(writer), bell, is_untold: AtomicBool::new(false) }
    }

    /// Encodes and publishes a frame, and has the parent look at it.
    pub(super) fn send(&self, frame: &FromWorker<'_>) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Writer { ring, scratch } = &mut *writer;
        scratch.clear();
        frame.encode(scratch);
        publish(ring, scratch);
        super::shrink(scratch);
        drop(writer);
        self.tell(Need::Idle);
    }

    /// Publishes a whole frame; the parent is told when that suits.
    pub(super) fn write(&self, frame: &[u8]) {
        publish(&mut self.writer.lock().unwrap_or_else(PoisonError::into_inner).ring, frame);
        self.is_untold.store(true, Ordering::Relaxed);
    }

    /// A task is about to begin, which may take long: a parent that sleeps is told of what was finished before.
    pub(super) fn expect_delay(&self) {
        if self.is_untold.load(Ordering::Relaxed) {
            self.is_untold.store(false, Ordering::Relaxed);
            self.tell(Need::Anything);
        }
    }

    /// There is nothing more to do.
    pub(super) fn flush(&self) {
        self.is_untold.store(false, Ordering::Relaxed);
        self.tell(Need::Idle);
    }

    #[inline]
    fn tell(&self, reason: Need) {
        if let Err(error) = self.bell.tell(reason) {
            fail(&error.to_string());
        }
    }
}

fn publish(ring: &mut WorkerOutput, frame: &[u8]) {
    if let Err(error) = ring.send(frame) {
        fail(&error.to_string());
    }
}
