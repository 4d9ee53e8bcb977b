//! How calls and answers are written: four dialects, of which a peer speaks one.
//!
//! # Protocol
//!
//! Which one, a server is told, or takes from the first byte of the peer's first message:
//!
//! | first byte | dialect | a call | its answer |
//! | --- | --- | --- | --- |
//! | `01` | [`Native`](Dialect::Native) | a hello, then as in `protocol` | as in `protocol` |
//! | `80` | [`Python`](Dialect::Python) | a pickle of the `bytes` that are a pickle of `(name, args, kwargs)` | a pickle of the `bytes` that are a pickle of the value or of the exception |
//! | `93`, `94` | [`MessagePackRpc`](Dialect::MessagePackRpc) | `[0, id, name, params]`, or `[2, name, params]` without an answer | `[1, id, error, value]` |
//! | `{`, `[`, white space | [`JsonRpc`](Dialect::JsonRpc) | `{"jsonrpc": "2.0", "method": name, "params": .., "id": id}`, or an array of such; no `id`: no answer | `{"jsonrpc": "2.0", "result" or "error": .., "id": id}` |
//!
//! *Python.* What lies twice in a pickle is what `connection.send(pickle.dumps(..))` makes; a call that is pickled once is
//! answered with a pickle that is, too. Nothing but the order tells which answer is for which call, so a call is begun when the one
//! before it has been answered. Errors are instances of builtin exceptions: that of a handler is what it returned if it is an
//! [`Exception`], an `OSError` if it is an [`io::Error`](std::io::Error), and else a `RuntimeError`; an unknown name is an
//! `AttributeError`, arguments that do not fit are a `TypeError`, all with their message, and notes.
//!
//! *MessagePack-RPC.* An error is a map of `type`, `message`, and `notes`, a list. Params are an array.
//!
//! *JSON-RPC 2.0.* Params are an array, or an object whose items are arguments by name. The codes of errors are those of the
//! standard for what the standard knows, and -32000 for the error of a handler; `data` has its `type` and `notes`.
//!
//! *Arguments*, in all but the native dialect, are positional and named. They fit a handler's argument as
//! [`Arguments`] says: a tuple takes the positional ones, a struct takes those of its fields' names, anything else takes
//! the one that there is.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::protocol::{self, CallId, Failure, FailureKind, ProtocolError};
use super::transport::Batch;
use crate::object::{Arguments, Codec, Exception, Object};

mod json;
mod message_pack;
mod python;
#[cfg(test)]
mod tests;

pub(crate) use json::{JsonBatch, refuse_batch};

/// How calls and answers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// That of this crate: many calls at a time, deadlines, cancels; the client's hello says by which codec.
    Native,
    /// That of Python's well-known thirty-line server and client.
    Python,
    /// MessagePack-RPC, without its stream framing.
    MessagePackRpc,
    /// JSON-RPC 2.0, batches included.
    JsonRpc,
}

impl Dialect {
    /// The dialect of a peer whose first message begins like this.
    pub(crate) fn of_first_message(message: &[u8]) -> Option<Self> {
        match *message.first()? {
            0x01 => Some(Self::Native),
            0x80 => Some(Self::Python),
            // A map is not a call, and a batch of JSON begins with `[`, which is no array of MessagePack.
            0x93 | 0x94 => Some(Self::MessagePackRpc),
            b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n' => Some(Self::JsonRpc),
            _ => None,
        }
    }

    /// Whether nothing but the order tells which answer is for which call.
    pub(crate) fn answers_in_order(self) -> bool {
        self == Self::Python
    }
}

/// The number of a codec in the native hello.
pub(crate) fn codec_to_wire(codec: Codec) -> u8 {
    match codec {
        Codec::Bincode => 0,
        Codec::Pickle => 1,
        Codec::MessagePack => 2,
        Codec::Json => 3,
    }
}

/// The codec of that number.
pub(crate) fn codec_from_wire(number: u8) -> Result<Codec, ProtocolError> {
    match number {
        0 => Ok(Codec::Bincode),
        1 => Ok(Codec::Pickle),
        2 => Ok(Codec::MessagePack),
        3 => Ok(Codec::Json),
        _ => Err(ProtocolError::Malformed { what: "codec" }),
    }
}

/// What a message of a peer wants.
pub(crate) enum Wish<'a> {
    Call(Request<'a>),
    /// Several calls in one message, and what should have been some.
    Calls(Vec<Result<Request<'static>, (Form, Fault)>>),
    /// Nobody waits for that call any more.
    Cancel(CallId),
    /// Not a call; this is to be answered.
    Bad(Form, Fault),
}

/// A call, in whatever dialect.
pub(crate) struct Request<'a> {
    pub(crate) name: std::borrow::Cow<'a, str>,
    pub(crate) args: Args<'a>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) form: Form,
}

/// The arguments of a call, not yet of the handler's type.
pub(crate) enum Args<'a> {
    /// One value that is all of them.
    Encoded(Codec, &'a [u8]),
    Values(Arguments),
}

/// How the answer to a call is to be written.
#[derive(Debug)]
pub(crate) enum Form {
    Native {
        codec: Codec,
        id: CallId,
    },
    Python {
        nested: bool,
    },
    MessagePack {
        id: u64,
    },
    Json {
        id: Object,
        batch: Option<Arc<JsonBatch>>,
    },
    /// Not at all.
    Silent,
}

/// A [`Failure`] with what only some dialects can say.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) failure: Box<Failure>,
    /// For Python, if the handler has said which exception it is to be.
    pub(crate) exception: Option<Box<Exception>>,
    /// It is not about a call: what came is none.
    pub(crate) malformed: Option<Malformed>,
}

/// Why a message is no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// It cannot be decoded.
    Bytes,
    /// It is a value of some other form.
    Value,
}

/// Reads a message that is not the first of a native peer.
///
/// # Errors
///
/// The peer does not speak the dialect, and cannot be told so.
pub(crate) fn read(dialect: Dialect, codec: Codec, message: &[u8]) -> Result<Wish<'_>, ProtocolError> {
    match dialect {
        Dialect::Native => Ok(match protocol::ToServer::decode(message)? {
            protocol::ToServer::Cancel(id) => Wish::Cancel(id),
            protocol::ToServer::Call(call) => Wish::Call(Request {
                name: call.name.into(),
                args: Args::Encoded(codec, call.body),
                deadline: call.deadline,
                form: Form::Native { codec, id: call.id },
            }),
        }),
        Dialect::Python => Ok(python::read(message)),
        Dialect::MessagePackRpc => message_pack::read(message),
        Dialect::JsonRpc => Ok(json::read(message)),
    }
}

impl Args<'_> {
    /// The handler's argument.
    pub(crate) fn decode<A: DeserializeOwned>(self) -> Result<A, Fault> {
        match self {
            Self::Values(arguments) => {
                A::deserialize(arguments).map_err(|error| Fault::bad_arguments(&error))
            }
            Self::Encoded(codec, body) => codec.decode(body).or_else(|error| {
                // A codec that says what there is lets a lone value be one positional argument.
                let values = match codec {
                    Codec::Bincode => None,
                    _ => codec.decode::<Object>(body).ok().map(positional),
                };
                let again = values.and_then(|values| A::deserialize(values).ok());
                again.ok_or_else(|| Fault::bad_arguments(&error))
            }),
        }
    }
}

/// A value that is all of the arguments.
pub(crate) fn positional(value: Object) -> Arguments {
    let positional = match value {
        Object::Tuple(items) | Object::List(items) => items,
        Object::None => Vec::new(),
        one => vec![one],
    };
    Arguments { positional, named: Vec::new() }
}

impl Form {
    /// Adds the message that answers with this value, or that the value cannot be encoded.
    pub(crate) fn write_value<R: Serialize + ?Sized>(&self, value: &R, batch: &mut Batch) {
        let written = match self {
            Self::Native { codec, id } => batch.try_push_with(|out| {
                protocol::encode_answer_header(out, *id);
                codec.encode(value, out).map_err(|error| Fault::unencodable(&error))
            }),
            Self::Python { nested } => batch.try_push_with(|out| python::write_value(value, *nested, out)),
            Self::MessagePack { id } => batch.try_push_with(|out| message_pack::write_value(*id, value, out)),
            Self::Json { id, batch: None } => batch.try_push_with(|out| json::write_value(id, value, out)),
            Self::Json { id, batch: Some(calls) } => {
                let mut part = Vec::new();
                let written = json::write_value(id, value, &mut part);
                if written.is_ok() {
                    calls.finish(&part, batch);
                }
                written
            }
            Self::Silent => Ok(()),
        };
        if let Err(fault) = written {
            self.write_fault(&fault, batch);
        }
    }

    /// Adds the message that answers with this fault.
    pub(crate) fn write_fault(&self, fault: &Fault, batch: &mut Batch) {
        match self {
            Self::Native { id, .. } => {
                batch.push_with(|out| protocol::encode_failure(out, *id, &fault.failure));
            }
            Self::Python { nested } => batch.push_with(|out| python::write_fault(fault, *nested, out)),
            Self::MessagePack { id } => {
                batch.push_with(|out| message_pack::write_fault(*id, &fault.failure, out));
            }
            Self::Json { id, batch: None } => batch.push_with(|out| json::write_fault(id, fault, out)),
            Self::Json { id, batch: Some(calls) } => {
                let mut part = Vec::new();
                json::write_fault(id, fault, &mut part);
                calls.finish(&part, batch);
            }
            Self::Silent => {}
        }
    }

    /// What a cancel calls the call.
    pub(crate) fn cancel_id(&self) -> Option<CallId> {
        match self {
            Self::Native { id, .. } => Some(*id),
            _ => None,
        }
    }
}

impl Fault {
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Failure::new(kind, message).into()
    }

    pub(crate) fn bad_arguments(error: &dyn std::error::Error) -> Self {
        Self::new(FailureKind::BadArguments, chain(error))
    }

    pub(crate) fn malformed(how: Malformed, error: &dyn std::error::Error) -> Self {
        Self { malformed: Some(how), ..Self::bad_arguments(error) }
    }

    pub(crate) fn unencodable(error: &dyn std::error::Error) -> Self {
        Self::new(FailureKind::Encode, format!("the value cannot be encoded: {}", chain(error)))
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure: Box::new(failure), exception: None, malformed: None }
    }
}

/// An error with all of its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
