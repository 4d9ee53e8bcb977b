//! Time limits: one thread per pool, started by the first task that has one.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use executor_core::{JobHandle, TaskError};

/// The limits that are running.
#[derive(Clone, Default)]
pub(crate) struct Timer(Arc<Clock>);

#[derive(Default)]
struct Clock {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    limits: BTreeMap<(Instant, u64), Entry>,
    next: u64,
    has_thread: bool,
    has_ended: bool,
}

struct Entry {
    task: JobHandle,
    limit: Duration,
    worker: String,
}

/// A running limit; its drop ends it.
pub(crate) struct Armed {
    timer: Timer,
    key: Option<(Instant, u64)>,
}

impl Timer {
    /// Starts the limit of a task whose body begins now. `task` is from [`executor_core::Job::time_limit_handle`].
    pub(crate) fn arm(&self, task: JobHandle, limit: Duration, worker: String) -> Armed {
        // A limit beyond the clock's end is none.
        let Some(at) = Instant::now().checked_add(limit) else {
            return Armed { timer: self.clone(), key: None };
        };
        let mut state = self.lock();
        let key = (at, state.next);
        state.next += 1;
        let is_first = state.limits.first_key_value().is_none_or(|(first, _)| key < *first);
        state.limits.insert(key, Entry { task, limit, worker });
        if is_first {
            self.start(&mut state);
            self.0.changed.notify_one();
        }
        drop(state);
        Armed { timer: self.clone(), key: Some(key) }
    }

    /// Lets the thread end.
    pub(crate) fn end(&self) {
        self.lock().has_ended = true;
        self.0.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, state: &mut State) {
        if state.has_thread {
            return;
        }
        let timer = self.clone();
        let thread = std::thread::Builder::new().name("executor-timer".to_owned());
        match thread.spawn(move || timer.run()) {
            Ok(_) => state.has_thread = true,
            // The next limit tries again.
            Err(error) => tracing::error!(%error, "no thread for time limits"),
        }
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.has_ended {
            let Some((at, _)) = state.limits.first_key_value().map(|(key, _)| *key) else {
                state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if now < at {
                let waited = self.0.changed.wait_timeout(state, at - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let due = state.limits.pop_first();
            drop(state);
            let early = due.and_then(|(_, entry)| entry.strike());
            state = self.lock();
            if let Some(entry) = early {
                let key = (now + AGAIN, state.next);
                state.next += 1;
                state.limits.insert(key, entry);
            }
        }
        state.has_thread = false;
    }
}

/// When to come again to a limit so short that it was over before its body, which is about to, had begun.
const AGAIN: Duration = Duration::from_micros(50);

impl Entry {
    /// Gives itself back if the body has not begun.
    fn strike(self) -> Option<Self> {
        let is_settled =
            self.task.fail(TaskError::timed_out(self.limit, self.worker.clone())) || self.task.is_resolved();
        if !is_settled {
            return Some(self);
        }
        // Told only now: a body that looks would otherwise give its value before the limit is the outcome.
        self.task.request_cancel();
        None
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let entry = self.timer.lock().limits.remove(&key);
            drop(entry);
        }
    }
}
