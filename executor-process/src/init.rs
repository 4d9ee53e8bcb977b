//! The first line of `main`.

use crate::sys::worker::{Entered, enter, refuse};
use crate::{process, worker};

/// Takes over when this process was started as a worker; returns at once in any other.
///
/// It belongs in the first line of `main`: what stands before it runs in every worker as well. A pool that is opened in
/// a worker that has not passed it fails with a clear error.
///
/// In a worker, this runs tasks until the parent wants it to end or is gone, and then exits the process. A process that was
/// started as a zygote (`start_method=forkserver`) forks workers here until the parent is gone; nor does it return in them. A process
/// that [`Process::spawn`](crate::Process::spawn) has started runs its function here.
pub fn init() {
    match enter() {
        Ok(Entered::Program) => {}
        Ok(Entered::Worker(channel)) => worker::run(channel),
        Ok(Entered::Process(socket)) => process::run(socket),
        Err(error) => refuse(&error),
    }
}
