//! Servers of functions that are called by other programs.

#[path = "rpc_server/peers.rs"]
mod peers;
#[cfg(feature = "python-tests")]
#[path = "rpc_server/python.rs"]
mod python;
#[path = "rpc_server/support.rs"]
mod support;
