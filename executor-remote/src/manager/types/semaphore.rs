//! `Semaphore` and `BoundedSemaphore`.

use super::waiters::Waiters;
use super::{Kind, Method, Now, Parks};
use crate::manager::operation::{Args, Outcome, Patience, SessionId, Step, Wait};
use crate::manager::raise;
use crate::object::{Exception, Object};

/// A number of permits. What a connection holds when it ends is not given back: nobody knows whose permit is whose, as
/// whoever has none may release one.
#[derive(Default)]
pub(super) struct Semaphore {
    permits: u64,
    /// More are never there.
    bound: Option<u64>,
    waiters: Waiters<()>,
}

impl Semaphore {
    fn of(mut args: Args) -> Result<Self, Exception> {
        let value = args.integer("value", 1)?;
        args.end()?;
        let permits =
            u64::try_from(value).map_err(|_| raise::value_error("semaphore initial value must be >= 0"))?;
        Ok(Self { permits, ..Self::default() })
    }

    fn acquire(&mut self, mut args: Args, _session: SessionId) -> Step {
        let is_blocking = args.flag("blocking", true);
        let patience = args.seconds("timeout").and_then(|limit| {
            args.end()?;
            if !is_blocking && limit.is_some() {
                return Err(raise::value_error("can't specify timeout for non-blocking acquire"));
            }
            Patience::of_flag(is_blocking, limit)
        });
        match patience {
            Err(exception) => Step::Done(Err(exception)),
            Ok(_) if self.permits > 0 => {
                self.permits -= 1;
                Step::Done(Ok(Object::Bool(true)))
            }
            Ok(Patience::No) => Step::Done(Ok(Object::Bool(false))),
            Ok(Patience::For(limit)) => {
                let receiver = self.waiters.park(());
                Step::Wait(Wait { receiver, limit, late: Ok(Object::Bool(false)), gives: true })
            }
        }
    }

    fn release(&mut self, mut args: Args) -> Outcome {
        let number = args.integer("n", 1)?;
        args.end()?;
        let number = u64::try_from(number).ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| raise::value_error("n must be one or more"))?;
        let permits = self
            .permits
            .checked_add(number)
            .filter(|permits| self.bound.is_none_or(|bound| *permits <= bound));
        self.permits = permits.ok_or_else(|| raise::value_error("Semaphore released too many times"))?;
        self.hand_out();
        Ok(Object::None)
    }

    /// Gives permits to those who wait.
    fn hand_out(&mut self) {
        while self.permits > 0 && self.waiters.answer_next(|()| Ok(Object::Bool(true))).is_some() {
            self.permits -= 1;
        }
    }
}

impl Kind for Semaphore {
    const METHODS: &'static [(&'static str, Method<Self>)] =
        &[("acquire", Parks(Self::acquire)), ("release", Now(Self::release))];

    fn create(args: Args) -> Result<Self, Exception> {
        Self::of(args)
    }

    fn value(&self) -> Outcome {
        Err(raise::type_error("cannot pickle a Semaphore"))
    }

    fn repr(&self) -> String {
        format!("<Semaphore value={}>", self.permits)
    }

    fn give_back(&mut self, _session: SessionId, _given: Object) {
        self.permits += 1;
        self.hand_out();
    }
}

/// A semaphore that cannot be released more often than it was acquired.
pub(super) struct BoundedSemaphore(Semaphore);

impl BoundedSemaphore {
    fn acquire(&mut self, args: Args, session: SessionId) -> Step {
        self.0.acquire(args, session)
    }

    fn release(&mut self, args: Args) -> Outcome {
        self.0.release(args)
    }
}

impl Kind for BoundedSemaphore {
    const METHODS: &'static [(&'static str, Method<Self>)] =
        &[("acquire", Parks(Self::acquire)), ("release", Now(Self::release))];

    fn create(args: Args) -> Result<Self, Exception> {
        let semaphore = Semaphore::of(args)?;
        Ok(Self(Semaphore { bound: Some(semaphore.permits), ..semaphore }))
    }

    fn value(&self) -> Outcome {
        Err(raise::type_error("cannot pickle a BoundedSemaphore"))
    }

    fn repr(&self) -> String {
        format!("<BoundedSemaphore value={}>", self.0.permits)
    }

    fn give_back(&mut self, session: SessionId, given: Object) {
        Kind::give_back(&mut self.0, session, given);
    }
}
