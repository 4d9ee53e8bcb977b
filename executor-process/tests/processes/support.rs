//! What the tests share on the parent's side.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use executor_process::board::Ticket;
use executor_process::ring::Need;
use executor_process::sys::{Exit, Output, Spawned, WorkerCommand};
use executor_process::transport::{FrameReader, OutBuf, Sent, bell, hush};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags};

/// A worker, the bell by which it wakes us, and what has come of a frame.
pub struct Worker {
    pub spawned: Spawned,
    pub bell: OwnedFd,
    pub reader: FrameReader,
}

impl Worker {
    pub fn start(command: &WorkerCommand) -> Self {
        let bell = bell().expect("a descriptor");
        let spawned = command.spawn("test", bell.as_fd()).expect("a worker");
        Self { spawned, bell, reader: FrameReader::new(1 << 20) }
    }

    pub fn plain() -> Self {
        Self::start(&WorkerCommand::new())
    }

    /// With standard error through a pipe, so that what a dying worker says does not show up in the tests' output.
    pub fn quiet() -> Self {
        Self::start(&WorkerCommand::new().with_stderr(Output::Pipe))
    }

    pub fn tell(&mut self, command: &str) {
        let mut out = OutBuf::new();
        out.push(command.as_bytes(), 1 << 20).expect("a short command");
        self.send(&mut out);
    }

    /// Sends everything, however full the ring is.
    pub fn send(&mut self, out: &mut OutBuf) {
        while self.spawned.link.send(out).expect("an undamaged ring") == Sent::Full {
            assert!(self.await_bell(), "the worker is gone, and has not read what it was told");
        }
    }

    /// Sends a task: claim the ticket, then do what `command` says.
    pub fn task(&mut self, ticket: Ticket, command: &str) {
        self.tell(&format!("task {} {command}", ticket.to_bits()));
    }

    /// The next answer, or `None` when the worker is dead and there is none.
    pub fn answer(&mut self) -> Option<String> {
        let mut is_alive = true;
        loop {
            if let Some(answer) = self.next_answer() {
                return Some(answer);
            }
            if !is_alive {
                return None;
            }
            self.spawned.link.listen(Need::Anything);
            // What was published before it was asked to ring is not rung for.
            if !self.spawned.link.has_answers() {
                is_alive = self.await_bell();
            }
            self.spawned.link.listen(Need::Nothing);
        }
    }

    /// An answer that is here already.
    pub fn next_answer(&mut self) -> Option<String> {
        loop {
            if let Some(body) = self.reader.next_frame().expect("frames") {
                return Some(String::from_utf8(body.to_vec()).expect("text"));
            }
            if self.spawned.link.recv(&mut self.reader).expect("an undamaged ring") == 0 {
                return None;
            }
        }
    }

    /// Waits for the bell; false if the worker is dead.
    fn await_bell(&self) -> bool {
        let [rings, is_dead] = await_any([self.bell.as_fd(), self.spawned.child.as_fd()]);
        if rings {
            hush(&self.bell);
        }
        !is_dead
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.answer().expect("an answer")
    }

    /// Waits for the end of the process, which its descriptor and its control socket tell.
    pub fn exit(&mut self) -> Exit {
        await_readable(&self.spawned.child);
        await_readable(&self.spawned.control);
        assert!(is_at_end(&self.spawned.control), "nobody else holds its end of the socket");
        self.spawned.child.try_exit().expect("a child").expect("its end, as the descriptor said")
    }

    /// The end of what a worker that has ended said on standard error.
    pub fn last_words(&mut self) -> String {
        let stderr = self.spawned.stderr.as_mut().expect("a pipe");
        stderr.read_rest(&mut io::sink()).expect("a pipe");
        stderr.tail().last_lines(usize::MAX)
    }
}

/// Waits until there is something to read, or the end.
pub fn await_readable(fd: impl AsFd) {
    await_any([fd.as_fd()]);
}

/// Waits until there is something to read, or the end, and says at which.
pub fn await_any<const N: usize>(fds: [BorrowedFd<'_>; N]) -> [bool; N] {
    let limit = Timespec { tv_sec: 60, tv_nsec: 0 };
    let mut fds = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let ready = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).expect("poll");
    assert_ne!(ready, 0, "nothing happened for a minute");
    fds.map(|fd| !fd.revents().is_empty())
}

/// Whether the other side of a socket is closed.
pub fn is_at_end(socket: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&socket, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).expect("poll");
    fds[0].revents().contains(PollFlags::HUP)
}

/// A descriptor for a process that is not our child. It must be alive.
pub fn watch(pid: i32) -> OwnedFd {
    let pid = Pid::from_raw(pid).expect("a pid");
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).expect("a living process")
}

/// Starts this program in another role than that of a worker.
pub fn start_role(role: &str, env: &[(&str, &str)]) -> Child {
    Command::new("/proc/self/exe")
        .env("TEST_ROLE", role)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program")
}

/// How many descriptors this process has open, not counting the one that lists them.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 1
}

/// Children of this process, zombies included.
pub fn children() -> Vec<i32> {
    std::fs::read_dir("/proc/self/task")
        .expect("/proc")
        .flat_map(|task| {
            let children = task.expect("/proc").path().join("children");
            let text = std::fs::read_to_string(children).unwrap_or_default();
            text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect::<Vec<i32>>()
        })
        .collect()
}
