//! The two halves of a connection over its socket, for callers that wait and for callers that are woken.
//!
//! 1. The two halves share the socket and nothing else, so each may belong to another task or thread.
//! 2. The descriptor blocks. Who waits makes a plain system call; who is woken asks for one that does not block
//!    (`MSG_DONTWAIT`). So one half serves both, one after the other.
//! 3. What has been received and not been taken, and what has been accepted for sending and not been written, is in the half and
//!    never in a future. So a future may be dropped at any time.
//! 4. A message is written by one system call as far as the socket takes it: header and message are joined in a buffer up to
//!    [`JOIN`] bytes, and gathered by the system call above.
//! 5. Who polls both halves may look for what arrives by itself for a while, and have nobody woken for it ([`watched`]).
//! 6. An encrypted connection has the same messages inside of [`noise`](crate::noise) records.

mod read;
mod socket;
mod watched;
mod write;

pub(crate) use read::ReadHalf;
pub(crate) use socket::{Socket, SocketKind};
pub(crate) use write::{JOIN, WriteHalf};
