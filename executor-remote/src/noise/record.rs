//! The record layer: a stream of plaintext bytes in, a stream of records out, and back.

use super::cipher::{Cipher, TAG_LEN};
use super::error::RecordError;

#[cfg(test)]
mod tests;

/// Greatest length of a record's body on the wire, its tag included.
pub const MAX_RECORD_LEN: usize = u16::MAX as usize;

const HEADER_LEN: usize = 2;

/// The sending half of a connection: cuts plaintext into records.
///
/// It shares nothing with the [`Opener`], so each may live in a thread of its own.
pub struct Sealer {
    cipher: Option<Cipher>,
    closed: bool,
}

impl Sealer {
    pub(super) fn plain() -> Self {
        Self { cipher: None, closed: false }
    }

    pub(super) fn noise(key: &[u8; 32]) -> Self {
        Self { cipher: Some(Cipher::new(key)), closed: false }
    }

    /// Whether records are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }

    /// Appends `plaintext` to `out` as records, none if it is empty. Each call begins a record, so
    /// many small frames are best gathered and sealed by one call.
    ///
    /// # Errors
    ///
    /// [`RecordError::Closed`] after [`close`](Self::close), and [`RecordError::Exhausted`]; no more
    /// can be sent then.
    pub fn seal(&mut self, plaintext: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        if self.closed {
            return Err(RecordError::Closed);
        }
        out.reserve(self.sealed_len(plaintext.len()));
        for chunk in plaintext.chunks(MAX_RECORD_LEN - self.tag_len()) {
            self.seal_record(chunk, out)?;
        }
        Ok(())
    }

    /// Ends the stream: the peer will know that nothing is missing. Appends nothing a second time.
    ///
    /// # Errors
    ///
    /// [`RecordError::Exhausted`].
    pub fn close(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        if !self.closed {
            self.seal_record(&[], out)?;
            self.closed = true;
        }
        Ok(())
    }

    /// How many bytes [`seal`](Self::seal) makes of `len` bytes.
    #[must_use]
    pub fn sealed_len(&self, len: usize) -> usize {
        let tag_len = self.tag_len();
        len + len.div_ceil(MAX_RECORD_LEN - tag_len) * (HEADER_LEN + tag_len)
    }

    /// One record, which may be empty. `chunk` fits.
    pub(super) fn seal_record(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let len = chunk.len() + self.tag_len();
        debug_assert!(len <= MAX_RECORD_LEN, "the caller cuts the plaintext");
        let record_start = out.len();
        out.extend_from_slice(&(len as u16).to_be_bytes());
        let start = out.len();
        out.extend_from_slice(chunk);
        let sealed = match &mut self.cipher {
            Some(cipher) => cipher.seal(out, start),
            None => Ok(()),
        };
        if sealed.is_err() {
            out.truncate(record_start); // or plaintext would stay in what is sent
        }
        sealed
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, record: u64) {
        self.cipher.as_mut().expect("an encrypted stream").skip_to(record);
    }

    fn tag_len(&self) -> usize {
        if self.is_encrypted() { TAG_LEN } else { 0 }
    }
}

/// The receiving half of a connection: checks records and joins them to the peer's plaintext.
///
/// Holds at most one incomplete record. After an error it repeats that error for ever.
pub struct Opener {
    cipher: Option<Cipher>,
    /// Records opened, for error messages of plain mode.
    opened: u64,
    /// The start of a record whose end has not come.
    partial: Vec<u8>,
    ended: bool,
    failed: Option<RecordError>,
}

impl Opener {
    pub(super) fn plain() -> Self {
        Self { cipher: None, opened: 0, partial: Vec::new(), ended: false, failed: None }
    }

    pub(super) fn noise(key: &[u8; 32]) -> Self {
        Self { cipher: Some(Cipher::new(key)), ..Self::plain() }
    }

    /// Whether records are encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.cipher.is_some()
    }

    /// Takes `bytes` as they came from the wire, cut anywhere, and appends to `out` the plaintext of
    /// all records that are complete. `out` grows by no more than `bytes` and one record.
    ///
    /// # Errors
    ///
    /// Any but [`RecordError::Closed`]. Plaintext that was appended, by this call too, is what the
    /// peer sent; what follows it is lost.
    pub fn open(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.open_all(bytes, out).inspect_err(|error| self.failed = Some(error.clone())),
        }
    }

    /// Whether the peer has [closed](Sealer::close) the stream.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Judges the end of the connection.
    ///
    /// # Errors
    ///
    /// [`RecordError::Truncated`] or [`RecordError::Cut`] if the peer had not closed the stream, and
    /// an earlier error again.
    pub fn finish(&self) -> Result<(), RecordError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if !self.partial.is_empty() => Err(RecordError::Truncated { record: self.record() }),
            None if !self.ended => Err(RecordError::Cut),
            None => Ok(()),
        }
    }

    fn open_all(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        while !bytes.is_empty() {
            if self.ended {
                return Err(RecordError::AfterEnd);
            }
            if self.partial.is_empty()
                && let Some((header, rest)) = bytes.split_first_chunk()
            {
                let len = self.body_len(*header)?;
                if let Some((body, rest)) = rest.split_at_checked(len) {
                    self.open_body(body, out)?;
                    bytes = rest;
                    continue;
                }
            }
            bytes = self.open_partial(bytes, out)?;
        }
        Ok(())
    }

    /// Adds to the incomplete record, opens it if that completes it, returns what was not taken.
    fn open_partial<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], RecordError> {
        let bytes = self.fill_partial(HEADER_LEN, bytes);
        let Some(header) = self.partial.first_chunk() else {
            return Ok(bytes);
        };
        let record_len = HEADER_LEN + self.body_len(*header)?;
        let bytes = self.fill_partial(record_len, bytes);
        if self.partial.len() == record_len {
            let partial = std::mem::take(&mut self.partial);
            let opened = self.open_body(&partial[HEADER_LEN..], out);
            self.partial = partial; // keeps its memory
            self.partial.clear();
            opened?;
        }
        Ok(bytes)
    }

    fn fill_partial<'a>(&mut self, len: usize, bytes: &'a [u8]) -> &'a [u8] {
        let missing = len.saturating_sub(self.partial.len());
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.partial.reserve_exact(missing);
        self.partial.extend_from_slice(taken);
        rest
    }

    fn body_len(&self, header: [u8; HEADER_LEN]) -> Result<usize, RecordError> {
        let len = usize::from(u16::from_be_bytes(header));
        if self.is_encrypted() && len < TAG_LEN {
            return Err(RecordError::Short { record: self.record(), len });
        }
        Ok(len)
    }

    fn open_body(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), RecordError> {
        let start = out.len();
        out.extend_from_slice(body);
        if let Some(cipher) = &mut self.cipher {
            cipher.open(out, start)?;
        }
        self.opened += 1;
        self.ended = out.len() == start;
        Ok(())
    }

    /// Opens the empty record that ends a handshake. It does not end the stream.
    pub(super) fn open_confirmation(&mut self, record: &[u8]) -> Result<(), RecordError> {
        self.open(record, &mut Vec::new())?;
        self.ended = false;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn skip_to(&mut self, record: u64) {
        self.cipher.as_mut().expect("an encrypted stream").skip_to(record);
    }

    /// Number of the record that comes next.
    fn record(&self) -> u64 {
        self.cipher.as_ref().map_or(self.opened, Cipher::next)
    }
}
