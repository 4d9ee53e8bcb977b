//! What can become of a call on a shared object.

use std::sync::Arc;

use crate::connection::ConnectionError;
use crate::object::{Exception, ObjectError};
use crate::rpc::RpcError;

/// Why a call on a manager or on one of its objects has no value.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ManagerError {
    /// The object raised an exception, as it would in Python.
    #[error("{method} of a {object} raised {exception}")]
    #[non_exhaustive]
    Raised {
        /// The type of the object: `dict`.
        object: String,
        /// What was called.
        method: String,
        /// What was raised.
        exception: Box<Exception>,
    },
    /// The queue has no item, or had none until the time was up.
    #[error("the queue is empty")]
    Empty,
    /// The queue has no room, or had none until the time was up.
    #[error("the queue is full")]
    Full,
    /// The object is not there any more.
    #[error(
        "the {object} does not exist any more at the manager at {address}: no proxy of it was left, and what had been on its \
         way for too long does not count"
    )]
    #[non_exhaustive]
    Gone {
        /// Its type.
        object: String,
        /// The manager's address.
        address: String,
    },
    /// What was found or sent is a proxy of another type.
    #[error("the manager has a {found} where a {expected} was expected")]
    #[non_exhaustive]
    OtherType {
        /// The type that was asked for.
        expected: String,
        /// The type that is there.
        found: String,
    },
    /// The manager cannot be reached, or does not accept the key.
    #[error("cannot reach the manager at {address}")]
    #[non_exhaustive]
    Connect {
        /// Its address.
        address: String,
        /// Why.
        #[source]
        source: Arc<ConnectionError>,
    },
    /// The connection to the manager has ended, and with it all that this process referred to there.
    #[error(
        "the connection to the manager at {address} has ended, and with it the objects: connect to a manager again and make \
         them anew"
    )]
    #[non_exhaustive]
    Disconnected {
        /// Its address.
        address: String,
        /// How it ended.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The manager answers something else than a manager does.
    #[error("what answers at {address} does not behave as a manager does")]
    #[non_exhaustive]
    Protocol {
        /// The address.
        address: String,
        /// What happened.
        #[source]
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// An argument does not become an object. Nothing was sent.
    #[error("an argument of {method} of a {object} cannot be sent")]
    #[non_exhaustive]
    Encode {
        /// The type of the object.
        object: String,
        /// What was called.
        method: String,
        /// Why.
        #[source]
        source: ObjectError,
    },
    /// The value came and is of another type than the one asked for.
    #[error("the value of {method} of a {object} is not a `{expected}`")]
    #[non_exhaustive]
    Decode {
        /// The type of the object.
        object: String,
        /// What was called.
        method: String,
        /// The type in Rust.
        expected: &'static str,
        /// What does not fit.
        #[source]
        source: ObjectError,
    },
}

impl ManagerError {
    /// The exception, if the object raised one.
    #[must_use]
    pub fn exception(&self) -> Option<&Exception> {
        match self {
            Self::Raised { exception, .. } => Some(exception),
            _ => None,
        }
    }

    /// Whether the manager is gone or cannot be reached, rather than this one call having failed.
    #[must_use]
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Disconnected { .. })
    }

    /// What a failure of the layer below is here.
    pub(super) fn from_rpc(address: &str, error: RpcError) -> Self {
        let address = address.to_owned();
        match error {
            RpcError::Disconnected { .. } | RpcError::Stopping { .. } => {
                Self::Disconnected { address, source: Arc::new(error) }
            }
            other => Self::Protocol { address, source: Arc::new(other) },
        }
    }
}
