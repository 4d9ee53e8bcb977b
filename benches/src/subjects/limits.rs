//! What the machine allows at best, with nothing in between: two processes and what carries bytes from one to the
//! other, and the start of the smallest program.

mod command;
mod in_place;
mod mapping;
mod ring;
mod sockets;
mod tokio_socket;

pub use command::subject as command;
pub use in_place::{serve as serve_in_place, subject as in_place};
pub use ring::{Wait, serve as serve_ring, subject as ring};
pub use sockets::{serve_payloads, serve_pings, socketpair, tcp};
pub use tokio_socket::{serve as serve_tokio, subject as tokio};
