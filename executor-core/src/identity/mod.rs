//! How another process finds a task's function.
//!
//! Two forms. In the *same build*, a function travels as two offsets into the main executable: that of the function,
//! and that of a [descriptor](descriptor) which the compiler emits for each pair of argument and result type, and
//! which knows how to decode, call and encode. They are valid when both sides have the same [build id](build_id).
//! *By name*, a function that [`register!`](crate::register) has made known is found in another build, on another
//! architecture, or from another language.
//!
//! # Why a call through an offset is sound
//!
//! * *Types*: descriptor and function were taken together, under one pair of types, at the sender. An equal build id
//!   means the same file, so the same link-time addresses; one ELF object is relocated as a unit, so differences
//!   between two of its addresses do not depend on where it is loaded. Merging of identical code may give two
//!   functions one address, never one address two behaviours.
//! * *Reads*: the check reads a descriptor-sized piece, aligned, of memory of our own image that is never written
//!   after relocation; any bytes are valid integers; nobody races.
//! * *Calls*: only through a descriptor with both marks and all of its pointers in place. Of the function's offset
//!   only the range can be checked, so that a peer which has proven the cluster key could name another address of the
//!   code. It could run any task anyway; a peer that has not proven the key never gets here.
//! * *State of the process*: a function that works only after some initialisation must not be submitted; it is called
//!   in a fresh process.

mod build_id;
mod descriptor;
mod image;
mod registry;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

pub use build_id::{BuildId, build_id};
pub(crate) use descriptor::WireBody;
pub use registry::{RegisteredTask, call_function, registered_names};
pub(crate) use registry::{call_registered, registered};

use crate::error::TaskError;
use crate::parcel::{Outlet, Parcel};

/// What entering a task's function from bytes leads to.
pub enum Invocation {
    /// It ran to its end; the serialised result has been appended to the buffer.
    Done(Result<(), TaskError>),
    /// It is a future that gives the serialised result.
    Pending(Pin<Box<dyn Future<Output = Result<Parcel<'static>, TaskError>> + Send>>),
}

/// How the receiver of a task finds its function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// Offsets into the main executable; for a receiver of the same build.
    Image {
        /// Where the descriptor is.
        descriptor: u64,
        /// Where the function is.
        function: u64,
    },
    /// The name that `register!` gave it.
    Named(String),
}

/// The target of a function with its body's types.
#[inline]
pub(crate) fn target<B: WireBody>(function: *const ()) -> Result<Target, TaskError> {
    let (descriptor, function) = descriptor::offsets::<B>(function).map_err(TaskError::not_portable)?;
    Ok(Target::Image { descriptor, function })
}

/// Finds the function and enters it. The result is appended to `out`.
pub(crate) fn invoke(target: &Target, arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation {
    match target {
        Target::Image { descriptor, function } => match descriptor::resolve(*descriptor, *function) {
            Ok(found) => found.enter(arg, out),
            Err(reason) => Invocation::Done(Err(TaskError::not_portable(reason))),
        },
        Target::Named(name) => Invocation::Done(call_registered(name, arg, out)),
    }
}
