//! The first line of `main`.

use crate::{sys, worker};

/// Takes over when this process was started as a worker; returns at once in any other.
///
/// It belongs in the first line of `main`: what stands before it runs in every worker as well. A pool that is opened in
/// a worker that has not passed it fails with a clear error.
///
/// In a worker, this runs tasks until the parent wants it to end or is gone, and then exits the process.
pub fn init() {
    match sys::worker::enter() {
        Ok(None) => {}
        Ok(Some(channel)) => worker::run(channel),
        // The parent is gone; there is nobody to tell.
        Err(sys::worker::EnterError::Orphaned) => std::process::exit(0),
        Err(error) => {
            let mut text = format!("this process cannot be a worker: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            eprintln!("{text}");
            std::process::exit(70)
        }
    }
}
