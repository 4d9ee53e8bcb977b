//! What can become of a call.

use std::sync::Arc;

use super::protocol::{Failure, FailureKind, ProtocolError};
use super::transport::TransportError;

/// Why a call has no value.
///
/// What the server said about one call is told apart from what happened to the connection: only
/// [`Disconnected`](Self::Disconnected) and [`Protocol`](Self::Protocol) concern other calls as well.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The handler returned an error, or raised an exception.
    #[error("the remote function failed: {}", Named { type_name, message })]
    #[non_exhaustive]
    Remote {
        /// Of the error or exception, as the other side names it (`builtins.ValueError`); empty if it does not.
        type_name: String,
        /// Its text.
        message: String,
        /// What was added to it.
        notes: Vec<String>,
    },
    /// The handler panicked.
    #[error("the remote function panicked: {message}")]
    #[non_exhaustive]
    Panicked {
        /// The panic's message.
        message: String,
    },
    /// The server has no function of this name.
    #[error("the server knows no function `{name}`{}", DidYouMean(nearest))]
    #[non_exhaustive]
    UnknownName {
        /// The name.
        name: String,
        /// Those that it has and that are nearest, best first.
        nearest: Vec<String>,
    },
    /// The function takes other arguments.
    #[error("the arguments do not fit `{name}`: {message}")]
    #[non_exhaustive]
    BadArguments {
        /// The function.
        name: String,
        /// What does not fit.
        message: String,
    },
    /// The arguments cannot be encoded. Nothing was sent.
    #[error("the arguments of `{name}` cannot be sent: {message}")]
    #[non_exhaustive]
    Encode {
        /// The function.
        name: String,
        /// Why.
        message: String,
    },
    /// The value came, and is not of the type that was asked for; or it could not be encoded by the server.
    #[error("the value of `{name}` cannot be had: {message}")]
    #[non_exhaustive]
    Decode {
        /// The function.
        name: String,
        /// Why.
        message: String,
    },
    /// There was no answer in time. The server has been told that none is wanted any more.
    #[error("no answer before the deadline of the call of `{name}`")]
    #[non_exhaustive]
    DeadlineExceeded {
        /// The function.
        name: String,
    },
    /// The server is being stopped and takes no more calls. The function was not begun.
    #[error(
        "the server is stopping and has not begun `{name}`: call another one, or this one when it is back"
    )]
    #[non_exhaustive]
    Stopping {
        /// The function.
        name: String,
    },
    /// The executor to which the handler gave its work did not run it to its end.
    #[error("the server's executor has lost the call of `{name}`: {message}")]
    #[non_exhaustive]
    Executor {
        /// The function.
        name: String,
        /// What the executor said.
        message: String,
    },
    /// The connection is gone, by this side's or the other's doing; the function may have run or not.
    #[error("the connection to the server has ended: {reason}")]
    #[non_exhaustive]
    Disconnected {
        /// Who ended it, or how it broke.
        reason: String,
        /// How it broke, if it did.
        source: Option<Arc<TransportError>>,
    },
    /// What came is not an answer.
    #[error("the server's answer is not of the protocol")]
    Protocol(#[source] ProtocolError),
}

impl RpcError {
    /// What a failure that came for a call of `name` is to its caller.
    pub(crate) fn from_failure(name: &str, failure: Failure) -> Self {
        let Failure { kind, type_name, message, notes } = failure;
        let name = name.to_owned();
        match kind {
            FailureKind::Error => Self::Remote { type_name, message, notes },
            FailureKind::Panic => Self::Panicked { message },
            FailureKind::UnknownName => Self::UnknownName { name, nearest: notes },
            FailureKind::BadArguments => Self::BadArguments { name, message },
            FailureKind::DeadlineExceeded => Self::DeadlineExceeded { name },
            FailureKind::Stopping => Self::Stopping { name },
            FailureKind::Encode => Self::Decode { name, message },
            FailureKind::Executor => Self::Executor { name, message },
        }
    }

    /// The connection has ended for a reason of our own.
    pub(crate) fn disconnected(reason: impl Into<String>) -> Self {
        Self::Disconnected { reason: reason.into(), source: None }
    }

    /// The connection is broken.
    pub(crate) fn broken(source: Arc<TransportError>) -> Self {
        Self::Disconnected { reason: "it is broken".to_owned(), source: Some(source) }
    }
}

struct Named<'a> {
    type_name: &'a str,
    message: &'a str,
}

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.type_name, self.message) {
            ("", message) => f.write_str(message),
            (type_name, "") => f.write_str(type_name),
            (type_name, message) => write!(f, "{type_name}: {message}"),
        }
    }
}

struct DidYouMean<'a>(&'a [String]);

impl std::fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((last, others)) = self.0.split_last() else { return Ok(()) };
        f.write_str("; did you mean ")?;
        for other in others {
            write!(f, "`{other}`, ")?;
        }
        if !others.is_empty() {
            f.write_str("or ")?;
        }
        write!(f, "`{last}`?")
    }
}
