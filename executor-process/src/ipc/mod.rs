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

mod array;
mod barrier;
mod bell;
mod condition;
mod error;
mod event;
pub(crate) mod futex;
mod guard;
pub(crate) mod handle;
mod integer;
mod keeper;
mod lock;
mod pipe;
mod plain;
#[cfg_attr(loom, allow(dead_code, reason = "the models need a part of it only"))]
mod queue;
mod record;
pub(crate) mod region;
mod rlock;
pub(crate) mod robust;
mod semaphore;
mod shared_memory;
mod value;
mod waiter;

/// What data has to be like in order to be shared: [`Pod`](bytemuck::Pod).
pub use bytemuck;

pub use array::{Array, ArrayGuard, Element};
pub use barrier::{Arrival, Barrier, Break, BrokenBarrier};
pub use condition::Condition;
pub use error::IpcError;
pub use event::Event;
pub use guard::{ByTask, ByThread, FromHolder, Guard, Holder, OwnerDied, TryLockError};
pub use integer::Integer;
pub use lock::{Lock, LockGuard};
pub use pipe::{
    MAX_MESSAGE_BYTES, PipeEnd, PipeReader, PipeWriter, Recv, RecvError, Send, SendError, duplex, pipe,
};
pub use queue::{DoneError, Get, GetError, Join, MAX_ITEM_BYTES, Put, PutError, Queue};
pub use rlock::{RLock, RLockGuard, RLockTaskGuard};
pub use semaphore::{BoundedSemaphore, NoPermit, Permit, ReleasedTooOften, Semaphore, TaskPermit};
pub use shared_memory::SharedMemory;
pub use value::{Value, ValueGuard};

/// Whether this system has what the primitives are made of.
fn supported() -> Result<(), IpcError> {
    if !futex::has_wait_any() {
        return Err(IpcError::Unsupported { reason: "futex_waitv is missing, which Linux has since 5.16" });
    }
    robust::supported()
}
