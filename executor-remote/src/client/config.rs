//! What can be set for `tcp://`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use executor_core::{Config, OpenError, Scheme};

use crate::address::{Address, is_loopback};
use crate::key::ClusterKey;

/// `tcp://host:port,host:port?key=FILE&..`, and the options below.
pub const SCHEME: Scheme = Scheme {
    name: "tcp",
    keys: &[
        "key",
        "queue",
        "connect_timeout",
        "unreachable",
        "heartbeat",
        "silence",
        "frame_limit",
        "in_flight",
    ],
    has_hosts: true,
};

/// Settings of a [`RemoteExecutor`](super::RemoteExecutor).
///
/// | option of the URL | field |
/// | --- | --- |
/// | `key=FILE` | [`key`](Self::key), read from the file |
/// | `queue=N` | [`queue`](Self::queue) |
/// | `connect_timeout=5s` | [`connect_timeout`](Self::connect_timeout) |
/// | `unreachable=10s` | [`unreachable`](Self::unreachable) |
/// | `heartbeat=2s` | [`heartbeat`](Self::heartbeat) |
/// | `silence=10s` | [`silence`](Self::silence) |
/// | `frame_limit=256MiB` | [`frame_limit_bytes`](Self::frame_limit_bytes) |
/// | `in_flight=64MiB` | [`in_flight_bytes`](Self::in_flight_bytes) |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RemoteConfig {
    /// The agents.
    pub agents: Vec<Address>,
    /// The cluster key, the same that the agents have. Default none, which only agents on loopback addresses accept.
    pub key: Option<ClusterKey>,
    /// How many tasks may wait here without having been sent. Default 1,048,576. Too low: bursts are rejected as full.
    /// Too high: memory, some 150 bytes and the argument for each.
    pub queue: usize,
    /// How long one attempt to connect to an agent may take, handshake included. Default 5 s. Too low: agents far away or
    /// on busy machines are never reached. Too high: an agent that comes back is noticed later.
    pub connect_timeout: Duration,
    /// How long tasks wait while no agent can be reached, before they fail as
    /// [`Unreachable`](executor_core::TaskError::Unreachable). Connecting goes on nevertheless. The time that it takes to send an
    /// agent the executable does not count. Default 10 s. Too low:
    /// a restart of an agent costs tasks. Too high: a wrong address shows late. What waiting cannot help, such as a wrong
    /// key, fails them at once.
    pub unreachable: Duration,
    /// How long an agent may be silent before it is asked for a sign of life. Default 2 s. Too low: messages on idle
    /// connections.
    pub heartbeat: Duration,
    /// How long an agent may be silent before it counts as lost. Default 10 s, at least twice the heartbeat. Too low: a
    /// busy network loses tasks. Too high: tasks on a machine that has gone wait longer for another one.
    pub silence: Duration,
    /// The longest message that is taken from an agent, and sent to one. Default 256 MiB. Too low: large arguments and
    /// results fail. Too high: memory.
    pub frame_limit_bytes: usize,
    /// How many bytes of tasks may be at one agent without an answer; beyond that nothing more is sent there. At
    /// least one task is always sent. Default 64 MiB. Too low: agents idle between large arguments. Too high: memory,
    /// here and there.
    pub in_flight_bytes: usize,
}

impl RemoteConfig {
    /// For these agents; all else has its default.
    pub fn new(agents: impl IntoIterator<Item = Address>) -> Self {
        Self {
            agents: agents.into_iter().collect(),
            key: None,
            queue: 1 << 20,
            connect_timeout: Duration::from_secs(5),
            unreachable: Duration::from_secs(10),
            heartbeat: Duration::from_secs(2),
            silence: Duration::from_secs(10),
            frame_limit_bytes: 256 << 20,
            in_flight_bytes: 64 << 20,
        }
    }

    /// From a URL or a file whose scheme is `tcp`. Reads the key file.
    ///
    /// # Errors
    ///
    /// [`OpenError`] that names the option or the address and says what it should be.
    ///
    /// # Blocking
    ///
    /// Reads the key file.
    pub fn from_config(config: &Config) -> Result<Self, OpenError> {
        let options = config.options(&SCHEME)?;
        let list = config.hosts().join(",");
        if list.is_empty() {
            let remedy = "it names no agent; write for example `tcp://127.0.0.1:7077`";
            return Err(OpenError::syntax(format!("`{config}`"), remedy));
        }
        let agents =
            Address::parse_list(&list).map_err(|error| OpenError::syntax(format!("`{config}`"), error))?;
        let mut this = Self::new(agents);
        if let Some(path) = options.path("key") {
            this.key = Some(read_key(&path)?);
        }
        let overwrite =
            |to: &mut Duration, key| options.duration(key).map(|value| *to = value.unwrap_or(*to));
        overwrite(&mut this.connect_timeout, "connect_timeout")?;
        overwrite(&mut this.unreachable, "unreachable")?;
        overwrite(&mut this.heartbeat, "heartbeat")?;
        overwrite(&mut this.silence, "silence")?;
        this.queue = options.count("queue")?.unwrap_or(this.queue);
        let bytes = |key, default: usize| {
            let value = options.bytes(key)?;
            Ok::<_, OpenError>(value.map_or(default, |it| usize::try_from(it).unwrap_or(usize::MAX)))
        };
        this.frame_limit_bytes = bytes("frame_limit", this.frame_limit_bytes)?;
        this.in_flight_bytes = bytes("in_flight", this.in_flight_bytes)?;
        Ok(this)
    }

    /// Sets [`key`](Self::key).
    #[must_use]
    pub fn with_key(mut self, key: ClusterKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets [`queue`](Self::queue).
    #[must_use]
    pub fn with_queue(mut self, tasks: usize) -> Self {
        self.queue = tasks;
        self
    }

    /// Sets [`connect_timeout`](Self::connect_timeout).
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets [`unreachable`](Self::unreachable).
    #[must_use]
    pub fn with_unreachable(mut self, patience: Duration) -> Self {
        self.unreachable = patience;
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

    /// Sets [`in_flight_bytes`](Self::in_flight_bytes).
    #[must_use]
    pub fn with_in_flight_bytes(mut self, bytes: usize) -> Self {
        self.in_flight_bytes = bytes;
        self
    }

    /// What can be told to be wrong without the network.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        if self.agents.is_empty() {
            return Err(OpenError::syntax("", "a remote executor needs at least one agent"));
        }
        let exposed = |agent: &&Address| {
            agent.host().parse::<IpAddr>().is_ok_and(|ip| !is_loopback(ip)) && self.key.is_none()
        };
        match self.agents.iter().find(exposed) {
            None => Ok(()),
            Some(agent) => Err(OpenError::syntax(
                format!("`tcp://{agent}`"),
                "an agent that is not on a loopback address needs a cluster key: write `?key=FILE` (make one with \
                 `executor keygen FILE`), or use 127.0.0.1",
            )),
        }
    }
}

fn read_key(path: &PathBuf) -> Result<ClusterKey, OpenError> {
    ClusterKey::read(path).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|it| format!(": {it}")).unwrap_or_default();
        OpenError::invalid_option(SCHEME.name, "key", path.display(), format!("{error}{cause}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<RemoteConfig, OpenError> {
        RemoteConfig::from_config(&Config::from_url(url)?)
    }

    #[test]
    fn a_url_sets_what_it_names_and_leaves_the_rest() {
        let config = read("tcp://127.0.0.1:1,[::1]:2?queue=7&silence=30s&in_flight=1MiB").unwrap();
        assert_eq!(config.agents.len(), 2);
        assert_eq!((config.queue, config.in_flight_bytes), (7, 1 << 20));
        assert_eq!((config.silence, config.heartbeat), (Duration::from_secs(30), Duration::from_secs(2)));
    }

    #[test]
    fn every_key_of_the_scheme_is_read() {
        let values = [
            ("queue", "5"),
            ("connect_timeout", "5ms"),
            ("unreachable", "5ms"),
            ("heartbeat", "5ms"),
            ("silence", "5ms"),
            ("frame_limit", "5"),
            ("in_flight", "5"),
        ];
        let default = format!("{:?}", read("tcp://localhost").unwrap());
        for (key, value) in values {
            let set = format!("{:?}", read(&format!("tcp://localhost?{key}={value}")).unwrap());
            assert_ne!(set, default, "{key}");
        }
        assert_eq!(values.len() + 1, SCHEME.keys.len(), "and `key`, which has a test of its own");
    }

    #[test]
    fn a_key_that_cannot_be_read_names_the_file_and_the_cause() {
        let error = read("tcp://localhost?key=/nowhere/cluster.key").unwrap_err().to_string();
        assert!(error.contains("/nowhere/cluster.key") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn a_url_without_agents_says_how_to_write_one() {
        let error = read("tcp://").unwrap_err().to_string();
        assert!(error.contains("tcp://127.0.0.1:7077"), "{error}");
    }

    #[test]
    fn without_a_key_an_address_of_the_network_is_refused_at_once() {
        let config = read("tcp://127.0.0.1,192.0.2.1").unwrap();
        let error = config.check().unwrap_err().to_string();
        assert!(error.contains("192.0.2.1") && error.contains("keygen"), "{error}");
        assert!(config.with_key(ClusterKey::from_bytes([1; 32])).check().is_ok());
    }
}
