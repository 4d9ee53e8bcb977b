//! Looking at a connection instead of being woken for it.
//!
//! A peer that calls one by one sends its next call soon after it has been answered. If the task that serves it goes to sleep
//! in between, each call costs what it takes to wake a thread on a processor that sleeps, many times what the call takes. So the
//! task keeps its thread and looks, for as long as [`Patience`] says that it pays off, and meanwhile nobody is woken for the
//! connection, which the runtime does not watch.
//!
//! One connection of the process is looked at at a time: the runtime has another thread, which serves all others.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::connection::wire::ReadHalf;
use crate::patience::{Look, Patience};

/// Whether a connection is being looked at.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// How one connection is looked at.
pub(super) struct Looker {
    patience: Patience,
    place: Option<Place>,
    /// The look after which the task went to sleep.
    before_sleep: Option<Look>,
}

impl Looker {
    pub(super) fn new() -> Self {
        Self { patience: Patience::new(), place: None, before_sleep: None }
    }

    /// Looks whether something arrives. If not, the half is to be polled.
    pub(super) fn look(&mut self, half: &mut ReadHalf) -> bool {
        let mut look = self.patience.begin();
        while self.patience.offer(&mut look) {
            if self.place.is_none() {
                self.place = Place::take();
                if self.place.is_none() || !half.ignore() {
                    break;
                }
            }
            if half.glance() {
                self.patience.found(&look);
                return true;
            }
        }
        self.rest();
        self.before_sleep = Some(look);
        false
    }

    /// Something has arrived for which the task was woken.
    pub(super) fn has_received(&mut self) {
        if let Some(look) = self.before_sleep.take() {
            self.patience.slept(&look);
        }
    }

    /// Gives the place to others.
    pub(super) fn rest(&mut self) {
        self.place = None;
    }
}

/// The right to look.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        // Nothing is published by it.
        let was_taken = TAKEN.swap(true, Ordering::Relaxed);
        (!was_taken).then_some(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Relaxed);
    }
}
