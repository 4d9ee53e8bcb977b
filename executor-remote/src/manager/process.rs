//! A manager in a process of its own.
//!
//! ```text
//! program                                          manager's process
//! -------                                          -----------------
//! a random key and a random name; the program
//! is started again, with both as its argument  ->  init(): runs the function that was given
//!                                                  listens on unix:@name
//!                                              <-  "listening", through a pipe
//! the handle is dropped, or the program dies       is killed
//! ```
//!
//! The name is in Linux's abstract namespace: there is no file to be left behind.
//!
//! All clients are served by one thread: operations are quick (rule 1 of `operation`), and a second thread would be woken by the
//! first for each message. What may take long runs elsewhere: methods of user types and sweeps have threads of their own.

use std::fmt;
use std::pin::pin;
use std::time::{Duration, Instant};

use executor_core::TaskError;
use executor_process::ipc::{PipeWriter, pipe};
use executor_process::{Process, ProcessError};
use futures::future::{Either, select};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::registry::Registry;
use super::server::ManagerServer;
use crate::connection::{AuthKey, Listener};
use crate::io_runtime;

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// How long the process may take until it listens. Starting takes milliseconds; this is for a machine that swaps.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A manager in a process of its own, which is killed when this is dropped or the program ends, in whatever way.
pub struct ServerProcess {
    process: Process<()>,
    address: String,
    key: AuthKey,
}

/// Why there is no manager.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no randomness for a key.
    #[error("the operating system gives no random bytes for the manager's key")]
    Random,
    /// There is no pipe for the process to report by.
    #[error("the manager's process cannot be given a pipe")]
    Pipe(#[source] std::io::Error),
    /// The process was not started.
    #[error("the manager's process cannot be started")]
    Process(#[source] ProcessError),
    /// The process ended without having listened.
    #[error(
        "the manager's process {pid} ended before it listened: its function has to call `ManagerSetup::serve`"
    )]
    Ended {
        /// Its process id.
        pid: i32,
        /// How it ended, if it was not by returning.
        #[source]
        source: Option<TaskError>,
    },
    /// The process takes too long.
    #[error("the manager's process {pid} did not listen within {limit:?}")]
    Late {
        /// Its process id.
        pid: i32,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The process cannot listen.
    #[error("the manager's process cannot listen at {address}: {reason}")]
    Listen {
        /// Where.
        address: String,
        /// What it says.
        reason: String,
    },
}

impl ServerProcess {
    /// Starts a manager of the types that every manager has.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    ///
    /// # Blocking
    ///
    /// For the milliseconds that a process needs to start.
    pub fn start() -> Result<Self, StartError> {
        Self::start_with(|setup| setup.serve(Registry::new()))
    }

    /// Starts a manager by `serve`, which runs in the new process, and says which types it has.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    ///
    /// # Blocking
    ///
    /// As [`start`](Self::start).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use executor_remote::manager::{Registry, ServerProcess};
    ///
    /// executor_process::init(); // the first line of main
    /// let manager = ServerProcess::start_with(|setup| {
    ///     let registry = Registry::new()
    ///         .register("Counter", |start: i64| start)
    ///         .method("add", |counter: &mut i64, n: i64| {
    ///             *counter += n;
    ///             *counter
    ///         });
    ///     setup.serve(registry)
    /// })?;
    /// println!("{}", manager.address());
    /// # Ok::<(), executor_remote::manager::StartError>(())
    /// ```
    pub fn start_with(serve: fn(ManagerSetup)) -> Result<Self, StartError> {
        let mut random = [0; 16 + KEY_LEN];
        SystemRandom::new().fill(&mut random).map_err(|_| StartError::Random)?;
        let (name, key) = random.split_at(16);
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let address = format!("unix:@executor-manager-{name}");
        let (reader, writer) = pipe().map_err(StartError::Pipe)?;
        let setup = ManagerSetup { address: address.clone(), key: key.to_vec(), writer };
        let mut process = Process::builder()
            .name("manager")
            .daemon(true)
            .spawn(serve, setup)
            .map_err(StartError::Process)?;
        let pid = process.pid();
        let report = pin!(reader.recv_async());
        let report = select(report, &mut process);
        let reported = match io_runtime::block_on_until(report, Some(Instant::now() + START_LIMIT)) {
            Some(Either::Left((Ok(reported), _))) => reported,
            Some(Either::Left((Err(_), process))) => return Err(ended(pid, io_runtime::block_on(process))),
            Some(Either::Right((outcome, _))) => reader.try_recv().map_err(|_| ended(pid, outcome))?,
            None => return Err(StartError::Late { pid, limit: START_LIMIT }),
        };
        reported.map_err(|reason| StartError::Listen { address: address.clone(), reason })?;
        Ok(Self { process, address, key: key.into() })
    }

    /// Where it listens: `unix:@executor-manager-...`, in Python `b"\0executor-manager-..."`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What its clients have to hold.
    pub fn authkey(&self) -> &AuthKey {
        &self.key
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.process.pid()
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }
}

impl fmt::Debug for ServerProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerProcess")
            .field("address", &self.address)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

/// What the process of a manager is given; see [`ServerProcess::start_with`].
#[derive(Serialize, Deserialize)]
pub struct ManagerSetup {
    address: String,
    key: Vec<u8>,
    writer: PipeWriter<Result<(), String>>,
}

impl ManagerSetup {
    /// Serves until a client ends the manager.
    ///
    /// # Blocking
    ///
    /// Blocks this thread.
    pub fn serve(self, registry: impl Into<Registry>) {
        let Self { address, key, writer } = self;
        // If there is no thread for it, that is what the listener says.
        let _ = io_runtime::start_attentive();
        let listener = match io_runtime::block_on(Listener::bind(&address, key)) {
            Ok(listener) => listener,
            Err(error) => {
                // If the program is gone, so is this process in a moment.
                let _ = writer.send(Err(described(&error)));
                return;
            }
        };
        let serving = ManagerServer::new().with_registry(registry).serve(listener);
        let _ = writer.send(Ok(()));
        drop(writer);
        serving.wait();
    }
}

impl fmt::Debug for ManagerSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagerSetup").field("address", &self.address).finish_non_exhaustive()
    }
}

fn ended(pid: i32, outcome: Result<(), TaskError>) -> StartError {
    StartError::Ended { pid, source: outcome.err() }
}

/// An error with its causes, for another process.
fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
