//! Machines reached over TCP behind the executor interface
#![forbid(unsafe_code)]

pub mod address;
mod agent;
pub mod cache;
mod client;
mod greeting;
pub mod heartbeat;
pub mod key;
mod link;
pub mod noise;

pub use agent::{Agent, AgentConfig, AgentError, AgentHandle, OpenPool, PoolRequest};
pub use client::{RemoteConfig, RemoteExecutor, SCHEME};
