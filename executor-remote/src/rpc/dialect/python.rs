//! Calls of Python's thirty-line client, and answers for it.

use serde::Serialize;

use super::{Args, Fault, Form, Malformed, Request, Wish};
use crate::object::pickle::{self, Limits};
use crate::object::{Arguments, Exception, Object};
use crate::rpc::protocol::FailureKind;

#[derive(Debug, thiserror::Error)]
#[error("a call is a pickle of (name, args, kwargs), and not of {found}")]
struct NotACall {
    found: String,
}

/// Reads a call. What cannot be read is a pickle that can be answered all the same.
pub(super) fn read(message: &[u8]) -> Wish<'static> {
    let outer = pickle::read(message, &Limits::default());
    let (nested, call) = match outer {
        Ok(Object::Bytes(inner) | Object::ByteArray(inner)) => {
            (true, pickle::read(&inner, &Limits::default()))
        }
        once => (false, once),
    };
    let form = Form::Python { nested };
    let call = match call {
        Ok(call) => call,
        // Who sends what cannot be read is most likely the client that pickles twice.
        Err(error) => {
            return Wish::Bad(Form::Python { nested: true }, Fault::malformed(Malformed::Bytes, &error));
        }
    };
    match to_request(call) {
        Ok((name, arguments)) => {
            let args = Args::Values(arguments);
            Wish::Call(Request { name: name.into(), args, deadline: None, form })
        }
        Err(error) => Wish::Bad(form, Fault::malformed(Malformed::Value, &error)),
    }
}

fn to_request(call: Object) -> Result<(String, Arguments), NotACall> {
    let not_a_call = |found: &Object| NotACall { found: found.type_name().to_owned() };
    let parts = match call {
        Object::Tuple(parts) | Object::List(parts) => parts,
        other => return Err(not_a_call(&other)),
    };
    let [name, args, kwargs] = <[Object; 3]>::try_from(parts)
        .map_err(|parts| NotACall { found: format!("{} values", parts.len()) })?;
    let positional = match args {
        Object::Tuple(items) | Object::List(items) => items,
        other => return Err(not_a_call(&other)),
    };
    let Object::Dict(items) = kwargs else { return Err(not_a_call(&kwargs)) };
    let named = items
        .into_iter()
        .map(|(key, value)| match key {
            Object::Str(key) => Ok((key, value)),
            other => Err(not_a_call(&other)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    match name {
        Object::Str(name) => Ok((name, Arguments { positional, named })),
        other => Err(not_a_call(&other)),
    }
}

pub(super) fn write_value<R: Serialize + ?Sized>(
    value: &R,
    nested: bool,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    write(nested, out, |out| pickle::to_buffer(value, out).map_err(|error| Fault::unencodable(&error)))
}

pub(super) fn write_fault(fault: &Fault, nested: bool, out: &mut Vec<u8>) {
    let exception = Object::from(to_exception(fault));
    let written: Result<(), std::convert::Infallible> = write(nested, out, |out| {
        out.extend_from_slice(&pickle::write(&exception));
        Ok(())
    });
    let Ok(()) = written;
}

/// Writes a pickle, or a pickle of the `bytes` that are one.
fn write<E>(
    nested: bool,
    out: &mut Vec<u8>,
    inner: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    const BEGIN: &[u8] = b"\x80\x04\x8e"; // PROTO 4, BINBYTES8
    if !nested {
        return inner(out);
    }
    out.extend_from_slice(BEGIN);
    let at = out.len();
    out.extend_from_slice(&[0; 8]);
    inner(out)?;
    let length = (out.len() - at - 8) as u64;
    out[at..at + 8].copy_from_slice(&length.to_le_bytes());
    out.push(b'.');
    Ok(())
}

fn to_exception(fault: &Fault) -> Exception {
    let failure = &fault.failure;
    if let Some(exception) = &fault.exception {
        return Exception::clone(exception);
    }
    let class = match failure.kind {
        FailureKind::UnknownName => "AttributeError",
        FailureKind::BadArguments | FailureKind::Encode => "TypeError",
        FailureKind::DeadlineExceeded => "TimeoutError",
        FailureKind::Stopping => "ConnectionError",
        FailureKind::Error | FailureKind::Panic | FailureKind::Executor => "RuntimeError",
    };
    let mut exception = Exception::new(class, &*failure.message);
    exception.notes = match failure.kind {
        FailureKind::UnknownName => Vec::new(), // the nearest names, which are in the message
        _ => failure.notes.clone(),
    };
    match failure.kind {
        FailureKind::Error if !failure.type_name.is_empty() => {
            exception.with_note(format!("remote: an error of the type {}", failure.type_name))
        }
        FailureKind::Panic => exception.with_note("remote: the function panicked"),
        _ => exception,
    }
}
