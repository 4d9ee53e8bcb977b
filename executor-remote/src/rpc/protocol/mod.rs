//! The native messages of a call and its answer, without IO.
//!
//! # Protocol
//!
//! ```text
//! client                                   server
//!   Hello: magic, version, codec      ->
//!   Call, Call, Cancel, ..            ->
//!                                     <-   Hello: magic, version, codec
//!                                     <-   Answer or Failure, in any order
//!                                     <-   Goodbye, then the end of the stream
//! ```
//!
//! The client does not wait for the server's hello: its calls follow its own at once. A server of another version answers with
//! its own hello and a goodbye. Each message is whole when it comes here; who carries it knows its length. Numbers are
//! little-endian.
//!
//! | message | layout |
//! | --- | --- |
//! | Hello | `01` `"executor-rpc"`, version u8, codec u8; later versions may append, so more is ignored |
//! | Call | `01`, id u64, deadline u32, length of the name u8, name, body in the codec |
//! | Cancel | `02`, id u64 |
//! | Answer | `03`, id u64, body in the codec |
//! | Failure | `04`, id u64, kind u8, type name (u16, text), message (u32, text), count u16, notes (u32, text each) |
//! | Goodbye | `05`, reason (u32, text) |
//!
//! A deadline is in milliseconds from when the server has read the call; 0 is none. Ids are the client's to choose, and must
//! not be those of a call in flight. A call is answered once, by an Answer or a Failure, unless it is cancelled, when it may be
//! answered or not. A Goodbye is the server's last message: what it has not answered before, it has not begun.
//!
//! The codec of the hello is that of all bodies: see [`Hello::codec`].

use std::time::Duration;

#[cfg(test)]
mod tests;

/// How a native client begins.
pub(crate) const MAGIC: &[u8; 13] = b"\x01executor-rpc";

/// The version of everything in this module.
pub(crate) const VERSION: u8 = 1;

/// The longest name of a function, in bytes.
pub(crate) const NAME_LIMIT: usize = 255;

/// The longest text of a failure or goodbye, in bytes; what is longer is cut when it is written, and refused when it is read.
pub(crate) const TEXT_LIMIT: usize = 64 * 1024;

/// The greatest number of notes of a failure.
pub(crate) const NOTES_LIMIT: usize = 64;

const CALL: u8 = 1;
const CANCEL: u8 = 2;
const ANSWER: u8 = 3;
const FAILURE: u8 = 4;
const GOODBYE: u8 = 5;

/// What a client numbers its calls by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallId(pub(crate) u64);

/// The first message of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    /// [`VERSION`] of the sender.
    pub(crate) version: u8,
    /// What bodies are encoded with.
    pub(crate) codec: u8,
}

/// A message to a server, after the hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ToServer<'a> {
    /// Run this.
    Call(Call<'a>),
    /// Nobody wants the answer to that call any more.
    Cancel(CallId),
}

/// A call as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) id: CallId,
    /// Of use for so long, from when it is read; in whole milliseconds on the wire, rounded up.
    pub(crate) deadline: Option<Duration>,
    pub(crate) name: &'a str,
    /// The arguments.
    pub(crate) body: &'a [u8],
}

/// A message from a server, after the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FromServer<'a> {
    /// The value of that call.
    Answer(CallId, &'a [u8]),
    /// That call has no value.
    Failure(CallId, Failure),
    /// The server has nothing more to say, and why.
    Goodbye(&'a str),
}

/// Why a call has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// Of the handler's error, for [`FailureKind::Error`]; else empty.
    pub(crate) type_name: String,
    pub(crate) message: String,
    /// What else is to be said; for [`FailureKind::UnknownName`] the nearest names.
    pub(crate) notes: Vec<String>,
}

/// Whose fault it is that a call has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The handler returned an error.
    Error = 1,
    /// The handler panicked.
    Panic = 2,
    /// There is no function of this name.
    UnknownName = 3,
    /// The function takes other arguments.
    BadArguments = 4,
    /// The time was up before there was a value.
    DeadlineExceeded = 5,
    /// The server takes no more calls. This one has not been begun.
    Stopping = 6,
    /// The value cannot be encoded for this peer.
    Encode = 7,
    /// The executor that the handler gave its work to did not run it to its end.
    Executor = 8,
}

/// What cannot be a message of this protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The first bytes are not those of the native hello.
    #[error("the first message is not a hello of executor's rpc: it begins with \"{}\"", received.escape_ascii())]
    NotHello {
        /// The first bytes, at most as many as a hello has.
        received: Vec<u8>,
    },
    /// The peer is of another version.
    #[error(
        "the peer speaks version {theirs} of executor's rpc and this side version {ours}: use the same release on both"
    )]
    Version {
        /// Ours.
        ours: u8,
        /// The peer's.
        theirs: u8,
    },
    /// A message of a kind that does not exist, or not in this direction.
    #[error("a message of the unknown kind {kind}")]
    UnknownKind {
        /// Its first byte.
        kind: u8,
    },
    /// A message ends too early, is too long, or holds what is no text.
    #[error("a message with a bad {what}")]
    Malformed {
        /// The field.
        what: &'static str,
    },
    /// A name that does not fit into a call.
    #[error("the function name has {len} bytes, and may have {NAME_LIMIT}")]
    NameTooLong {
        /// Its length in bytes.
        len: usize,
    },
}

impl ProtocolError {
    pub(crate) fn not_hello(message: &[u8]) -> Self {
        Self::NotHello { received: message[..message.len().min(Hello::LEN)].to_vec() }
    }
}

impl Hello {
    /// Its length.
    pub(crate) const LEN: usize = MAGIC.len() + 2;

    /// The hello of this version.
    pub(crate) fn new(codec: u8) -> Self {
        Self { version: VERSION, codec }
    }

    /// Appends it.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[self.version, self.codec]);
    }

    /// Reads it, of whatever version.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::NotHello`].
    pub(crate) fn decode(message: &[u8]) -> Result<Self, ProtocolError> {
        match message.strip_prefix(MAGIC) {
            Some(&[version, codec, ..]) => Ok(Self { version, codec }),
            _ => Err(ProtocolError::not_hello(message)),
        }
    }

    /// Itself, if it is of our version.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Version`].
    pub(crate) fn of_our_version(self) -> Result<Self, ProtocolError> {
        match self.version {
            VERSION => Ok(self),
            theirs => Err(ProtocolError::Version { ours: VERSION, theirs }),
        }
    }
}

/// Appends a call but for its body, which the caller appends.
///
/// # Errors
///
/// [`ProtocolError::NameTooLong`]; nothing has been appended then.
pub(crate) fn encode_call_header(
    out: &mut Vec<u8>,
    id: CallId,
    deadline: Option<Duration>,
    name: &str,
) -> Result<(), ProtocolError> {
    let length = u8::try_from(name.len()).map_err(|_| ProtocolError::NameTooLong { len: name.len() })?;
    let mut header = [0; 14];
    header[0] = CALL;
    header[1..9].copy_from_slice(&id.0.to_le_bytes());
    header[9..13].copy_from_slice(&deadline_to_wire(deadline).to_le_bytes());
    header[13] = length;
    out.extend_from_slice(&header);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

/// Appends a cancel.
pub(crate) fn encode_cancel(out: &mut Vec<u8>, id: CallId) {
    encode_kind_and_id(out, CANCEL, id);
}

/// Appends an answer but for its body, which the caller appends.
pub(crate) fn encode_answer_header(out: &mut Vec<u8>, id: CallId) {
    encode_kind_and_id(out, ANSWER, id);
}

/// Appends a failure. Texts that are too long are cut.
pub(crate) fn encode_failure(out: &mut Vec<u8>, id: CallId, failure: &Failure) {
    encode_kind_and_id(out, FAILURE, id);
    out.push(failure.kind as u8);
    let type_name = cut(&failure.type_name, usize::from(u16::MAX));
    out.extend_from_slice(&(type_name.len() as u16).to_le_bytes());
    out.extend_from_slice(type_name.as_bytes());
    encode_text(out, &failure.message);
    let notes = &failure.notes[..failure.notes.len().min(NOTES_LIMIT)];
    out.extend_from_slice(&(notes.len() as u16).to_le_bytes());
    for note in notes {
        encode_text(out, note);
    }
}

/// Appends a goodbye.
pub(crate) fn encode_goodbye(out: &mut Vec<u8>, reason: &str) {
    out.push(GOODBYE);
    encode_text(out, reason);
}

impl<'a> ToServer<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::UnknownKind`], [`ProtocolError::Malformed`].
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields(message);
        match fields.u8("kind")? {
            CALL => {
                let id = CallId(fields.u64("id")?);
                let deadline = deadline_from_wire(fields.u32("deadline")?);
                let length = usize::from(fields.u8("name")?);
                let name = text(fields.take(length, "name")?, "name")?;
                Ok(Self::Call(Call { id, deadline, name, body: fields.0 }))
            }
            CANCEL => {
                let id = CallId(fields.u64("id")?);
                fields.end("cancel")?;
                Ok(Self::Cancel(id))
            }
            kind => Err(ProtocolError::UnknownKind { kind }),
        }
    }
}

impl<'a> FromServer<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::UnknownKind`], [`ProtocolError::Malformed`].
    pub(crate) fn decode(message: &'a [u8]) -> Result<Self, ProtocolError> {
        let mut fields = Fields(message);
        match fields.u8("kind")? {
            ANSWER => Ok(Self::Answer(CallId(fields.u64("id")?), fields.0)),
            FAILURE => {
                let id = CallId(fields.u64("id")?);
                let failure = Failure::decode(&mut fields)?;
                fields.end("failure")?;
                Ok(Self::Failure(id, failure))
            }
            GOODBYE => {
                let reason = fields.text("reason")?;
                fields.end("goodbye")?;
                Ok(Self::Goodbye(reason))
            }
            kind => Err(ProtocolError::UnknownKind { kind }),
        }
    }
}

impl Failure {
    /// A failure with a message alone.
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, type_name: String::new(), message: message.into(), notes: Vec::new() }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, ProtocolError> {
        let kind =
            FailureKind::decode(fields.u8("failure")?).ok_or(ProtocolError::Malformed { what: "failure" })?;
        let length = usize::from(fields.u16("type name")?);
        let type_name = text(fields.take(length, "type name")?, "type name")?.to_owned();
        let message = fields.text("message")?.to_owned();
        let count = usize::from(fields.u16("notes")?);
        if count > NOTES_LIMIT {
            return Err(ProtocolError::Malformed { what: "notes" });
        }
        let notes =
            (0..count).map(|_| fields.text("note").map(str::to_owned)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { kind, type_name, message, notes })
    }
}

impl FailureKind {
    fn decode(byte: u8) -> Option<Self> {
        const ALL: [FailureKind; 8] = [
            FailureKind::Error,
            FailureKind::Panic,
            FailureKind::UnknownName,
            FailureKind::BadArguments,
            FailureKind::DeadlineExceeded,
            FailureKind::Stopping,
            FailureKind::Encode,
            FailureKind::Executor,
        ];
        ALL.into_iter().find(|&kind| kind as u8 == byte)
    }
}

fn encode_kind_and_id(out: &mut Vec<u8>, kind: u8, id: CallId) {
    let mut header = [0; 9];
    header[0] = kind;
    header[1..].copy_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&header);
}

fn encode_text(out: &mut Vec<u8>, text: &str) {
    let text = cut(text, TEXT_LIMIT);
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The longest beginning that has at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// A deadline that is too long to be said is none.
fn deadline_to_wire(deadline: Option<Duration>) -> u32 {
    let Some(deadline) = deadline else { return 0 };
    let milliseconds = deadline.as_nanos().div_ceil(1_000_000).max(1);
    u32::try_from(milliseconds).unwrap_or(0)
}

fn deadline_from_wire(milliseconds: u32) -> Option<Duration> {
    (milliseconds != 0).then(|| Duration::from_millis(milliseconds.into()))
}

/// What is left of a message.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], ProtocolError> {
        let (field, rest) = self.0.split_at_checked(length).ok_or(ProtocolError::Malformed { what })?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], ProtocolError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(ProtocolError::Malformed { what })?;
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, ProtocolError> {
        self.array(what).map(|[byte]| byte)
    }

    fn u16(&mut self, what: &'static str) -> Result<u16, ProtocolError> {
        self.array(what).map(u16::from_le_bytes)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, ProtocolError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, ProtocolError> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn text(&mut self, what: &'static str) -> Result<&'a str, ProtocolError> {
        let length = self.u32(what)? as usize;
        if length > TEXT_LIMIT {
            return Err(ProtocolError::Malformed { what });
        }
        text(self.take(length, what)?, what)
    }

    fn end(&self, what: &'static str) -> Result<(), ProtocolError> {
        if self.0.is_empty() { Ok(()) } else { Err(ProtocolError::Malformed { what }) }
    }
}

fn text<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, ProtocolError> {
    std::str::from_utf8(bytes).map_err(|_| ProtocolError::Malformed { what })
}
