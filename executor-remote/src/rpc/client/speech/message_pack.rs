//! MessagePack-RPC, one message in each message of the transport.

use super::{Answer, Reply, Whose, field, named_failure, notes, text};
use crate::object::{Codec, Object};
use crate::rpc::client::body::Body;
use crate::rpc::protocol::ProtocolError;

const NIL: u8 = 0xc0;

pub(super) fn write_call(out: &mut Vec<u8>, id: u32, name: &str, args: &[u8]) {
    out.extend_from_slice(&[0x94, 0x00]);
    match u8::try_from(id) {
        Ok(small @ 0..=0x7f) => out.push(small),
        _ => {
            out.push(0xce);
            out.extend_from_slice(&id.to_be_bytes());
        }
    }
    // A name has at most 255 bytes.
    out.extend_from_slice(&[0xd9, name.len() as u8]);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(args);
}

pub(super) fn read_reply(message: &[u8]) -> Result<Reply, ProtocolError> {
    let malformed = |what| ProtocolError::Malformed { what };
    let rest = match message {
        [0x94, 0x01, rest @ ..] => rest,
        // Servers may notify; nobody listens.
        [0x93, 0x02, ..] => return Ok(Reply::Nothing),
        _ => return Err(malformed("type of a MessagePack-RPC message")),
    };
    let (id, rest) = read_id(rest).ok_or_else(|| malformed("id"))?;
    let answer = match rest {
        [NIL, value @ ..] => Answer::Value(Body::copy_of(value)),
        _ => Answer::Failure(Box::new(match read_error(message) {
            Some(error @ Object::Dict(_)) => {
                let type_name = field(&error, "type").map(text).unwrap_or_default();
                let message = field(&error, "message").map_or_else(|| text(&error), text);
                named_failure(&type_name, message, notes(field(&error, "notes")))
            }
            Some(error) => named_failure("", text(&error), Vec::new()),
            None => return Err(malformed("error")),
        })),
    };
    Ok(Reply::Answer(Whose::Short(id), answer))
}

fn read_id(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (width, small) = match first {
        0..=0x7f => return Some((u32::from(first), rest)),
        0xcc => (1, 0),
        0xcd => (2, 0),
        0xce => (4, 0),
        0xcf => (8, 0),
        _ => return None,
    };
    let (id, rest) = rest.split_at_checked(width)?;
    let id = id.iter().fold(small, |id: u64, byte| id << 8 | u64::from(*byte));
    Some((u32::try_from(id).ok()?, rest))
}

fn read_error(message: &[u8]) -> Option<Object> {
    match Codec::MessagePack.decode(message).ok()? {
        Object::List(parts) | Object::Tuple(parts) => parts.into_iter().nth(2),
        _ => None,
    }
}
