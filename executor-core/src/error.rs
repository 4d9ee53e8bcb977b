//! What can go wrong with a task, and with handing one over.
//!
//! [`TaskError`] is plain data: it travels between processes and machines as it is, and nothing has to be rebuilt
//! for it to arrive. A task's panic, its cancellation, its time limit and the loss of its worker are four
//! different variants, on every backend.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::task::Job;

/// Why a task has no value.
///
/// Which of these can be helped by trying again is told by [`TaskError::is_retryable`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task's function panicked. The panic is an outcome like a value: it is not tried again.
    #[error("task panicked at {location}: {message}")]
    #[non_exhaustive]
    Panicked {
        /// The panic's message; for a payload that is not text, a note saying so.
        message: String,
        /// `file:line:column` of the panic.
        location: String,
        /// The backtrace as text, taken in the worker.
        backtrace: String,
    },

    /// The task was cancelled.
    #[error("task was cancelled")]
    Cancelled,

    /// The task ran longer than its limit.
    #[error("task ran longer than its limit of {limit:?}")]
    #[non_exhaustive]
    TimedOut {
        /// The limit that was set by `.timeout(..)`.
        limit: Duration,
        /// The worker on which it was running, if that is known.
        worker: String,
    },

    /// The worker died, or its machine went away, while it was running the task.
    #[error(
        "worker {worker} was lost while running the task ({}; attempt {attempts}){}",
        Death { exit: *exit, signal: *signal, reason },
        Tail(stderr_tail)
    )]
    #[non_exhaustive]
    WorkerLost {
        /// Which worker, for example `process 4711` or `host-a:7077`.
        worker: String,
        /// The exit code, if the worker process ended by itself.
        exit: Option<i32>,
        /// The signal, if the worker process was ended by one.
        signal: Option<i32>,
        /// What else is known about the cause, for example `connection closed`; empty if nothing.
        reason: String,
        /// How many times the task has been begun.
        attempts: u32,
        /// The last lines that the worker wrote to its standard error; empty if there were none.
        stderr_tail: String,
    },

    /// The argument or the result could not be serialised.
    #[error("cannot serialise {what}: {message}")]
    #[non_exhaustive]
    Encode {
        /// Which value: `argument of type A` or `result of type R`.
        what: String,
        /// The serialiser's message.
        message: String,
    },

    /// The argument or the result could not be deserialised from what was sent.
    #[error("cannot deserialise {what}: {message}")]
    #[non_exhaustive]
    Decode {
        /// Which value: `argument of type A` or `result of type R`.
        what: String,
        /// The deserialiser's message.
        message: String,
    },

    /// The function cannot be found by another process.
    #[error("function cannot travel to another process: {reason}")]
    #[non_exhaustive]
    NotPortable {
        /// Why, and the remedy.
        reason: String,
    },

    /// The queue of the executor is full.
    ///
    /// `try_submit` gives the argument back instead, `map` waits, and `Executor::ready` tells when there is room.
    #[error("the queue of the executor is full; wait for ready(), use try_submit or map, or raise `queue`")]
    Full,

    /// The executor has been shut down.
    #[error("the executor has been shut down")]
    Closed,

    /// The executor gave up: its workers died one after the other without finishing a task between them, or none
    /// could be started.
    #[error("the executor gave up: {reason}")]
    #[non_exhaustive]
    Broken {
        /// What happened, how often, and how the last worker died.
        reason: String,
    },

    /// The other side runs another build of the program.
    #[error("build mismatch: we are {ours}, the other side is {theirs}")]
    #[non_exhaustive]
    BuildMismatch {
        /// The build id of this program.
        ours: String,
        /// The build id of the other side.
        theirs: String,
    },

    /// The machine or agent cannot be reached.
    #[error("{address} cannot be reached: {reason}")]
    #[non_exhaustive]
    Unreachable {
        /// The address that was tried.
        address: String,
        /// What happened there.
        reason: String,
    },

    /// A task waits for a task of its own pool, and the pool has no worker left to run it and may start no more.
    #[error("nested wait refused: {blocked} workers of the pool already wait for tasks of their own pool")]
    #[non_exhaustive]
    NestedTooDeep {
        /// How many workers are blocked in such waits.
        blocked: usize,
    },
}

impl TaskError {
    /// Whether trying the same task again may succeed: lost workers, full queues and unreachable machines.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::WorkerLost { .. } | Self::Full | Self::Unreachable { .. })
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }

    /// Whether the task's function panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked { .. })
    }

    /// A [`TaskError::Panicked`].
    pub fn panicked(
        message: impl Into<String>,
        location: impl Into<String>,
        backtrace: impl Into<String>,
    ) -> Self {
        Self::Panicked { message: message.into(), location: location.into(), backtrace: backtrace.into() }
    }

    /// A [`TaskError::TimedOut`].
    pub fn timed_out(limit: Duration, worker: impl Into<String>) -> Self {
        Self::TimedOut { limit, worker: worker.into() }
    }

    /// A [`TaskError::WorkerLost`].
    pub fn worker_lost(lost: WorkerLoss, attempts: u32) -> Self {
        Self::WorkerLost {
            worker: lost.worker,
            exit: lost.exit,
            signal: lost.signal,
            reason: lost.reason,
            attempts,
            stderr_tail: lost.stderr_tail,
        }
    }

    /// A [`TaskError::Encode`].
    pub fn encode(what: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::Encode { what: what.into(), message: message.to_string() }
    }

    /// A [`TaskError::Encode`] for a value of `len` bytes where the option `frame_limit` allows fewer.
    pub fn over_frame_limit(what: impl Into<String>, len: usize, limit: usize) -> Self {
        Self::encode(what, format_args!("it has {len} bytes, and `frame_limit` is {limit}"))
    }

    /// A [`TaskError::Decode`].
    pub fn decode(what: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::Decode { what: what.into(), message: message.to_string() }
    }

    /// A [`TaskError::NotPortable`].
    pub fn not_portable(reason: impl Into<String>) -> Self {
        Self::NotPortable { reason: reason.into() }
    }

    /// A [`TaskError::Broken`].
    pub fn broken(reason: impl Into<String>) -> Self {
        Self::Broken { reason: reason.into() }
    }

    /// A [`TaskError::BuildMismatch`].
    pub fn build_mismatch(ours: impl Into<String>, theirs: impl Into<String>) -> Self {
        Self::BuildMismatch { ours: ours.into(), theirs: theirs.into() }
    }

    /// A [`TaskError::Unreachable`].
    pub fn unreachable(address: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self::Unreachable { address: address.into(), reason: reason.to_string() }
    }

    /// A [`TaskError::NestedTooDeep`].
    pub fn nested_too_deep(blocked: usize) -> Self {
        Self::NestedTooDeep { blocked }
    }
}

/// How a worker ended; the part of [`TaskError::WorkerLost`] that a backend knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerLoss {
    /// Which worker, for example `process 4711` or `host-a:7077`.
    pub worker: String,
    /// The exit code, if the worker process ended by itself.
    pub exit: Option<i32>,
    /// The signal, if the worker process was ended by one.
    pub signal: Option<i32>,
    /// What else is known about the cause; empty if nothing.
    pub reason: String,
    /// The last lines that the worker wrote to its standard error.
    pub stderr_tail: String,
}

impl fmt::Display for WorkerLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.worker.is_empty() {
            write!(f, "{}: ", self.worker)?;
        }
        let death = Death { exit: self.exit, signal: self.signal, reason: &self.reason };
        write!(f, "{death}{}", Tail(&self.stderr_tail))
    }
}

struct Death<'a> {
    exit: Option<i32>,
    signal: Option<i32>,
    reason: &'a str,
}

impl fmt::Display for Death<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.exit, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}")?,
            (None, Some(signal)) => {
                write!(f, "signal {signal}")?;
                if let Some(name) = signal_name(signal) {
                    write!(f, " {name}")?;
                }
            }
            (None, None) if self.reason.is_empty() => return f.write_str("cause unknown"),
            (None, None) => return f.write_str(self.reason),
        }
        if !self.reason.is_empty() {
            write!(f, ", {}", self.reason)?;
        }
        Ok(())
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        _ => return None,
    })
}

struct Tail<'a>(&'a str);

impl fmt::Display for Tail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim_end() {
            "" => Ok(()),
            text => write!(f, "; its last words:\n{text}"),
        }
    }
}

/// A job that an executor did not take, with the reason.
///
/// The job is given back whole, so that it can be handed to another executor, or failed with
/// [`Rejected::fail`], which resolves its future.
pub struct Rejected {
    /// The job, untouched.
    pub job: Job,
    /// Why it was not taken: [`TaskError::Full`], [`TaskError::Closed`], [`TaskError::Encode`], ...
    pub error: TaskError,
}

impl Rejected {
    /// Resolves the job's future with the reason.
    pub fn fail(self) {
        self.job.fail(self.error);
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("job", &self.job).field("error", &self.error).finish()
    }
}

/// A task that `try_submit` did not hand over: the argument comes back.
#[derive(thiserror::Error)]
#[error("task was not submitted: {error}")]
pub struct TrySubmitError<A> {
    /// The argument, as it was given.
    pub arg: A,
    /// Why the task was not taken.
    pub error: TaskError,
}

impl<A> TrySubmitError<A> {
    /// Whether the queue was full.
    pub fn is_full(&self) -> bool {
        matches!(self.error, TaskError::Full)
    }

    /// The argument, as it was given.
    pub fn into_arg(self) -> A {
        self.arg
    }
}

impl<A> fmt::Debug for TrySubmitError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrySubmitError").field("error", &self.error).finish_non_exhaustive()
    }
}

/// Why an executor could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL or the configuration file does not say which backend in a form that can be read.
    #[error("invalid executor configuration{}: {message}", Place(place))]
    #[non_exhaustive]
    Syntax {
        /// Where: the URL, or file and line.
        place: String,
        /// What is wrong there, and the remedy.
        message: String,
    },
    /// No backend has this scheme.
    #[error("unknown executor scheme `{scheme}`{}; known schemes: {known}", DidYouMean(nearest))]
    #[non_exhaustive]
    UnknownScheme {
        /// The scheme as it was written.
        scheme: String,
        /// The known scheme nearest to it.
        nearest: Option<String>,
        /// All known schemes.
        known: String,
    },
    /// The scheme is reserved for a backend that this version does not have.
    #[error("the scheme `{scheme}` is not in this version; known schemes: {known}")]
    #[non_exhaustive]
    NotYet {
        /// The scheme as it was written.
        scheme: String,
        /// All known schemes.
        known: String,
    },
    /// The backend exists and is not compiled in.
    #[error("the scheme `{scheme}` is compiled out; turn on the feature `{feature}` of the crate `executor`")]
    #[non_exhaustive]
    CompiledOut {
        /// The scheme as it was written.
        scheme: String,
        /// The feature to turn on.
        feature: String,
    },
    /// The backend has no such option.
    #[error("unknown option `{key}` for `{scheme}`{}; known options: {known}", DidYouMean(nearest))]
    #[non_exhaustive]
    UnknownOption {
        /// The scheme whose option it should be.
        scheme: String,
        /// The option as it was written.
        key: String,
        /// The known option nearest to it.
        nearest: Option<String>,
        /// All known options.
        known: String,
    },
    /// The option's value cannot be used.
    #[error("option `{key}` of `{scheme}` has the value `{value}`: {message}")]
    #[non_exhaustive]
    InvalidOption {
        /// The scheme.
        scheme: String,
        /// The option.
        key: String,
        /// The value as it was written.
        value: String,
        /// What it should be.
        message: String,
    },
    /// The operating system did not give what the backend needs.
    #[error("cannot open `{url}`: {message}")]
    #[non_exhaustive]
    System {
        /// What was to be opened.
        url: String,
        /// The operation and the operating system's message.
        message: String,
    },
    /// A pool was opened in a worker process that has not passed `executor::init()`.
    #[error(
        "a pool cannot be opened here: this process was started as a worker, and its main function did not call \
         executor::init() first; make `executor::init();` the first line of main (or use \
         `executor::init_before_main!();` in tests)"
    )]
    InitMissing,
}

impl OpenError {
    /// An [`OpenError::Syntax`].
    pub fn syntax(place: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::Syntax { place: place.into(), message: message.to_string() }
    }

    /// An [`OpenError::InvalidOption`].
    pub fn invalid_option(
        scheme: impl Into<String>,
        key: impl Into<String>,
        value: impl fmt::Display,
        message: impl fmt::Display,
    ) -> Self {
        Self::InvalidOption {
            scheme: scheme.into(),
            key: key.into(),
            value: value.to_string(),
            message: message.to_string(),
        }
    }

    /// An [`OpenError::CompiledOut`].
    pub fn compiled_out(scheme: impl Into<String>, feature: impl Into<String>) -> Self {
        Self::CompiledOut { scheme: scheme.into(), feature: feature.into() }
    }

    /// An [`OpenError::System`].
    pub fn system(url: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::System { url: url.into(), message: message.to_string() }
    }
}

struct Place<'a>(&'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => Ok(()),
            place => write!(f, " in {place}"),
        }
    }
}

struct DidYouMean<'a>(&'a Option<String>);

impl fmt::Display for DidYouMean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(f, " (did you mean `{nearest}`?)"),
            None => Ok(()),
        }
    }
}

/// The name among `known` that is nearest to `name`, if one is near enough to be a typo of it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near(name, known).min().map(|(_, candidate)| candidate)
}

/// All names among `known` that are near enough to `name` for it to be a typo of them, the nearest first, at most three.
pub fn nearest_names<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<_> = near(name, known).collect();
    near.sort_unstable();
    near.into_iter().map(|(_, candidate)| candidate).take(3).collect()
}

/// The near ones, each with its distance.
fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = (usize, &'a str)> {
    known
        .into_iter()
        .map(move |candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(move |(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 3)
}
