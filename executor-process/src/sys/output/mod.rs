//! What a worker prints, read by its parent through pipes, and told apart by task if wanted.
//!
//! With capture on, the worker writes a mark into its standard output and its standard error before and after each task.
//! The parent cuts the streams at the marks. So the output of a task ends up with its caller, whoever wrote it (Rust's
//! `println!`, C, a child process), memory is bounded in the parent by the limit per task, and **the output of a task that
//! killed its worker is there as well**: it is what follows the last mark. Redirecting the two descriptors inside the worker
//! was the alternative; it loses just that output, or needs memory that the task can fill without bound.
//!
//! ```text
//!  between tasks   NONCE 'B' ticket   of the task   NONCE 'E' ticket   between tasks ..
//! ```
//!
//! * Output is flushed and the end mark written **before** the task's result is committed. So when a result has arrived,
//!   the task's section is in the pipes whole, and reading what is there finds its end.
//! * A mark goes out in one `write` of fewer than PIPE_BUF bytes, hence in one piece. It begins with 16 random bytes that
//!   the parent drew for this worker, so that it does not occur in what tasks print.
//! * Only one task at a time can be told apart; tasks that share a worker (async ones) are not captured.

mod pipe;
mod sections;
mod tail;
mod worker;

#[cfg(test)]
mod tests;

pub use pipe::OutputPipe;
pub use sections::Captured;
pub use tail::Tail;
pub use worker::{Capturer, Section};

/// Random bytes with which a worker's marks begin.
pub(crate) type Nonce = [u8; 16];

/// Marks the sections of one worker's output.
pub(super) fn draw_nonce() -> Nonce {
    use std::hash::{BuildHasher, RandomState};
    // std keys its hashers from the system's random source; no more is needed against accidents.
    let half = || RandomState::new().hash_one(std::time::Instant::now()).to_le_bytes();
    let mut nonce = [0; 16];
    nonce[..8].copy_from_slice(&half());
    nonce[8..].copy_from_slice(&half());
    nonce
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    Begin,
    End,
}

/// A mark: where the output of a task begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    edge: Edge,
    ticket: u64,
}

impl Mark {
    const SIZE: usize = size_of::<Nonce>() + 1 + 8;

    fn encode(self, nonce: &Nonce) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..16].copy_from_slice(nonce);
        bytes[16] = match self.edge {
            Edge::Begin => b'B',
            Edge::End => b'E',
        };
        bytes[17..].copy_from_slice(&self.ticket.to_le_bytes());
        bytes
    }

    /// What follows the nonce.
    fn decode(bytes: &[u8; 9]) -> Option<Self> {
        let edge = match bytes[0] {
            b'B' => Edge::Begin,
            b'E' => Edge::End,
            _ => return None,
        };
        let ticket = u64::from_le_bytes(*bytes.last_chunk()?);
        Some(Self { edge, ticket })
    }
}
