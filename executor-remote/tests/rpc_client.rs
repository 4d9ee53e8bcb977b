//! Clients of functions that other programs serve: Python's own server, and ours in every dialect.

#[path = "rpc_client/dialects.rs"]
mod dialects;
#[cfg(feature = "python-tests")]
#[path = "rpc_client/python.rs"]
mod python;
