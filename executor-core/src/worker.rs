//! Running a task from its bytes, in a worker.

use std::sync::Arc;

use crate::context::{Host, Scope};
use crate::identity::{self, Invocation, Target};
use crate::parcel::{Outlet, Parcel};
use crate::task::TaskId;

/// A task as a worker gets it.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// How the function is found.
    pub target: &'a Target,
    /// The serialised argument.
    pub arg: Parcel<'a>,
    /// The id that the submitter knows.
    pub task: TaskId,
    /// Which attempt this is, counting from 1.
    pub attempt: u32,
    /// What the backend wants to be asked with; see [`Host`].
    pub token: u64,
}

/// Runs the task on this thread, inside of its context; the serialised result goes to `out`.
///
/// Panics of the function, of `Deserialize` and of `Serialize` are caught and become errors. If the body is a future, it
/// comes back to be polled, and enters its context at each poll.
pub fn run(incoming: Incoming<'_>, host: &Arc<dyn Host>, out: &mut Outlet<'_>) -> Invocation {
    let scope = Scope::of_token(incoming.token, incoming.task, incoming.attempt, host);
    match scope.enter(|| identity::invoke(incoming.target, incoming.arg, out)) {
        Invocation::Done(result) => Invocation::Done(result),
        Invocation::Pending(body) => {
            Invocation::Pending(Box::pin(scope.into_owned_token().poll_inside(body)))
        }
    }
}
