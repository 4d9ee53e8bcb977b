//! Frames out of the stream of plaintext bytes.

use std::ops::Range;

use executor_core::wire::LENGTH;

#[cfg(test)]
mod tests;

/// A buffer that was needed for a large frame is given back when it is larger than this.
const KEEP: usize = 4 << 20;

/// Received bytes that have not been consumed, cut into frames on demand.
///
/// The buffer grows with the bytes that came, never by what a length merely says.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
    at: usize,
    limit: usize,
}

/// A frame that is longer than this side takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {len} bytes was announced, and at most {limit} are taken")]
pub(crate) struct FrameError {
    len: usize,
    limit: usize,
}

impl Frames {
    /// Takes frames of up to `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), at: 0, limit }
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Where received bytes are to be appended. Forgets what was consumed: ranges from before are void.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
            if self.buffer.capacity() > KEEP {
                self.buffer = Vec::new();
            }
        } else if self.at > 0 {
            self.buffer.copy_within(self.at.., 0);
            self.buffer.truncate(self.buffer.len() - self.at);
        }
        self.at = 0;
        &mut self.buffer
    }

    /// Consumes the next frame, if it is complete. The range is that of its body, for [`body`](Self::body).
    pub(crate) fn next(&mut self) -> Result<Option<Range<usize>>, FrameError> {
        let Some((header, rest)) = self.buffer[self.at..].split_first_chunk::<LENGTH>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*header) as usize;
        if len > self.limit {
            return Err(FrameError { len, limit: self.limit });
        }
        if rest.len() < len {
            return Ok(None);
        }
        let start = self.at + LENGTH;
        self.at = start + len;
        Ok(Some(start..self.at))
    }

    /// The body of a frame, until [`buffer`](Self::buffer) is called.
    pub(crate) fn body(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Consumes up to `most` bytes that are no frames.
    pub(crate) fn take_raw(&mut self, most: u64) -> &[u8] {
        let start = self.at;
        let available = self.buffer.len() - start;
        self.at = start + usize::try_from(most).unwrap_or(usize::MAX).min(available);
        &self.buffer[start..self.at]
    }
}
