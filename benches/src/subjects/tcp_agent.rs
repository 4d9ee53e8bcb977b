//! `tcp`: our agent on loopback, in a process of its own, with two slots and a key, so that all that travels is
//! encrypted.
//!
//! The agent is this program as a helper. It reads from its standard input the folder of its files, which the sample
//! makes: the key in `cluster.key`, the executables of its clients in `cache`; then it prints its address and serves
//! until that input ends.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::thread;

use executor::remote::address::Address;
use executor::remote::key::ClusterKey;
use executor::{Agent, AgentConfig, ExecutorExt};
use tempfile::TempDir;

use super::ours::Ours;
use crate::helper::{Role, Server};
use crate::pool;
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::{self, Scale, Speed, WORKERS, Workload};

/// The cluster key, in the agent's folder.
const KEY: &str = "cluster.key";

pub fn subject() -> Box<dyn Subject> {
    Box::new(Tcp)
}

struct Tcp;

impl Subject for Tcp {
    fn name(&self) -> &str {
        "tcp"
    }

    fn family(&self) -> Family {
        Family::Network
    }

    fn side(&self) -> Side {
        Side::Ours
    }

    fn workloads(&self) -> &[Workload] {
        &[
            Workload::Noop,
            Workload::Roundtrip,
            Workload::RoundtripPaused,
            Workload::Map,
            Workload::Payload,
            Workload::Cpu,
            Workload::Startup,
            Workload::Pending,
            Workload::Idle,
        ]
    }

    /// The agent is there before the measurement, and it has this executable in its cache: a first client has left
    /// it there. `startup` times the connection, the start of the workers, and a task.
    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        let running = RunningAgent::start()?;
        let first = running.connect()?;
        let uploaded = first.executor().submit(workload::noop, 1).wait();
        uploaded.map_err(BenchError::failed)?;
        drop(first);
        let scale = Scale::new(Speed::Millions, quick);
        pool::measure(workload, scale, |_slots| running.connect())
    }
}

/// An agent process and the folder of its files.
struct RunningAgent {
    url: String,
    _server: Server,
    _folder: TempDir,
}

impl RunningAgent {
    fn start() -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(BenchError::io("cannot make a folder"))?;
        let key = folder.path().join(KEY);
        ClusterKey::generate().and_then(|generated| generated.write_new(&key)).map_err(BenchError::failed)?;

        let server = Server::start(Role::Agent, &folder.path().display().to_string())?;
        let url = format!("tcp://{}?key={}", server.address(), key.display());
        Ok(Self { url, _server: server, _folder: folder })
    }

    fn connect(&self) -> Result<Ours, BenchError> {
        Ours::open(&self.url)
    }
}

/// The agent: reads its folder, prints its address, and serves until `lifeline` ends.
///
/// # Errors
///
/// When it cannot listen.
pub fn serve_until_end_of(lifeline: File) -> io::Result<()> {
    let mut lifeline = BufReader::new(lifeline);
    let mut folder = String::new();
    lifeline.read_line(&mut folder)?;
    let agent = bind(Path::new(folder.trim_end()))?;
    println!("{}", agent.local_addr());
    io::stdout().flush()?;

    let handle = agent.handle();
    let serving = thread::spawn(move || agent.run());
    lifeline.read_to_end(&mut Vec::new())?;
    handle.stop();
    match serving.join() {
        Ok(served) => served.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("the agent panicked")),
    }
}

fn bind(folder: &Path) -> io::Result<Agent> {
    let key = ClusterKey::read(folder.join(KEY)).map_err(io::Error::other)?;
    let loopback: Address = "127.0.0.1:0".parse().map_err(io::Error::other)?;
    let config =
        AgentConfig::new(loopback).with_key(key).with_slots(WORKERS).with_cache_folder(folder.join("cache"));
    Agent::bind(config).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_serves_nobody_without_its_key() {
        let folder = tempfile::tempdir().unwrap();
        ClusterKey::generate().unwrap().write_new(folder.path().join(KEY)).unwrap();
        let agent = bind(folder.path()).unwrap();
        let (address, handle) = (agent.local_addr(), agent.handle());
        let serving = thread::spawn(move || agent.run());

        let stranger = Ours::open(&format!("tcp://{address}")).unwrap();
        let error = stranger.executor().submit(workload::noop, 1).wait().unwrap_err().to_string();
        assert!(error.contains("key"), "{error}");

        handle.stop();
        serving.join().unwrap().unwrap();
    }
}
