//! What happens in the process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use executor_core::{Executor, ExecutorExt, Host, Job, Serial, TaskError, TaskFuture};

use super::catch::job_of;
use super::message;
use crate::sys::worker;
use crate::transport::recv_with_fds;

/// Exit code of a process whose function has panicked, or whose outcome could not be encoded.
const EXIT_FAILED: i32 = 1;

/// Exit code of a process that found no function to run.
const EXIT_NOTHING: i32 = 70;

/// What a function can ask in a process of its own.
struct ProcessHost;

impl Host for ProcessHost {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Serial::new())
    }

    fn worker(&self) -> String {
        format!("process {}", std::process::id())
    }
}

/// Runs the function of a process that was spawned.
pub(crate) fn run(socket: OwnedFd) -> ! {
    let run = || -> io::Result<bool> {
        let [file] = recv_with_fds(&socket, &mut [0]).map_err(io::Error::other)?;
        let host: Arc<dyn Host> = Arc::new(ProcessHost);
        message::run(&File::from(file), socket.as_fd(), &host)
    };
    match run() {
        Ok(is_value) => worker::exit(if is_value { 0 } else { EXIT_FAILED }),
        Err(error) => {
            eprintln!("this process cannot run its function: {error}");
            worker::exit(EXIT_NOTHING)
        }
    }
}

/// Runs the closure of a process that was forked. `prepare` comes first. Nothing unwinds into the frames below, which are
/// the program's.
pub(super) fn run_fork<F, R>(
    prepare: impl FnOnce() -> io::Result<()>,
    closure: F,
    file: &File,
    socket: &OwnedFd,
) -> !
where
    F: FnOnce() -> R,
    R: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let run = || -> io::Result<bool> {
        prepare()?;
        match outcome_of(closure).and_then(encoded) {
            Ok(job) => message::write_outcome(Ok((job.encoded(), job.attachments())), file, socket.as_fd()),
            Err(error) => message::write_outcome(Err(error), file, socket.as_fd()),
        }
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(is_value)) => worker::exit(if is_value { 0 } else { EXIT_FAILED }),
        Ok(Err(error)) => {
            eprintln!("this process cannot run its function: {error}");
            worker::exit(EXIT_NOTHING)
        }
        Err(_) => std::process::abort(),
    }
}

/// Calls the closure as a task is called: a panic becomes an error.
fn outcome_of<F: FnOnce() -> R, R: Send + 'static>(closure: F) -> Result<R, TaskError> {
    /// The closure is called on this thread before anything else happens, and may borrow from the frames below, which
    /// never end here.
    struct Here<F>(F);
    // SAFETY: it is not sent: `Serial` runs a job inside of `submit`, on this thread.
    unsafe impl<F> Send for Here<F> {}
    impl<F: FnOnce() -> R, R> Here<F> {
        fn call(self) -> R {
            (self.0)()
        }
    }
    let here = Here(closure);
    let boxed: Box<dyn FnOnce() -> R + Send + '_> = Box::new(move || here.call());
    // SAFETY: the lifetime is that of frames of this process which are never left: whoever forked it ends it.
    let boxed: Box<dyn FnOnce() -> R + Send + 'static> = unsafe { std::mem::transmute(boxed) };
    let (job, future): (Job, TaskFuture<R>) = Job::from_fn(boxed);
    if let Err(rejected) = Serial::new().submit_job(job) {
        rejected.fail();
    }
    future.wait()
}

/// A value in the form in which arguments travel, which is that of results.
fn encoded<R>(value: R) -> Result<Job, TaskError>
where
    R: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
{
    let (mut job, _) = job_of(|catch| catch.submit(|_: R| (), value));
    job.encode_for(message::carrier())?;
    Ok(job)
}
