//! The exceptions that shared objects raise, as Python names them.

use crate::object::{Exception, Object};

/// An exception with a message.
pub(crate) fn exception(type_name: &str, message: impl Into<String>) -> Exception {
    Exception::new(type_name, message)
}

pub(crate) fn type_error(message: impl Into<String>) -> Exception {
    exception("TypeError", message)
}

pub(crate) fn value_error(message: impl Into<String>) -> Exception {
    exception("ValueError", message)
}

pub(crate) fn index_error(message: impl Into<String>) -> Exception {
    exception("IndexError", message)
}

pub(crate) fn attribute_error(message: impl Into<String>) -> Exception {
    exception("AttributeError", message)
}

pub(crate) fn runtime_error(message: impl Into<String>) -> Exception {
    exception("RuntimeError", message)
}

/// There is no such object.
pub(crate) fn reference_error(message: impl Into<String>) -> Exception {
    exception("ReferenceError", message)
}

/// The argument of a `KeyError` is the key itself.
pub(crate) fn key_error(key: Object) -> Exception {
    Exception::with_args("KeyError", vec![key])
}

/// `queue.Empty`.
pub(crate) fn empty() -> Exception {
    Exception::with_args("queue.Empty", Vec::new())
}

/// `queue.Full`.
pub(crate) fn full() -> Exception {
    Exception::with_args("queue.Full", Vec::new())
}
