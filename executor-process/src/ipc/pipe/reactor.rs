//! Waiting for sockets on behalf of futures: one thread of the process, which polls all that they wait for.
//!
//! 1. The thread is started by the first wait, and ends a while after the last one.
//! 2. A wait is over when its socket is ready, or has an error; then the waker is called, once.
//! 3. A fork leaves the child without this thread; what it waited for are the parent's futures.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd};

use super::End;
use super::socket::Direction;

/// How long the thread stays when nothing is waited for.
const LINGER: Duration = Duration::from_secs(1);

static STATE: Mutex<State> = Mutex::new(State { thread: None, next: 0, waits: Vec::new() });

struct State {
    thread: Option<Thread>,
    next: u64,
    waits: Vec<Entry>,
}

/// The thread that runs.
#[derive(Clone)]
struct Thread {
    process: u32,
    /// Written when the list of waits has changed.
    bell: Arc<OwnedFd>,
}

impl Thread {
    fn ring(&self) {
        // Full, it is readable, and that is all that is wanted.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

#[derive(Clone)]
struct Entry {
    id: u64,
    end: End,
    direction: Direction,
    waker: Waker,
}

fn state() -> MutexGuard<'static, State> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if state.thread.as_ref().is_some_and(|thread| thread.process != std::process::id()) {
        // Wakers of the parent: not to be dropped here, which could do anything.
        std::mem::forget(std::mem::take(&mut state.waits));
        state.thread = None;
    }
    state
}

/// A future's wait.
#[derive(Debug)]
pub(super) struct Wait {
    id: u64,
}

impl Wait {
    /// Has `waker` called when the socket is ready.
    ///
    /// # Errors
    ///
    /// No descriptor or thread is left for the reactor.
    pub(super) fn new(end: &End, direction: Direction, waker: &Waker) -> io::Result<Self> {
        let mut state = state();
        let thread = match &state.thread {
            Some(thread) => thread.clone(),
            None => {
                let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
                let bell = Arc::new(rustix::event::eventfd(0, flags)?);
                let thread = Thread { process: std::process::id(), bell };
                let runs = thread.clone();
                thread::Builder::new().name("executor-pipes".into()).spawn(move || run(&runs))?;
                state.thread = Some(thread.clone());
                thread
            }
        };
        let id = state.next;
        state.next += 1;
        state.waits.push(Entry { id, end: end.clone(), direction, waker: waker.clone() });
        thread.ring();
        Ok(Self { id })
    }

    /// Whether it goes on; then with this waker.
    pub(super) fn goes_on(&self, waker: &Waker) -> bool {
        let mut state = state();
        let Some(entry) = state.waits.iter_mut().find(|entry| entry.id == self.id) else { return false };
        if !entry.waker.will_wake(waker) {
            entry.waker = waker.clone();
        }
        true
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = state();
        let Some(index) = state.waits.iter().position(|entry| entry.id == self.id) else { return };
        let entry = state.waits.swap_remove(index);
        if let Some(thread) = &state.thread {
            // So that the thread lets go of the socket.
            thread.ring();
        }
        drop(state);
        drop(entry);
    }
}

fn run(thread: &Thread) {
    let mut idle = false;
    loop {
        let waits = {
            let mut state = state();
            if state.waits.is_empty() && idle {
                state.thread = None;
                return;
            }
            state.waits.clone()
        };
        let over = poll(thread, &waits);
        idle = waits.is_empty() && over.is_none();
        wake(&over.unwrap_or_default());
    }
}

/// Waits until some are over: their numbers. `None` if nothing has happened at all.
fn poll(thread: &Thread, waits: &[Entry]) -> Option<Vec<u64>> {
    let linger = rustix::fs::Timespec::try_from(LINGER).ok().filter(|_| waits.is_empty());
    let ends: Vec<_> = waits.iter().map(|wait| wait.end.fd()).collect();
    let mut fds = vec![PollFd::new(&thread.bell, Direction::In.flags())];
    fds.extend(ends.iter().zip(waits).map(|(fd, wait)| PollFd::new(fd, wait.direction.flags())));
    match rustix::event::poll(&mut fds, linger.as_ref()) {
        Ok(0) => return None,
        Ok(_) => {}
        // Interrupted, or out of memory for the moment.
        Err(_) => {
            thread::yield_now();
            return Some(Vec::new());
        }
    }
    let mut number = [0; 8];
    // Nothing in it: then it was not the bell.
    let _ = rustix::io::read(&thread.bell, &mut number);
    let ready = fds[1..].iter().zip(waits).filter(|(fd, _)| !fd.revents().is_empty());
    Some(ready.map(|(_, wait)| wait.id).collect())
}

fn wake(over: &[u64]) {
    if over.is_empty() {
        return;
    }
    let mut ended = Vec::new();
    let mut state = state();
    let waits = std::mem::take(&mut state.waits);
    for entry in waits {
        if over.contains(&entry.id) { ended.push(entry) } else { state.waits.push(entry) }
    }
    drop(state);
    // Without the mutex: a waker may poll, and drop, whatever it likes.
    ended.into_iter().for_each(|entry| entry.waker.wake());
}
