//! What a task in a worker process can ask and tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use executor_core::wire::FromWorker;
use executor_core::{Executor, Host, TaskError};

use super::Shared;
use super::input::Input;
use super::nested::NestedExecutor;
use crate::board::Ticket;

pub(super) struct WorkerHost {
    shared: Arc<Shared>,
    /// The slot of the task that has said that it is blocked, plus one; 0 for none. One at a time: there is one main
    /// thread, and async tasks that block their thread are not what the pool makes room for.
    blocked: AtomicU64,
}

impl WorkerHost {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, blocked: AtomicU64::new(0) }
    }
}

impl Host for WorkerHost {
    fn executor(&self) -> Arc<dyn Executor> {
        Input::start_reader(&self.shared);
        Arc::new(NestedExecutor::new(Arc::clone(&self.shared)))
    }

    fn worker(&self) -> String {
        format!("process {}", std::process::id())
    }

    fn is_cancelled(&self, token: u64) -> bool {
        Ticket::from_bits(token).is_none_or(|ticket| self.shared.board.cancel_requested(ticket))
    }

    fn set_progress(&self, token: u64, fraction: f64) {
        if let Some(ticket) = Ticket::from_bits(token) {
            self.shared.board.report_progress(ticket, fraction);
        }
    }

    fn enter_wait(&self, token: u64, _waker: &Waker) -> Result<(), TaskError> {
        let said = self.blocked.compare_exchange(0, token + 1, Ordering::AcqRel, Ordering::Relaxed);
        if said.is_ok() {
            self.shared.output.send(&FromWorker::Blocked(token));
        }
        Ok(())
    }

    fn leave_wait(&self, token: u64) {
        let said = self.blocked.compare_exchange(token + 1, 0, Ordering::AcqRel, Ordering::Relaxed);
        if said.is_ok() {
            self.shared.output.send(&FromWorker::Unblocked(token));
        }
    }
}
