//! The interpreter on the other side.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// More than any of these tests takes.
const LIMIT_IN_SECONDS: &str = "120";

fn python() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=1", LIMIT_IN_SECONDS, "python3", "-I"]);
    command
}

/// What a script prints that gets these bytes as its argument, in hexadecimal.
pub fn run_python(script: &str, argument: &[u8]) -> String {
    let digits: String = argument.iter().map(|byte| format!("{byte:02x}")).collect();
    let output =
        python().args(["-c", script, &digits]).output().expect("`timeout` and `python3` are in PATH");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python3 ended with {}: {errors}\nin:\n{script}", output.status);
    String::from_utf8(output.stdout).expect("it prints UTF-8")
}

/// `pickle_peer.py`, for many values. It is ended when this is dropped.
pub struct Peer {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/pickle_peer.py");
        let mut command = python();
        let mut child = command
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`timeout` and `python3` are in PATH");
        let input = BufWriter::new(child.stdin.take().expect("it is piped"));
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output }
    }

    /// What is wrong with the pickle of the value that has this source, and the value's pickles by all protocols.
    pub fn ask(&mut self, pickle: &[u8], source: &str) -> (String, Vec<Vec<u8>>) {
        for content in [pickle, source.as_bytes()] {
            let len = u32::try_from(content.len()).expect("it is short");
            self.input.write_all(&len.to_be_bytes()).expect("python3 reads");
            self.input.write_all(content).expect("python3 reads");
        }
        self.input.flush().expect("python3 reads");
        let problem = String::from_utf8(self.frame()).expect("it is UTF-8");
        (problem, (0..6).map(|_| self.frame()).collect())
    }

    fn frame(&mut self) -> Vec<u8> {
        let mut header = [0; 4];
        self.output.read_exact(&mut header).expect("python3 answers");
        let mut content = vec![0; u32::from_be_bytes(header) as usize];
        self.output.read_exact(&mut content).expect("python3 answers");
        content
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It ends at the end of its input as well; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
