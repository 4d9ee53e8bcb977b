//! Objects that many processes share: they live in a server, and everybody else has proxies of them.
//!
//! One server speaks two protocols on the same listener. Which one a peer speaks, its first message tells.
//!
//! * Rust programs speak the native one (`protocol`): one connection per process, pipelined.
//! * A stock `multiprocessing.managers.BaseManager` speaks CPython's: a connection for each call on the server, and
//!   one per thread for calls on objects.
//!
//! Both end in one table of operations over the same objects.

mod mention;
mod operation;
mod process;
pub(crate) mod protocol;
mod raise;
mod registry;
mod server;
mod store;
mod types;

pub use process::{ManagerSetup, ServerProcess, StartError};
pub use registry::{Registry, TypeBuilder};
pub use server::{ManagerServer, ServerHandle, Serving};
