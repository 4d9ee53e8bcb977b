//! JSON-RPC 2.0.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::message_pack::type_name;
use super::{Args, Fault, Form, Malformed, Request, Wish};
use crate::object::{Arguments, Codec, Object};
use crate::rpc::protocol::{FailureKind, ProtocolError};
use crate::rpc::transport::Batch;

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;
const METHOD_NOT_FOUND: i32 = -32601;
const INVALID_PARAMS: i32 = -32602;
const INTERNAL_ERROR: i32 = -32603;
const HANDLER_ERROR: i32 = -32000;

/// The answers to the calls of one message, which go out in one message when all are there.
#[derive(Debug)]
pub(crate) struct JsonBatch(Mutex<Parts>);

#[derive(Debug)]
struct Parts {
    /// Calls that are not answered.
    left: usize,
    text: Vec<u8>,
}

impl JsonBatch {
    fn new(calls: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Parts { left: calls, text: Vec::new() })))
    }

    /// Adds the answer to a call, and the message if that was the last.
    pub(super) fn finish(&self, answer: &[u8], batch: &mut Batch) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let separator = if parts.text.is_empty() { b'[' } else { b',' };
        parts.text.push(separator);
        parts.text.extend_from_slice(answer);
        parts.left -= 1;
        if parts.left == 0 {
            parts.text.push(b']');
            batch.push(&parts.text);
        }
    }
}

/// Reads a call or a batch of calls.
pub(super) fn read(message: &[u8]) -> Wish<'static> {
    let bad = |fault| Wish::Bad(Form::Json { id: Object::None, batch: None }, fault);
    match Codec::Json.decode(message) {
        Err(error) => bad(Fault::malformed(Malformed::Bytes, &error)),
        Ok(Object::List(calls) | Object::Tuple(calls)) if !calls.is_empty() => read_batch(calls),
        Ok(call) => match read_call(call) {
            Ok(request) => Wish::Call(request),
            Err((id, fault)) => Wish::Bad(Form::Json { id, batch: None }, fault),
        },
    }
}

fn read_batch(calls: Vec<Object>) -> Wish<'static> {
    let mut calls: Vec<_> = calls
        .into_iter()
        .map(|call| read_call(call).map_err(|(id, fault)| (Form::Json { id, batch: None }, fault)))
        .collect();
    let forms = calls.iter_mut().map(|call| match call {
        Ok(request) => &mut request.form,
        Err((form, _)) => form,
    });
    let mut forms: Vec<_> = forms.filter(|form| !matches!(form, Form::Silent)).collect();
    let together = JsonBatch::new(forms.len());
    for form in &mut forms {
        if let Form::Json { batch, .. } = form {
            *batch = Some(together.clone());
        }
    }
    Wish::Calls(calls)
}

/// Answers a message of too many calls.
pub(crate) fn refuse_batch(reason: &str, batch: &mut Batch) {
    let fault = Fault { malformed: Some(Malformed::Value), ..Fault::new(FailureKind::BadArguments, reason) };
    Form::Json { id: Object::None, batch: None }.write_fault(&fault, batch);
}

fn read_call(call: Object) -> Result<Request<'static>, (Object, Fault)> {
    let malformed = |what| Fault::malformed(Malformed::Value, &ProtocolError::Malformed { what });
    let Object::Dict(items) = call else { return Err((Object::None, malformed("call: it is no object"))) };
    let (mut version, mut method, mut params, mut id) = (None, None, None, None);
    for (key, value) in items {
        match key.as_str() {
            Some("jsonrpc") => version = Some(value),
            Some("method") => method = Some(value),
            Some("params") => params = Some(value),
            Some("id") => id = Some(value),
            _ => {}
        }
    }
    let form = match id {
        None => Form::Silent,
        Some(id @ (Object::Str(_) | Object::Int(_) | Object::Float(_) | Object::None)) => {
            Form::Json { id, batch: None }
        }
        Some(_) => return Err((Object::None, malformed("id"))),
    };
    let bad = |form, what| {
        let id = if let Form::Json { id, .. } = form { id } else { Object::None };
        Err((id, malformed(what)))
    };
    if version.as_ref().and_then(Object::as_str) != Some("2.0") {
        return bad(form, "version: \"jsonrpc\" should be \"2.0\"");
    }
    let Some(Object::Str(name)) = method else { return bad(form, "method") };
    let arguments = match params {
        None => Arguments { positional: Vec::new(), named: Vec::new() },
        Some(Object::List(positional) | Object::Tuple(positional)) => {
            Arguments { positional, named: Vec::new() }
        }
        Some(Object::Dict(items)) => {
            let named = items.into_iter().map(|(key, value)| match key {
                Object::Str(key) => (key, value),
                other => (other.to_string(), value),
            });
            Arguments { positional: Vec::new(), named: named.collect() }
        }
        Some(_) => return bad(form, "value of params: they should be an array or an object"),
    };
    Ok(Request { name: name.into(), args: Args::Values(arguments), deadline: None, form })
}

pub(super) fn write_value<R: Serialize + ?Sized>(
    id: &Object,
    value: &R,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let unencodable = |error| Fault::unencodable(&error);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","result":"#);
    Codec::Json.encode(value, out).map_err(unencodable)?;
    out.extend_from_slice(br#","id":"#);
    Codec::Json.encode(id, out).map_err(unencodable)?;
    out.push(b'}');
    Ok(())
}

pub(super) fn write_fault(id: &Object, fault: &Fault, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Answer<'a> {
        jsonrpc: &'static str,
        error: Error<'a>,
        id: &'a Object,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        code: i32,
        message: &'a str,
        data: Data<'a>,
    }
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(rename = "type")]
        kind: &'a str,
        notes: &'a [String],
    }
    let failure = &fault.failure;
    let code = match failure.kind {
        _ if fault.malformed == Some(Malformed::Bytes) => PARSE_ERROR,
        _ if fault.malformed == Some(Malformed::Value) => INVALID_REQUEST,
        FailureKind::UnknownName => METHOD_NOT_FOUND,
        FailureKind::BadArguments => INVALID_PARAMS,
        FailureKind::Panic | FailureKind::Encode | FailureKind::Executor => INTERNAL_ERROR,
        FailureKind::Error | FailureKind::DeadlineExceeded | FailureKind::Stopping => HANDLER_ERROR,
    };
    let data = Data { kind: type_name(failure), notes: &failure.notes };
    let error = Error { code, message: &failure.message, data };
    let written = Codec::Json.encode(&Answer { jsonrpc: "2.0", error, id }, out);
    debug_assert!(written.is_ok(), "texts and numbers can be encoded");
}
