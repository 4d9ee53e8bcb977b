//! Calls of functions by name, over connections and other transports of whole messages.
//!
//! # Map
//!
//! | module | what is there |
//! | --- | --- |
//! | `protocol` | the native messages, without IO |
//! | [`transport`] | the trait of what calls travel on |
//! | `error` | [`RpcError`] |
//! | `zeromq` | the transports of ZeroMQ (feature `zeromq`) |

#[allow(dead_code, reason = "server and client use it")]
mod error;
#[allow(dead_code, reason = "server and client use it")]
pub(crate) mod protocol;
pub mod transport;
#[cfg(feature = "zeromq")]
pub mod zeromq;

pub use error::RpcError;
pub use protocol::ProtocolError;
pub use transport::{Transport, TransportError};
