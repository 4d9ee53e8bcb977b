//! What a caller may ask for a task beyond its function and argument.

use std::time::Duration;

/// Options of one task, as set by the builder that `task(f, arg)` returns.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct TaskOptions {
    /// A name for logs, errors and listings. Default: none.
    pub name: Option<String>,
    /// How long an attempt may run, from the moment its body begins. Default: no limit.
    pub timeout: Option<Duration>,
    /// How many times the task may be begun again after its worker was lost. Default: 0.
    pub retries: u32,
    /// Tasks of higher priority are begun first; within a priority the order is that of submission. Default: 0.
    pub priority: i32,
    /// The body may be begun again without harm when it is unknown whether it had begun, as after the loss of a
    /// machine. Default: false.
    pub idempotent: bool,
    /// Run on the worker with this index and on no other. Default: any worker.
    pub worker: Option<u32>,
}

/// The options of a task that was submitted without any.
pub(crate) static DEFAULT: TaskOptions =
    TaskOptions { name: None, timeout: None, retries: 0, priority: 0, idempotent: false, worker: None };

/// What a task wrote to its standard streams; of executors that capture it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Printed {
    /// The bytes written to standard output.
    pub stdout: Vec<u8>,
    /// The bytes written to standard error.
    pub stderr: Vec<u8>,
}
