//! The client's side of one connected agent: what is there, under which number, and how much of it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use executor_core::scheduler::{TaskKey, WorkerKey};
use executor_core::{ShareBlob, ShareId};

use crate::link::Outbox;

/// An established session, and the tasks that are at the agent.
pub(super) struct Link {
    pub(super) worker: WorkerKey,
    pub(super) outbox: Arc<Outbox>,
    pub(super) slots: u32,
    /// The agent takes no longer frames.
    pub(super) frame_limit: usize,
    /// By number. A number is free again when its task is answered.
    sent: Vec<Option<Sent>>,
    free: Vec<u32>,
    /// Bytes of frames without an answer.
    bytes: usize,
    pub(super) paused: bool,
    /// Values that the agent has.
    pub(super) shares: HashMap<ShareId, Weak<ShareBlob>>,
    /// There are frames in the outbox that nobody has flushed.
    pub(super) dirty: bool,
    /// They must not wait.
    pub(super) urgent: bool,
    /// Frames that wait in the outbox.
    pub(super) gathered: usize,
    /// It has been told to leave.
    pub(super) leaving: bool,
}

struct Sent {
    task: TaskKey,
    bytes: usize,
    /// The agent has been asked to give it back.
    asked: bool,
}

impl Link {
    pub(super) fn new(worker: WorkerKey, outbox: Arc<Outbox>, slots: u32, frame_limit: usize) -> Self {
        Self {
            worker,
            outbox,
            slots,
            frame_limit,
            sent: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            paused: false,
            shares: HashMap::new(),
            dirty: false,
            urgent: false,
            gathered: 0,
            leaving: false,
        }
    }

    /// How many tasks are at the agent.
    pub(super) fn outstanding(&self) -> usize {
        self.sent.len() - self.free.len()
    }

    /// Bytes of frames without an answer.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A number for a task that is about to be sent.
    pub(super) fn enter(&mut self, task: TaskKey) -> u32 {
        let entry = Some(Sent { task, bytes: 0, asked: false });
        match self.free.pop() {
            Some(number) => {
                self.sent[number as usize] = entry;
                number
            }
            None => {
                self.sent.push(entry);
                self.sent.len() as u32 - 1
            }
        }
    }

    /// Counts the bytes of the task with that number.
    pub(super) fn charge(&mut self, number: u32, bytes: usize) {
        if let Some(sent) = &mut self.sent[number as usize] {
            sent.bytes = bytes;
            self.bytes += bytes;
        }
    }

    /// The task with that number.
    pub(super) fn task(&self, number: u64) -> Option<TaskKey> {
        let at = usize::try_from(number).ok()?;
        Some(self.sent.get(at)?.as_ref()?.task)
    }

    /// The agent is asked for the task with that number, or has answered that.
    pub(super) fn note_asked(&mut self, number: u64, asked: bool) {
        let sent = usize::try_from(number).ok().and_then(|at| self.sent.get_mut(at)?.as_mut());
        if let Some(sent) = sent {
            sent.asked = asked;
        }
    }

    /// The task with that number has been answered: the number is free. Also whether it had been asked for; there is no
    /// other answer to that.
    pub(super) fn leave(&mut self, number: u64) -> Option<(TaskKey, bool)> {
        let at = usize::try_from(number).ok()?;
        let sent = self.sent.get_mut(at)?.take()?;
        self.bytes -= sent.bytes;
        self.free.push(at as u32);
        Some((sent.task, sent.asked))
    }
}
