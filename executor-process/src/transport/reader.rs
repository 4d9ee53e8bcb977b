//! Frames out of a byte stream, without IO.
//!
//! ```text
//!   loop {
//!       read into spare(), then filled(n)            or: feed(bytes)
//!       while let Some(body) = next_frame()? { .. }
//!   }
//!   at the end of the stream: finish()?
//! ```
//!
//! Bodies are slices of the reader's own buffer: nothing is copied between the socket and the decoder, but for the part
//! of a frame that happened to arrive with the frames before it.

use std::ops::Range;

use super::HEADER;

/// The buffer's usual size: about what a Unix socket hands over in one call.
const BASE: usize = 64 * 1024;

/// A buffer that grew for a large frame is given back when this many frames in a row would have fitted a quarter of it.
/// So a stream of large frames keeps its buffer, and one large frame does not hold memory for ever.
const CALM_FRAMES: u32 = 64;

/// Why a byte stream is not a stream of frames. The stream is of no use afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A frame is larger than the limit. Nothing was allocated for it.
    #[error("a frame of {size} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Size of the body in bytes.
        size: u64,
        /// The limit for it in bytes.
        limit: u64,
    },
    /// The stream ended within a frame.
    #[error("the stream ended within a frame, after {have} of {need} bytes")]
    Truncated {
        /// Bytes of the frame that arrived, the length field included.
        have: u64,
        /// Bytes of the frame, as far as known: the length field alone if that is incomplete.
        need: u64,
    },
}

/// Extracts frames from bytes as they arrive.
#[derive(Debug)]
pub struct FrameReader {
    /// Initialised throughout; the stream's bytes are in `start..end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
    received: u64,
    calm: u32,
}

impl FrameReader {
    /// A reader that refuses bodies of more than `limit` bytes. Worst-case memory: `limit`, or 64 KiB if that is more.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize);
        Self { buffer: vec![0; BASE], start: 0, end: 0, limit, received: 0, calm: 0 }
    }

    /// Bytes that came in since the start: the parent's position in the worker's stream.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Where to read the next bytes to; never empty. At least what the frame under way lacks fits.
    pub fn spare(&mut self) -> &mut [u8] {
        let need = self.needed();
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.resize_empty(need);
        } else if self.buffer.len() - self.start < need || self.room_is_scarce() {
            self.move_to_front(need);
        }
        &mut self.buffer[self.end..]
    }

    /// Records that the first `n` bytes of [`spare`](Self::spare) were filled.
    ///
    /// # Panics
    ///
    /// If `spare` is shorter.
    pub fn filled(&mut self, n: usize) {
        assert!(n <= self.buffer.len() - self.end, "more bytes filled than there was room for");
        self.end += n;
        self.received += n as u64;
    }

    /// Takes bytes that were read elsewhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        let held = self.end - self.start;
        let need = self.needed().max(held + bytes.len());
        if self.buffer.len() - self.end < bytes.len() {
            self.move_to_front(need);
        }
        self.buffer[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// The body of the next frame, if it is here whole.
    ///
    /// # Errors
    ///
    /// [`FrameError::TooLarge`], again at every further call.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, FrameError> {
        Ok(self.next_span()?.map(|span| &self.buffer[span]))
    }

    /// The place of the body that [`next_frame`](Self::next_frame) would give, for [`bytes`](Self::bytes).
    ///
    /// # Errors
    ///
    /// As for `next_frame`.
    #[inline]
    pub fn next_span(&mut self) -> Result<Option<Range<usize>>, FrameError> {
        let available = self.end - self.start;
        let Some(body) = self.body_length() else {
            return Ok(None);
        };
        if body > self.limit {
            return Err(FrameError::TooLarge { size: body as u64, limit: self.limit as u64 });
        }
        let frame = HEADER + body;
        if available < frame {
            return Ok(None);
        }
        let from = self.start + HEADER;
        self.start += frame;
        self.calm = if frame > self.buffer.len() / 4 { 0 } else { self.calm.saturating_add(1) };
        Ok(Some(from..from + body))
    }

    /// The bytes at a place that [`next_span`](Self::next_span) gave last.
    #[inline]
    #[must_use]
    pub fn bytes(&self, span: Range<usize>) -> &[u8] {
        &self.buffer[span]
    }

    /// Whether bytes of an unfinished frame are held.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        self.start == self.end
    }

    /// Tells a clean end of the stream from one within a frame. Pull the remaining frames first.
    ///
    /// # Errors
    ///
    /// [`FrameError::Truncated`], or [`FrameError::TooLarge`] if that is what the rest is.
    pub fn finish(&self) -> Result<(), FrameError> {
        let have = (self.end - self.start) as u64;
        match self.body_length() {
            _ if have == 0 => Ok(()),
            None => Err(FrameError::Truncated { have, need: HEADER as u64 }),
            Some(body) if body > self.limit => {
                Err(FrameError::TooLarge { size: body as u64, limit: self.limit as u64 })
            }
            Some(body) => Err(FrameError::Truncated { have, need: (HEADER + body) as u64 }),
        }
    }

    /// Length of the body under way, if its length field is here.
    fn body_length(&self) -> Option<usize> {
        let header = self.buffer[self.start..self.end].first_chunk::<HEADER>()?;
        Some(u32::from_le_bytes(*header) as usize)
    }

    /// Bytes of the frame under way, its header included. A refused frame needs none: nothing is allocated for it.
    fn needed(&self) -> usize {
        match self.body_length() {
            Some(body) if body <= self.limit => HEADER + body,
            _ => HEADER,
        }
    }

    /// Fits the size of the empty buffer: back to the usual after a calm time, never below `need`.
    fn resize_empty(&mut self, need: usize) {
        if self.buffer.len() > BASE && self.calm >= CALM_FRAMES {
            self.buffer = vec![0; need.max(BASE)];
            self.calm = 0;
        }
    }

    /// Whether the room behind the held bytes is not worth a read, and can be had.
    fn room_is_scarce(&self) -> bool {
        let room = self.buffer.len() - self.end;
        room == 0 || (self.start > 0 && room < self.buffer.len() / 4)
    }

    /// Moves the held bytes to the front of a buffer of at least `need` bytes with room behind them.
    fn move_to_front(&mut self, need: usize) {
        let held = self.end - self.start;
        if need > self.buffer.len() || held == self.buffer.len() {
            // Exactly what is missing, at once. Zeroed memory of this size comes from the kernel page by page as the
            // frame arrives, so a length that is announced and never sent costs no memory.
            let mut larger = vec![0; need.max(held + BASE)];
            larger[..held].copy_from_slice(&self.buffer[self.start..self.end]);
            self.buffer = larger;
        } else {
            self.buffer.copy_within(self.start..self.end, 0);
        }
        self.start = 0;
        self.end = held;
    }
}
