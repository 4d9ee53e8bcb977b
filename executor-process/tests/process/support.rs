//! What the tests share.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

pub use crate::waiting::{PATIENCE, await_ends, await_readable, eventually_equal, watch};

/// Number of descriptors, and children, of this process.
pub fn leftovers() -> (usize, Vec<i32>) {
    // Not counting the one that lists them.
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 1;
    (descriptors, children_of("self"))
}

/// Children of a process, zombies included.
pub fn children_of(process: &str) -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().map(|pid| pid.parse::<i32>().expect("a pid")));
    }
    children
}

/// This program in another role.
pub struct Program {
    pub child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Program {
    pub fn start(role: &str) -> Self {
        let mut child = Command::new("/proc/self/exe")
            .env("TEST_ROLE", role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdout }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a pipe");
        line.trim_end().to_owned()
    }

    /// Waits for its end: exit code (or minus the signal), and what it still printed.
    #[track_caller]
    pub fn end(mut self) -> (i32, String, String) {
        use std::os::unix::process::ExitStatusExt;
        drop(self.child.stdin.take());
        await_readable("the program ends", watch(self.child.id() as i32).expect("it is ours to reap"));
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).expect("text");
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        let status = self.child.wait().expect("our child");
        (status.code().unwrap_or_else(|| -status.signal().unwrap_or(0)), out, err)
    }
}
