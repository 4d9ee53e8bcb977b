//! The thread that keeps time: deadlines of the scheduler, and of unreachable agents.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::Shared;

/// When to look next. A deadline that was dropped meanwhile costs one idle look.
#[derive(Default)]
pub(super) struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    at: Option<Instant>,
    over: bool,
}

impl Timer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at that time at the latest.
    pub(super) fn arm(&self, at: Instant) {
        let mut state = self.state();
        if state.at.is_none_or(|armed| at < armed) {
            state.at = Some(at);
            self.changed.notify_one();
        }
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.state().over = true;
        self.changed.notify_one();
    }

    /// Waits for the next deadline. False when it is over.
    fn wait(&self) -> bool {
        let mut state = self.state();
        loop {
            if state.over {
                return false;
            }
            let left = state.at.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                Some(left) if left.is_zero() => {
                    state.at = None;
                    return true;
                }
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Starts the thread, which ends when the executor is over.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let run = move || {
        while shared.timer.wait() {
            shared.drive_now(|core, after, now| core.on_time(after, now));
        }
    };
    std::thread::Builder::new().name("tcp-timer".to_owned()).spawn(run).map(drop)
}
