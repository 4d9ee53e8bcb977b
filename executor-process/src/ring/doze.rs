//! Asking to be woken, and being asked.

use std::sync::atomic::Ordering::Relaxed;

use super::memory::{Word, full_fence};

/// What a side that sleeps wants to be woken for; each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Need {
    /// It is awake, and looks by itself.
    Nothing = 0,
    /// Wake it when the other side has nothing more to do: more is about to come, and it is to be seen together.
    Idle = 1,
    /// Wake it for whatever there is.
    Anything = 2,
}

/// The word by which one side, the sleeper, asks the other to wake it.
///
/// ```text
/// sleeper:  ask(need); look again: nothing there -> block until woken, and again; awake()
/// waker:    make it true (publish); is_due(reason) -> wake, by whatever blocks the sleeper
/// ```
///
/// Each side stores, then passes a full fence, then loads what the other has stored. So either the sleeper's second look
/// finds what the waker has made true, or the waker finds that it was asked; both may happen, and then the sleeper is woken
/// for nothing.
#[derive(Debug)]
pub struct Doze<'a, W>(&'a W);

impl<'a, W: Word<u32>> Doze<'a, W> {
    /// Over a word that is zero at first.
    pub fn over(word: &'a W) -> Self {
        Self(word)
    }

    /// Sleeper: asks to be woken. What it waits for has to be looked at again after this, before it blocks.
    #[inline]
    pub fn ask(&self, need: Need) {
        self.put(need);
        full_fence();
    }

    /// Sleeper: it is awake again, for whatever reason.
    #[inline]
    pub fn awake(&self) {
        self.put(Need::Nothing);
    }

    /// Loom knows the order of a store and of another thread's exchange only if one was seen by the other, and so lets an
    /// exchange that came before a store undo it. As an exchange, the store is the same with every access relaxed, and has
    /// its place in the one order of all changes that each word has.
    #[inline]
    fn put(&self, need: Need) {
        #[cfg(all(test, loom))]
        self.0.swap(need as u32, Relaxed);
        #[cfg(not(all(test, loom)))]
        self.0.store(need as u32, Relaxed);
    }

    /// Sleeper: blocks until `is_there`. `block` gets the word's value while it is asked, and may return for any reason or
    /// none, but has to when a waker wakes.
    pub fn sleep_until(&self, mut is_there: impl FnMut() -> bool, mut block: impl FnMut(u32)) {
        loop {
            // Each time anew: who has woken it has taken the question away, perhaps for something of the past.
            self.ask(Need::Anything);
            if is_there() {
                break;
            }
            block(Need::Anything as u32);
        }
        self.awake();
    }

    /// Waker: whether the sleeper is to be woken for `reason`. True once for each time that it has asked; who gets it has to
    /// wake. What the sleeper waits for has to be published before.
    #[inline]
    #[must_use = "who is told to wake the sleeper is the only one who is"]
    pub fn is_due(&self, reason: Need) -> bool {
        full_fence();
        // Anything beyond the greatest need is what a process that runs wild has written: to wake is never wrong.
        self.0.load(Relaxed) >= lowest(reason) && self.0.swap(Need::Nothing as u32, Relaxed) != 0
    }
}

/// The lowest need that a reason satisfies.
fn lowest(reason: Need) -> u32 {
    match reason {
        Need::Idle => Need::Idle as u32,
        Need::Anything | Need::Nothing => Need::Anything as u32,
    }
}
