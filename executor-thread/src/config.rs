//! What can be set: [`ThreadConfig`].

use std::num::NonZero;

use executor_core::{OpenError, Options, Scheme};

use crate::queue::MAX_CAPACITY;

/// The scheme of URLs: `thread://?workers=4&queue=1000`.
pub const SCHEME: Scheme =
    Scheme { name: "thread", keys: &["workers", "queue", "name", "stack_size"], has_hosts: false };

/// How a [`ThreadExecutor`](crate::ThreadExecutor) is set up.
///
/// ```
/// use executor_core::ExecutorExt;
/// use executor_thread::{ThreadConfig, ThreadExecutor};
/// let ex = ThreadExecutor::open(ThreadConfig::default().with_workers(2)).unwrap();
/// assert_eq!(ex.submit(|n: u64| n + 1, 41).wait(), Ok(42));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadConfig {
    /// Threads. Default: as many as the process may use at once: its affinity, its cgroup's quota and
    /// `SLURM_CPUS_PER_TASK` count. More than that helps tasks that block, and costs switches.
    pub workers: usize,
    /// Tasks that may wait, plus async tasks that are on their way; beyond that, submits are refused as `Full`. Default: 16 Mi, which at some 112 bytes for
    /// a task with a number is 1.8 GiB. Lower bounds memory; too low makes workers wait for the submitter.
    pub queue: usize,
    /// The start of the threads' names, as debuggers and `top` show them. Default: `executor`.
    pub name: String,
    /// Bytes of address space for each thread's stack. Default: 16 MiB. Memory is used as far as the stack is: a task that waits
    /// runs others on top of it, so deep trees of tasks need much. Too little ends such a wait with `NestedTooDeep`.
    pub stack_size: usize,
}

/// Below this, not even rayon's own frames and a task's fit.
const MIN_STACK: usize = 256 * 1024;

impl Default for ThreadConfig {
    fn default() -> Self {
        Self {
            workers: default_workers(std::env::var("SLURM_CPUS_PER_TASK").ok().as_deref()),
            queue: 16 * 1024 * 1024,
            name: "executor".to_owned(),
            stack_size: 16 * 1024 * 1024,
        }
    }
}

impl ThreadConfig {
    /// Reads the options of a URL or a configuration file.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`] for a value that cannot be used.
    pub fn from_options(options: &Options<'_>) -> Result<Self, OpenError> {
        let mut config = Self::default();
        if let Some(workers) = options.count("workers")? {
            config.workers = workers;
        }
        if let Some(queue) = options.count("queue")? {
            config.queue = queue;
        }
        if let Some(name) = options.text("name") {
            config.name = name.to_owned();
        }
        if let Some(bytes) = options.bytes("stack_size")? {
            config.stack_size = usize::try_from(bytes).unwrap_or(usize::MAX);
        }
        Ok(config)
    }

    /// Sets [`workers`](Self::workers).
    pub fn with_workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets [`queue`](Self::queue).
    pub fn with_queue(mut self, tasks: usize) -> Self {
        self.queue = tasks;
        self
    }

    /// Sets [`name`](Self::name).
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`stack_size`](Self::stack_size).
    pub fn with_stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes;
        self
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let invalid = |key, value: usize, message: String| {
            Err(OpenError::invalid_option(SCHEME.name, key, value, message))
        };
        let most = rayon_core::max_num_threads();
        if self.workers == 0 || self.workers > most {
            return invalid("workers", self.workers, format!("it should be from 1 to {most}"));
        }
        if self.queue == 0 || self.queue > MAX_CAPACITY {
            return invalid("queue", self.queue, format!("it should be from 1 to {MAX_CAPACITY}"));
        }
        if self.stack_size < MIN_STACK || self.stack_size > isize::MAX as usize {
            return invalid("stack_size", self.stack_size, "it should be at least `256KiB`".to_owned());
        }
        Ok(())
    }
}

fn default_workers(slurm: Option<&str>) -> usize {
    let here = std::thread::available_parallelism().map_or(1, NonZero::get);
    match slurm.and_then(|it| it.parse().ok()) {
        Some(cpus) if cpus > 0 => here.min(cpus),
        _ => here,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use executor_core::Config;

    fn read(url: &str) -> Result<ThreadConfig, OpenError> {
        let config = Config::from_url(url)?;
        ThreadConfig::from_options(&config.options(&SCHEME)?)
    }

    #[test]
    fn options_are_read() {
        let config = read("thread://?workers=3&queue=10&name=crunch&stack_size=2MiB").unwrap();
        let expected = ThreadConfig::default().with_workers(3).with_queue(10).with_name("crunch");
        assert_eq!(config, expected.with_stack_size(2 << 20));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        for wrong in ["workers=0", "workers=x", "queue=0", "stack_size=much"] {
            let key = wrong.split('=').next().unwrap();
            match read(&format!("thread://?{wrong}")) {
                Err(OpenError::InvalidOption { key: named, .. }) => assert_eq!(named, key),
                other => panic!("{wrong}: {other:?}"),
            }
        }
        for wrong in [
            ThreadConfig::default().with_workers(0),
            ThreadConfig::default().with_queue(0),
            ThreadConfig::default().with_queue(usize::MAX),
            ThreadConfig::default().with_stack_size(1),
        ] {
            assert!(matches!(wrong.check(), Err(OpenError::InvalidOption { .. })), "{wrong:?}");
        }
    }

    #[test]
    fn slurm_bounds_the_workers() {
        assert_eq!(default_workers(Some("1")), 1);
        let here = default_workers(None);
        for odd in ["0", "", "many", "999999"] {
            assert_eq!(default_workers(Some(odd)), here, "{odd}");
        }
    }
}
