//! Python's process pools, primitives and its ways to talk to other programs, measured by `python/peers.py` in a `python3` of the machine. The script says the protocol.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::subject::{BenchError, Family, Sample, Subject};
use crate::workload::{MANY_WORKERS, OBJECT_BYTES, PAUSE, PAYLOAD_BYTES, Scale, Speed, WORKERS, Workload};

/// A file, and not a text for `python3 -c`: start methods other than fork import it again.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/peers.py");

/// What a pool is asked. It has nothing else for large pieces of bytes than what it has for all: `blob` is `payload`.
const POOL: &[Workload] = &[
    Workload::Noop,
    Workload::Roundtrip,
    Workload::RoundtripPaused,
    Workload::Map,
    Workload::Payload,
    Workload::Blob,
    Workload::Cpu,
    Workload::Startup,
    Workload::Startup8,
    Workload::Pending,
    Workload::Idle,
];

pub fn process_pool() -> Box<dyn Subject> {
    let pool = Python::new("python-process-pool", Family::Processes, POOL);
    Box::new(Python { map_items: 20_000, ..pool })
}

pub fn multiprocessing_pool() -> Box<dyn Subject> {
    let pool = Python::new("python-multiprocessing-pool", Family::Processes, POOL);
    Box::new(Python { map_items: 1_000_000, ..pool })
}

pub fn queue() -> Box<dyn Subject> {
    Box::new(Python::new("python-queue", Family::Processes, &[Workload::Queue]))
}

pub fn lock() -> Box<dyn Subject> {
    Box::new(Python::new("python-lock", Family::Processes, &[Workload::Lock]))
}

pub fn value() -> Box<dyn Subject> {
    Box::new(Python::new("python-value", Family::Processes, &[Workload::Value]))
}

pub fn connection_unix() -> Box<dyn Subject> {
    Box::new(Python::new("python-connection-unix", Family::Processes, &[Workload::Connection]))
}

pub fn connection_tcp() -> Box<dyn Subject> {
    Box::new(Python::new("python-connection-tcp", Family::Network, &[Workload::Connection]))
}

/// Python's client and Python's server.
pub fn rpc() -> Box<dyn Subject> {
    Box::new(Python::new("python-rpc", Family::Network, &[Workload::Rpc]))
}

pub fn manager() -> Box<dyn Subject> {
    Box::new(Python::new("python-manager", Family::Processes, &[Workload::Manager]))
}

/// What Python measures.
pub struct Python {
    name: &'static str,
    family: Family,
    workloads: &'static [Workload],
    /// `ProcessPoolExecutor.map` sends each item as a task by default: fewer items give the same rate.
    map_items: usize,
}

impl Python {
    pub fn new(name: &'static str, family: Family, workloads: &'static [Workload]) -> Self {
        Self { name, family, workloads, map_items: 0 }
    }
}

#[derive(Serialize)]
struct Request<'a> {
    subject: &'a str,
    workload: &'static str,
    workers: usize,
    tasks: usize,
    /// Timed round trips of `queue` and `rpc`, besides the `tasks`, and those of `connection`.
    trips: usize,
    bytes: usize,
    /// Where a server listens that is not Python's own.
    address: Option<&'a str>,
    /// How long `idle` looks on, how long two processes contend, or the pause before a round trip.
    seconds: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Values(Vec<f64>),
    Error(String),
}

impl Subject for Python {
    fn name(&self) -> &str {
        self.name
    }

    fn family(&self) -> Family {
        self.family
    }

    fn workloads(&self) -> &[Workload] {
        self.workloads
    }

    fn available(&self) -> Result<(), String> {
        available()
    }

    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
        self.sample_of(workload, quick, None)
    }
}

/// Whether there is a `python3`.
///
/// # Errors
///
/// Why not.
pub fn available() -> Result<(), String> {
    let version = Command::new("python3").arg("--version").stdout(Stdio::null()).status();
    match version {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`python3 --version` ended with {status}")),
        Err(error) => Err(format!("python3 cannot be run: {error}")),
    }
}

impl Python {
    /// Measures once; a server that is not Python's own listens at `address`.
    pub fn sample_of(
        &self,
        workload: Workload,
        quick: bool,
        address: Option<&str>,
    ) -> Result<Sample, BenchError> {
        let scale = Scale::new(Speed::Slow, quick);
        let request = Request {
            subject: self.name,
            workload: workload.name(),
            workers: if workload == Workload::Startup8 { MANY_WORKERS } else { WORKERS },
            tasks: self.tasks(workload, scale),
            trips: scale.round_trips(),
            bytes: if workload == Workload::Connection { OBJECT_BYTES } else { PAYLOAD_BYTES },
            address,
            seconds: seconds(workload, scale).as_secs_f64(),
        };
        let request = serde_json::to_string(&request).expect("strings and numbers always encode");
        let answer = Interpreter::start()?.ask(&request)?;
        let values = match serde_json::from_str(&answer) {
            Ok(Answer::Values(values)) => values,
            Ok(Answer::Error(error)) => return Err(BenchError::Failed(error)),
            Err(error) => {
                return Err(BenchError::Failed(format!(
                    "unreadable answer `{}`: {error}",
                    answer.trim_end()
                )));
            }
        };
        Ok(workload.metrics().iter().copied().zip(values).collect())
    }

    fn tasks(&self, workload: Workload, scale: Scale) -> usize {
        match workload {
            Workload::Noop => scale.noop_tasks(),
            Workload::Roundtrip => scale.round_trips(),
            Workload::RoundtripPaused => scale.paused_round_trips(),
            Workload::Map => self.map_items.min(scale.map_items()),
            Workload::Payload | Workload::Blob => scale.payload_echoes(),
            Workload::BlobInPlace => scale.in_place_echoes(),
            Workload::Shared => scale.shared_tasks(),
            Workload::Cpu => scale.cpu_tasks(),
            Workload::Pending => scale.pending_tasks(),
            Workload::Queue => scale.queue_messages(),
            Workload::Lock => scale.lock_pairs(),
            Workload::Rpc => scale.calls(),
            Workload::Connection => scale.round_trips(),
            Workload::Startup | Workload::Startup8 | Workload::Idle | Workload::Value | Workload::Manager => {
                1
            }
        }
    }
}

/// How long a workload goes on that is not over when some number of tasks is done.
fn seconds(workload: Workload, scale: Scale) -> Duration {
    match workload {
        Workload::Idle => scale.idle_time(),
        Workload::RoundtripPaused => PAUSE,
        _ => scale.contended_time(),
    }
}

/// A running script, which ends when its standard input does.
struct Interpreter {
    child: Child,
}

impl Interpreter {
    fn start() -> Result<Self, BenchError> {
        // Without -B, what the script imports would be left as bytecode beside it.
        let child = Command::new("python3")
            .args(["-B", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(BenchError::io("cannot start python3"))?;
        Ok(Self { child })
    }

    fn ask(mut self, request: &str) -> Result<String, BenchError> {
        let mut input = self.child.stdin.take().expect("started with a pipe");
        let output = self.child.stdout.take().expect("started with a pipe");
        writeln!(input, "{request}").map_err(BenchError::io("cannot write to python3"))?;
        let mut answer = String::new();
        BufReader::new(output).read_line(&mut answer).map_err(BenchError::io("cannot read from python3"))?;
        Ok(answer)
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        // Its pipes are closed by now, so it ends; waiting fails only for a process that was waited for.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_values_or_an_error() {
        let values = serde_json::from_str(r#"{"values": [1.5, 2]}"#).unwrap();
        assert!(matches!(values, Answer::Values(v) if v == [1.5, 2.0]));
        let error = serde_json::from_str(r#"{"error": "BrokenProcessPool: x"}"#).unwrap();
        assert!(matches!(error, Answer::Error(e) if e.starts_with("BrokenProcessPool")));
    }
}
