//! Children, signals between them and us, and what is left.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};

/// How long anything that should happen may take: far longer than on a busy machine, where one that yields with a lock in its
/// hands waits for all others each time.
const PATIENCE: Duration = Duration::from_secs(600);

/// A fork of this program.
pub struct Child {
    pid: Pid,
}

impl Child {
    /// Has `act` done in a new process.
    pub fn start(act: impl FnOnce()) -> Self {
        // SAFETY: the child goes on with what it has of its own; other threads of this process, if the library has any, hold
        // no lock that it needs.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0, "a process");
        if let Some(pid) = Pid::from_raw(pid) {
            return Self { pid };
        }
        let code = i32::from(catch_unwind(AssertUnwindSafe(act)).is_err());
        // SAFETY: ends the process without running what belongs to its parent.
        unsafe { libc::_exit(code) }
    }

    /// Ends it at once, wherever it is.
    pub fn kill(self) {
        rustix::process::kill_process(self.pid, Signal::KILL).expect("our child");
        assert_eq!(self.end().terminating_signal(), Some(libc::SIGKILL));
    }

    /// Waits until it has done what it was to do.
    #[track_caller]
    pub fn join(self) {
        assert_eq!(self.end().exit_status(), Some(0), "the child panicked");
    }

    /// Ends it, if it has not done what it was to do.
    pub fn kill_or_join(self) {
        rustix::process::kill_process(self.pid, Signal::KILL).expect("our child");
        let end = self.end();
        assert!(end.terminating_signal() == Some(libc::SIGKILL) || end.exit_status() == Some(0), "{end:?}");
    }

    /// Whether it has done what it was to do.
    fn has_ended(&self) -> bool {
        let process = rustix::process::pidfd_open(self.pid, PidfdFlags::empty()).expect("our child");
        is_readable_within(Duration::ZERO, &process)
    }

    #[track_caller]
    fn end(self) -> WaitStatus {
        let process = rustix::process::pidfd_open(self.pid, PidfdFlags::empty()).expect("our child");
        if !is_readable_within(PATIENCE, &process) {
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(self.pid), WaitOptions::empty());
            panic!("the child hangs");
        }
        let ended = rustix::process::waitpid(Some(self.pid), WaitOptions::empty()).expect("our child");
        ended.expect("it has ended").1
    }

    /// Waits until its main thread sleeps in the kernel for a futex, or has ended.
    pub fn await_sleep(&self) {
        let wchan = format!("/proc/{}/wchan", self.pid.as_raw_nonzero());
        eventually("the child sleeps", || {
            std::fs::read_to_string(&wchan).is_ok_and(|place| place.contains("futex")) || self.has_ended()
        });
    }
}

/// Something happened, in whatever process.
pub struct Signals {
    read: OwnedFd,
    write: OwnedFd,
}

impl Signals {
    pub fn new() -> Self {
        let (read, write) = rustix::pipe::pipe().expect("a pipe");
        Self { read, write }
    }

    /// Says so, with a number.
    pub fn send(&self, number: u8) {
        std::fs::File::from(self.write.try_clone().expect("a descriptor"))
            .write_all(&[number])
            .expect("a pipe");
    }

    /// Waits for the next.
    #[track_caller]
    pub fn next(&self) -> u8 {
        assert!(is_readable_within(PATIENCE, &self.read), "nothing happened for {PATIENCE:?}");
        let mut number = [0];
        std::fs::File::from(self.read.try_clone().expect("a descriptor"))
            .read_exact(&mut number)
            .expect("a pipe");
        number[0]
    }
}

impl Signals {
    /// Whether nothing has happened that was not waited for.
    pub fn is_quiet(&self) -> bool {
        !is_readable_within(Duration::ZERO, &self.read)
    }
}

fn is_readable_within(limit: Duration, fd: impl AsFd) -> bool {
    let limit = Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).expect("poll") == 1
}

/// Waits for what no descriptor tells.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Descriptors, threads, children, mappings of this process; files in `/dev/shm`.
#[derive(Debug, PartialEq, Eq)]
pub struct Leftovers {
    descriptors: usize,
    threads: usize,
    children: String,
    mappings: usize,
    files: BTreeSet<String>,
}

impl Leftovers {
    pub fn now() -> Self {
        let count = |path| std::fs::read_dir(path).expect("/proc").count();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
        let mut children = String::new();
        for task in std::fs::read_dir("/proc/self/task").expect("/proc").flatten() {
            children += &std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        }
        Self {
            // Not counting the one that lists them.
            descriptors: count("/proc/self/fd") - 1,
            threads: count("/proc/self/task"),
            children,
            mappings: maps.lines().filter(|line| line.contains("executor-")).count(),
            files: files_in_shm(),
        }
    }

    /// Waits until no more is left than this.
    #[track_caller]
    pub fn are_all(&self) {
        // Threads that serve tasks stay for a moment.
        eventually("threads end", || Self::now().threads <= self.threads);
        assert_eq!(Self::now(), *self);
    }
}

/// What lies in `/dev/shm`.
pub fn files_in_shm() -> BTreeSet<String> {
    let files = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
    files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

/// Polls once; whether it is ready.
pub fn is_ready(future: &mut (impl Future + Unpin)) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(future).poll(&mut context).is_ready()
}
