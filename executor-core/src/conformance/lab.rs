//! What a test works with: executors, a folder, and waits that end.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::signal::{Gate, Tally};
use crate::error::TaskError;
use crate::executor::{Capabilities, Executor};
use crate::task::TaskFuture;

pub(super) type Factory = dyn Fn(&[(&str, &str)]) -> Arc<dyn Executor> + Send + Sync;

/// How long anything that should happen may take: far longer than on a busy machine, shorter than a test may take.
/// The suite's own tests let things fail on purpose.
pub(super) const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 25 });

/// How long a stopped task has before its worker is ended, in all tests.
const GRACE: &str = "100ms";

pub(super) struct Lab {
    factory: Arc<Factory>,
    pub(super) can: Capabilities,
    folder: PathBuf,
    note: RefCell<String>,
}

impl Lab {
    pub(super) fn new(test: String, factory: Arc<Factory>, can: Capabilities) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("conformance-{}-{number}-{}", std::process::id(), test.replace("::", "-"));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        Self { factory, can, folder, note: RefCell::default() }
    }

    /// An executor with these options.
    pub(super) fn open(&self, options: &[(&str, &str)]) -> Arc<dyn Executor> {
        let mut options = options.to_vec();
        if self.can.stops_running && !options.iter().any(|(key, _)| *key == "grace") {
            options.push(("grace", GRACE));
        }
        (self.factory)(&options)
    }

    /// An executor with so many workers.
    pub(super) fn workers(&self, workers: usize) -> Arc<dyn Executor> {
        self.open(&[("workers", &workers.to_string())])
    }

    /// The path of a file of this test.
    pub(super) fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().expect("the folder for temporary files has a UTF-8 name").to_owned()
    }

    /// A gate in front of tasks. Where tasks run inside of `submit` nobody could open it, so there it stands open.
    pub(super) fn gate(&self) -> Gate {
        let gate = Gate::new();
        if !self.can.concurrent {
            gate.open();
        }
        gate
    }

    /// A list that tasks append to.
    pub(super) fn tally(&self, name: &str) -> Tally {
        Tally::new(self.path(name))
    }

    /// Says that the backend does not make this promise. To be returned from a test at once.
    pub(super) fn not_promised(&self, capability: &str) {
        *self.note.borrow_mut() = format!(", not promised by a backend without `{capability}`");
    }

    pub(super) fn note(&self) -> String {
        self.note.borrow().clone()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What a worker that is still ending leaves there is the system's to clean up.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The outcome of a task, which has to come.
#[track_caller]
pub(super) fn outcome<R>(future: TaskFuture<R>) -> Result<R, TaskError> {
    match future.wait_timeout(PATIENCE) {
        Some(outcome) => outcome,
        None => panic!("a future is not resolved after {PATIENCE:?}: {future:?}"),
    }
}

/// The value of a task, which has to come.
#[track_caller]
pub(super) fn value<R>(future: TaskFuture<R>) -> R {
    match outcome(future) {
        Ok(value) => value,
        Err(error) => panic!("a value was expected, not: {error}"),
    }
}

/// The error of a task, which has to come.
#[track_caller]
pub(super) fn error<R>(future: TaskFuture<R>) -> TaskError {
    match outcome(future) {
        Ok(_) => panic!("an error was expected, not a value"),
        Err(error) => error,
    }
}

/// Waits until the condition holds.
#[track_caller]
pub(super) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    while !holds() {
        assert!(Instant::now() < deadline, "this has not come to pass after {PATIENCE:?}: {what}");
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(10));
    }
}
