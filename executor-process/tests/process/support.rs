//! What the tests share.

use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

/// A list of tests by name.
pub type Tests = &'static [(&'static str, fn())];

/// Names the tests of a module.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: $crate::support::Tests = &[$((stringify!($name), $name)),*];
    };
}

/// How long anything that should happen may take: far longer than on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is as expected.
#[track_caller]
pub fn eventually_equal<T: PartialEq + Debug>(what: &str, mut present: impl FnMut() -> T, expected: &T) {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    loop {
        let found = present();
        if found == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "not after {PATIENCE:?}: {what}: {found:?} and not {expected:?}");
        std::thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(10));
    }
}

/// Waits until there is something to read, or the end.
#[track_caller]
pub fn await_readable(what: &str, fd: impl AsFd) {
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).expect("poll");
    assert_eq!(ready, 1, "not after {PATIENCE:?}: {what}");
}

/// A descriptor that becomes readable when the process ends; `None` if it is gone.
pub fn watch(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Waits for the end of processes, of whomever they are children.
#[track_caller]
pub fn await_ends(processes: impl IntoIterator<Item = Option<OwnedFd>>) {
    for process in processes.into_iter().flatten() {
        await_readable("a process ends", process);
    }
}

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
