//! What a method of a shared object is: a function of the object, its arguments and the caller, whose outcome is there at
//! once or is waited for.
//!
//! 1. An operation runs under its object's lock and returns quickly. It never waits: it leaves the sending half of a
//!    channel with the object, and returns the receiving half as [`Step::Wait`].
//! 2. Whoever satisfies a parked call does so by sending, and believes the channel: if sending fails, that call was
//!    withdrawn, and what was sent belongs to the next one. So an item or a lock is given to exactly one caller.
//! 3. The receiving half is closed before it is looked at for the last time, be it that the limit is over or that
//!    the caller is gone. What arrived until then was given (rule 2): after the limit it is the answer, and for
//!    a caller that is gone it is undone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::raise;
use super::store::Entry;
use crate::object::{Exception, Object};

/// What a method answers or raises.
pub(crate) type Outcome = Result<Object, Exception>;

/// Who calls: a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// Where an operation has come to.
#[must_use = "a call that waits is withdrawn when this is dropped"]
pub(crate) enum Step {
    /// The outcome.
    Done(Outcome),
    /// It is parked.
    Wait(Wait),
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome)
    }
}

/// A parked call.
pub(crate) struct Wait {
    /// Gets the outcome.
    pub(crate) receiver: oneshot::Receiver<Outcome>,
    /// After how long it is given up; `None` is never.
    pub(crate) limit: Option<Duration>,
    /// What it then answers.
    pub(crate) late: Outcome,
    /// Whether what it gets is taken from the object, and goes back if the caller is gone.
    pub(crate) gives: bool,
}

impl Wait {
    /// Waits for the outcome.
    ///
    /// # Cancel safety
    ///
    /// A wait that is dropped withdraws the call; what it had been given goes back to the object.
    pub(crate) async fn outcome(self, entry: Arc<Entry>, session: SessionId) -> Outcome {
        let limit = self.limit;
        let mut parked = Parked { receiver: self.receiver, gives: self.gives, entry, session };
        let answer = match limit {
            None => (&mut parked.receiver).await.ok(),
            Some(limit) => match tokio::time::timeout(limit, &mut parked.receiver).await {
                Ok(answer) => answer.ok(),
                Err(_late) => parked.withdraw(),
            },
        };
        // Nothing is in the channel any more, so dropping it gives nothing back.
        answer.unwrap_or(self.late)
    }
}

/// A parked call whose caller may go away.
struct Parked {
    receiver: oneshot::Receiver<Outcome>,
    gives: bool,
    entry: Arc<Entry>,
    session: SessionId,
}

impl Parked {
    /// What had been sent by the time nothing more can be (rule 3).
    fn withdraw(&mut self) -> Option<Outcome> {
        self.receiver.close();
        self.receiver.try_recv().ok()
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        if let Some(Ok(given)) = self.withdraw().filter(|_| self.gives) {
            self.entry.give_back(self.session, given);
        }
    }
}

/// The arguments of a call as they came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    pub(crate) positional: Vec<Object>,
    pub(crate) keywords: Vec<(String, Object)>,
}

impl Given {
    /// Arguments by position alone.
    pub(crate) fn positional(positional: Vec<Object>) -> Self {
        Self { positional, keywords: Vec::new() }
    }

    /// Shows all arguments.
    pub(crate) fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        self.positional.iter().chain(self.keywords.iter().map(|(_, value)| value)).for_each(visit);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positional.is_empty() && self.keywords.is_empty()
    }
}

/// The arguments of a call, which an operation takes one by one.
pub(crate) struct Args {
    method: &'static str,
    positional: std::vec::IntoIter<Object>,
    keywords: Vec<(String, Object)>,
}

impl Args {
    pub(crate) fn new(method: &'static str, given: Given) -> Self {
        Self { method, positional: given.positional.into_iter(), keywords: given.keywords }
    }

    /// The next one, by position or by name.
    pub(crate) fn optional(&mut self, name: &str) -> Option<Object> {
        self.positional.next().or_else(|| {
            let at = self.keywords.iter().position(|(keyword, _)| keyword == name)?;
            Some(self.keywords.swap_remove(at).1)
        })
    }

    /// The next one, which must be there.
    pub(crate) fn required(&mut self, name: &str) -> Result<Object, Exception> {
        let method = self.method;
        self.optional(name)
            .ok_or_else(|| raise::type_error(format!("{method}() missing required argument: '{name}'")))
    }

    /// The next one, a truth value.
    pub(crate) fn flag(&mut self, name: &str, default: bool) -> bool {
        self.optional(name).map_or(default, |value| value.is_truthy())
    }

    /// The next one, seconds; `None` if it is not there or is None.
    pub(crate) fn seconds(&mut self, name: &str) -> Result<Option<f64>, Exception> {
        match self.optional(name) {
            None | Some(Object::None) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| {
                raise::type_error(format!(
                    "'{name}' should be a number of seconds, not {}",
                    value.type_name()
                ))
            }),
        }
    }

    /// The next one, a whole number; `default` if it is not there.
    pub(crate) fn integer(&mut self, name: &str, default: i128) -> Result<i128, Exception> {
        self.optional(name).map_or(Ok(default), |value| integer(&value))
    }

    /// The next one by position.
    pub(crate) fn positional(&mut self) -> Option<Object> {
        self.positional.next()
    }

    /// All that is left by name.
    pub(crate) fn keywords(&mut self) -> Vec<(String, Object)> {
        std::mem::take(&mut self.keywords)
    }

    /// All that was not taken.
    pub(crate) fn left(self) -> Given {
        Given { positional: self.positional.collect(), keywords: self.keywords }
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Exception> {
        let method = self.method;
        if let Some((name, _)) = self.keywords.first() {
            return Err(raise::type_error(format!("{method}() got an unexpected keyword argument '{name}'")));
        }
        match self.positional.len() {
            0 => Ok(()),
            more => Err(raise::type_error(format!("{method}() got {more} positional arguments too many"))),
        }
    }
}

/// A whole number, or what may stand for one.
pub(crate) fn integer(value: &Object) -> Result<i128, Exception> {
    match value {
        Object::Int(number) => Ok(*number),
        Object::Bool(flag) => Ok(i128::from(*flag)),
        other => Err(raise::type_error(format!(
            "'{}' object cannot be interpreted as an integer",
            other.type_name()
        ))),
    }
}

/// How long a call may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    No,
    /// For so long; `None` is for ever.
    For(Option<Duration>),
}

impl Patience {
    /// From seconds, of which there are not less than none. What no clock can count to is for ever.
    pub(crate) fn of_seconds(seconds: Option<f64>) -> Result<Self, Exception> {
        match seconds {
            None => Ok(Self::For(None)),
            Some(0.0) => Ok(Self::No),
            Some(seconds) if seconds > 0.0 => Ok(Self::For(Duration::try_from_secs_f64(seconds).ok())),
            Some(_) => Err(raise::value_error("'timeout' must be a non-negative number")),
        }
    }

    /// From a flag and a limit, as `Queue.get(block, timeout)` has them.
    pub(crate) fn of_flag(is_blocking: bool, seconds: Option<f64>) -> Result<Self, Exception> {
        if is_blocking { Self::of_seconds(seconds) } else { Ok(Self::No) }
    }
}
