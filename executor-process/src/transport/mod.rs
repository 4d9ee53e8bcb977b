//! The channel between the parent and one worker, and the frames on it.
//!
//! A frame is a little-endian `u32`, the length of the body, and the body. [`FrameReader`] and [`OutBuf`] are the frame
//! layer without IO. [`ParentEnd`], [`WorkerInput`] and [`WorkerOutput`] move their bytes through the rings of the worker's
//! board. Descriptors go over a Unix socket, which is also how each side sees the end of the other.
//!
//! One channel belongs to one worker, so a worker that dies in the middle of a frame spoils nobody else's stream.

mod fd;
mod lane;
mod link;
mod out;
mod patience;
mod reader;

#[cfg(test)]
mod tests;

pub(crate) use fd::control_pair;
pub use fd::{RecvFdError, recv_with_fds, send_with_fds};
pub(crate) use lane::Lane;
pub use link::{Bell, LinkError, ParentEnd, Sent, WorkerInput, WorkerOutput, bell, hush};
pub use out::{FrameWriter, OutBuf};
pub use patience::Patience;
pub use reader::{FrameError, FrameReader};

/// Bytes of a frame's length field.
pub const HEADER: usize = 4;
