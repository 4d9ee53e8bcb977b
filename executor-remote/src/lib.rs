//! Machines reached over TCP, behind the executor interface. Linux only.
//!
//! An [`Agent`] runs on each machine. A [`RemoteExecutor`] connects to any number of agents; both sides prove that they hold the
//! cluster key, and everything between them is encrypted. An agent gets the client's executable, once, and runs the client's
//! tasks in worker processes of it, so that a crash costs one task there too. Without a key, only loopback addresses are
//! allowed.
//!
//! ```
//! use executor_core::ExecutorExt;
//! use executor_remote::key::ClusterKey;
//! use executor_remote::{Agent, AgentConfig, RemoteConfig, RemoteExecutor};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     executor_process::init(); // the first line of main
//!     let key = ClusterKey::generate()?;
//! #   let cache = tempfile::tempdir()?;
//!
//!     // On each machine; here is one.
//!     let config = AgentConfig::new("127.0.0.1:0".parse()?).with_key(key.clone()).with_slots(2);
//! #   let config = config.with_cache_folder(cache.path());
//!     let agent = Agent::bind(config)?;
//!     let (address, handle) = (agent.local_addr(), agent.handle());
//!     let serving = std::thread::spawn(move || agent.run());
//!
//!     let ex = RemoteExecutor::open(RemoteConfig::new([address.into()]).with_key(key))?;
//!     assert_eq!(ex.submit(|n: u64| n + 1, 41).wait()?, 42);
//!
//!     handle.stop();
//!     serving.join().expect("it does not panic")?;
//!     Ok(())
//! }
//! ```
//!
//! # Map
//!
//! | module | what is there |
//! | --- | --- |
//! | [`key`], [`noise`] | the cluster key; handshake and records |
//! | [`address`], [`heartbeat`], [`cache`] | where agents listen; whether a peer lives; executables by hash |
//! | `greeting` | what client and agent say before the first task |
//! | `link` | frames in, frames out, for both sides |
//! | `agent` | accepting, sessions, a process pool for each |
//! | `client` | the scheduler's driver, and a thread for each agent |
//! | `connection` | messages between programs, with an authkey or encrypted, as Python has them (feature `rpc`) |
//! | `object` | values as Python has them; pickle, and the other codecs of connections (feature `rpc`) |
//!
//! # Decisions
//!
//! *Threads, not an async runtime.* A connection has two threads, one of which nearly always sleeps. What is sent is written
//! by whoever has it, without blocking, so that a round trip wakes as few threads as possible; an event loop would add one
//! on each side.
//!
//! *The agent keeps time limits, the client keeps retries.* The limit counts from the begin of a body, which only the agent
//! sees. Attempts are counted in one place, so that they are never more than allowed, whether a process or an agent is lost.
#![forbid(unsafe_code)]

pub mod address;
mod agent;
pub mod cache;
mod client;
#[cfg(feature = "rpc")]
pub mod connection;
mod greeting;
pub mod heartbeat;
#[cfg(feature = "rpc")]
mod io_runtime;
pub mod key;
mod link;
#[cfg(feature = "rpc")]
pub mod manager;
pub mod noise;
#[cfg(feature = "rpc")]
pub mod object;
#[cfg(feature = "rpc")]
mod patience;
#[cfg(feature = "rpc")]
pub mod rpc;

pub use agent::{Agent, AgentConfig, AgentError, AgentHandle, OpenPool, PoolRequest};
pub use client::{RemoteConfig, RemoteExecutor, SCHEME};
