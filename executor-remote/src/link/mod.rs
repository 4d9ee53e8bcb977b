//! Both halves of an established connection, as the agent and the client drive them.
//!
//! [`Frames`] cuts what was received into frames. [`Outbox`] gathers frames from many threads and sends them in few
//! records and few system calls, without ever blocking the thread that has something to send.

mod frames;
mod outbox;

pub(crate) use frames::{FrameError, Frames};
pub(crate) use outbox::Outbox;
