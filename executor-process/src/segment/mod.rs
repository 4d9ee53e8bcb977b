//! Bulk memory: what is large goes from process to process in segments, and not through channels.
//!
//! A *segment* is a memfd, mapped by the process that has made it, its *owner*. The owner writes a value into it, and tells
//! another process, its *peer*, its length; the peer reads it there. Nothing is copied on the way, and as segments are
//! used again, with their pages warm and mapped on both sides, nothing is allocated either.
//!
//! # The life of a segment
//!
//! ```text
//!           allocate           freeze            the last reference goes
//!   free ------------> being ----------> filled -------------------------> free, or given back
//!  (cache)             written            |   ^
//!                     (owner)    message  v   |  Release, or the peer's death
//!                                       used by peers
//! ```
//!
//! 1. *Who may write, and when.* The owner alone, between `allocate` and `freeze`, which needs the only handle there is.
//!    Peers map it read-only.
//! 2. *References.* A filled segment lives by an `Arc` ([`Filled`]). The owner's handles have it; and the [`Book`] of a peer
//!    has it, with the number of messages that have named it and have not been released. It is free when all are gone.
//! 3. *Grants.* The first message to a peer that names a segment gives it a name between the two and sends its descriptor, on the
//!    channel's lane, before the message. The peer maps it, keeps the mapping, and closes the descriptor, unless it may have to grant
//!    it further. Later messages give the name only, also when the segment has been used for other things meanwhile.
//! 4. *Release.* The peer counts its own handles for each message ([`Borrowed`]); when the last is dropped it releases that
//!    message's reference. It tells so with the next frame, or at once if it has nothing else to say.
//!    A peer that could not map a segment releases it likewise, and has it granted anew.
//! 5. *Return.* A peer that sends a borrowed blob back to its owner names the owner's own segment. The reference that it holds meanwhile
//!    is released after that message, as frames keep their order.
//! 6. *Passing on.* A borrowed blob that goes to a third process is granted to that one by a name of its own, and held, as in 2,
//!    until it is released; only then is it released to its owner.
//! 7. *Withdrawal.* The owner gives the memory of a segment that it does not keep back at once (a hole is punched; nobody has
//!    references), and tells each peer with the next frame to forget the mapping.
//!
//! # What a death leaves
//!
//! Nothing. The kernel frees a memfd with its last mapping and descriptor. When a worker dies, its book is dropped in the parent: what
//! it held of the parent's segments is released (rule 2), and what the parent still has of its own it keeps mapped until it drops it.
//! When the parent dies, its workers do.
//!
//! # What is not trusted
//!
//! The parent checks every name, length and size that a worker tells; a segment is accepted only sealed against shrinking,
//! so that reading never faults. Its content is the worker's, as any result is.
//!
//! # Bounds
//!
//! While it has a pool or is a worker, a process keeps free segments of up to [`cache::KEEP`] bytes, and owns at most [`cache::most_segments`] segments at a time; what
//! cannot have one, for want of descriptors or memory, is in ordinary memory and goes in the frame.

mod book;
mod cache;
mod memory;
#[cfg(test)]
mod tests;

pub(crate) use book::{Book, Note, OwnBook, Packing, UnpackError};
pub(crate) use cache::{Installed, install};
