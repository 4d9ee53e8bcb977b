//! Calls of functions by name, over connections and other transports of whole messages.
//!
//! # Map
//!
//! | module | what is there |
//! | --- | --- |
//! | `protocol` | the native messages, without IO |
//! | [`transport`] | the trait of what calls travel on |
//! | `dialect` | the four ways in which calls and answers are written |
//! | `handler` | functions that can be called, and where they run |
//! | `server`, `signals` | [`RpcServer`]: peers, their calls in flight, stopping |
//! | `error` | [`RpcError`] |
//! | `zeromq` | the transports of ZeroMQ (feature `zeromq`) |

mod dialect;
#[allow(dead_code, reason = "the client uses the other half")]
mod error;
mod handler;
#[allow(dead_code, reason = "the client uses the other half")]
pub(crate) mod protocol;
mod server;
mod signals;
pub mod transport;
#[cfg(feature = "zeromq")]
pub mod zeromq;

pub use dialect::Dialect;
pub use error::RpcError;
pub use protocol::ProtocolError;
pub use server::{Listen, RpcServer, ServeError, ServerHandle, Serving};
pub use transport::{Transport, TransportError};
