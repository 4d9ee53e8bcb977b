//! Connections as a user has them: both kinds of callers, all kinds of addresses.

#[path = "connection/basics.rs"]
mod basics;

#[path = "connection/bad_input.rs"]
mod bad_input;

#[path = "connection/crowd.rs"]
mod crowd;

#[cfg(feature = "python-tests")]
#[path = "connection/python.rs"]
mod python;

#[path = "connection/support.rs"]
mod support;
