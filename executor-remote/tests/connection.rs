//! Connections as a user has them: both kinds of callers, all kinds of addresses.

#[path = "connection/basics.rs"]
mod basics;
