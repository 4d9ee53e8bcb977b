//! The tasks of one session: each under the number that the client has given it, until its answer is on its way.
//!
//! # States of an entry
//!
//! ```text
//!   Normal ---- revoke begins ----> Asking ---- cancelled -----> Given
//!     ^ \                            |  \                          |
//!     |  \__ outcome: Done           |   \__ outcome: Done         | the revoke says yes: Revoked
//!     |                              |                             | it says no: Done(Cancelled)
//!     +------- it says no: Revoked(no)                             v
//!                                    | it says yes
//!                                    v
//!                                  Yielded ---- outcome: Revoked
//! ```
//!
//! A revoke is asked of the pool outside of the table's lock, and the pool may tell the outcome (`Cancelled`) before or after it
//! answers. Either way the client gets one answer, and the number is free only then.

use std::time::Instant;

use executor_core::RelayHandle;

#[cfg(test)]
mod tests;

/// The greatest number that a client may give a task: clients number densely, so this is how many may be in flight.
const MOST: usize = 1 << 20;

#[derive(Default)]
pub(super) struct Table {
    entries: Vec<Option<Entry>>,
    count: usize,
}

pub(super) struct Entry {
    /// Taken out while it is being used.
    handle: Option<RelayHandle>,
    /// What the session holds for it.
    pub(super) bytes: usize,
    state: State,
    since: Instant,
    /// What was told of its progress last.
    told: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Normal,
    Asking,
    Given,
    Yielded,
}

/// What to answer about a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Reply {
    /// Its outcome. Its number is free, and so are these bytes.
    Done(usize),
    /// That it was given back. Its number is free, and so are these bytes.
    Revoked(usize),
    /// That it was not given back.
    Refused,
    /// Nothing.
    Nothing,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Enters a task. False if its number is taken or too great.
    #[must_use]
    pub(super) fn insert(&mut self, number: u64, handle: RelayHandle, bytes: usize, now: Instant) -> bool {
        let Some(at) = usize::try_from(number).ok().filter(|&at| at < MOST) else {
            return false;
        };
        if at >= self.entries.len() {
            self.entries.resize_with(at + 1, || None);
        }
        if self.entries[at].is_some() {
            return false;
        }
        self.entries[at] =
            Some(Entry { handle: Some(handle), bytes, state: State::Normal, since: now, told: None });
        self.count += 1;
        true
    }

    fn get(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number).ok()?)?.as_mut()
    }

    fn remove(&mut self, number: u64) -> usize {
        let entry = usize::try_from(number).ok().and_then(|at| self.entries.get_mut(at)?.take());
        self.count -= usize::from(entry.is_some());
        entry.map_or(0, |entry| entry.bytes)
    }

    /// The pool tells the outcome of a task.
    pub(super) fn on_outcome(&mut self, number: u64, is_cancelled: bool) -> Reply {
        let Some(entry) = self.get(number) else {
            return Reply::Nothing;
        };
        match entry.state {
            State::Asking if is_cancelled => {
                entry.state = State::Given;
                Reply::Nothing
            }
            State::Yielded => Reply::Revoked(self.remove(number)),
            State::Normal | State::Asking | State::Given => Reply::Done(self.remove(number)),
        }
    }

    /// Lends the handle of a task that is to be stopped; to be [given back](Self::give_back).
    pub(super) fn borrow(&mut self, number: u64) -> Option<RelayHandle> {
        self.get(number)?.handle.take()
    }

    pub(super) fn give_back(&mut self, number: u64, handle: RelayHandle) {
        if let Some(entry) = self.get(number) {
            entry.handle = Some(handle);
        }
    }

    /// Lends the handle of a task that is to be revoked; see [`end_revoke`](Self::end_revoke).
    pub(super) fn begin_revoke(&mut self, number: u64) -> Option<RelayHandle> {
        let entry = self.get(number)?;
        let handle = entry.handle.take()?;
        entry.state = State::Asking;
        Some(handle)
    }

    /// The pool's answer to a revoke.
    pub(super) fn end_revoke(&mut self, number: u64, handle: RelayHandle, taken: bool) -> Reply {
        let Some(entry) = self.get(number) else {
            return Reply::Nothing;
        };
        match (entry.state, taken) {
            (State::Given, true) => Reply::Revoked(self.remove(number)),
            (State::Given, false) => Reply::Done(self.remove(number)),
            (State::Asking, true) => {
                entry.state = State::Yielded;
                Reply::Nothing
            }
            (State::Asking, false) => {
                entry.state = State::Normal;
                entry.handle = Some(handle);
                Reply::Refused
            }
            (State::Normal | State::Yielded, _) => Reply::Nothing,
        }
    }

    /// Lends the handles of tasks that have been here since `before`, to ask how far they are.
    pub(super) fn borrow_old(&mut self, before: Instant) -> Vec<(u64, RelayHandle)> {
        let old = |(number, entry): (u64, &mut Option<Entry>)| {
            let entry = entry.as_mut().filter(|entry| entry.since <= before)?;
            Some((number, entry.handle.take()?))
        };
        (0..).zip(&mut self.entries).filter_map(old).collect()
    }

    /// Gives a handle back with what it said; whether that is news.
    pub(super) fn note_progress(&mut self, number: u64, handle: RelayHandle, progress: Option<f64>) -> bool {
        let Some(entry) = self.get(number) else {
            return false;
        };
        entry.handle = Some(handle);
        let news = progress.is_some() && entry.told != progress;
        entry.told = progress;
        news
    }
}
