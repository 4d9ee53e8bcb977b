//! Blocking a thread until a waker is called.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use crate::context::{self, Wait};

/// Wakes the thread that made it.
///
/// `woken` is set before `unpark`, and tested before each `park`, so that a spurious return of `park` is not taken
/// for a wake-up and a wake-up before `park` is not lost.
pub(crate) struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

impl Parker {
    /// Waits for a wake-up; false if the deadline came first.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> bool {
        loop {
            if self.woken.swap(false, Ordering::Acquire) {
                return true;
            }
            match deadline {
                None => std::thread::park(),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        return false;
                    }
                    std::thread::park_timeout(deadline - now);
                }
            }
        }
    }
}

/// Calls `f` with this thread's parker and its waker. They are made once a thread, not once a wait.
pub(crate) fn with_parker<T>(f: impl FnOnce(&Parker, &Waker) -> T) -> T {
    thread_local! {
        static PARKER: RefCell<Option<(Arc<Parker>, Waker)>> = const { RefCell::new(None) };
    }
    // Taken out while in use: a wait inside of a wait (a task that a waiting thread runs meanwhile) makes another.
    let (parker, waker) =
        PARKER.try_with(|cached| cached.borrow_mut().take()).ok().flatten().unwrap_or_else(|| {
            let parker = Arc::new(Parker { thread: std::thread::current(), woken: AtomicBool::new(false) });
            let waker = Waker::from(Arc::clone(&parker));
            (parker, waker)
        });
    parker.woken.store(false, Ordering::Relaxed);
    let result = f(&parker, &waker);
    // During thread exit the cache may be gone; then the parker just goes too.
    let _ = PARKER.try_with(|cached| *cached.borrow_mut() = Some((parker, waker)));
    result
}

/// Polls until the answer is there; blocks the thread in between.
pub(crate) fn block_on<T>(poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    block_on_deadline(None, poll).expect("a wait without a deadline ends with the answer")
}

/// Polls until the answer is there, or the deadline has come.
pub(crate) fn block_on_deadline<T>(
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    with_parker(|parker, waker| {
        let mut cx = Context::from_waker(waker);
        // Inside of a task, the thread runs others meanwhile.
        let wait = Wait::begin(waker);
        loop {
            if let Poll::Ready(answer) = context::poll_for_own_wait(|| poll(&mut cx)) {
                return Some(answer);
            }
            if wait.help() {
                continue;
            }
            // If the host refuses, the futures learn of it by themselves, when they are polled as anybody's.
            if wait.enter().is_err()
                && let Poll::Ready(answer) = poll(&mut cx)
            {
                return Some(answer);
            }
            if !parker.park(deadline) {
                return match poll(&mut cx) {
                    Poll::Ready(answer) => Some(answer),
                    Poll::Pending => None,
                };
            }
        }
    })
}
