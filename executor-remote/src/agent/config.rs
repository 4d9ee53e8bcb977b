//! What can be set for an agent.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use executor_core::{Executor, OpenError};
use executor_process::limits::WorkerCount;
use executor_process::{ProcessConfig, ProcessExecutor};

use crate::address::Address;
use crate::cache::{CacheError, DEFAULT_LIMIT_BYTES, Executable};
use crate::key::ClusterKey;

/// Settings of an [`Agent`](super::Agent).
///
/// The defaults are safe: loopback, no key needed there, bounded everything.
#[derive(Clone)]
#[non_exhaustive]
pub struct AgentConfig {
    /// Where to listen. Default `127.0.0.1:7077`. Without a [key](Self::key) only loopback addresses are allowed; port
    /// 0 lets the system choose, and [`Agent::local_addr`](super::Agent::local_addr) tells.
    pub listen: Address,
    /// The cluster key. Default none. Who holds it may run programs here.
    pub key: Option<ClusterKey>,
    /// How many tasks of each client run at a time. Default: as many as this process may use processors
    /// (affinity, cgroup quota and `SLURM_CPUS_PER_TASK` count). Too low: processors idle. Too high: tasks fight for processors and memory. Slots of
    /// different clients are shared out by the operating system.
    pub slots: usize,
    /// Where the executables of clients are kept. Default: [`Cache::default_folder`](crate::cache::Cache::default_folder).
    pub cache_folder: Option<PathBuf>,
    /// How many bytes of executables are kept. Default 8 GiB. See [`Cache::open`](crate::cache::Cache::open).
    pub cache_limit_bytes: u64,
    /// How long a peer may take to prove that it holds the key and to say hello. Default 10 s. Too low: clients far
    /// away or on busy machines are turned away. Too high: silent strangers hold places of
    /// [`max_half_open`](Self::max_half_open) for longer.
    pub handshake_timeout: Duration,
    /// How many peers may be in that state at a time; more are turned away. Default 64. Each costs a thread and a few
    /// hundred bytes.
    pub max_half_open: usize,
    /// How many clients may be served at a time; more are told so. Default 256. Each costs its worker processes.
    pub max_sessions: usize,
    /// How often a silent client is looked after. Default 2 s.
    pub heartbeat: Duration,
    /// How long a client may be silent before it counts as gone, and its tasks end. Default 10 s, and never less than
    /// three of the client's own heartbeats.
    pub silence: Duration,
    /// The longest message that is taken. Default 256 MiB. Too low: tasks with large arguments fail. Too high: a client
    /// may make the agent keep as much for each task.
    pub frame_limit_bytes: usize,
    /// How much a client may make the agent keep, arguments of its tasks and results that it does not read. Default
    /// 512 MiB. When it is reached, nothing is read from that client until it is less, so that memory for each
    /// client is bounded by this and one message. Too low: large arguments wait for one another.
    pub in_flight_limit_bytes: usize,
    /// How long a cancelled or timed-out task may go on before its worker is killed. Default 1 s. Too low: no time to clean
    /// up. Too high: its slot is taken for as long.
    pub grace: Duration,
    /// What runs the tasks of a client. Default: a process pool of the client's executable.
    pub open_pool: OpenPool,
}

/// What a session wants of the pool that is to run its tasks.
#[derive(Debug)]
#[non_exhaustive]
pub struct PoolRequest {
    /// The client's executable. It stays in the cache for as long as the session or this value lives.
    pub executable: Arc<Executable>,
    /// How many tasks are to run at a time.
    pub slots: usize,
    /// [`AgentConfig::grace`].
    pub grace: Duration,
    /// The longest argument or result, in bytes.
    pub frame_limit: usize,
    /// The client, for logs.
    pub client: String,
}

/// Opens the pool of a session.
pub type OpenPool = Arc<dyn Fn(PoolRequest) -> Result<Arc<dyn Executor>, OpenError> + Send + Sync>;

fn open_process_pool(request: PoolRequest) -> Result<Arc<dyn Executor>, OpenError> {
    let mut config = ProcessConfig::default()
        .with_workers(request.slots)
        .with_program(request.executable.path())
        .with_grace(request.grace);
    config.frame_limit = request.frame_limit;
    Ok(Arc::new(ProcessExecutor::open(config)?))
}

impl AgentConfig {
    /// Listens at `listen`; all else has its default.
    pub fn new(listen: Address) -> Self {
        Self {
            listen,
            key: None,
            slots: WorkerCount::detect().count,
            cache_folder: None,
            cache_limit_bytes: DEFAULT_LIMIT_BYTES,
            handshake_timeout: Duration::from_secs(10),
            max_half_open: 64,
            max_sessions: 256,
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(10),
            frame_limit_bytes: 256 << 20,
            in_flight_limit_bytes: 512 << 20,
            grace: Duration::from_secs(1),
            open_pool: Arc::new(open_process_pool),
        }
    }

    /// Sets [`open_pool`](Self::open_pool).
    #[must_use]
    pub fn with_open_pool(mut self, open_pool: OpenPool) -> Self {
        self.open_pool = open_pool;
        self
    }

    /// Sets [`key`](Self::key).
    #[must_use]
    pub fn with_key(mut self, key: ClusterKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets [`slots`](Self::slots).
    #[must_use]
    pub fn with_slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Sets [`cache_folder`](Self::cache_folder).
    #[must_use]
    pub fn with_cache_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache_folder = Some(folder.into());
        self
    }

    /// Sets [`cache_limit_bytes`](Self::cache_limit_bytes).
    #[must_use]
    pub fn with_cache_limit_bytes(mut self, bytes: u64) -> Self {
        self.cache_limit_bytes = bytes;
        self
    }

    /// Sets [`handshake_timeout`](Self::handshake_timeout).
    #[must_use]
    pub fn with_handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Sets [`max_half_open`](Self::max_half_open).
    #[must_use]
    pub fn with_max_half_open(mut self, peers: usize) -> Self {
        self.max_half_open = peers;
        self
    }

    /// Sets [`max_sessions`](Self::max_sessions).
    #[must_use]
    pub fn with_max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Sets [`heartbeat`](Self::heartbeat) and [`silence`](Self::silence).
    #[must_use]
    pub fn with_heartbeat(mut self, heartbeat: Duration, silence: Duration) -> Self {
        (self.heartbeat, self.silence) = (heartbeat, silence);
        self
    }

    /// Sets [`frame_limit_bytes`](Self::frame_limit_bytes).
    #[must_use]
    pub fn with_frame_limit_bytes(mut self, bytes: usize) -> Self {
        self.frame_limit_bytes = bytes;
        self
    }

    /// Sets [`grace`](Self::grace).
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets [`in_flight_limit_bytes`](Self::in_flight_limit_bytes).
    #[must_use]
    pub fn with_in_flight_limit_bytes(mut self, bytes: usize) -> Self {
        self.in_flight_limit_bytes = bytes;
        self
    }
}

impl fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentConfig")
            .field("listen", &self.listen)
            .field("key", &self.key)
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}

/// Why an agent cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// It cannot listen where it should.
    #[error(transparent)]
    Address(#[from] crate::address::AddressError),
    /// The cache of executables cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The operating system did not give what the agent needs.
    #[error("the agent cannot {step}")]
    System {
        /// What was to be done.
        step: &'static str,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
}
