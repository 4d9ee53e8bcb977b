//! Messages in a stream of bytes, and back. Knows no sockets.
//!
//! | message | bytes |
//! | --- | --- |
//! | up to 2^31 - 1 bytes | its length, signed, 32 bits, big endian; then the message |
//! | longer | -1 in 32 bits; the length, unsigned, 64 bits, big endian; then the message |
//!
//! A message may be empty. The long form is taken for short messages as well. A negative length other than -1, which Python
//! takes for an empty message, is an error, and the stream is of no more use: nobody can tell where the next message begins.

use std::ops::Range;

#[cfg(test)]
mod tests;

const SHORT_HEADER: usize = 4;
const LONG_HEADER: usize = 12;
/// The longest message with a header of four bytes.
const SHORT_MAX: usize = 0x7fff_ffff;
/// What a connection needs at first.
const FIRST_BUFFER: usize = 8 * 1024;
/// The buffer of a busy connection, and the longest message that is gathered in it: thousands of small messages for one system
/// call.
const LARGEST_BUFFER: usize = 64 * 1024;
/// A long message gets this much memory at once and twice as much whenever that is full, whatever length was announced.
const FIRST_PIECE: usize = 1 << 20;

/// The bytes before a message of `len` bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; LONG_HEADER],
    len: usize,
}

impl Header {
    /// The shortest header for `len` bytes.
    #[must_use]
    pub fn new(len: usize) -> Self {
        let mut bytes = [0xff; LONG_HEADER];
        if len <= SHORT_MAX {
            bytes[..SHORT_HEADER].copy_from_slice(&(len as u32).to_be_bytes());
            return Self { bytes, len: SHORT_HEADER };
        }
        bytes[SHORT_HEADER..].copy_from_slice(&(len as u64).to_be_bytes());
        Self { bytes, len: LONG_HEADER }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a header says, or that it is not complete.
enum Announced {
    Incomplete,
    Message { header: usize, len: u64 },
}

fn read_header(bytes: &[u8]) -> Result<Announced, FrameError> {
    let Some((short, rest)) = bytes.split_first_chunk() else { return Ok(Announced::Incomplete) };
    match i32::from_be_bytes(*short) {
        -1 => Ok(match rest.split_first_chunk() {
            Some((long, _)) => Announced::Message { header: LONG_HEADER, len: u64::from_be_bytes(*long) },
            None => Announced::Incomplete,
        }),
        len => match u64::try_from(len) {
            Ok(len) => Ok(Announced::Message { header: SHORT_HEADER, len }),
            Err(_) => Err(FrameError::BadLength { len }),
        },
    }
}

/// Why no message can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The message is longer than this side takes. It is still there.
    #[error("a message of {len} bytes was announced, and at most {max} are taken")]
    TooLong {
        /// What was announced, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// A length that no message has.
    #[error("a message of {len} bytes was announced")]
    BadLength {
        /// What was announced.
        len: i32,
    },
}

/// A message that is complete.
#[derive(Debug)]
pub enum Message {
    /// Where it lies in the inbox, for [`Inbox::bytes`].
    Buffered(Range<usize>),
    /// A long one, in memory of its own.
    Large(Vec<u8>),
}

/// Received bytes, cut into messages on demand.
///
/// Memory grows with the bytes that came, never by what a header merely says.
#[derive(Debug)]
pub struct Inbox {
    buffer: Vec<u8>,
    /// What is before it was taken.
    at: usize,
    /// A long message whose header was taken and whose end has not. The buffer is empty meanwhile.
    large: Option<Large>,
    limit: usize,
}

#[derive(Debug)]
struct Large {
    body: Vec<u8>,
    len: usize,
}

impl Inbox {
    /// Takes messages of up to `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), at: 0, large: None, limit }
    }

    /// Changes the limit for what has not been taken.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The limit, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Where received bytes are to be appended: there is capacity for some. Then [`settle`](Self::settle) is to be called.
    /// Messages that lie in the buffer are void from here on.
    pub fn spare(&mut self) -> &mut Vec<u8> {
        let Some(large) = &mut self.large else {
            Self::compact(&mut self.buffer, &mut self.at);
            return &mut self.buffer;
        };
        let missing = large.len - large.body.len();
        if large.body.capacity() == large.body.len() {
            large.body.reserve_exact(missing.min(large.body.len().max(FIRST_PIECE)));
        }
        &mut large.body
    }

    /// Makes room at the end of the buffer.
    fn compact(buffer: &mut Vec<u8>, at: &mut usize) {
        buffer.copy_within(*at.., 0);
        buffer.truncate(buffer.len() - *at);
        *at = 0;
        let capacity = buffer.capacity();
        if buffer.len() == capacity {
            let larger = (2 * capacity).clamp(FIRST_BUFFER, LARGEST_BUFFER + LONG_HEADER);
            buffer.reserve_exact(larger.saturating_sub(capacity).max(FIRST_BUFFER));
        }
    }

    /// Puts into their place what was appended behind the end of a long message.
    pub fn settle(&mut self) {
        if let Some(large) = &mut self.large
            && large.body.len() > large.len
        {
            self.buffer.extend_from_slice(&large.body[large.len..]);
            large.body.truncate(large.len);
        }
    }

    /// Takes the next message, if it is complete.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLong`] if it is longer than `max` or the limit: it remains, and can be taken with a larger one.
    /// [`FrameError::BadLength`] for ever.
    pub fn next(&mut self, max: usize) -> Result<Option<Message>, FrameError> {
        if !self.is_ready(max)? {
            return Ok(None);
        }
        if let Some(large) = self.large.take() {
            return Ok(Some(Message::Large(large.body)));
        }
        match read_header(&self.buffer[self.at..])? {
            Announced::Incomplete => Ok(None),
            Announced::Message { header, len } => {
                let start = self.at + header;
                self.at = start + len as usize; // it is all in the buffer
                Ok(Some(Message::Buffered(start..self.at)))
            }
        }
    }

    /// Whether [`next`](Self::next) would give a message.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn is_ready(&mut self, max: usize) -> Result<bool, FrameError> {
        let max = max.min(self.limit);
        let too_long = |len| FrameError::TooLong { len, max };
        if let Some(large) = &self.large {
            return match large.len <= max {
                true => Ok(large.body.len() == large.len),
                false => Err(too_long(large.len as u64)),
            };
        }
        let bytes = &self.buffer[self.at..];
        let Announced::Message { header, len } = read_header(bytes)? else { return Ok(false) };
        let len = match usize::try_from(len) {
            Ok(len) if len <= max => len,
            _ => return Err(too_long(len)),
        };
        if bytes.len() - header >= len {
            return Ok(true);
        }
        if len > LARGEST_BUFFER {
            let body = bytes[header..].to_vec();
            self.buffer.clear();
            self.at = 0;
            self.large = Some(Large { body, len });
        }
        Ok(false)
    }

    /// The bytes of a message, until [`spare`](Self::spare) is called.
    #[must_use]
    pub fn bytes<'a>(&'a self, message: &'a Message) -> &'a [u8] {
        match message {
            Message::Buffered(range) => &self.buffer[range.clone()],
            Message::Large(body) => body,
        }
    }

    /// The bytes of a message as a value, without a copy if it is a long one.
    #[must_use]
    pub fn into_vec(&self, message: Message) -> Vec<u8> {
        match message {
            Message::Buffered(range) => self.buffer[range].to_vec(),
            Message::Large(body) => body,
        }
    }

    /// Whether the stream may end here: between two messages.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.large.is_none() && self.at == self.buffer.len()
    }

    /// Takes up to `most` bytes that are no messages.
    pub fn take_raw(&mut self, most: usize) -> &[u8] {
        let start = self.at;
        self.at += most.min(self.buffer.len() - start);
        &self.buffer[start..self.at]
    }

    /// How much memory it holds, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.buffer.capacity() + self.large.as_ref().map_or(0, |large| large.body.capacity())
    }
}
