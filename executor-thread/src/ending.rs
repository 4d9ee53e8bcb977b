//! Shutdown.
//!
//! # The protocol
//!
//! 1. **Close.** The queues refuse later tasks, in the same atomic steps that take tasks. While a pool drains, what its tasks
//!    submit is still taken: they need it to end.
//! 2. **Sweep**, unless it is a `Drain`. Now tasks are refused too, so that what is in the queue is all there will be. The mode is set; from then on, threads take no task out of the queue. A thread of its own, so that the caller is
//!    not held up, takes all of them out and resolves them as cancelled.
//! 3. **Kill**, after the sweep: the same thread resolves what is running as cancelled (see `seat`).
//! 4. **End.** When the queue is empty and nothing runs, the rayon pool is dropped, which lets its threads end; the last of
//!    them tells. The order in which that is looked at is the order in which tasks move on: queue, threads, async bodies. So a
//!    task that moves meanwhile is seen at least once. Whoever takes away a reason against the end looks: a drainer
//!    that leaves, a thread that ran a task outside of one, an async body that ends, the sweep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use executor_core::{Shutdown, TaskError};

use crate::shared::Shared;
use crate::sync::give_way;
use crate::waits::Bell;

const OPEN: u8 = 0;
const DRAIN: u8 = 1;
const SWEEP: u8 = 2;
const KILL: u8 = 3;

pub(crate) struct Ending {
    mode: AtomicU8,
    has_ended: AtomicBool,
    is_killed: AtomicBool,
    threads: AtomicUsize,
    bell: Bell,
}

impl Ending {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            mode: AtomicU8::new(OPEN),
            has_ended: AtomicBool::new(false),
            is_killed: AtomicBool::new(false),
            threads: AtomicUsize::new(threads),
            bell: Bell::default(),
        }
    }

    /// Whether queued tasks are being cancelled, so that none is to be run.
    pub(crate) fn is_sweeping(&self) -> bool {
        self.mode.load(Ordering::SeqCst) >= SWEEP
    }

    pub(crate) fn on_thread_start(&self) {
        self.threads.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn on_thread_exit(&self) {
        if self.threads.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.bell.ring();
        }
    }

    /// Whether every future is resolved, and every thread gone unless a body that was killed holds it up.
    fn is_over(&self) -> bool {
        self.is_killed.load(Ordering::SeqCst)
            || self.has_ended.load(Ordering::SeqCst) && self.threads.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_over() {
            self.bell.register(cx.waker());
        }
        match self.is_over() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }
}

impl Shared {
    /// Starts a shutdown, or makes the one that is going on stricter.
    pub(crate) fn begin_shutdown(self: &Arc<Self>, how: Shutdown) {
        let mode = match how {
            Shutdown::Drain => DRAIN,
            Shutdown::CancelPending => SWEEP,
            Shutdown::Kill => KILL,
        };
        self.close();
        let before = self.ending.mode.fetch_max(mode, Ordering::SeqCst);
        if mode >= SWEEP {
            self.side.seal();
        }
        if mode >= SWEEP && before < mode {
            self.start_sweep(mode);
        }
        self.end_if_done();
    }

    fn start_sweep(self: &Arc<Self>, mode: u8) {
        // Counted from here on, so that the end does not come between the last task's leaving the queue and its resolution.
        self.outside.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name("executor-sweep".to_owned());
        if thread.spawn(move || shared.sweep(mode)).is_err() {
            // No thread to be had: then the caller has to.
            self.sweep(mode);
        }
    }

    fn sweep(&self, mode: u8) {
        while self.queued() > 0 {
            match self.pop_any() {
                Some(job) => job.fail(TaskError::Cancelled),
                // A submit has its number and is about to write it, or another sweep has taken it.
                None => give_way(),
            }
        }
        if mode == KILL {
            self.kill_running();
            self.runtime.end();
            self.ending.is_killed.store(true, Ordering::SeqCst);
            self.ending.bell.ring();
        }
        self.outside.fetch_sub(1, Ordering::SeqCst);
        self.end_if_done();
    }

    /// Ends the threads, if the pool is closed and nothing is left to do.
    pub(crate) fn end_if_done(&self) {
        if self.ending.mode.load(Ordering::SeqCst) == OPEN || !self.is_done() {
            return;
        }
        // Somebody may have kept a task's handle, and submit by it at this moment: before the seal, or refused.
        if !self.side.seal_if(|| self.is_done()) {
            return;
        }
        if self.ending.has_ended.swap(true, Ordering::SeqCst) {
            return;
        }
        self.timer.end();
        self.runtime.end();
        self.drop_pool();
        self.ending.bell.ring();
    }

    fn is_done(&self) -> bool {
        self.queued() == 0
            && self.places.taken() == 0
            && self.outside.load(Ordering::SeqCst) == 0
            && self.asyncs.len() == 0
    }
}
