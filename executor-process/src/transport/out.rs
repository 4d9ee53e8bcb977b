//! Bytes on their way out: frames go in at one end, the socket takes what it can from the other.

use std::io;

use super::{FrameError, HEADER};

/// A buffer that grew beyond this is given back when it has been emptied.
const KEEP: usize = 1024 * 1024;

/// Frames that wait to be written.
///
/// Bounded by its user: ask [`len`](Self::len) before adding more.
#[derive(Debug, Default)]
pub struct OutBuf {
    bytes: Vec<u8>,
    start: usize,
}

impl OutBuf {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that wait.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Records that the first `n` bytes were written.
    ///
    /// # Panics
    ///
    /// If fewer wait.
    pub fn consume(&mut self, n: usize) {
        assert!(n <= self.len(), "more bytes consumed than were waiting");
        self.start += n;
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            if self.bytes.capacity() > KEEP {
                self.bytes = Vec::new();
            }
        }
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.consume(self.len());
    }

    /// Adds one frame with the given body.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] if the body exceeds `limit`; nothing is added.
    pub fn push(&mut self, body: &[u8], limit: usize) -> Result<(), FrameError> {
        self.make_room(HEADER + body.len());
        let mut frame = self.frame(limit);
        frame.extend(body);
        frame.finish().map(drop)
    }

    /// The vector whose end is the end of what waits, for encoders that append whole frames. Only ever append to it.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        self.make_room(HEADER);
        &mut self.bytes
    }

    /// Opens a frame that is written in place. It counts once [`FrameWriter::finish`] has returned `Ok`.
    pub fn frame(&mut self, limit: usize) -> FrameWriter<'_> {
        self.make_room(HEADER);
        let from = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER]);
        FrameWriter { out: self, from, limit, finished: false }
    }

    /// Moves what waits to the front if that saves the vector from growing, at O(1) per byte written: at least half of
    /// it must be free.
    fn make_room(&mut self, n: usize) {
        if self.bytes.capacity() - self.bytes.len() < n && self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// A frame being written. Dropped unfinished, it leaves nothing behind, so an encoder may fail half-way.
#[derive(Debug)]
#[must_use = "an unfinished frame is discarded"]
pub struct FrameWriter<'a> {
    out: &'a mut OutBuf,
    from: usize,
    limit: usize,
    finished: bool,
}

impl FrameWriter<'_> {
    /// Appends to the body.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.out.bytes.extend_from_slice(bytes);
    }

    /// The vector whose end is the body, for encoders that append to one. Only ever append to it.
    pub fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.out.bytes
    }

    /// Length of the body so far.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.out.bytes.len().saturating_sub(self.from + HEADER)
    }

    /// Completes the frame and returns its size, the length field included.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`] if the body exceeds the limit; the frame is discarded.
    pub fn finish(mut self) -> Result<usize, FrameError> {
        let body = self.body_len();
        let too_large = FrameError::TooLarge { size: body as u64, limit: self.limit as u64 };
        if body > self.limit {
            return Err(too_large);
        }
        let length = u32::try_from(body).map_err(|_| too_large)?;
        self.out.bytes[self.from..self.from + HEADER].copy_from_slice(&length.to_le_bytes());
        self.finished = true;
        Ok(HEADER + body)
    }
}

impl Drop for FrameWriter<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.out.bytes.truncate(self.from);
        }
    }
}

impl io::Write for FrameWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
