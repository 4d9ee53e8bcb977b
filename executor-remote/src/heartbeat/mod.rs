//! Is the peer alive? A state machine without IO, time or threads.
//!
//! Any bytes from the peer count as life, so a busy connection carries no pings. When nothing has
//! come for `interval` a ping is due, and one each `interval` after that; when the first of them has
//! stayed unanswered until `timeout` has passed in silence, the peer is dead. Death is final.
//!
//! The peer is not blamed for our own absence. If this process was stopped, or its machine
//! suspended, for longer than `timeout`, no ping is outstanding when it wakes; it then sends one and
//! gives the peer the usual time to answer.
//!
//! The driver's duties: read what the socket holds and call [`Liveness::on_bytes`] *before*
//! [`Liveness::poll`], so that an answer which waits in the socket counts; poll at
//! [`Liveness::next_deadline`] at the latest; and do so from a thread that never runs tasks.

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Longer spans mean "never" and would overflow an `Instant`.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Beat {
    /// Nothing until [`Liveness::next_deadline`].
    Nothing,
    /// Send a ping: any frame that makes the peer send one back.
    SendPing,
    /// Nothing has come for too long. Close the connection.
    Dead,
}

/// Watches one peer.
#[derive(Clone, Debug)]
pub struct Liveness {
    interval: Duration,
    /// How long the first ping after the last sign of life may stay unanswered.
    patience: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Heard of at that time, and not asked since.
    Heard(Instant),
    /// Asked first and last at those times, and not heard of since.
    Asked { first: Instant, last: Instant },
    /// Given up at that time.
    Dead(Instant),
}

impl Liveness {
    /// Watches a peer that gave a sign of life at `now`.
    ///
    /// `interval` is the silence before a ping. Too short wastes messages on idle connections, too
    /// long makes `timeout` long. `timeout` is the silence before the peer is given up, and is
    /// raised to twice `interval` if it is less, so that a ping always has an interval to be
    /// answered in.
    #[must_use]
    pub fn new(interval: Duration, timeout: Duration, now: Instant) -> Self {
        let interval = interval.min(FOREVER);
        let timeout = timeout.min(2 * FOREVER);
        let patience = timeout.saturating_sub(interval).max(interval);
        Self { interval, patience, state: State::Heard(now) }
    }

    /// Bytes came from the peer, of whatever kind.
    pub fn on_bytes(&mut self, now: Instant) {
        if !matches!(self.state, State::Dead(_)) {
            self.state = State::Heard(now);
        }
    }

    /// What is to be done at `now`. `SendPing` is said once for each ping that is due.
    pub fn poll(&mut self, now: Instant) -> Beat {
        if matches!(self.state, State::Dead(_)) {
            return Beat::Dead;
        }
        if now < self.next_deadline() {
            return Beat::Nothing;
        }
        self.state = match self.state {
            State::Asked { first, .. } if now >= first + self.patience => State::Dead(now),
            State::Asked { first, .. } => State::Asked { first, last: now },
            State::Heard(_) => State::Asked { first: now, last: now },
            State::Dead(at) => State::Dead(at),
        };
        match self.state {
            State::Dead(_) => Beat::Dead,
            State::Heard(_) | State::Asked { .. } => Beat::SendPing,
        }
    }

    /// When [`poll`](Self::poll) will next say anything but `Nothing`, if no bytes come before.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        match self.state {
            State::Heard(at) => at + self.interval,
            State::Asked { first, last } => (last + self.interval).min(first + self.patience),
            State::Dead(at) => at,
        }
    }
}
