//! The core of the `executor` library: what a task is, what an executor is, and how the two meet, without IO.
//!
//! * [`Executor`] binds backends, [`ExecutorExt`] offers `submit`, `map` and the rest to users.
//! * [`TaskFuture`] is the caller's side of a task, [`Job`] the executor's, in one allocation.
//! * [`identity`](crate::Target) lets a function travel to another process of the same build, or by name.
//! * [`wire`] has the messages between an executor and its workers; [`scheduler`] decides which worker gets which task.
//!   Neither performs IO, knows the time or starts a thread: events go in, actions come out.
//! * [`Serial`] is the simplest backend: it runs the task inside of `submit`.
//!
//! What it deliberately does not do: open sockets, start processes, know an async runtime. Users take the crate
//! `executor`, which re-exports this one together with the backends.
//!
//! The main choice is that a task is a function *pointer* and an argument, not a boxed closure: only that can be
//! swapped from threads to processes and machines by configuration. The alternative, serialising closures, needs
//! compiler support that Rust does not have; macros that register every function would forbid generics and closures
//! at the call site.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `conformance` | no | the suite that every backend passes |

pub mod attachment;
mod blob;
mod codec;
mod combine;
mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod context;
mod dynamic;
mod error;
mod executor;
mod ext;
mod identity;
mod map;
mod pages;
mod panic;
mod parcel;
pub mod scheduler;
mod serial;
mod shared;
mod sync;
mod task;
pub mod wire;
pub mod worker;

pub use blob::{Allocate, Blob, BlobMut, Memory, MemoryMut, set_allocator};
pub use codec::{CODEC_ID, LIMIT as CODEC_LIMIT};
#[doc(hidden)]
pub use codec::{decode_plain, decode_plain_seed, decode_value, encode_plain, encode_value};
pub use combine::{AsCompleted, AsCompletedIter, ReturnWhen, Waited, as_completed, wait};
pub use config::{Config, Options, Scheme};
pub use context::{Context, Host, context, set_thread_host};
pub use dynamic::{Dynamic, DynamicError};
pub use error::{OpenError, Rejected, TaskError, TrySubmitError, WorkerLoss, nearest, nearest_names};
pub use executor::{Capabilities, Executor, Shutdown, Stats};
pub use ext::{ExecutorExt, TaskBuilder};
pub use identity::{BuildId, Invocation, Target, build_id, registered_names};
pub use map::{Map, MapIter, Mapper, Progress};
pub use parcel::{Bytes, Carrier, Outlet, Parcel};
pub use serial::{BlockOn, Serial};
pub use shared::{ShareBlob, ShareId, ShareStore, Shared, store as share_store};
pub use task::{
    CancelOutcome, Job, JobHandle, Notice, Owner, OwnerId, Printed, RelayHandle, RelaySink, Relayed,
    RunOutcome, TaskFuture, TaskId, TaskOptions, TaskStatus, register_owner,
};

/// What [`register!`] expands to. Not part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use crate::dynamic::job;
    pub use crate::identity::{RegisteredTask, call_function};
    pub use inventory;
}
