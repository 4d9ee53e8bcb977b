//! What a driver does when it has let go of the core.

use std::sync::Arc;
use std::task::Waker;

use executor_core::{Job, Parcel, TaskError};

use crate::link::Outbox;

/// Collected under the lock, done after it.
#[derive(Default)]
#[must_use = "futures sleep until this is finished"]
pub(super) struct After<'a> {
    jobs: Vec<(Job, Result<Parcel<'a>, TaskError>)>,
    outboxes: Vec<(Arc<Outbox>, Sending)>,
    wakers: Vec<Waker>,
}

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    Now,
    Soon,
    /// And close the stream behind it.
    Last,
}

impl<'a> After<'a> {
    pub(super) fn complete(&mut self, job: Job, outcome: Result<Parcel<'a>, TaskError>) {
        self.jobs.push((job, outcome));
    }

    pub(super) fn fail(&mut self, job: Job, error: TaskError) {
        self.jobs.push((job, Err(error)));
    }

    pub(super) fn send(&mut self, outbox: &Arc<Outbox>, how: Sending) {
        self.outboxes.push((Arc::clone(outbox), how));
    }

    pub(super) fn wake(&mut self, wakers: &mut Vec<Waker>) {
        self.wakers.append(wakers);
    }

    /// Whether futures are resolved by this.
    pub(super) fn resolves(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub(super) fn finish(self) {
        // First what others wait for on the other side of a network.
        for (outbox, how) in self.outboxes {
            match how {
                Sending::Now => outbox.flush(),
                Sending::Soon => outbox.flush_soon(),
                Sending::Last => outbox.close(),
            }
        }
        for (job, outcome) in self.jobs {
            match outcome {
                Ok(result) => job.complete(result),
                Err(error) => job.fail(error),
            }
        }
        self.wakers.into_iter().for_each(Waker::wake);
    }
}
