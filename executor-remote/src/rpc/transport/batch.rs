//! Messages in one buffer, in the framing of [`connection`](crate::connection).

/// The greatest length that the short form of a frame can say.
const SHORT_MAX: usize = i32::MAX as usize;

/// What remains allocated when a batch becomes empty. Picked to be more than one write usually takes.
const KEPT_CAPACITY: usize = 256 * 1024;

/// Messages that are to be sent, in one buffer.
///
/// Each message has its length in front of it, signed 32-bit big-endian, or -1 and then unsigned 64-bit big-endian if it is
/// greater than `i32::MAX`: the bytes that a stream needs are those of [`frames`](Self::frames), and a transport that has
/// messages of its own takes them one by one by [`pop`](Self::pop). A transport uses the one or the other.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where what has not been taken begins.
    begin: usize,
}

impl Batch {
    /// A batch without messages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message.
    pub fn push(&mut self, message: &[u8]) {
        self.bytes.reserve(4 + message.len());
        self.push_with(|out| out.extend_from_slice(message));
    }

    /// Adds the message that `write` appends to the buffer it is given. It must only append.
    pub fn push_with<T>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let value = write(&mut self.bytes);
        self.set_length(at);
        value
    }

    /// Adds the message that `write` appends, or nothing if it fails.
    ///
    /// # Errors
    ///
    /// That of `write`.
    pub fn try_push_with<E>(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        let written = write(&mut self.bytes);
        match written {
            Ok(()) => self.set_length(at),
            Err(_) => self.bytes.truncate(at),
        }
        written
    }

    /// The place behind the last message, for [`rewind`](Self::rewind).
    pub(crate) fn mark(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what has been added since the mark was taken; nothing may have been sent since.
    pub(crate) fn rewind(&mut self, mark: usize) {
        self.bytes.truncate(mark);
    }

    /// Moves all messages of the other batch behind those of this one. Copies nothing if this one is empty.
    pub fn append(&mut self, other: &mut Batch) {
        if self.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.bytes.extend_from_slice(other.frames());
        }
        other.clear();
    }

    /// Whether there is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.begin == self.bytes.len()
    }

    /// The bytes that are to be sent, lengths included.
    pub fn size(&self) -> usize {
        self.bytes.len() - self.begin
    }

    /// All messages with their lengths, as a stream needs them.
    pub fn frames(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }

    /// Takes so many bytes of [`frames`](Self::frames) out, which have been sent.
    ///
    /// # Panics
    ///
    /// If there are not so many.
    pub fn advance(&mut self, sent: usize) {
        assert!(sent <= self.size(), "more was sent than there is");
        self.begin += sent;
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes the next message out, for a transport that has messages of its own.
    pub fn pop(&mut self) -> Option<&[u8]> {
        if self.is_empty() {
            self.clear();
            return None;
        }
        let (header, length) = frame(self.frames()).expect("frames are written whole, by this type alone");
        let from = self.begin + header;
        self.begin = from + length;
        Some(&self.bytes[from..from + length])
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.begin = 0;
        self.bytes.shrink_to(KEPT_CAPACITY);
    }

    fn set_length(&mut self, at: usize) {
        let length = self.bytes.len() - at - 4;
        if length <= SHORT_MAX {
            self.bytes[at..at + 4].copy_from_slice(&(length as u32).to_be_bytes());
        } else {
            self.bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
            self.bytes.splice(at + 4..at + 4, (length as u64).to_be_bytes());
        }
    }
}

/// The lengths of the first frame's header and of its message.
pub(super) fn frame(frames: &[u8]) -> Option<(usize, usize)> {
    let (short, rest) = frames.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*short) {
        -1 => Some((12, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?)),
        length => Some((4, usize::try_from(length).ok()?)),
    }
}
