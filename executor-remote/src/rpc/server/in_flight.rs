//! The calls of one peer that are not answered yet, for the task that serves it and for those that run them.
//!
//! # Protocol
//!
//! A call that is not answered where it was read is entered here and gets a [`Ticket`], which goes with it to wherever it
//! runs. The ticket is given back once, with the answer, by [`Ticket::finish`], or by being dropped. Answers are collected, and the
//! peer's task is woken to send them.
//!
//! 1. A call is counted from [`InFlight::enter`] until its ticket is given back, whether it has been cancelled or not: so the count
//!    is of what runs.
//! 2. A call that has been cancelled is no longer in the table, and its answer is dropped.
//! 3. A ticket that is dropped without an answer, though nobody has cancelled the call, is answered as a panic: no caller waits for
//!    ever.
//! 4. No code of others runs under the lock, and no task is aborted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::task::AtomicWaker;
use tokio::task::AbortHandle;

use crate::rpc::dialect::{Fault, Form};
use crate::rpc::protocol::{CallId, FailureKind};
use crate::rpc::transport::Batch;

/// The calls of one peer.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// The peer's task.
    waker: AtomicWaker,
    running: AtomicUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    /// How to cancel each; none while its task is being started.
    calls: HashMap<CallId, AbortHandle>,
    answers: Batch,
}

/// The right and the duty to answer one call.
#[derive(Debug)]
pub(super) struct Ticket {
    in_flight: Arc<InFlight>,
    id: CallId,
    form: Form,
    is_finished: bool,
}

impl InFlight {
    /// The task that is to be woken.
    pub(super) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Wakes the peer's task.
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// How many calls run.
    pub(super) fn running(&self) -> usize {
        self.running.load(Ordering::Acquire)
    }

    /// Enters a call that is started by `start`, which only starts a task. False if there is one of this id, and then nothing
    /// has been started.
    pub(super) fn enter(
        self: &Arc<Self>,
        id: CallId,
        form: Form,
        start: impl FnOnce(Ticket) -> AbortHandle,
    ) -> bool {
        // Under the lock, so that a task that ends at once finds itself in the table.
        let mut table = self.table();
        if table.calls.contains_key(&id) {
            return false;
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        let ticket = Ticket { in_flight: self.clone(), id, form, is_finished: false };
        table.calls.insert(id, start(ticket));
        true
    }

    /// Cancels a call, if it is there.
    pub(super) fn cancel(&self, id: CallId) {
        let call = self.table().calls.remove(&id);
        call.inspect(AbortHandle::abort);
    }

    /// Cancels all calls.
    pub(super) fn cancel_all(&self) {
        let calls = std::mem::take(&mut self.table().calls);
        calls.values().for_each(AbortHandle::abort);
    }

    /// Moves the answers that have come behind those in the batch.
    pub(super) fn collect(&self, batch: &mut Batch) {
        let mut table = self.table();
        if !table.answers.is_empty() {
            batch.append(&mut table.answers);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // Each step leaves it whole.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// How the answer is to be written.
    pub(super) fn form(&self) -> &Form {
        &self.form
    }

    /// Gives the answer, which is the message in the batch, if there is to be one.
    pub(super) fn finish(mut self, mut answer: Batch) {
        self.give_back(&mut answer);
    }

    fn give_back(&mut self, answer: &mut Batch) {
        self.is_finished = true;
        {
            let mut table = self.in_flight.table();
            if table.calls.remove(&self.id).is_some() {
                table.answers.append(answer);
            }
            // Under the lock: who sees that nothing runs finds the answers.
            self.in_flight.running.fetch_sub(1, Ordering::Release);
        }
        self.in_flight.wake();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_finished {
            let mut answer = Batch::new();
            let fault = Fault::new(FailureKind::Panic, "the function panicked when it was dropped");
            self.form.write_fault(&fault, &mut answer);
            self.give_back(&mut answer);
        }
    }
}
