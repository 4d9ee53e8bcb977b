//! What the reaper has to do before it sleeps.

use std::collections::VecDeque;
use std::time::Instant;

/// Made under the core's lock, together with whatever else the reaper does there: each time it takes the lock for the plan
/// alone, it stands in the way of a submitter that its last notice has just woken.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Indices of workers to be started.
    pub(super) starts: VecDeque<u32>,
    /// How many workers have been started and have not said a word.
    pub(super) starting: usize,
    /// After a shutdown: everything is resolved, and the workers have been told to leave.
    pub(super) is_drained: bool,
    /// Until when to sleep at the longest.
    pub(super) until: Option<Instant>,
}

impl Plan {
    /// Takes a newer plan over; what the older one has not done yet remains to be done.
    pub(super) fn follow(&mut self, newer: Plan) {
        self.starts.extend(newer.starts);
        self.starting = newer.starting;
        self.is_drained = newer.is_drained;
        self.until = newer.until;
    }
}
