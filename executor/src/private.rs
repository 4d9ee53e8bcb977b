//! What the macros expand to. Not part of the interface.

#[cfg(all(target_os = "linux", any(feature = "process", feature = "remote")))]
pub use crate::before_main::{Constructor, Entry, before_main};
