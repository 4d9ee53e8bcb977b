//! What processes of one machine share: locks and their relatives, values, arrays, memory.
//!
//! ```text
//! lock, rlock, semaphore, event, condition, barrier, value, array, shared_memory    what users have
//! robust     a lock that knows of its owner's death
//! region     shared memory with a primitive in it        handle    how it travels to another process
//! futex      waiting for a word of shared memory
//! ```
//!
//! Linux 5.16 or later.

#![allow(dead_code, reason = "the primitives on this base follow")]

mod error;
pub(crate) mod futex;
pub(crate) mod handle;
pub(crate) mod region;
pub(crate) mod robust;

pub use error::IpcError;

/// Whether this system has what the primitives are made of.
fn supported() -> Result<(), IpcError> {
    if !futex::has_wait_any() {
        return Err(IpcError::Unsupported { reason: "futex_waitv is missing, which Linux has since 5.16" });
    }
    robust::supported()
}
