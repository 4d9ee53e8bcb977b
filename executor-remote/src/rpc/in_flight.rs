//! The calls of one client whose callers still want an answer, or whose answers are still to come. No IO, no lock, no clock.
//!
//! # The life of a call
//!
//! ```text
//!             insert_held              send_next_held
//!                 └────► Held ────────────────┐
//!             insert_sent                     ▼          answer                take
//!                 └─────────────────────────► Sent ───────────────► Answered ───────► (free)
//!                                             │ forget                  ▲  │ forget
//!                                             ▼                         │  └────────► (free)
//!      dialect has Cancel: (free)   has none: Abandoned ─ answer ─► (free)
//!                                                                       │
//!                          fail_all: Held, Sent ────────────────────────┘
//! ```
//!
//! 1. A call is *held* while the client has no room for it: its message waits here, in order, and is dropped with the call
//!    if its caller goes first.
//! 2. An answer finds its call by id. An id is a place in the table and how often the place was used before, so that an
//!    answer that comes after its caller has gone never reaches the next call in that place.
//! 3. Where the peer does not understand "cancel", or gives no id back, a call whose caller has gone keeps its place until
//!    its answer has come: ids of 32 bits, or of none, cannot tell uses of a place apart.
//! 4. Where answers carry no id they come in the order of the calls, and belong to the oldest sent one.
//! 5. Whoever wants the answer registers a [`Waiter`], one for each call, the newest counts. Every transition that ends a
//!    wait gives the waiter back, to be woken when no lock is held; so does every one that replaces it, to be dropped when
//!    no lock is held.

use std::collections::VecDeque;
use std::task::Waker;
use std::thread::Thread;

use super::protocol::CallId;

#[cfg(test)]
mod tests;

impl CallId {
    fn new(place: usize, used: u32) -> CallId {
        CallId(u64::from(used) << 32 | place as u64)
    }

    fn place(self) -> usize {
        self.0 as u32 as usize
    }

    fn used(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// As it travels where ids have 32 bits.
    pub(crate) fn short(self) -> u32 {
        self.0 as u32
    }
}

/// Who wants to know of an answer.
#[derive(Debug)]
pub(crate) enum Waiter {
    /// A future was polled.
    Task(Waker),
    /// A thread sleeps in `wait`.
    Thread(Thread),
}

impl Waiter {
    /// To be called when no lock is held: a waker may run anything.
    pub(crate) fn wake(self) {
        match self {
            Waiter::Task(waker) => waker.wake(),
            Waiter::Thread(thread) => thread.unpark(),
        }
    }
}

#[derive(Debug)]
enum Place<A> {
    Free,
    Held {
        message: Vec<u8>,
        waiter: Option<Waiter>,
    },
    Sent {
        waiter: Option<Waiter>,
    },
    Answered(A),
    /// Nobody wants the answer, but it will come (rule 3, or `abandon`).
    Abandoned,
}

/// What became of a call whose caller has gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Forgotten {
    /// It was never sent, or it is answered already: nobody needs to hear of it.
    Silently,
    /// It was sent: the peer may be told that nobody waits for it.
    Sent,
}

/// How answers find their calls (rules 2 to 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Matching {
    /// By ids of 64 bits, and the peer understands "cancel".
    Cancellable,
    /// By ids of 32 bits.
    ById,
    /// By their order.
    InOrder,
}

/// The table. See the module documentation.
#[derive(Debug)]
pub(crate) struct InFlight<A> {
    places: Vec<(u32, Place<A>)>,
    free: Vec<usize>,
    /// Ids of held calls, oldest first; some may have gone meanwhile.
    held: VecDeque<CallId>,
    /// Of sent calls, if answers come in order.
    order: VecDeque<CallId>,
    matching: Matching,
    due: usize,
    /// How many futures are registered.
    tasks: usize,
    /// The calls with which threads are registered, in the order of their coming.
    threads: Vec<CallId>,
}

impl<A> InFlight<A> {
    pub(crate) fn new(matching: Matching) -> InFlight<A> {
        InFlight {
            places: Vec::new(),
            free: Vec::new(),
            held: VecDeque::new(),
            order: VecDeque::new(),
            matching,
            due: 0,
            tasks: 0,
            threads: Vec::new(),
        }
    }

    /// Calls that were sent and not answered yet, those included whose callers have gone (rule 3).
    pub(crate) fn due(&self) -> usize {
        self.due
    }

    /// Registered futures.
    pub(crate) fn tasks(&self) -> usize {
        self.tasks
    }

    /// Registered threads.
    pub(crate) fn threads(&self) -> usize {
        self.threads.len()
    }

    /// A call that is sent right now.
    pub(crate) fn insert_sent(&mut self) -> CallId {
        let id = self.insert(Place::Sent { waiter: None });
        self.on_sent(id);
        id
    }

    /// A call for which there is no room; `message` is what to send for its id.
    pub(crate) fn insert_held(&mut self, message: impl FnOnce(CallId) -> Vec<u8>) -> CallId {
        let id = self.insert(Place::Held { message: Vec::new(), waiter: None });
        let Place::Held { message: slot, .. } = &mut self.places[id.place()].1 else {
            unreachable!("it was put there two lines above")
        };
        *slot = message(id);
        self.held.push_back(id);
        id
    }

    /// Whether calls wait for room; those that come later wait behind them.
    pub(crate) fn has_held(&mut self) -> bool {
        while let Some(&id) = self.held.front() {
            if matches!(self.place_mut(id), Some(Place::Held { .. })) {
                return true;
            }
            self.held.pop_front();
        }
        false
    }

    /// Makes the oldest held call a sent one; its message is to be sent now.
    pub(crate) fn send_next_held(&mut self) -> Option<Vec<u8>> {
        if !self.has_held() {
            return None;
        }
        let id = self.held.pop_front()?;
        let place = &mut self.places[id.place()].1;
        let Place::Held { message, waiter } = place else { return None };
        let (message, waiter) = (std::mem::take(message), waiter.take());
        *place = Place::Sent { waiter };
        self.on_sent(id);
        Some(message)
    }

    /// Whether the answer is there to be taken.
    pub(crate) fn is_answered(&self, id: CallId) -> bool {
        matches!(self.places.get(id.place()), Some((used, Place::Answered(_))) if *used == id.used())
    }

    /// The answer, if it has come; it can be taken once.
    pub(crate) fn take(&mut self, id: CallId) -> Option<A> {
        match self.place_mut(id) {
            Some(place @ Place::Answered(_)) => {
                let Place::Answered(answer) = std::mem::replace(place, Place::Free) else { return None };
                self.set_free(id);
                Some(answer)
            }
            _ => None,
        }
    }

    /// Registers who is to be woken by the answer of a call that has none yet, and gives back whom this replaces.
    pub(crate) fn register(&mut self, id: CallId, waiter: Waiter) -> Option<Waiter> {
        self.replace(id, Some(waiter))
    }

    /// As [`register`](InFlight::register); the waker is cloned only if it is another than before.
    pub(crate) fn register_task(&mut self, id: CallId, waker: &Waker) -> Option<Waiter> {
        if let Some(Place::Held { waiter, .. } | Place::Sent { waiter }) = self.place_mut(id)
            && let Some(Waiter::Task(old)) = waiter
            && old.will_wake(waker)
        {
            return None;
        }
        self.replace(id, Some(Waiter::Task(waker.clone())))
    }

    /// Nobody is to be woken any more by the answer of this call.
    pub(crate) fn unregister(&mut self, id: CallId) -> Option<Waiter> {
        self.replace(id, None)
    }

    /// The thread that has slept longest for its answer.
    pub(crate) fn any_thread(&self) -> Option<(CallId, Thread)> {
        let id = *self.threads.first()?;
        match &self.places[id.place()].1 {
            Place::Held { waiter: Some(Waiter::Thread(thread)), .. }
            | Place::Sent { waiter: Some(Waiter::Thread(thread)) } => Some((id, thread.clone())),
            _ => None,
        }
    }

    /// The answer has come. Gives back who waits for it; an answer that belongs to no call is dropped.
    pub(crate) fn answer(&mut self, id: CallId, answer: A) -> Option<Waiter> {
        self.settle(id, answer)
    }

    /// As [`answer`](InFlight::answer), where the wire has ids of 32 bits.
    pub(crate) fn answer_place(&mut self, place: u32, answer: A) -> Option<Waiter> {
        let place = place as usize;
        let used = self.places.get(place)?.0;
        self.settle(CallId::new(place, used), answer)
    }

    /// As [`answer`](InFlight::answer), where answers come in order.
    pub(crate) fn answer_oldest(&mut self, answer: A) -> Option<Waiter> {
        let id = self.order.pop_front()?;
        self.settle(id, answer)
    }

    /// The caller has gone. Whom it had registered is given back with it.
    pub(crate) fn forget(&mut self, id: CallId) -> (Forgotten, Option<Waiter>) {
        let waiter = self.unregister(id);
        let abandons = self.matching != Matching::Cancellable;
        let forgotten = match self.place_mut(id) {
            Some(place @ Place::Sent { .. }) if abandons => {
                *place = Place::Abandoned;
                return (Forgotten::Sent, waiter);
            }
            Some(Place::Sent { .. }) => {
                self.due -= 1;
                Forgotten::Sent
            }
            Some(Place::Held { .. } | Place::Answered(_)) => Forgotten::Silently,
            Some(Place::Free | Place::Abandoned) | None => return (Forgotten::Silently, waiter),
        };
        self.set_free(id);
        (forgotten, waiter)
    }

    /// Nobody wants the answer of a call that shall be carried out all the same. False if it has not been sent: it keeps its
    /// caller then. Whom that had registered is given back.
    pub(crate) fn abandon(&mut self, id: CallId) -> (bool, Option<Waiter>) {
        let waiter = self.unregister(id);
        match self.place_mut(id) {
            Some(Place::Held { .. }) => return (false, waiter),
            Some(place @ Place::Sent { .. }) => *place = Place::Abandoned,
            Some(Place::Answered(_)) => self.set_free(id),
            Some(Place::Free | Place::Abandoned) | None => {}
        }
        (true, waiter)
    }

    /// No answer will come any more: gives each call without one the answer of `failure`, which is told whether the call was
    /// sent. Gives back all who wait.
    pub(crate) fn fail_all(&mut self, mut failure: impl FnMut(bool) -> A) -> Vec<Waiter> {
        let mut waiters = Vec::with_capacity(self.tasks + self.threads.len());
        for place in 0..self.places.len() {
            let (used, state) = &mut self.places[place];
            let (sent, waiter) = match state {
                Place::Held { waiter, .. } => (false, waiter.take()),
                Place::Sent { waiter } => (true, waiter.take()),
                Place::Abandoned => {
                    let id = CallId::new(place, *used);
                    self.set_free(id);
                    continue;
                }
                Place::Free | Place::Answered(_) => continue,
            };
            *state = Place::Answered(failure(sent));
            waiters.extend(waiter);
        }
        (self.due, self.tasks) = (0, 0);
        self.threads.clear();
        self.held.clear();
        self.order.clear();
        waiters
    }

    fn insert(&mut self, state: Place<A>) -> CallId {
        match self.free.pop() {
            Some(place) => {
                let (used, slot) = &mut self.places[place];
                *slot = state;
                CallId::new(place, *used)
            }
            None => {
                self.places.push((0, state));
                CallId::new(self.places.len() - 1, 0)
            }
        }
    }

    fn on_sent(&mut self, id: CallId) {
        self.due += 1;
        if self.matching == Matching::InOrder {
            self.order.push_back(id);
        }
    }

    fn settle(&mut self, id: CallId, answer: A) -> Option<Waiter> {
        let place = self.place_mut(id)?;
        let waiter = match place {
            Place::Sent { waiter } => waiter.take(),
            Place::Abandoned => {
                self.due -= 1;
                self.set_free(id);
                return None;
            }
            Place::Free | Place::Held { .. } | Place::Answered(_) => return None,
        };
        *place = Place::Answered(answer);
        self.due -= 1;
        self.count_out(id, waiter.as_ref());
        waiter
    }

    fn replace(&mut self, id: CallId, new: Option<Waiter>) -> Option<Waiter> {
        let (place, used) = (id.place(), id.used());
        let waiter = match self.places.get_mut(place) {
            Some((now, Place::Held { waiter, .. } | Place::Sent { waiter })) if *now == used => waiter,
            _ => return new,
        };
        let is_task = new.as_ref().map(|waiter| matches!(waiter, Waiter::Task(_)));
        let old = std::mem::replace(waiter, new);
        self.count_out(id, old.as_ref());
        match is_task {
            Some(true) => self.tasks += 1,
            Some(false) => self.threads.push(id),
            None => {}
        }
        old
    }

    fn count_out(&mut self, id: CallId, waiter: Option<&Waiter>) {
        match waiter {
            Some(Waiter::Task(_)) => self.tasks -= 1,
            Some(Waiter::Thread(_)) => self.threads.retain(|thread| *thread != id),
            None => {}
        }
    }

    fn set_free(&mut self, id: CallId) {
        let (used, state) = &mut self.places[id.place()];
        *state = Place::Free;
        *used = used.wrapping_add(1);
        self.free.push(id.place());
    }

    fn place_mut(&mut self, id: CallId) -> Option<&mut Place<A>> {
        self.places.get_mut(id.place()).filter(|(used, _)| *used == id.used()).map(|(_, state)| state)
    }
}
