//! Waiting for what has to come, with a limit that only turns a hang into a failure.

use std::fmt::Debug;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

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

/// A descriptor that becomes readable when the process ends; `None` if it has ended.
pub fn watch(pid: i32) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Waits for the end of processes that are not our children.
#[track_caller]
pub fn await_ends(what: &str, processes: impl IntoIterator<Item = Option<OwnedFd>>) {
    for process in processes.into_iter().flatten() {
        await_readable(what, process);
    }
}
