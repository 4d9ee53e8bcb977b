//! MessagePack-RPC, one message in each message of the transport.

use serde::Serialize;

use super::{Args, Fault, Form, Malformed, Request, Wish};
use crate::object::{Arguments, Codec, Object};
use crate::rpc::protocol::{Failure, FailureKind, ProtocolError};

const REQUEST: i128 = 0;
const NOTIFICATION: i128 = 2;

/// Reads a request or notification. Anything else has no id, and so no answer.
pub(super) fn read(message: &[u8]) -> Result<Wish<'static>, ProtocolError> {
    let malformed = |what| ProtocolError::Malformed { what };
    let parts = match Codec::MessagePack.decode(message) {
        Ok(Object::List(parts) | Object::Tuple(parts)) => parts,
        _ => return Err(malformed("MessagePack array")),
    };
    let mut parts = parts.into_iter();
    let form = match parts.next() {
        Some(Object::Int(REQUEST)) => match parts.next() {
            Some(Object::Int(id)) => {
                Form::MessagePack { id: u64::try_from(id).map_err(|_| malformed("id"))? }
            }
            _ => return Err(malformed("id")),
        },
        Some(Object::Int(NOTIFICATION)) => Form::Silent,
        _ => return Err(malformed("type of a MessagePack-RPC message")),
    };
    let (Some(Object::Str(name)), Some(params), None) = (parts.next(), parts.next(), parts.next()) else {
        return Ok(Wish::Bad(form, Fault::malformed(Malformed::Value, &malformed("method"))));
    };
    let positional = match params {
        Object::List(items) | Object::Tuple(items) => items,
        _ => return Ok(Wish::Bad(form, Fault::malformed(Malformed::Value, &malformed("list of params")))),
    };
    let args = Args::Values(Arguments { positional, named: Vec::new() });
    Ok(Wish::Call(Request { name: name.into(), args, deadline: None, form }))
}

pub(super) fn write_value<R: Serialize + ?Sized>(id: u64, value: &R, out: &mut Vec<u8>) -> Result<(), Fault> {
    write_begin(id, out);
    out.push(NIL);
    Codec::MessagePack.encode(value, out).map_err(|error| Fault::unencodable(&error))
}

pub(super) fn write_fault(id: u64, failure: &Failure, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Error<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        message: &'a str,
        notes: &'a [String],
    }
    let error = Error { kind: type_name(failure), message: &failure.message, notes: &failure.notes };
    write_begin(id, out);
    let written = Codec::MessagePack.encode(&error, out);
    debug_assert!(written.is_ok(), "texts can be encoded");
    out.push(NIL);
}

/// What the type of a failure is called where there are no kinds of failures.
pub(super) fn type_name(failure: &Failure) -> &str {
    match failure.kind {
        FailureKind::Error if failure.type_name.is_empty() => "Error",
        FailureKind::Error => &failure.type_name,
        FailureKind::Panic => "Panicked",
        FailureKind::UnknownName => "UnknownName",
        FailureKind::BadArguments => "BadArguments",
        FailureKind::DeadlineExceeded => "DeadlineExceeded",
        FailureKind::Stopping => "Stopping",
        FailureKind::Encode => "Encode",
        FailureKind::Executor => "Executor",
    }
}

const NIL: u8 = 0xc0;

fn write_begin(id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x94, 0x01]);
    match id {
        0..=0x7f => out.push(id as u8),
        _ => match u32::try_from(id) {
            Ok(id) => {
                out.push(0xce);
                out.extend_from_slice(&id.to_be_bytes());
            }
            Err(_) => {
                out.push(0xcf);
                out.extend_from_slice(&id.to_be_bytes());
            }
        },
    }
}
