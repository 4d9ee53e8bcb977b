//! From a configuration to an executor: [`Config::open`], [`open`], [`from_env`].

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use executor_core::{Executor, OpenError, Scheme, Serial};

/// The schemes that this version knows, compiled in or not.
const SCHEMES: &[&str] = &["serial", "thread", "process", "tcp"];

/// Schemes that are reserved for backends to come.
const LATER: &[&str] = &["slurm", "k8s", "spark", "ssh"];

/// Which executor to open, with which options.
///
/// It is read from a URL, from TOML or from the environment, and opened by [`open`](Self::open). In TOML, `executor`
/// is the scheme or a whole URL, `hosts` the hosts, and every other key an option under the name that it has in URLs:
///
/// ```
/// use executor::prelude::*;
///
/// let config = Config::from_toml(
///     r#"
///     executor = "process"
///     workers = 4
///     max_age = "1h"
///     "#,
/// )?;
/// assert_eq!(config.to_string(), "process://?max_age=1h&workers=4");
/// # Ok::<(), OpenError>(())
/// ```
///
/// A relative path among the options counts from the folder of the file; in a URL, from the current folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config(executor_core::Config);

impl Config {
    /// Parses `scheme://host,host?key=value&key=value`.
    ///
    /// # Errors
    ///
    /// [`OpenError::Syntax`] that says what is wrong.
    pub fn from_url(url: &str) -> Result<Self, OpenError> {
        executor_core::Config::from_url(url).map(Self)
    }

    /// Parses TOML; see [`Config`] for the keys.
    ///
    /// # Errors
    ///
    /// [`OpenError::Syntax`] with the line.
    pub fn from_toml(text: &str) -> Result<Self, OpenError> {
        executor_core::Config::from_toml(text).map(Self)
    }

    /// Reads a TOML file. Paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// [`OpenError::Syntax`] with file and line, or [`OpenError::System`] if it cannot be read.
    ///
    /// # Blocking
    ///
    /// Reads the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        executor_core::Config::from_file(path).map(Self)
    }

    /// What the environment names: the URL in `EXECUTOR_URL`, else the TOML file that `EXECUTOR_CONFIG` names, else
    /// `thread://`. A variable that is empty counts as not set.
    ///
    /// # Errors
    ///
    /// As [`from_url`](Self::from_url) and [`from_file`](Self::from_file).
    ///
    /// # Blocking
    ///
    /// May read a file.
    pub fn from_env() -> Result<Self, OpenError> {
        executor_core::Config::from_env().map(Self)
    }

    /// The scheme, such as `process`.
    pub fn scheme(&self) -> &str {
        self.0.scheme()
    }

    /// The hosts, for schemes of machines.
    pub fn hosts(&self) -> &[String] {
        self.0.hosts()
    }

    /// Opens the executor.
    ///
    /// An executor of machines is open before any of them has answered; that they are there is what
    /// [`Executor::ready`] tells.
    ///
    /// # Errors
    ///
    /// [`OpenError::UnknownScheme`] and [`OpenError::UnknownOption`] with the nearest known name,
    /// [`OpenError::CompiledOut`] with the feature to turn on, [`OpenError::NotYet`] for the schemes of later versions,
    /// [`OpenError::InvalidOption`] with what the value should be, [`OpenError::System`] if the operating system
    /// refuses, [`OpenError::InitMissing`] in a worker process whose `main` did not begin with
    /// [`executor::init()`](crate::init).
    ///
    /// # Blocking
    ///
    /// Never on the network. Starting threads takes microseconds, starting processes about a millisecond each.
    pub fn open(&self) -> Result<Arc<dyn Executor>, OpenError> {
        let config = &self.0;
        crate::init::check()?;
        match config.scheme() {
            "serial" => open_serial(config),
            #[cfg(feature = "thread")]
            "thread" => open_thread(config),
            #[cfg(not(feature = "thread"))]
            "thread" => Err(OpenError::compiled_out("thread", "thread")),
            #[cfg(feature = "process")]
            "process" => open_process(config),
            #[cfg(not(feature = "process"))]
            "process" => Err(OpenError::compiled_out("process", "process")),
            #[cfg(feature = "remote")]
            "tcp" => open_remote(config),
            #[cfg(not(feature = "remote"))]
            "tcp" => Err(OpenError::compiled_out("tcp", "remote")),
            scheme if LATER.contains(&scheme) => Err(config.scheme_of_later(SCHEMES)),
            _ => Err(config.unknown_scheme(SCHEMES)),
        }
    }
}

impl fmt::Display for Config {
    /// The URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Opens the executor that a URL names, such as `process://?workers=4`.
///
/// # Errors
///
/// As [`Config::from_url`] and [`Config::open`].
///
/// # Blocking
///
/// As [`Config::open`]: never on the network.
///
/// # Examples
///
/// ```
/// use executor::prelude::*;
///
/// let ex = executor::open("serial://")?;
/// assert_eq!(ex.submit(|(a, b)| a + b, (1u64, 2u64)).wait(), Ok(3));
///
/// let error = executor::open("proces://").err().unwrap();
/// assert!(error.to_string().contains("did you mean `process`?"));
/// # Ok::<(), OpenError>(())
/// ```
pub fn open(url: &str) -> Result<Arc<dyn Executor>, OpenError> {
    Config::from_url(url)?.open()
}

/// Opens the executor that the environment names: the URL in `EXECUTOR_URL`, else the TOML file that `EXECUTOR_CONFIG`
/// names, else `thread://`.
///
/// # Errors
///
/// As [`Config::from_env`] and [`Config::open`].
///
/// # Blocking
///
/// May read a file; never on the network.
pub fn from_env() -> Result<Arc<dyn Executor>, OpenError> {
    Config::from_env()?.open()
}

fn open_serial(config: &executor_core::Config) -> Result<Arc<dyn Executor>, OpenError> {
    const SCHEME: Scheme = Scheme { name: "serial", keys: &[], has_hosts: false };
    config.options(&SCHEME)?;
    #[cfg(feature = "thread")]
    return Ok(Arc::new(Serial::with_block_on(executor_thread::block_on)));
    #[cfg(not(feature = "thread"))]
    return Ok(Arc::new(Serial::new()));
}

#[cfg(feature = "thread")]
fn open_thread(config: &executor_core::Config) -> Result<Arc<dyn Executor>, OpenError> {
    use executor_thread::{SCHEME, ThreadConfig, ThreadExecutor};
    let config = ThreadConfig::from_options(&config.options(&SCHEME)?)?;
    Ok(Arc::new(ThreadExecutor::open(config)?))
}

#[cfg(feature = "process")]
fn open_process(config: &executor_core::Config) -> Result<Arc<dyn Executor>, OpenError> {
    use executor_process::{ProcessConfig, ProcessExecutor, SCHEME};
    let config = ProcessConfig::from_options(&config.options(&SCHEME)?)?;
    Ok(Arc::new(ProcessExecutor::open(config)?))
}

#[cfg(feature = "remote")]
fn open_remote(config: &executor_core::Config) -> Result<Arc<dyn Executor>, OpenError> {
    use executor_remote::{RemoteConfig, RemoteExecutor};
    Ok(Arc::new(RemoteExecutor::open(RemoteConfig::from_config(config)?)?))
}
