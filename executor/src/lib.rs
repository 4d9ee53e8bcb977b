//! `concurrent.futures` for Rust: submit a function with its argument, await a future, and let one line of
//! configuration say whether threads, processes or other machines run it.
//!
//! ```
//! use executor::prelude::*;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     executor::init(); // takes over when this process is a worker
//!     let ex = executor::open("serial://")?;
//!     let answer = ex.submit(|n: u64| n * 2, 21).wait()?; // or .await, in any async runtime
//!     assert_eq!(answer, 42);
//!     Ok(())
//! }
//! ```
//!
//! # Which executor
//!
//! | URL | runs tasks | feature |
//! | --- | --- | --- |
//! | `serial://` | inside of `submit`, for debugging and tests | always there |
//! | `thread://?workers=4` | on threads of this process | `thread` |
//! | `process://?workers=4` | in processes of this machine, each of which may die | `process` |
//! | `tcp://host-a:7077,host-b:7077?key=FILE` | on machines where `executor agent` runs | `remote` |
//!
//! [`open`] takes such a URL, [`Config`] a TOML file, [`from_env`] what the environment names. All of them give an
//! `Arc<dyn Executor>`; what a program can do with it is in [`ExecutorExt`], what comes back is a [`TaskFuture`].
//!
//! # Features
//!
//! All features but `zeromq` are on by default, and all only add; the crate builds with any choice of them.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `thread` | `thread://`, [`ThreadExecutor`] and the module [`thread`] |
//! | `process` | `process://`, [`ProcessExecutor`], the modules [`process`] and [`ipc`]: locks, values, memory that processes share |
//! | `remote` | `tcp://`, [`RemoteExecutor`] and the module [`remote`], with the agent |
//! | `rpc` | the modules [`connection`], [`rpc`], [`manager`] and [`object`], whose other side may be a Python program; [`serve_if_asked`] |
//! | `zeromq` | the module [`rpc::zeromq`]: remote calls over ZeroMQ |
//! | `tokio` | async tasks run on a tokio runtime, so that its timers and sockets work in them |
//!
//! # What this crate does not do
//!
//! It holds no logic: the interface is `executor-core`, and each backend is a crate of its own, which this one
//! re-exports under the name of its feature. The alternative, one crate with everything, would make a library that only
//! wants to accept an `&dyn Executor` build sockets and processes; such a library depends on `executor-core`.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
#[cfg(all(target_os = "linux", any(feature = "process", feature = "remote")))]
mod before_main;
mod config;
mod init;
pub mod prelude;
#[cfg(feature = "rpc")]
mod serve;

pub use executor_core::*;

#[cfg(feature = "process")]
pub use executor_process as process;
#[cfg(feature = "remote")]
pub use executor_remote as remote;
#[cfg(feature = "thread")]
pub use executor_thread as thread;

#[cfg(feature = "rpc")]
pub use executor_remote::{connection, manager, object, rpc};

#[cfg(feature = "process")]
pub use executor_process::{ForkPoint, Process, ProcessConfig, ProcessExecutor, StartMethod, ipc};
#[cfg(feature = "remote")]
pub use executor_remote::{Agent, AgentConfig, RemoteConfig, RemoteExecutor};
#[cfg(feature = "thread")]
pub use executor_thread::{ThreadConfig, ThreadExecutor};

pub use config::{Config, from_env, open};
pub use init::init;
#[cfg(feature = "rpc")]
pub use serve::{Serve, ServeError, serve_if_asked};

/// The examples of the README run as tests.
#[cfg(all(doctest, feature = "thread", feature = "rpc"))]
#[doc = include_str!("../../README.md")]
pub struct Readme;
