//! Waiting for room, for an item, for all to be done: look, look again for a while, ask for the bell, sleep.

use std::time::Instant;

use super::error::DoneError;
use super::mapping::Mapping;
use super::memory::{LockError, Side};
use super::records::{self, Damage, PopError, PushError};
use crate::ipc::futex::{self, Deadline, Waited};

/// Puts an item when there is room.
pub(super) fn push(memory: &Mapping, item: &[u8], deadline: Deadline) -> Result<(), PushError> {
    loop {
        match records::push(memory, item, deadline) {
            Err(PushError::Full) => {
                wait(memory, Side::Head, deadline, |it| records::has_room(it, item.len()))?
            }
            done => return done,
        }
    }
}

/// Takes an item when there is one.
pub(super) fn pop(memory: &Mapping, item: &mut Vec<u8>, deadline: Deadline) -> Result<(), PopError> {
    loop {
        match records::pop(memory, item, deadline) {
            Err(PopError::Empty) => wait(memory, Side::Tail, deadline, records::has_items)?,
            done => return done,
        }
    }
}

/// Waits until all is done; false if the time is up.
pub(super) fn join(memory: &Mapping, deadline: Deadline) -> Result<bool, DoneError> {
    while !records::is_all_done(memory) {
        match wait(memory, Side::Done, deadline, records::is_all_done) {
            Ok(()) => {}
            Err(LockError::TimedOut) => return Ok(records::is_all_done(memory)),
            Err(error) => return Err(DoneError::Damaged { reason: Damage::Lock(error).to_string() }),
        }
    }
    Ok(true)
}

/// Waits until `ready` may have come true by progress of `side`, or longer than it took.
#[cold]
fn wait(
    memory: &Mapping,
    side: Side,
    deadline: Deadline,
    ready: impl Fn(&Mapping) -> bool,
) -> Result<(), LockError> {
    let spin = memory.spin(side);
    if spin.until(|| ready(memory)) {
        return Ok(());
    }
    let Some(event) = records::listen(memory, side, deadline, ready)? else { return Ok(()) };
    let start = Instant::now();
    match futex::wait(memory.event(side), event, deadline) {
        Waited::TimedOut => Err(LockError::TimedOut),
        Waited::Woken(_) | Waited::Changed => {
            spin.slept(start.elapsed());
            Ok(())
        }
    }
}
