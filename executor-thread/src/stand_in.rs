//! Threads that stand in for those of the pool while a task blocks them by means that are not ours.
//!
//! A task that waits by [`TaskFuture::wait`](executor_core::TaskFuture::wait) runs others meanwhile, on top of itself. One that
//! waits by somebody's `block_on` cannot: such functions panic when they are nested on a thread, which a task on top might do. So its
//! thread counts as *absent*, which gives its place to another drainer, and while anybody is absent, drainers are started on
//! threads of their own. Those leave when there is nothing to do, or when the absent are back. A parallel
//! iterator inside of a task that such a thread runs uses rayon's global pool.

use std::sync::{Arc, Mutex, PoisonError};

use executor_core::TaskError;

use crate::shared::Shared;
use crate::worker;

/// The most threads that may be absent at a time: far more than a program needs that does not recurse by `block_on`.
const MOST: usize = 500;

pub(crate) struct StandIns {
    /// The numbers of the absent threads. A thread that stands in for one and is absent itself has the same number.
    absent: Mutex<Vec<usize>>,
    name: String,
}

impl StandIns {
    pub(crate) fn new(name: &str) -> Self {
        Self { absent: Mutex::default(), name: format!("{name}-stand-in") }
    }

    /// Starts a drainer that has been called for on a thread of its own, if somebody is absent.
    pub(crate) fn start(&self, shared: &Arc<Shared>) -> bool {
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
        let Some(index) = absent else { return false };
        shared.ending.on_thread_start();
        let here = Arc::clone(shared);
        let thread = std::thread::Builder::new().name(self.name.clone()).stack_size(shared.stack_size);
        let started = thread.spawn(move || {
            worker::stand_in(&here, index);
            here.ending.on_thread_exit();
        });
        if let Err(error) = started {
            tracing::error!(%error, "no thread to stand in for one that is blocked");
            shared.ending.on_thread_exit();
            return false;
        }
        true
    }
}

impl Shared {
    /// Thread `index` is blocked by its task from now on.
    pub(crate) fn begin_absence(&self, index: usize) -> Result<(), TaskError> {
        let mut absent = self.stand_ins.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.len() >= MOST {
            return Err(TaskError::nested_too_deep(absent.len()));
        }
        absent.push(index);
        drop(absent);
        self.places.add_place();
        Ok(())
    }

    /// It is back.
    pub(crate) fn end_absence(&self, index: usize) {
        let mut absent = self.stand_ins.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = absent.iter().rposition(|it| *it == index) {
            absent.remove(at);
        }
        drop(absent);
        self.places.remove_place();
    }
}
