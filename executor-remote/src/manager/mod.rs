//! Objects that many processes share: they live in a server, and everybody else has proxies of them.
//!
//! One server speaks two protocols on the same listener. Which one a peer speaks, its first message tells.
//!
//! * Rust programs speak the native one (`protocol`): one connection per process, pipelined.
//! * A stock `multiprocessing.managers.BaseManager` speaks CPython's: a connection for each call on the server, and
//!   one per thread for calls on objects.
//!
//! Both end in one table of operations over the same objects.
//!
//! ```text
//!  program                                                        manager
//!  Dict, List, .. ── Proxy ── Handle ── Session ══ connection ══ server ── store ── types
//!  (any number)    (clones)  (one per   (one per                 (a task   (life)   (operations)
//!                             object)    manager)                 each)
//! ```
//!
//! [`Manager`] starts or connects, [`Proxy`] says how proxies live and travel, [`PythonManager`] is for managers that Python programs
//! run, and [`ManagerServer`] is the other side.

mod call;
mod client;
mod dict;
mod error;
mod event;
mod handle;
mod list;
mod lock;
mod mention;
mod namespace;
mod operation;
mod pending;
mod process;
pub(crate) mod protocol;
mod proxy;
mod python_client;
mod queue;
mod raise;
mod registry;
mod server;
mod session;
mod store;
mod types;
mod value;

pub use call::Call;
pub use client::Manager;
pub use dict::Dict;
pub use error::ManagerError;
pub use event::Event;
pub use list::List;
pub use lock::{Lock, LockGuard};
pub use namespace::Namespace;
pub use process::{ManagerSetup, ServerProcess, StartError};
pub use proxy::{Proxy, SharedObject};
pub use python_client::PythonManager;
pub use queue::Queue;
pub use registry::{Registry, TypeBuilder};
pub use server::{ManagerServer, ServerHandle, Serving};
pub use value::Value;
