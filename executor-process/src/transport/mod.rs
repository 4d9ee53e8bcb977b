//! The channel between the parent and one worker, and the frames on it.
//!
//! A frame is a little-endian `u32`, the length of the body, and the body. [`FrameReader`] and [`OutBuf`] are the frame
//! layer without IO; a [`Channel`] moves their bytes. Today's channel is a [`SocketChannel`], one end of a Unix stream
//! socket pair; a pair of rings in shared memory is to take its place behind the same trait.
//!
//! One channel belongs to one worker, so a worker that dies in the middle of a frame spoils nobody else's stream.

mod fd;
mod out;
mod reader;
mod socket;

#[cfg(test)]
mod tests;

pub use fd::{RecvFdError, recv_with_fd, send_with_fd};
pub use out::{FrameWriter, OutBuf};
pub use reader::{FrameError, FrameReader};
pub use socket::{Channel, Received, Sent, SocketChannel};

/// Bytes of a frame's length field.
pub const HEADER: usize = 4;
