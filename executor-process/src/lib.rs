//! Worker processes behind the executor interface. Linux only.
//!
//! A [`ProcessExecutor`] starts worker processes, which are this very executable, and hands them tasks over private
//! channels, one per worker: nothing is shared between workers, so the death of one can corrupt nobody else. What a
//! worker had begun and what it had finished stands in memory that survives it (the `board`), so a death costs exactly
//! the task that was running.
//!
//! The main function of the program has to call [`init`] first, which never returns in a worker.
//!
//! # Map
//!
//! | module | what is there |
//! | --- | --- |
//! | `pool` | the parent's side: the executor, its state under one lock, the reaper thread |
//! | `worker` | the worker's side: the loop that runs tasks, its host, its writer |
//! | `board`, `ring`, `transport` | the shared memory and the channel between the two |
//! | `sys` | starting, watching and ending processes, by each start method |
//! | `process` | [`Process`]: one function in a process of its own |
//! | [`ipc`] | locks, values, memory that processes share |
//! | [`limits`] | how many workers, how much memory |
//!
//! `board`, `ring`, `sys` and `transport` are public for their tests only.
//!
//! # Why fork is not the default
//!
//! By default workers are started by `posix_spawn` and not by `fork`: a forked copy of a program with threads holds locks
//! that nobody will release. A Rust program starts in a millisecond, so there is little to gain, unless workers are to share
//! memory that takes long to fill: that is what the other [start methods](StartMethod) are for, which fork processes of one
//! thread only.

#[doc(hidden)]
pub mod board;
mod config;
mod init;
pub mod ipc;
pub mod limits;
mod pool;
mod process;
#[doc(hidden)]
pub mod ring;
mod segment;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub mod transport;
mod worker;

pub use config::{ProcessConfig, SCHEME, StartMethod};
pub use init::init;
pub use pool::ProcessExecutor;
pub use process::{Output, Process, ProcessBuilder, ProcessError};
pub use sys::{Exit, ForkError, ForkPoint};
