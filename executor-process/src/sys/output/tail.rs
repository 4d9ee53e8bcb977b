//! The end of a stream, to be quoted.

use std::collections::VecDeque;

/// How much of the end of a worker's standard error is kept to be quoted when it dies: enough for a panic message, an
/// abort's reason and the first frames of a trace.
pub(super) const TAIL_BYTES: usize = 8 * 1024;

/// The last bytes of a stream, at most 8 KiB.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    /// Adds what came next.
    pub fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let surplus = (self.bytes.len() + kept.len()).saturating_sub(TAIL_BYTES);
        self.cut |= surplus > 0 || kept.len() < bytes.len();
        self.bytes.drain(..surplus);
        self.bytes.extend(kept);
    }

    /// The last `lines` lines, without the final line end. What is not UTF-8 is shown as replacement characters, and a
    /// line that lost its beginning is left out if others remain.
    #[must_use]
    pub fn last_lines(&self, lines: usize) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let mut text = text.trim_end();
        if self.cut {
            text = text.split_once('\n').map_or(text, |(_, rest)| rest);
        }
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}
