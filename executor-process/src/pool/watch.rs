//! Who looks for answers, and whether the bell has to ring for them.
//!
//! Answers lie in the rings until somebody looks: the *reaper* while it is awake, and *lookers*, threads that wait for an
//! answer themselves. The workers are asked to ring only while the reaper sleeps and nobody looks.
//!
//! ```text
//!   reaper:  wake(); read ..; doze(need): true -> block; wake(); ..
//!                             doze(need): false: there is something already
//!   looker:  start_looking(); read ..; stop_looking(): true -> wake the reaper by its alarm
//! ```
//!
//! All steps but the reading of positions happen under the core's lock. Whoever is the last to turn away, a looker from its
//! ring or the reaper to its sleep, first has the workers asked and then looks once more; so an answer is found by that look,
//! or was published after the question, and its worker rings.

#[cfg(all(test, loom))]
mod tests;

use crate::ring::Need;

/// The rings of all workers.
pub(super) trait Ears {
    /// Has the workers ring the bell from here on, or not.
    fn listen(&self, need: Need);
    /// Whether a worker has said something.
    fn has_answers(&self) -> bool;
}

/// Who is awake.
#[derive(Debug)]
pub(super) struct Watch {
    /// Threads that look for answers themselves while they wait for one.
    lookers: usize,
    /// What the reaper wants to be woken for.
    reaper_need: Need,
}

impl Watch {
    /// The reaper is awake.
    pub(super) fn new() -> Self {
        Self { lookers: 0, reaper_need: Need::Nothing }
    }

    /// What a worker that has just been started is to ring for.
    pub(super) fn need(&self) -> Need {
        if self.lookers == 0 { self.reaper_need } else { Need::Nothing }
    }

    /// A thread starts to look for answers: nobody needs the bell.
    pub(super) fn start_looking(&mut self, ears: &impl Ears) {
        self.lookers += 1;
        if self.lookers == 1 && self.reaper_need != Need::Nothing {
            ears.listen(Need::Nothing);
        }
    }

    /// A thread looks no more. True if answers have come since it last looked that nobody else sees: the reaper sleeps, and
    /// is to be woken.
    #[must_use = "the reaper sleeps on otherwise"]
    pub(super) fn stop_looking(&mut self, ears: &impl Ears) -> bool {
        self.lookers -= 1;
        if self.lookers > 0 || self.reaper_need == Need::Nothing {
            return false;
        }
        ears.listen(self.reaper_need);
        ears.has_answers()
    }

    /// The reaper goes to sleep, unless there are answers already (false).
    #[must_use = "the reaper may block only if this is true"]
    pub(super) fn doze(&mut self, need: Need, ears: &impl Ears) -> bool {
        self.reaper_need = need;
        if self.lookers == 0 {
            ears.listen(need);
        }
        let sleeps = !ears.has_answers();
        if !sleeps {
            self.wake(ears);
        }
        sleeps
    }

    /// The reaper is awake.
    pub(super) fn wake(&mut self, ears: &impl Ears) {
        if self.reaper_need != Need::Nothing {
            self.reaper_need = Need::Nothing;
            ears.listen(Need::Nothing);
        }
    }
}
