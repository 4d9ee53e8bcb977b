//! Threads behind the executor interface: `thread://`.
//!
//! [`ThreadExecutor`] runs tasks on a rayon thread pool of its own, so that a parallel iterator inside of a task uses the
//! same threads. Arguments are moved to the task and results back, never serialised.
//!
//! # How it works
//!
//! A task goes into a queue of ours, and not into rayon's: ours has priorities and a bound, and a task that is
//! cancelled before it begins never begins. *Drainers* empty the queue. A drainer is one rayon job; there are at most as many as threads,
//! so that a submit costs no rayon job while they are at work, and they let rayon's own work through.
//!
//! | module | topic |
//! | --- | --- |
//! | `queue` | the lock-free queue of tasks without a wish, which is most of them |
//! | `side` | priorities, tasks submitted by tasks, tasks for one thread |
//! | `places` | when a drainer starts, searches and leaves: no wake-up is lost |
//! | `seat` | what a thread is running, so that `Shutdown::Kill` can resolve it |
//! | `worker` | a pool thread: the drainer's loop, helping inside of waits |
//! | `stand_in` | threads in place of those that a task blocks by somebody's `block_on` |
//! | `shared` | what all of them share; submitting |
//! | `ending` | shutdown |
//! | `timer`, `runtime` | time limits; async bodies |
//!
//! What it does not do: stop a body that runs. A cancel, a time limit and `Shutdown::Kill` raise the cooperative flag
//! and resolve the future; the thread is back when the body returns. A task that aborts or overflows its stack takes the program with
//! it; `process://` is for those.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `tokio` | yes | async bodies run on a tokio runtime; without it, one plain thread polls them |

mod config;
mod ending;
mod executor;
#[cfg(all(test, loom))]
mod loom;
mod places;
mod queue;
mod runtime;
mod scope;
mod seat;
mod shared;
mod side;
mod stand_in;
mod sync;
mod timer;
mod waits;
mod worker;

pub use config::{SCHEME, ThreadConfig};
pub use executor::ThreadExecutor;
pub use runtime::block_on;
pub use scope::{Scope, ScopedFuture};
