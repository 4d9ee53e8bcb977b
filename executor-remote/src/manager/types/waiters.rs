//! The parked calls of an object, first come, first served.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::manager::operation::Outcome;

/// How many may be parked before those that were withdrawn are looked for.
const MIN_PRUNE: usize = 16;

/// Parked calls, with what the object knows of each.
pub(super) struct Waiters<T> {
    parked: VecDeque<(T, oneshot::Sender<Outcome>)>,
    /// At this length those that were withdrawn are thrown out, so that calls with a time limit do not pile up where
    /// nothing ever happens.
    prune_at: usize,
}

impl<T> Default for Waiters<T> {
    fn default() -> Self {
        Self { parked: VecDeque::new(), prune_at: MIN_PRUNE }
    }
}

impl<T> Waiters<T> {
    /// Parks a call.
    pub(super) fn park(&mut self, tag: T) -> oneshot::Receiver<Outcome> {
        if self.parked.len() >= self.prune_at {
            self.parked.retain(|(_, sender)| !sender.is_closed());
            self.prune_at = (self.parked.len() * 2).max(MIN_PRUNE);
        }
        let (sender, receiver) = oneshot::channel();
        self.parked.push_back((tag, sender));
        receiver
    }

    /// Takes out the one that has waited longest.
    pub(super) fn pop(&mut self) -> Option<(T, oneshot::Sender<Outcome>)> {
        self.parked.pop_front()
    }

    /// Answers the one that has waited longest, and returns what was known of it. Who was withdrawn is passed over.
    pub(super) fn answer_next(&mut self, mut answer: impl FnMut(&T) -> Outcome) -> Option<T> {
        while let Some((tag, sender)) = self.pop() {
            if sender.send(answer(&tag)).is_ok() {
                return Some(tag);
            }
        }
        None
    }

    /// Answers all.
    pub(super) fn answer_all(&mut self, mut answer: impl FnMut(&T) -> Outcome) {
        while self.answer_next(&mut answer).is_some() {}
    }

    /// What is known of those that are parked.
    pub(super) fn tags(&self) -> impl Iterator<Item = &T> {
        self.parked.iter().map(|(tag, _)| tag)
    }

    /// How many are parked, withdrawn ones included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.parked.len()
    }
}
