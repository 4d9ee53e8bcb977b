//! `Event`: a flag to wait for.

use super::waiters::Waiters;
use super::{Kind, Method, Now, Parks};
use crate::manager::operation::{Args, Outcome, Patience, SessionId, Step, Wait};
use crate::manager::raise;
use crate::object::{Exception, Object};

#[derive(Default)]
pub(super) struct Event {
    is_set: bool,
    waiters: Waiters<()>,
}

impl Event {
    fn is_set(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(Object::Bool(self.is_set))
    }

    fn set(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.is_set = true;
        self.waiters.answer_all(|()| Ok(Object::Bool(true)));
        Ok(Object::None)
    }

    fn clear(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.is_set = false;
        Ok(Object::None)
    }

    /// Whether it is set; waits for that.
    fn wait(&mut self, mut args: Args, _session: SessionId) -> Step {
        let patience = args.seconds("timeout").and_then(|limit| {
            args.end()?;
            // As in Python, where a limit that is over does not wait.
            Patience::of_seconds(limit.map(|limit| limit.max(0.0)))
        });
        match patience {
            Err(exception) => Step::Done(Err(exception)),
            Ok(_) if self.is_set => Step::Done(Ok(Object::Bool(true))),
            Ok(Patience::No) => Step::Done(Ok(Object::Bool(false))),
            Ok(Patience::For(limit)) => {
                let receiver = self.waiters.park(());
                Step::Wait(Wait { receiver, limit, late: Ok(Object::Bool(false)), gives: false })
            }
        }
    }
}

impl Kind for Event {
    const METHODS: &'static [(&'static str, Method<Self>)] = &[
        ("clear", Now(Self::clear)),
        ("is_set", Now(Self::is_set)),
        ("set", Now(Self::set)),
        ("wait", Parks(Self::wait)),
    ];

    fn create(args: Args) -> Result<Self, Exception> {
        args.end()?;
        Ok(Self::default())
    }

    fn value(&self) -> Outcome {
        Err(raise::type_error("cannot pickle an Event"))
    }

    fn repr(&self) -> String {
        format!("<Event: {}>", if self.is_set { "set" } else { "unset" })
    }
}
