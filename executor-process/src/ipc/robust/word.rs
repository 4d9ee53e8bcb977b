//! The word of a robust lock, and the steps on it.
//!
//! ```text
//!   63            32   31      30     29         0
//!  +----------------+-------+-------+-------------+
//!  |    sleepers    |   W   |   D   |    owner    |
//!  +----------------+-------+-------+-------------+
//!                    \______ the kernel's half ____/
//! ```
//!
//! *owner* is the kernel's number of the owning thread, zero if nobody has the lock. *W*: somebody may be asleep. *D*: the
//! owner has died. *sleepers* counts how often anybody has gone to sleep.
//!
//! 1. Whoever finds *owner* zero may take the lock, by compare-and-swap. *W* stays as it is: a newcomer that overtakes
//!    a sleeper who is just waking up leaves word that there may be others asleep, and will wake them. If *D* is set, it
//!    is cleared by the same step, and the taker knows.
//! 2. The owner gives the lock back by subtracting itself, and if *W* was set, wakes one.
//! 3. Who wants to sleep sets *W* and adds one to *sleepers*, in one step, and only while there is an owner; then it
//!    sleeps for as long as the kernel's half stays what this step made it.
//! 4. An owner who has woken nobody clears *W*, if the word is still free with the same *sleepers*. Then nobody has
//!    done step 3 since before the lock was given back; and who did it before and did not sleep yet will not: the
//!    kernel's half is not what it was. So nobody sleeps while *W* is clear.
//! 5. The kernel, when a thread dies: if it is the owner, the owner becomes zero, *D* is set, *W* stays, and if it is set, one
//!    sleeper is woken. If it is not, and there is no owner, and this is the thread's pending lock, one sleeper is woken: the
//!    wake-up of rule 2 or of this rule may have been wasted on the dead thread, or may never have been sent.
//!
//! 6. Tasks do not sleep: a thread of their process does, for all of them, and its pending lock cannot be all their locks. So
//!    once a task has waited for a lock, its sleepers look again from time to time ([`PATIENCE`]), and also whether the
//!    owner exists: a lock that is taken for another thread, while this one dies, is missed by rule 5.
//!
//! No wake-up is lost: it is owed whenever the lock is free with a sleeper, hence with *W* (rule 4). Whoever made it free has
//! woken one, or its death has; who was woken takes the lock, or finds an owner, who has *W* (rule 1) and owes the next
//! wake-up, or dies, and its death wakes the next if there is no owner.

use std::time::Duration;

use super::NotTaken;
use crate::ipc::futex::{Deadline, Waited};

/// The word and the kernel: the real ones, or those of the models.
pub(super) trait Cell {
    fn load(&self) -> u64;
    /// Acquire on success: what the last owner did is visible to the next. The word found is the error.
    fn exchange(&self, current: u64, new: u64) -> Result<(), u64>;
    /// Release. The word before.
    fn subtract(&self, owner: u32) -> u64;
    /// Sleeps while the kernel's half is as expected.
    fn wait(&self, expected: u32, deadline: Deadline) -> Waited;
    /// Wakes one; false if there was none.
    fn wake_one(&self) -> bool;
    /// A moment's rest while spinning.
    fn relax(&self);
    /// Rule 6.
    fn is_wanted_by_tasks(&self) -> bool;
    /// Whether there is such a thread.
    fn exists(&self, owner: u32) -> bool;
}

const OWNER: u64 = 0x3fff_ffff;
const DIED: u64 = 1 << 30;
const MAY_SLEEP: u64 = 1 << 31;
const ONE_SLEEPER: u64 = 1 << 32;

/// How a lock was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Orderly,
    /// Its owner has died.
    FromTheDead,
}

#[inline]
pub(super) fn owner(word: u64) -> u32 {
    (word & OWNER) as u32
}

/// Nobody's, because its owner has died.
pub(super) fn is_orphan(word: u64) -> bool {
    owner(word) == 0 && word & DIED != 0
}

/// Rule 1.
#[inline]
pub(super) fn try_take(cell: &impl Cell, me: u32) -> Result<Taken, NotTaken> {
    let mut word = cell.load();
    loop {
        match owner(word) {
            0 => {}
            owner if owner == me => return Err(NotTaken::Mine),
            _ => return Err(NotTaken::Busy),
        }
        match cell.exchange(word, (word & !DIED) | u64::from(me)) {
            Ok(()) if word & DIED != 0 => return Ok(Taken::FromTheDead),
            Ok(()) => return Ok(Taken::Orderly),
            Err(found) => word = found,
        }
    }
}

/// Rounds of looking before sleep. A round rests twice as long as the one before, up to [`LONGEST_REST`].
///
/// Some microseconds altogether: a lock that is held for longer is not worth a spinning core.
const SPINS: u32 = if cfg!(loom) { 1 } else { 40 };
const LONGEST_REST: u32 = if cfg!(loom) { 1 } else { 32 };

/// Takes the lock when it is free.
#[cold]
pub(super) fn take(cell: &impl Cell, me: u32, deadline: Deadline) -> Result<Taken, NotTaken> {
    loop {
        let mut rest = 1;
        for _ in 0..SPINS {
            match try_take(cell, me) {
                Err(NotTaken::Busy) => {}
                done => return done,
            }
            for _ in 0..rest {
                cell.relax();
            }
            rest = LONGEST_REST.min(rest * 2);
        }
        let until = if cell.is_wanted_by_tasks() { deadline.or_after(PATIENCE) } else { deadline };
        if sleep(cell, until) == Waited::TimedOut {
            match try_take(cell, me) {
                Err(NotTaken::Busy) if deadline.has_passed() => return Err(NotTaken::TimedOut),
                Err(NotTaken::Busy) => check_owner(cell),
                done => return done,
            }
        }
    }
}

/// How long one sleeps for a lock that tasks wait for as well (rule 6).
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// Rule 6: what the kernel would have done.
pub(super) fn check_owner(cell: &impl Cell) {
    let word = cell.load();
    let owner = owner(word);
    if owner != 0 && !cell.exists(owner) {
        // Failure: it was alive, or another has noticed.
        let _ = cell.exchange(word, (word - u64::from(owner)) | DIED);
    }
}

/// Rule 3. Returns at once if there is no owner.
pub(super) fn sleep(cell: &impl Cell, deadline: Deadline) -> Waited {
    let Some(expected) = announce(cell) else { return Waited::Changed };
    cell.wait(expected, deadline)
}

/// The first half of rule 3: what to sleep for. `None` if there is no owner.
pub(super) fn announce(cell: &impl Cell) -> Option<u32> {
    let mut word = cell.load();
    loop {
        if owner(word) == 0 {
            return None;
        }
        let announced = (word | MAY_SLEEP).wrapping_add(ONE_SLEEPER);
        match cell.exchange(word, announced) {
            Ok(()) => return Some(announced as u32),
            Err(found) => word = found,
        }
    }
}

/// Rules 2 and 4.
#[inline]
pub(super) fn give_back(cell: &impl Cell, me: u32) {
    let before = cell.subtract(me);
    if before & MAY_SLEEP != 0 {
        wake(cell, before - u64::from(me));
    }
}

/// `free` is the word as it was made.
#[cold]
fn wake(cell: &impl Cell, free: u64) {
    if !cell.wake_one() {
        // Failure: another has the lock, or has gone to sleep since; then the mark is theirs.
        let _ = cell.exchange(free, free & !MAY_SLEEP);
    }
}
