//! Python programs and managers to talk to.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use executor_remote::connection::Listener;
use executor_remote::manager::{ManagerServer, Registry, Serving};
use futures::executor::block_on;

pub const KEY: &str = "secret";

/// How long anything that should happen may take: far longer than on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A manager in this process.
pub struct Served {
    pub address: String,
    pub serving: Serving,
}

/// Serves at this address.
pub fn serve(address: &str, registry: Registry) -> Served {
    let listener = block_on(Listener::bind(address, KEY)).expect("the address is free");
    let address = listener.local_addr().to_string();
    Served { address, serving: ManagerServer::new().with_registry(registry).serve(listener) }
}

/// An abstract address that nobody else has.
pub fn unix_address(name: &str) -> String {
    format!("unix:@executor-test-{name}-{}", std::process::id())
}

/// A Python program; killed when this is dropped.
pub struct Python {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Python {
    /// Starts a scenario of `manager_client.py`.
    pub fn start(address: &str, key: &str, scenario: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/manager_client.py");
        let mut child = Command::new("timeout")
            .args(["--kill-after=5", "120", "python3", script, address, key, scenario])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need `timeout` and `python3` in PATH");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdin, stdout }
    }

    /// Waits for a line of its output.
    pub fn expect(&mut self, line: &str) {
        let mut found = String::new();
        self.stdout.read_line(&mut found).expect("its output can be read");
        assert_eq!(found.trim_end(), line, "{}", self.errors());
    }

    /// Waits until it has done what it was to do.
    #[track_caller]
    pub fn finish(mut self) {
        drop(self.stdin.take());
        let mut output = String::new();
        self.stdout.read_to_string(&mut output).expect("its output can be read");
        let errors = self.errors();
        let status = self.child.wait().expect("it can be waited for");
        assert!(status.success() && output.ends_with("done\n"), "{status}\n{output}{errors}");
    }

    /// Kills the interpreter as a crash would.
    pub fn kill(&mut self) {
        // `timeout` itself cannot pass SIGKILL on, but it can have its child killed.
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let python = std::fs::read_to_string(children).expect("the kernel lists children");
        let python: i32 = python.trim().parse().expect("timeout has one child");
        let pid = rustix::process::Pid::from_raw(python).expect("it is a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
        let _ = self.child.wait();
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        if let Some(errors) = &mut self.child.stderr {
            let _ = errors.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // SIGTERM is passed on to the interpreter.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Runs a scenario to its end.
#[track_caller]
pub fn run(address: &str, scenario: &str) {
    Python::start(address, KEY, scenario).finish();
}

/// Waits until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
