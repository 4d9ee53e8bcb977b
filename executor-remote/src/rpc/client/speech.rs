//! What a client says and understands, in each of the dialects.
//!
//! | dialect | a call | an answer | whose it is |
//! | --- | --- | --- | --- |
//! | native | as in [`protocol`](crate::rpc::protocol), after a hello | as there | by id |
//! | Python | a pickle of the `bytes` that are the pickle of `(name, args, {})` | a pickle of the `bytes` that are the pickle of the value or exception | the oldest call's |
//! | MessagePack-RPC | `[0, id, name, [args..]]` | `[1, id, error, value]` | by id, of 32 bits |
//! | JSON-RPC 2.0 | `{"jsonrpc": "2.0", "method": name, "params": [args..], "id": id}` | with `"result"` or `"error"` | by id |
//!
//! The arguments are encoded first, as that runs the caller's code; then the message is put together from them, under the
//! lock, when its id is known. Likewise an answer is sorted to its call by who reads, and its value is decoded by who takes
//! it.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::{Body, Name};
use crate::object::pickle::{self, Limits};
use crate::object::{Arguments, Codec, Object};
use crate::rpc::RpcError;
use crate::rpc::dialect::codec_to_wire;
use crate::rpc::in_flight::Matching;
use crate::rpc::protocol::{
    CallId, Failure, FailureKind, FromServer, Hello, MAGIC, encode_call_header, encode_cancel,
};
use crate::rpc::transport::Batch;

mod json;
mod message_pack;
#[cfg(test)]
mod tests;

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A value in the dialect's encoding.
    Value(Body),
    /// The server says why there is none.
    Failure(Box<Failure>),
    /// This side does.
    Error(Box<RpcError>),
}

impl Answer {
    /// For a call whose connection has ended.
    pub(crate) fn lost(failure: &RpcError, sent: bool) -> Answer {
        let mut failure = failure.clone();
        if let (RpcError::Disconnected { reason, .. }, false) = (&mut failure, sent) {
            reason.push_str("; this call had not been sent");
        }
        Answer::Error(Box::new(failure))
    }

    /// The value, or the error that the caller of `name` gets.
    pub(crate) fn into_result(self, name: &Name) -> Result<Body, RpcError> {
        match self {
            Answer::Value(body) => Ok(body),
            Answer::Failure(failure) => Err(RpcError::from_failure(&name.to_string(), *failure)),
            Answer::Error(error) => Err(*error),
        }
    }
}

/// Whose answer it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Whose {
    Id(CallId),
    /// By an id of 32 bits.
    Short(u32),
    /// Of the call that was sent first.
    Oldest,
}

/// What a message from the server is.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Whose, Answer),
    /// Nothing that a call waits for.
    Nothing,
}

/// See the module documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speech {
    Native(Codec),
    Python,
    MessagePack,
    Json,
}

impl Speech {
    /// What is spoken on a connection of this codec; values of the native dialect are encoded by `native`.
    pub(crate) fn of(codec: Codec, native: Codec) -> Speech {
        match codec {
            Codec::Bincode => Speech::Native(native),
            Codec::Pickle => Speech::Python,
            Codec::MessagePack => Speech::MessagePack,
            Codec::Json => Speech::Json,
        }
    }

    pub(crate) fn matching(self) -> Matching {
        match self {
            Speech::Native(_) => Matching::Cancellable,
            Speech::Python => Matching::InOrder,
            Speech::MessagePack | Speech::Json => Matching::ById,
        }
    }

    /// What is sent before the first call.
    pub(crate) fn begin(self, out: &mut Batch) {
        if let Speech::Native(codec) = self {
            out.push_with(|out| Hello::new(codec_to_wire(codec)).encode(out));
        }
    }

    /// Appends the arguments, as [`write_call`](Self::write_call) wants them. Runs the caller's code.
    pub(crate) fn encode_args<A: Serialize + ?Sized>(
        self,
        name: &str,
        args: &A,
        out: &mut Vec<u8>,
    ) -> Result<(), RpcError> {
        let failed = |error: &dyn std::fmt::Display| RpcError::Encode {
            name: name.to_owned(),
            message: error.to_string(),
        };
        let positional =
            || Arguments::from_serialize(args).map_err(|error| failed(&error)).map(|args| args.positional);
        match self {
            Speech::Native(codec) => codec.encode(args, out).map_err(|error| failed(&error)),
            Speech::Python => {
                let args = Object::Tuple(positional()?);
                let call = Object::Tuple(vec![Object::Str(name.to_owned()), args, Object::Dict(Vec::new())]);
                out.extend_from_slice(&pickle::write(&call));
                Ok(())
            }
            Speech::MessagePack => {
                Codec::MessagePack.encode(&Object::List(positional()?), out).map_err(|error| failed(&error))
            }
            Speech::Json => {
                Codec::Json.encode(&Object::List(positional()?), out).map_err(|error| failed(&error))
            }
        }
    }

    /// Appends the message of a call, whose arguments are encoded already, and whose name is not longer than a name may be.
    pub(crate) fn write_call(
        self,
        out: &mut Vec<u8>,
        id: CallId,
        limit: Option<Duration>,
        name: &str,
        args: &[u8],
    ) {
        match self {
            Speech::Native(_) => {
                let written = encode_call_header(out, id, limit, name);
                debug_assert!(written.is_ok(), "a name that is too long was refused before");
                out.extend_from_slice(args);
            }
            Speech::Python => write_nested(out, args),
            Speech::MessagePack => message_pack::write_call(out, id.short(), name, args),
            Speech::Json => json::write_call(out, id.short(), name, args),
        }
    }

    /// The message of a call that cannot be sent yet.
    pub(crate) fn message(self, id: CallId, limit: Option<Duration>, name: &str, args: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(name.len() + args.len() + 64);
        self.write_call(&mut message, id, limit, name, args);
        message
    }

    /// Tells the server that nobody waits for a call any more, if it understands that.
    pub(crate) fn write_cancel(self, out: &mut Batch, id: CallId) {
        if let Speech::Native(_) = self {
            out.push_with(|out| encode_cancel(out, id));
        }
    }

    /// Reads a message from the server. Runs nobody's code.
    ///
    /// # Errors
    ///
    /// Why nothing can be understood of what may follow.
    pub(crate) fn read_reply(self, message: &[u8]) -> Result<Reply, RpcError> {
        match self {
            Speech::Native(_) => read_native(message),
            Speech::Python => Ok(Reply::Answer(Whose::Oldest, read_nested(message))),
            Speech::MessagePack => message_pack::read_reply(message).map_err(RpcError::Protocol),
            Speech::Json => json::read_reply(message).map_err(RpcError::Protocol),
        }
    }

    /// The value of an answer. Runs the caller's code.
    pub(crate) fn decode<R: DeserializeOwned>(self, name: &Name, body: &[u8]) -> Result<R, RpcError> {
        let failed = |error: &dyn std::fmt::Display| RpcError::Decode {
            name: name.to_string(),
            message: error.to_string(),
        };
        match self {
            Speech::Native(codec) => codec.decode(body).map_err(|error| failed(&error)),
            Speech::MessagePack => Codec::MessagePack.decode(body).map_err(|error| failed(&error)),
            Speech::Json => Codec::Json.decode(body).map_err(|error| failed(&error)),
            Speech::Python => match pickle::from_slice_or_exception(body) {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(exception)) => Err(RpcError::Remote {
                    message: exception.message(),
                    type_name: exception.type_name,
                    notes: exception.cause.into_iter().chain(exception.notes).collect(),
                }),
                Err(error) => Err(failed(&error)),
            },
        }
    }
}

fn read_native(message: &[u8]) -> Result<Reply, RpcError> {
    // A hello begins as a call does, which no server sends.
    if message.first() == MAGIC.first() {
        let hello = Hello::decode(message).and_then(Hello::of_our_version);
        return hello.map(|_| Reply::Nothing).map_err(RpcError::Protocol);
    }
    match FromServer::decode(message).map_err(RpcError::Protocol)? {
        FromServer::Answer(id, body) => Ok(Reply::Answer(Whose::Id(id), Answer::Value(Body::copy_of(body)))),
        FromServer::Failure(id, failure) => {
            Ok(Reply::Answer(Whose::Id(id), Answer::Failure(Box::new(failure))))
        }
        FromServer::Goodbye(reason) => Err(RpcError::disconnected(format!("the server says: {reason}"))),
    }
}

/// Appends a pickle of the `bytes` that are a pickle.
fn write_nested(out: &mut Vec<u8>, inner: &[u8]) {
    out.extend_from_slice(b"\x80\x04\x8e"); // PROTO 4, BINBYTES8
    out.extend_from_slice(&(inner.len() as u64).to_le_bytes());
    out.extend_from_slice(inner);
    out.push(b'.');
}

/// The pickle within, or the message itself if its server pickles once.
fn read_nested(message: &[u8]) -> Answer {
    match pickle::read(message, &Limits::default()) {
        Ok(Object::Bytes(inner)) => Answer::Value(Body::of(inner)),
        Ok(_) => Answer::Value(Body::copy_of(message)),
        // It is the answer to one call, and the next one may be of use.
        Err(error) => Answer::Failure(Box::new(Failure::new(FailureKind::Encode, error.to_string()))),
    }
}

/// What a failure is that says its type by name, as where there are no kinds of failures.
fn named_failure(type_name: &str, message: String, notes: Vec<String>) -> Failure {
    let kind = match type_name {
        "Panicked" => FailureKind::Panic,
        "UnknownName" => FailureKind::UnknownName,
        "BadArguments" => FailureKind::BadArguments,
        "DeadlineExceeded" => FailureKind::DeadlineExceeded,
        "Stopping" => FailureKind::Stopping,
        "Encode" => FailureKind::Encode,
        "Executor" => FailureKind::Executor,
        _ => FailureKind::Error,
    };
    let type_name = if kind == FailureKind::Error { type_name.to_owned() } else { String::new() };
    Failure { kind, type_name, message, notes }
}

/// The items of a dict whose keys are texts.
fn field<'a>(object: &'a Object, name: &str) -> Option<&'a Object> {
    let Object::Dict(items) = object else { return None };
    items.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

/// A text as it is, anything else as it is shown.
fn text(object: &Object) -> String {
    object.as_str().map_or_else(|| object.to_string(), str::to_owned)
}

fn notes(object: Option<&Object>) -> Vec<String> {
    match object {
        Some(Object::List(notes) | Object::Tuple(notes)) => notes.iter().map(text).collect(),
        _ => Vec::new(),
    }
}
