//! Machines reached over TCP behind the executor interface
#![forbid(unsafe_code)]

pub mod address;
pub mod cache;
pub mod heartbeat;
pub mod key;
pub mod noise;
