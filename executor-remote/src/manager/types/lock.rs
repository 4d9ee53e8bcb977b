//! `Lock` and `RLock`, which are released when the connection of their holder ends.
//!
//! Whoever gets a lock that was released in this way and asks by [`ACQUIRE`](crate::manager::protocol::ACQUIRE) is told of it,
//! since what the lock guards may be half changed. A connection is a Python thread or a Rust process.

use super::waiters::Waiters;
use super::{Kind, Method, Now, Parks};
use crate::manager::operation::{Args, Outcome, Patience, SessionId, Step, Wait};
use crate::manager::protocol::{ACQUIRE, acquired};
use crate::manager::raise;
use crate::object::{Exception, Object};

/// Who holds a lock and who wants it.
#[derive(Default)]
struct Holding {
    holder: Option<SessionId>,
    /// The last holder has ended without releasing it.
    is_abandoned: bool,
    waiters: Waiters<(SessionId, Answer)>,
}

/// The form in which an acquisition is answered.
#[derive(Debug, Clone, Copy)]
enum Answer {
    /// Python's, true or false.
    Flag,
    /// One of [`acquired`].
    Number,
}

impl Answer {
    fn of(self, number: i128) -> Object {
        match self {
            Self::Flag => Object::Bool(number != acquired::NO),
            Self::Number => Object::Int(number),
        }
    }
}

impl Holding {
    fn acquire(&mut self, session: SessionId, patience: Patience, answer: Answer) -> Step {
        if self.holder.is_none() {
            self.holder = Some(session);
            return Step::Done(Ok(answer.of(taken(&mut self.is_abandoned))));
        }
        match patience {
            Patience::No => Step::Done(Ok(answer.of(acquired::NO))),
            Patience::For(limit) => {
                let receiver = self.waiters.park((session, answer));
                Step::Wait(Wait { receiver, limit, late: Ok(answer.of(acquired::NO)), gives: true })
            }
        }
    }

    /// Gives the lock to who has waited longest.
    fn pass_on(&mut self) {
        let is_abandoned = &mut self.is_abandoned;
        let was_abandoned = *is_abandoned;
        let number = taken(is_abandoned);
        self.holder =
            self.waiters.answer_next(|(_, answer)| Ok(answer.of(number))).map(|(session, _)| session);
        if self.holder.is_none() {
            self.is_abandoned = was_abandoned;
        }
    }

    /// Releases what a session that has ended, or a call that was withdrawn, still holds.
    fn leave(&mut self, session: SessionId, is_abandoned: bool) {
        if self.holder == Some(session) {
            self.is_abandoned |= is_abandoned;
            self.pass_on();
        }
    }
}

/// What the next holder is told, once.
fn taken(is_abandoned: &mut bool) -> i128 {
    if std::mem::take(is_abandoned) { acquired::OWNER_DIED } else { acquired::YES }
}

/// How long to wait, from Python's `acquire(blocking=True, timeout=-1)`.
fn patience(mut args: Args) -> Result<Patience, Exception> {
    let is_blocking = args.flag("blocking", true);
    let limit = args.seconds("timeout")?.filter(|limit| *limit != -1.0);
    args.end()?;
    if !is_blocking && limit.is_some() {
        return Err(raise::value_error("can't specify a timeout for a non-blocking call"));
    }
    Patience::of_flag(is_blocking, limit)
}

/// A lock that anybody may release.
#[derive(Default)]
pub(super) struct Lock {
    holding: Holding,
}

impl Lock {
    fn acquire(&mut self, args: Args, session: SessionId) -> Step {
        match patience(args) {
            Ok(patience) => self.holding.acquire(session, patience, Answer::Flag),
            Err(exception) => Step::Done(Err(exception)),
        }
    }

    fn acquire_told(&mut self, mut args: Args, session: SessionId) -> Step {
        match args.seconds("timeout").and_then(Patience::of_seconds) {
            Ok(patience) => self.holding.acquire(session, patience, Answer::Number),
            Err(exception) => Step::Done(Err(exception)),
        }
    }

    fn release(&mut self, args: Args) -> Outcome {
        args.end()?;
        if self.holding.holder.is_none() {
            return Err(raise::runtime_error("release unlocked lock"));
        }
        self.holding.pass_on();
        Ok(Object::None)
    }

    fn locked(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(self.holding.holder.is_some().into())
    }
}

impl Kind for Lock {
    const METHODS: &'static [(&'static str, Method<Self>)] = &[
        (ACQUIRE, Parks(Self::acquire_told)),
        ("acquire", Parks(Self::acquire)),
        ("locked", Now(Self::locked)),
        ("release", Now(Self::release)),
    ];
    const IS_HELD: bool = true;

    fn create(args: Args) -> Result<Self, Exception> {
        args.end()?;
        Ok(Self::default())
    }

    fn value(&self) -> Outcome {
        Err(raise::type_error("cannot pickle a Lock"))
    }

    fn repr(&self) -> String {
        format!("<{} Lock>", if self.holding.holder.is_some() { "locked" } else { "unlocked" })
    }

    fn give_back(&mut self, session: SessionId, given: Object) {
        self.holding.leave(session, given == Object::Int(acquired::OWNER_DIED));
    }

    fn on_session_end(&mut self, session: SessionId) {
        self.holding.leave(session, true);
    }
}

/// A lock that its holder can acquire again, and that nobody else can release.
#[derive(Default)]
pub(super) struct RLock {
    holding: Holding,
    /// How often its holder has acquired it once more.
    again: u64,
}

impl RLock {
    fn acquire(&mut self, args: Args, session: SessionId) -> Step {
        let patience = match patience(args) {
            Ok(patience) => patience,
            Err(exception) => return Step::Done(Err(exception)),
        };
        if self.holding.holder == Some(session) {
            self.again += 1;
            return Step::Done(Ok(Object::Bool(true)));
        }
        self.holding.acquire(session, patience, Answer::Flag)
    }

    fn release(&mut self, args: Args, session: SessionId) -> Step {
        let outcome = args.end().and_then(|()| {
            if self.holding.holder != Some(session) {
                return Err(raise::runtime_error("cannot release un-acquired lock"));
            }
            match self.again.checked_sub(1) {
                Some(again) => self.again = again,
                None => self.holding.pass_on(),
            }
            Ok(Object::None)
        });
        Step::Done(outcome)
    }
}

impl Kind for RLock {
    const METHODS: &'static [(&'static str, Method<Self>)] =
        &[("acquire", Parks(Self::acquire)), ("release", Parks(Self::release))];
    const IS_HELD: bool = true;

    fn create(args: Args) -> Result<Self, Exception> {
        args.end()?;
        Ok(Self::default())
    }

    fn value(&self) -> Outcome {
        Err(raise::type_error("cannot pickle an RLock"))
    }

    fn repr(&self) -> String {
        format!("<{} RLock>", if self.holding.holder.is_some() { "locked" } else { "unlocked" })
    }

    fn give_back(&mut self, session: SessionId, given: Object) {
        self.holding.leave(session, given == Object::Int(acquired::OWNER_DIED));
    }

    fn on_session_end(&mut self, session: SessionId) {
        if self.holding.holder == Some(session) {
            self.again = 0;
            self.holding.leave(session, true);
        }
    }
}
