//! Who reads what the server sends: the protocol by which threads and the driver take turns, without IO.
//!
//! # Protocol
//!
//! The socket of a client is read by one party at a time, the *reader*. Everything here happens under the lock of the
//! client's state, one method one step; nothing in here blocks, reads or wakes. What is to be done after the step, when the
//! lock has been released, is said by [`Then`], and must be done.
//!
//! Two kinds of parties read:
//!
//! - a **thread** in `wait`, which blocks in the system call that reads: so the answer to a call made one by one is read by
//!   the thread that wants it, and no other thread is woken for it;
//! - the **driver**, a task of a runtime, which is polled when the socket is readable. It reads for calls whose futures were
//!   polled, and which have no thread.
//!
//! 1. *Taking the role.* A thread that finds its call unanswered and no reader becomes the reader ([`sit`](Desk::sit)); so
//!    does the driver when it is polled ([`driver_begins`](Desk::driver_begins)). Else the thread registers itself with its
//!    call and parks.
//! 2. *Reading.* Only the reader reads. It answers calls ([`InFlight`]) and wakes who is registered with them. A thread is
//!    the reader until its own call is answered or its time is up; the driver until nothing more can be read.
//! 3. *Handing over.* Whoever gives the role up hands it over in the same step: to a thread that is parked, if there is one,
//!    which is then the reader before it has been scheduled, and is unparked; else, if futures are registered, to the
//!    driver, by putting it on watch.
//! 4. *On watch* means that the driver will be polled after this step: either it has been woken since it was polled last, or
//!    it is registered for the socket's readability, which is reported at once if there is something to read. It goes off
//!    watch only in the step in which it is polled and finds that a thread reads, or that it has nothing to read for; rule 3 puts it on
//!    watch again when that thread leaves. Off watch it is not registered: else each answer that a thread reads would wake the
//!    driver's thread as well. When it is polled again, it decides by [`driver_returns`](Desk::driver_returns) whether to register,
//!    and is on watch from that step on, as it runs.
//! 5. *Registering.* A future registers its waker, finds no reader, and puts the driver on watch, in one step.
//! 6. *Leaving.* A thread whose time is up takes back its registration in the step in which it leaves, and gives up the role
//!    if that has been handed to it meanwhile (rule 3).
//!
//! No wake-up is lost, because after each step:
//!
//! > if an unanswered call has somebody registered, there is a reader, or the driver is on watch.
//!
//! Registering keeps it by rules 1 and 5; ending to read by rule 3; going off watch by rule 4, as there is a reader then, or nobody
//! is registered. A reader that is a thread either runs, or blocks in a read that the answer ends, or has been unparked (rule 3); one that is
//! the driver runs. So whoever is registered is woken once its answer has arrived. `tests` walks through every order of
//! these steps.

use std::task::{Poll, Waker};
use std::thread::Thread;

use crate::rpc::in_flight::{InFlight, Waiter};
use crate::rpc::protocol::CallId;

#[cfg(test)]
mod tests;

/// Who reads the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    Nobody,
    /// The thread that waits for this call.
    Thread(CallId),
    Driver,
}

/// What is to be done when the lock has been released.
#[derive(Debug)]
#[must_use = "somebody sleeps until this is done"]
pub(crate) enum Then {
    Nothing,
    /// This thread is the reader now.
    Unpark(Thread),
    /// The driver is on watch now, and has to be polled.
    WakeDriver,
}

/// What a thread that waits has to do.
#[derive(Debug)]
pub(crate) enum Seat<A> {
    /// Take this and go.
    Answered(A),
    /// Read.
    Lead,
    /// Park, and ask again.
    Park,
}

/// The calls and who reads for them. See the module documentation.
#[derive(Debug)]
pub(crate) struct Desk<A> {
    pub(crate) calls: InFlight<A>,
    reader: Reader,
    watching: bool,
}

impl<A> Desk<A> {
    pub(crate) fn new(calls: InFlight<A>) -> Desk<A> {
        Desk { calls, reader: Reader::Nobody, watching: false }
    }

    /// For what no thread can read: the driver is the reader for ever.
    pub(crate) fn driven(calls: InFlight<A>) -> Desk<A> {
        Desk { calls, reader: Reader::Driver, watching: true }
    }

    /// Calls that were sent and that no thread is waiting for.
    pub(crate) fn unattended(&self) -> usize {
        let leading = usize::from(matches!(self.reader, Reader::Thread(_)));
        self.calls.due().saturating_sub(self.calls.threads() + leading)
    }

    /// A future asks for its answer (rule 5). Also gives back whom it replaces, to be dropped without the lock.
    pub(crate) fn poll(&mut self, id: CallId, waker: &Waker) -> (Poll<A>, Then, Option<Waiter>) {
        if let Some(answer) = self.calls.take(id) {
            return (Poll::Ready(answer), Then::Nothing, None);
        }
        let replaced = self.calls.register_task(id, waker);
        let then = match self.reader {
            Reader::Nobody => self.watch(),
            Reader::Thread(_) | Reader::Driver => Then::Nothing,
        };
        (Poll::Pending, then, replaced)
    }

    /// A thread asks for its answer, at first and whenever it was unparked (rule 1). If it is answered, it has got up (rule
    /// 3): the role may have been handed to it before all calls failed.
    pub(crate) fn sit(
        &mut self,
        id: CallId,
        thread: impl FnOnce() -> Thread,
    ) -> (Seat<A>, Then, Option<Waiter>) {
        if self.calls.is_answered(id) {
            let (answer, then, replaced) = self.rise(id);
            return (answer.map_or(Seat::Park, Seat::Answered), then, replaced);
        }
        match self.reader {
            Reader::Nobody => self.reader = Reader::Thread(id),
            Reader::Thread(reader) if reader == id => {}
            Reader::Thread(_) | Reader::Driver => {
                return (Seat::Park, Then::Nothing, self.calls.register(id, Waiter::Thread(thread())));
            }
        }
        (Seat::Lead, Then::Nothing, self.calls.unregister(id))
    }

    /// A thread gets up: its call may be answered, or its time is up (rules 3 and 6).
    pub(crate) fn rise(&mut self, id: CallId) -> (Option<A>, Then, Option<Waiter>) {
        let answer = self.calls.take(id);
        let replaced = self.calls.unregister(id);
        let then = match self.reader {
            Reader::Thread(reader) if reader == id => self.hand_over(),
            _ => Then::Nothing,
        };
        (answer, then, replaced)
    }

    /// The driver is polled and is not registered for readability: true if it has to be (rule 4).
    pub(crate) fn driver_returns(&mut self) -> bool {
        let is_needed = self.calls.tasks() > 0 || self.unattended() > 0;
        self.watching = is_needed && self.reader == Reader::Nobody;
        self.watching
    }

    /// The driver finds the socket readable: true if it is to read (rules 1 and 4).
    pub(crate) fn driver_begins(&mut self) -> bool {
        match self.reader {
            Reader::Nobody => {
                self.reader = Reader::Driver;
                self.watching = true;
                true
            }
            Reader::Thread(_) | Reader::Driver => {
                self.watching = false;
                false
            }
        }
    }

    /// The driver has read all there was, and will be polled again when there is more (rule 3).
    pub(crate) fn driver_ends(&mut self) -> Then {
        debug_assert_eq!(self.reader, Reader::Driver, "who ends has begun");
        self.hand_over()
    }

    /// The driver is gone, and with it its watch; another is to be started if somebody needs it.
    pub(crate) fn driver_gone(&mut self) -> Then {
        self.watching = false;
        match self.reader {
            Reader::Driver | Reader::Nobody => self.hand_over(),
            Reader::Thread(_) => Then::Nothing,
        }
    }

    fn hand_over(&mut self) -> Then {
        self.reader = Reader::Nobody;
        if let Some((id, thread)) = self.calls.any_thread() {
            self.reader = Reader::Thread(id);
            drop(self.calls.unregister(id)); // a handle of a thread: dropping it runs no code of others
            return Then::Unpark(thread);
        }
        match self.calls.tasks() {
            0 => Then::Nothing,
            _ => self.watch(),
        }
    }

    fn watch(&mut self) -> Then {
        match std::mem::replace(&mut self.watching, true) {
            true => Then::Nothing,
            false => Then::WakeDriver,
        }
    }
}
