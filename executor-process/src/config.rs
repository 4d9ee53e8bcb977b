//! What a process pool can be told.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use executor_core::{OpenError, Options, Scheme, nearest, registered_names};

use crate::sys::{ForkError, ForkPoint, Origin, error_chain};

/// The scheme `process://` and its options; see the fields of [`ProcessConfig`].
pub const SCHEME: Scheme = Scheme {
    name: "process",
    keys: &[
        "workers",
        "queue",
        "max_bytes",
        "frame_limit",
        "grace",
        "breaker",
        "start_method",
        "preload",
        "start_timeout",
        "extra_workers",
        "max_tasks",
        "max_age",
        "max_memory",
        "memory_limit",
        "native_threads",
        "capture",
    ],
    has_hosts: false,
};

/// Where the processes of workers come from.
///
/// | | `spawn` | `forkserver` | `fork` |
/// | --- | --- | --- | --- |
/// | a worker is | the executable, started | a fork of a process that was started and has run the [`preload`](ProcessConfig::preload) hook | a fork of the program when the pool was opened |
/// | it begins with | nothing | what the hook has made | all that the program had: memory, open files |
/// | the program may have threads | yes | yes | not when the pool is opened |
///
/// All three keep all promises. Forked workers share memory with what they were forked from until one of them writes, so
/// that a large table is there once. Their `pthread_atfork` handlers do not run, and they continue one sequence of a
/// generator of random numbers that was seeded before the fork.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartMethod {
    /// `spawn`, the default.
    #[default]
    Spawn,
    /// `forkserver`.
    Forkserver,
    /// `fork`.
    Fork,
}

impl StartMethod {
    const ALL: [(Self, &str); 3] =
        [(Self::Spawn, "spawn"), (Self::Forkserver, "forkserver"), (Self::Fork, "fork")];

    /// As it is written in a URL.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    fn parse(text: &str) -> Result<Self, String> {
        if let Some((method, _)) = Self::ALL.iter().find(|(_, name)| *name == text) {
            return Ok(*method);
        }
        let hint = match nearest(text, Self::ALL.iter().map(|(_, name)| *name)) {
            Some(nearest) => format!("did you mean `{nearest}`? "),
            None => String::new(),
        };
        Err(format!("{hint}it should be `spawn`, `forkserver` or `fork`"))
    }
}

/// Settings of a [`ProcessExecutor`](crate::ProcessExecutor). The default is a worker per CPU that this process may use.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessConfig {
    /// `workers`: how many worker processes. Default: what CPU affinity, cgroup quota and `SLURM_CPUS_PER_TASK` allow,
    /// the least of them.
    pub workers: Option<usize>,
    /// `queue`: how many tasks may wait, those handed to workers not counted. Default 16,777,216. Too low: bursts are
    /// rejected as full. Worst-case memory: some 150 bytes a task and its serialised argument.
    pub queue: usize,
    /// `max_bytes`: how many bytes of serialised arguments may wait or be with workers; arguments of up to 22 bytes are
    /// not counted. Default 4 GiB. At the limit, submits are rejected as full.
    pub max_bytes: usize,
    /// `frame_limit`: the largest serialised argument, result or shared value, in bytes. Default 1 GiB, at most 4 GiB. A
    /// larger one is an error of its own task. Worst-case memory: this much per worker, while one is on its way.
    pub frame_limit: usize,
    /// `grace`: how long a cancelled or timed-out task may go on before its worker is killed. Default 1 s.
    pub grace: Duration,
    /// `breaker`: how many workers may die in a row, no task having finished in between, before the pool gives up.
    /// Default 10. Too low: some bad tasks in a row end the pool.
    pub breaker: u32,
    /// `start_method`: where the processes of workers come from. Default: `spawn`.
    pub start_method: StartMethod,
    /// `preload`: the name of a hook, made known by [`register!`](executor_core::register) as a function of `()`, which
    /// runs once in the process from which `forkserver` forks the workers, and again in its replacement should it die. What
    /// it leaves in statics all workers find there, and share the memory of. It must leave no threads behind. Its time counts
    /// towards `start_timeout`. Default: none.
    pub preload: Option<String>,
    /// For `fork`: the moment whose program the workers are copies of. Default: when the pool is opened.
    pub fork_point: Option<ForkPoint>,
    /// `start_timeout`: how long a worker may take from its start to its first word. Default 30 s. A program whose `main` does
    /// not call `init()` first may never say one.
    pub start_timeout: Duration,
    /// `extra_workers`: how many more workers may be started while tasks wait for tasks of their own pool. Default: four
    /// times `workers`, at least 64. At the bound, such a wait is an error.
    pub extra_workers: Option<usize>,
    /// `max_tasks`: a worker is replaced after so many tasks. Default: never. Tasks that are handed ahead are few for
    /// slow ones and up to a thousand for those of microseconds, and the count is looked at when results arrive, so that it may
    /// be exceeded by what had been handed over.
    pub max_tasks: Option<u64>,
    /// `max_age`: a worker is replaced at this age. Default: never.
    pub max_age: Option<Duration>,
    /// `max_memory`: a worker is replaced when it holds more than so many bytes (resident), looked at about once a second
    /// while it finishes tasks. Default: never.
    pub max_memory: Option<u64>,
    /// `memory_limit`: the most bytes of address space that a worker may have (`RLIMIT_AS`). Default: no limit. An
    /// allocation beyond fails in the worker, which aborts; some hundred MiB more than the tasks need are sensible.
    pub memory_limit: Option<u64>,
    /// `native_threads`: how many threads OpenMP, BLAS and rayon may use in a worker, unless their variables are set
    /// already. Default: not limited.
    pub native_threads: Option<usize>,
    /// `capture`: keep what each task prints, up to so many bytes per stream, for `TaskFuture::printed`. Default: off, then it
    /// is printed.
    pub capture: Option<usize>,
    /// The executable to start as a worker. Default: this one. It has to be of the same build as the program whose
    /// tasks it gets, and its `main` has to call `init()`.
    pub program: Option<PathBuf>,
    /// Environment variables for the workers, beside those that they inherit.
    pub env: Vec<(OsString, OsString)>,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            workers: None,
            queue: 1 << 24,
            max_bytes: 4 << 30,
            frame_limit: 1 << 30,
            grace: Duration::from_secs(1),
            breaker: 10,
            start_method: StartMethod::Spawn,
            preload: None,
            fork_point: None,
            start_timeout: Duration::from_secs(30),
            extra_workers: None,
            max_tasks: None,
            max_age: None,
            max_memory: None,
            memory_limit: None,
            native_threads: None,
            capture: None,
            program: None,
            env: Vec::new(),
        }
    }
}

impl ProcessConfig {
    /// Reads the options of a `process://` URL or file.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`] for a value that cannot be used.
    pub fn from_options(options: &Options<'_>) -> Result<Self, OpenError> {
        let default = Self::default();
        let bytes = |key| {
            let bytes = options.bytes(key)?;
            Ok(bytes.map(|it| usize::try_from(it).unwrap_or(usize::MAX)))
        };
        Ok(Self {
            workers: options.count("workers")?,
            queue: options.count("queue")?.unwrap_or(default.queue),
            max_bytes: bytes("max_bytes")?.unwrap_or(default.max_bytes),
            frame_limit: bytes("frame_limit")?.unwrap_or(default.frame_limit),
            grace: options.duration("grace")?.unwrap_or(default.grace),
            breaker: options
                .count("breaker")?
                .map_or(default.breaker, |it| u32::try_from(it).unwrap_or(u32::MAX)),
            start_method: options.parse("start_method", StartMethod::parse)?.unwrap_or_default(),
            preload: options.parse("preload", |name| Ok(name.to_owned()))?,
            fork_point: None,
            start_timeout: options.duration("start_timeout")?.unwrap_or(default.start_timeout),
            extra_workers: options.parse("extra_workers", |value| {
                value.parse().map_err(|_| "it should be a whole number".to_owned())
            })?,
            max_tasks: options.count("max_tasks")?.map(|it| it as u64),
            max_age: options.duration("max_age")?,
            max_memory: options.bytes("max_memory")?,
            memory_limit: options.bytes("memory_limit")?,
            native_threads: options.count("native_threads")?,
            capture: bytes("capture")?,
            program: None,
            env: Vec::new(),
        })
    }

    /// Sets [`workers`](Self::workers).
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets [`start_method`](Self::start_method).
    pub fn with_start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// Sets [`preload`](Self::preload), and `forkserver` with it.
    pub fn with_preload(mut self, hook: impl Into<String>) -> Self {
        self.start_method = StartMethod::Forkserver;
        self.preload = Some(hook.into());
        self
    }

    /// Sets [`fork_point`](Self::fork_point), and `fork` with it.
    pub fn with_fork_point(mut self, point: ForkPoint) -> Self {
        self.start_method = StartMethod::Fork;
        self.fork_point = Some(point);
        self
    }

    /// Sets [`program`](Self::program).
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Adds to [`env`](Self::env).
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets [`grace`](Self::grace).
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// `frame_limit`, as far as the length of a frame can tell it.
    pub(crate) fn largest_frame(&self) -> usize {
        /// For what is in a frame besides the value.
        const REST: u32 = 1 << 20;
        self.frame_limit.min((u32::MAX - REST) as usize)
    }

    /// Where the workers come from: for `fork`, this is where the program is forked.
    pub(crate) fn origin(&self) -> Result<Origin, OpenError> {
        let invalid = |key: &str, value: &str, message: String| {
            OpenError::invalid_option(SCHEME.name, key, value, message)
        };
        if let (Some(hook), true) = (&self.preload, self.start_method != StartMethod::Forkserver) {
            let message = format!(
                "a preload hook needs `start_method=forkserver`, and it is `{}`",
                self.start_method.name()
            );
            return Err(invalid("preload", hook, message));
        }
        match self.start_method {
            StartMethod::Spawn => Ok(Origin::Spawn),
            StartMethod::Forkserver => {
                if let (Some(hook), None) = (&self.preload, &self.program) {
                    check_hook(hook).map_err(|message| invalid("preload", hook, message))?;
                }
                Ok(Origin::Forkserver { preload: self.preload.clone() })
            }
            StartMethod::Fork => {
                if let Some(program) = &self.program {
                    let message =
                        "forked workers are copies of this program; another one can only be started"
                            .to_owned();
                    return Err(invalid("program", &program.display().to_string(), message));
                }
                if let Some(point) = &self.fork_point {
                    return Ok(Origin::Fork(point.clone()));
                }
                ForkPoint::here().map(Origin::Fork).map_err(|error| match error {
                    ForkError::Threads { .. } => invalid("start_method", "fork", error.to_string()),
                    _ => OpenError::system("process://?start_method=fork", error_chain(&error)),
                })
            }
        }
    }

    pub(crate) fn worker_command(&self) -> crate::sys::WorkerCommand {
        let mut command = crate::sys::WorkerCommand::new()
            .with_stderr(crate::sys::Output::Pipe)
            .with_native_threads(self.native_threads.and_then(NonZeroUsize::new))
            .with_address_space_limit(self.memory_limit)
            .with_frame_limit(self.largest_frame())
            .with_capture(self.capture);
        if let Some(program) = &self.program {
            command = command.with_program(program);
        }
        for (name, value) in &self.env {
            command = command.with_env(name, value);
        }
        command
    }
}

/// Whether this program knows a hook of this name.
fn check_hook(hook: &str) -> Result<(), String> {
    let mut names = registered_names().peekable();
    if names.peek().is_none() {
        return Err(format!("no function is registered; write `register! {{ \"{hook}\" => .. }}`"));
    }
    let names: Vec<&str> = names.collect();
    if names.contains(&hook) {
        return Ok(());
    }
    let hint = match nearest(hook, names.iter().copied()) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; known: {}", names.join(", ")),
    };
    Err(format!("no function is registered under this name{hint}"))
}
