//! Fork points.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::link::{Link, ToZygote};
use crate::sys::fork::{self, Forked, described};
use crate::sys::{Child, SpawnError, spawn, worker};

/// Why the program could not be forked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForkError {
    /// Threads would be missing in the fork, with the locks that they hold.
    #[error(
        "this process has {}, and only a process with one thread can be forked: in the fork, what the other threads have \
         locked would stay locked for ever; fork before anything starts a thread (an async runtime, a pool, a logger), or \
         use start_method=forkserver",
        described(threads)
    )]
    Threads {
        /// Their names.
        threads: Vec<String>,
    },
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The program as it is at one moment, from which workers can be forked later, when the program has threads.
///
/// `start_method=fork` makes one when a pool is opened. A program that opens pools later than it can be forked makes one
/// early, and gives it to each ([`ProcessConfig::with_fork_point`](crate::ProcessConfig::with_fork_point)): their workers
/// are copies of the program as it was here. What it had opened by then stays open in them: files, sockets, pipes.
///
/// It is a process that waits. It shares its memory with the program until one of them writes, and ends with the last
/// handle, or with the program.
///
/// # Examples
///
/// ```no_run
/// use executor_process::{ForkPoint, ProcessConfig, ProcessExecutor};
///
/// executor_process::init();
/// let point = ForkPoint::here()?; // the process has one thread
/// std::thread::spawn(|| { /* .. */ });
/// let ex = ProcessExecutor::open(ProcessConfig::default().with_fork_point(point))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ForkPoint {
    root: Arc<Root>,
}

#[derive(Debug)]
struct Root {
    link: Link,
    /// Ended and reaped when this is dropped.
    _child: Child,
}

impl ForkPoint {
    /// Forks the program.
    ///
    /// Call it on a thread that lives as long as the program, which is the only one at this moment: the kernel ends the
    /// fork, and all that is forked from it, when this *thread* ends.
    ///
    /// # Errors
    ///
    /// [`ForkError::Threads`] if the process has more than one thread; [`ForkError::System`].
    ///
    /// # Blocking
    ///
    /// For the time of a `fork`: about a tenth of a millisecond, and more for a program with gigabytes of memory.
    pub fn here() -> Result<Self, ForkError> {
        let error = |action| move |source| ForkError::System { action, source };
        require_one_thread()?;
        let (link, theirs) = Link::pair().map_err(error("make a socket pair"))?;
        link.send(&ToZygote::Prepare { preload: String::new() }, &[]).map_err(error("use a socket pair"))?;
        let program = rustix::process::getpid().as_raw_nonzero().get();
        // SAFETY: this process has one thread, and `serve` does not return.
        match unsafe { fork::fork() }.map_err(error("fork this process"))? {
            Forked::Child => {
                drop(link);
                serve(theirs, program)
            }
            Forked::Parent(pid) => {
                let child = spawn::watch_forked(pid).map_err(|it| ForkError::System {
                    action: "watch a fork of this process",
                    source: io::Error::other(it),
                })?;
                Ok(Self { root: Arc::new(Root { link, _child: child }) })
            }
        }
    }

    /// Has a zygote forked, whose end of its link is `theirs`.
    pub(super) fn fork_zygote(
        &self,
        envs: Vec<(OsString, OsString)>,
        theirs: OwnedFd,
    ) -> Result<(), SpawnError> {
        self.root.link.send(&ToZygote::Zygote { envs }, &[theirs.as_fd()]).map_err(|error| SpawnError::Fork {
            reason: match error.kind() {
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                    "the process that was forked from the program, from which its workers are forked, is gone; open \
                     the pool again"
                        .to_owned()
                }
                _ => format!("asking for a zygote: {error}"),
            },
        })
    }
}

/// An error if this process has more than one thread.
pub(crate) fn require_one_thread() -> Result<(), ForkError> {
    let threads = worker::threads_besides_dying()
        .map_err(|source| ForkError::System { action: "count the threads of this process", source })?;
    if threads.len() > 1 { Err(ForkError::Threads { threads }) } else { Ok(()) }
}

/// Nothing unwinds into the frames below, which are the program's.
fn serve(link: OwnedFd, program: i32) -> ! {
    let served = catch_unwind(AssertUnwindSafe(|| match worker::enter_fork(link, program) {
        Ok(channel) => crate::worker::run(channel),
        Err(error) => worker::refuse(&error),
    }));
    match served {
        Ok(never) => never,
        Err(_) => std::process::abort(),
    }
}
