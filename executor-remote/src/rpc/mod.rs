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
//! | `client` | [`RpcClient`]: what is sent, and who reads what comes |
//! | `in_flight` | the calls of a client that are not answered |
//! | `call` | [`Call`]: one of them, as its caller has it |
//! | `error` | [`RpcError`] |
//! | `zeromq` | the transports of ZeroMQ (feature `zeromq`) |

mod call;
mod client;
mod dialect;
mod error;
mod handler;
mod in_flight;
pub(crate) mod protocol;
mod server;
mod signals;
pub mod transport;
#[cfg(feature = "zeromq")]
pub mod zeromq;

pub use call::Call;
pub use client::{ClientConfig, RpcClient};
pub use dialect::Dialect;
pub use error::RpcError;
pub use protocol::ProtocolError;
pub use server::{Listen, RpcServer, ServeError, ServerHandle, Serving};
pub use transport::{Transport, TransportError};
