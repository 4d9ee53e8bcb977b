//! Where the atomics of a board live: a shared mapping, or loom's memory in the models.

use std::fmt::Debug;

use crate::ring::Word;

/// The words of one board.
pub trait Memory: Debug + Send + Sync + 'static {
    /// Word of a claim slot.
    type Claim: Word<u32>;
    /// Word of a progress value.
    type Cell: Word<u64>;

    /// The claim slots.
    fn claims(&self) -> &[Self::Claim];
    /// One progress value per claim slot.
    fn progress(&self) -> &[Self::Cell];
}
