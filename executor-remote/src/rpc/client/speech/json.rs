//! JSON-RPC 2.0.

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Reply, Whose, named_failure};
use crate::rpc::client::body::Body;
use crate::rpc::protocol::{Failure, FailureKind, ProtocolError};

const METHOD_NOT_FOUND: i64 = -32601;
const INVALID_PARAMS: i64 = -32602;

pub(super) fn write_call(out: &mut Vec<u8>, id: u32, name: &str, args: &[u8]) {
    out.extend_from_slice(br#"{"jsonrpc":"2.0","method":"#);
    out.extend_from_slice(Value::from(name).to_string().as_bytes());
    out.extend_from_slice(br#","params":"#);
    out.extend_from_slice(args);
    out.extend_from_slice(format!(r#","id":{id}}}"#).as_bytes());
}

#[derive(Deserialize)]
struct Message {
    id: Option<Value>,
    #[serde(default)]
    result: Value,
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    code: i64,
    message: String,
    data: Option<Value>,
}

pub(super) fn read_reply(message: &[u8]) -> Result<Reply, ProtocolError> {
    let malformed = |what| ProtocolError::Malformed { what };
    let message: Message = serde_json::from_slice(message).map_err(|_| malformed("JSON-RPC message"))?;
    let id = match &message.id {
        // A notification of the server; nobody listens. An error without an id is about something that was no call.
        None | Some(Value::Null) => return Ok(Reply::Nothing),
        Some(id) => id.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| malformed("id"))?,
    };
    let answer = match message.error {
        None => Answer::Value(Body::of(message.result.to_string().into_bytes())),
        Some(error) => Answer::Failure(Box::new(failure(error))),
    };
    Ok(Reply::Answer(Whose::Short(id), answer))
}

fn failure(error: Error) -> Failure {
    let data = error.data.unwrap_or_default();
    let notes = data["notes"].as_array().into_iter().flatten();
    let notes = notes.map(|note| note.as_str().map_or_else(|| note.to_string(), str::to_owned)).collect();
    let mut failure = named_failure(data["type"].as_str().unwrap_or_default(), error.message, notes);
    match error.code {
        METHOD_NOT_FOUND => failure.kind = FailureKind::UnknownName,
        INVALID_PARAMS => failure.kind = FailureKind::BadArguments,
        _ => {}
    }
    failure
}
