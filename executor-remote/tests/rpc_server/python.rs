//! The thirty-line client of Python, unchanged, run by the python3 of the machine.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use executor_remote::connection::Listener;
use futures::executor::block_on;

use super::support::{LONG, functions};

/// A python3 that runs one of the scripts in `tests/python`, and is killed when it is dropped.
pub struct Python {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Python {
    pub fn start(script: &str, args: &[&str]) -> Self {
        let script = format!("{}/tests/python/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new("timeout")
            .args([LONG.as_secs().to_string().as_str(), "python3", &script])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("timeout(1) can be run; with python3, it is required by these tests");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    /// The next line that it prints; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints text");
        line.trim_end().to_owned()
    }

    /// Fails unless its next line is `ok` and it ends well.
    pub fn expect_ok(mut self) {
        assert_eq!(self.line(), "ok", "what went wrong is on standard error; is there a python3 in PATH?");
        assert!(self.child.wait().expect("it is our child").success());
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_well_known_client_is_served_over_tcp() {
    let listener = block_on(Listener::bind("127.0.0.1:0", b"secret")).expect("loopback");
    let address = listener.local_addr().to_string();
    let _serving = functions().serve(listener);
    Python::start("rpc_client.py", &[&address, "secret"]).expect_ok();
}

#[test]
fn the_well_known_client_is_served_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rpc").to_str().expect("it is text").to_owned();
    let listener = block_on(Listener::bind(format!("unix:{path}"), b"secret")).expect("a free path");
    let _serving = functions().serve(listener);
    Python::start("rpc_client.py", &[&path, "secret"]).expect_ok();
}

#[test]
fn many_python_programs_are_served_at_a_time() {
    let listener = block_on(Listener::bind("127.0.0.1:0", b"secret")).expect("loopback");
    let address = listener.local_addr().to_string();
    let _serving = functions().serve(listener);
    let peers: Vec<_> = (0..4).map(|_| Python::start("rpc_client.py", &[&address, "secret"])).collect();
    peers.into_iter().for_each(Python::expect_ok);
}

#[test]
fn a_python_program_learns_that_the_server_has_stopped() {
    let listener = block_on(Listener::bind("127.0.0.1:0", b"secret")).expect("loopback");
    let address = listener.local_addr().to_string();
    let serving = functions().serve(listener);
    let mut peer = Python::start("rpc_stopped.py", &[&address, "secret"]);
    assert_eq!(peer.line(), "called");
    serving.handle().stop();
    peer.expect_ok();
    serving.wait().expect("it was stopped");
}
