//! Waiting on behalf of tasks: one thread of the process sleeps on all the words for which its futures wait.
//!
//! 1. The thread is started by the first wait, and ends a while after the last one.
//! 2. A wait names a word and the value that it had when the task last looked. It is over when the word has another one,
//!    when a wake-up came for the word, or when its time has come; then the task's waker is called, once.
//! 3. A wake-up that reached this thread is meant for one waiter, and there may be others in other processes. A future that
//!    is dropped after its wait was over passes it on, see [`Wait::cancel`].
//! 4. What the kernel waits for at once has a limit. With more words than that, the thread looks at all of them
//!    every [`TURN`], and sleeps on some.
//! 5. A fork leaves the child without this thread; what it waited for are the parent's futures.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use super::futex::{self, Deadline, MOST_WORDS, Waited};
use super::keeper::LINGER;
use super::robust::PATIENCE;

const TURN: Duration = Duration::from_millis(5);

/// Changes with the list of waits: the thread looks at it anew.
static BELL: AtomicU32 = AtomicU32::new(0);

static STATE: Mutex<State> = Mutex::new(State { runs_in: None, next: 0, waits: Vec::new() });

struct State {
    /// The process in which the thread runs.
    runs_in: Option<u32>,
    next: u64,
    waits: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    id: u64,
    /// Keeps the word mapped.
    _owner: Arc<dyn Any + Send + Sync>,
    word: NonNull<AtomicU32>,
    expected: u32,
    deadline: Deadline,
    /// Look again every [`PATIENCE`].
    impatient: bool,
    waker: Waker,
}

// SAFETY: the word is an atomic, which the owner keeps mapped.
unsafe impl Send for Entry {}

impl Entry {
    fn word(&self) -> &AtomicU32 {
        // SAFETY: in memory of the owner that the entry holds.
        unsafe { self.word.as_ref() }
    }
}

fn state() -> MutexGuard<'static, State> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if state.runs_in.is_some_and(|process| process != std::process::id()) {
        // Wakers of the parent: not to be dropped here, which could do anything.
        std::mem::forget(std::mem::take(&mut state.waits));
        state.runs_in = None;
    }
    state
}

/// A future's wait.
#[derive(Debug)]
pub(super) struct Wait {
    id: u64,
}

impl Wait {
    /// Has `waker` called when the word is not as expected any more, or may not be.
    ///
    /// The word is in memory that `owner` keeps mapped.
    ///
    /// # Panics
    ///
    /// If no thread can be started.
    pub(super) fn new(
        owner: &Arc<impl Any + Send + Sync>,
        (word, expected): (&AtomicU32, u32),
        deadline: Deadline,
        impatient: bool,
        waker: &Waker,
    ) -> Self {
        let mut state = state();
        let id = state.next;
        state.next += 1;
        let (owner, waker) = (Arc::clone(owner), waker.clone());
        let word = NonNull::from(word);
        state.waits.push(Entry { id, _owner: owner, word, expected, deadline, impatient, waker });
        if state.runs_in.is_none() {
            thread::Builder::new()
                .name("executor-waiter".into())
                .spawn(run)
                .expect("a thread can be started");
            state.runs_in = Some(std::process::id());
        }
        ring();
        Self { id }
    }

    /// Whether it goes on; then with this waker.
    pub(super) fn goes_on(&self, waker: &Waker) -> bool {
        let mut state = state();
        let Some(entry) = state.waits.iter_mut().find(|entry| entry.id == self.id) else { return false };
        let mut old = None;
        if !entry.waker.will_wake(waker) {
            old = Some(std::mem::replace(&mut entry.waker, waker.clone()));
        }
        // Without the mutex, as what a waker drops may have waits of its own.
        drop(state);
        drop(old);
        true
    }

    /// Ends it. False if it was over: a wake-up may have come for this task, which passes it on if it does not use it.
    pub(super) fn cancel(self) -> bool {
        let mut state = state();
        let Some(index) = state.waits.iter().position(|entry| entry.id == self.id) else { return false };
        let entry = state.waits.swap_remove(index);
        ring();
        drop(state);
        drop(entry);
        true
    }
}

fn ring() {
    BELL.fetch_add(1, Relaxed);
    futex::wake(&BELL, 1);
}

fn run() {
    let mut idle_since = None;
    loop {
        let bell = BELL.load(Relaxed);
        let waits = {
            let mut state = state();
            if state.waits.is_empty() && idle_since == Some(bell) {
                state.runs_in = None;
                return;
            }
            state.waits.clone()
        };
        idle_since = waits.is_empty().then_some(bell);
        let woken = sleep(bell, &waits);
        if !waits.is_empty() {
            wake(&waits, woken);
        }
    }
}

/// Sleeps until one of the waits may be over; which one a wake-up came for.
fn sleep(bell: u32, waits: &[Entry]) -> Option<u64> {
    let until = match waits {
        [] => Deadline::after(LINGER),
        waits => {
            let impatient = waits.iter().any(|wait| wait.impatient);
            let first = waits.iter().fold(Deadline::NEVER, |first, wait| first.earlier(wait.deadline));
            let first = if impatient { first.or_after(PATIENCE) } else { first };
            if waits.len() >= MOST_WORDS { first.or_after(TURN) } else { first }
        }
    };
    let words: Vec<_> = std::iter::once((&BELL, bell))
        .chain(waits.iter().map(|wait| (wait.word(), wait.expected)))
        .take(MOST_WORDS)
        .collect();
    match futex::wait_any(&words, until) {
        Waited::Woken(index) => index.checked_sub(1).map(|index| waits[index].id),
        Waited::TimedOut if waits.iter().any(|wait| wait.impatient) => Some(EVERYBODY),
        Waited::TimedOut | Waited::Changed => None,
    }
}

/// Not an id: whoever is impatient looks again.
const EVERYBODY: u64 = u64::MAX;

/// Ends those waits that are over.
fn wake(waits: &[Entry], woken: Option<u64>) {
    let over: Vec<u64> = waits
        .iter()
        .filter(|wait| {
            woken == Some(wait.id)
                || (woken == Some(EVERYBODY) && wait.impatient)
                || wait.word().load(Acquire) != wait.expected
                || wait.deadline.has_passed()
        })
        .map(|wait| wait.id)
        .collect();
    let mut wakers = Vec::new();
    state().waits.retain(|entry| {
        let is_over = over.contains(&entry.id);
        if is_over {
            wakers.push(entry.waker.clone());
        }
        !is_over
    });
    // Without the mutex: a waker may poll, and drop, whatever it likes.
    wakers.into_iter().for_each(Waker::wake);
}
