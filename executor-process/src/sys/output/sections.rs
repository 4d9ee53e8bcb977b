//! Cuts a worker's output at the marks, without IO.

use std::collections::VecDeque;

use super::{Edge, Mark, Nonce};
use crate::board::WINDOW;

/// What a task wrote to one of its output streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// The bytes, up to the limit.
    pub bytes: Vec<u8>,
    /// How many more there were.
    pub dropped: u64,
}

impl Captured {
    fn push(&mut self, bytes: &[u8], limit: usize) {
        let kept = bytes.len().min(limit.saturating_sub(self.bytes.len()));
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.dropped += (bytes.len() - kept) as u64;
    }
}

/// The sections of one stream.
#[derive(Debug)]
pub(super) struct Sections {
    nonce: Nonce,
    limit: usize,
    /// Bytes at the end of what came that may be the beginning of a mark.
    held: Vec<u8>,
    open: Option<(u64, Captured)>,
    /// Sections that have ended and were not taken yet, at most `WINDOW`: more tasks are not in flight, unless the
    /// worker makes marks up.
    done: VecDeque<(u64, Captured)>,
}

impl Sections {
    pub(super) fn new(nonce: Nonce, limit: usize) -> Self {
        Self { nonce, limit, held: Vec::new(), open: None, done: VecDeque::new() }
    }

    /// Takes what came next. `sink` gets the bytes without the marks, and whether they belong to a task.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8], bool)) {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut rest = &all[..];
        while let Some(at) = find(rest, &self.nonce) {
            let (before, mark) = rest.split_at(at);
            let Some(body) = mark[self.nonce.len()..].first_chunk() else {
                break;
            };
            self.text(before, sink);
            match Mark::decode(body) {
                Some(mark) => self.cut(mark),
                None => self.text(&mark[..Mark::SIZE], sink),
            }
            rest = &mark[Mark::SIZE..];
        }
        let keep = unfinished_mark(rest, &self.nonce);
        let (text, held) = rest.split_at(rest.len() - keep);
        self.text(text, sink);
        self.held = held.to_vec();
    }

    /// Ends the stream: what looked like the beginning of a mark was none.
    pub(super) fn finish(&mut self, sink: &mut dyn FnMut(&[u8], bool)) {
        let held = std::mem::take(&mut self.held);
        self.text(&held, sink);
    }

    /// The section of a task that has ended.
    pub(super) fn take(&mut self, ticket: u64) -> Option<Captured> {
        let at = self.done.iter().position(|(done, _)| *done == ticket)?;
        self.done.remove(at).map(|(_, captured)| captured)
    }

    /// The section that has begun and not ended.
    pub(super) fn take_open(&mut self, ticket: u64) -> Option<Captured> {
        self.open.take_if(|(open, _)| *open == ticket).map(|(_, captured)| captured)
    }

    fn text(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8], bool)) {
        if bytes.is_empty() {
            return;
        }
        if let Some((_, captured)) = &mut self.open {
            captured.push(bytes, self.limit);
        }
        sink(bytes, self.open.is_some());
    }

    /// A begin mark also ends what was open: then the end mark could not be written.
    fn cut(&mut self, mark: Mark) {
        if let Some(section) = self.open.take() {
            if self.done.len() == WINDOW {
                self.done.pop_front();
            }
            self.done.push_back(section);
        }
        if mark.edge == Edge::Begin {
            self.open = Some((mark.ticket, Captured::default()));
        }
    }
}

fn find(bytes: &[u8], nonce: &Nonce) -> Option<usize> {
    bytes.windows(nonce.len()).position(|window| window == nonce)
}

/// Length of the end of `bytes` that a mark may begin with. `bytes` holds no whole mark.
fn unfinished_mark(bytes: &[u8], nonce: &Nonce) -> usize {
    let longest = bytes.len().min(Mark::SIZE - 1);
    let begins = |n: &usize| {
        let end = &bytes[bytes.len() - n..];
        let compared = end.len().min(nonce.len());
        end[..compared] == nonce[..compared]
    };
    (1..=longest).rev().find(begins).unwrap_or(0)
}
