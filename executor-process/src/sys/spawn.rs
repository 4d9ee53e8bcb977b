//! Starting a worker.

use std::ffi::{OsStr, OsString};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};

use super::output::{Nonce, OutputPipe, draw_nonce};
use super::zygote::Title;
use super::{Child, MARK, Mark, Role, Startup};
use crate::board::Board;
use crate::transport::{ParentEnd, control_pair, send_with_fds};

/// Variables that size the thread pools of numeric libraries, and rayon's.
///
/// Each library makes one thread per core by default, in every worker, which oversubscribes a machine by the number of
/// workers.
const THREAD_VARIABLES: [&str; 7] = [
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
];

/// Where a worker's output stream goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Where the parent's goes.
    #[default]
    Inherit,
    /// Through a pipe, whose non-blocking read end the parent gets. It has to read, or the worker stalls when some
    /// 64 KiB are waiting.
    Pipe,
}

/// Why a worker could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The channel or the board could not be made.
    #[error("cannot set up the channel of a worker")]
    Channel(#[source] io::Error),
    /// The executable could not be started.
    #[error("cannot start {} as a worker", program.display())]
    Start {
        /// The executable.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process was started but is not in our hands; it was ended.
    #[error("cannot watch the worker process {pid}")]
    Watch {
        /// Its process id.
        pid: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The process that forks workers has not forked this one.
    #[error("cannot fork a worker: {reason}")]
    Fork {
        /// What it said, or what became of it.
        reason: String,
    },
}

/// How workers are to be started; one value starts any number of them.
#[derive(Clone, Debug)]
pub struct WorkerCommand {
    program: PathBuf,
    envs: Vec<(OsString, OsString)>,
    stdout: Output,
    stderr: Output,
    native_threads: Option<NonZeroUsize>,
    address_space: Option<u64>,
    frame_limit: usize,
    capture: Option<usize>,
}

impl Default for WorkerCommand {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkerCommand {
    /// Workers that are this very executable, even if its file was replaced or removed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            program: PathBuf::from("/proc/self/exe"),
            envs: Vec::new(),
            stdout: Output::Inherit,
            stderr: Output::Inherit,
            native_threads: None,
            address_space: None,
            frame_limit: usize::MAX,
            capture: None,
        }
    }

    /// Workers of another executable, which must be the build that the tasks come from. Default: this executable.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets an environment variable for the workers, beside those that they inherit.
    #[must_use]
    pub fn with_env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Where the workers' standard output goes. Default: inherited.
    #[must_use]
    pub fn with_stdout(mut self, stdout: Output) -> Self {
        self.stdout = stdout;
        self
    }

    /// Where the workers' standard error goes. Default: inherited, which leaves nothing to quote when one dies.
    #[must_use]
    pub fn with_stderr(mut self, stderr: Output) -> Self {
        self.stderr = stderr;
        self
    }

    /// Sets `OMP_NUM_THREADS` and its like (OpenBLAS, MKL, BLIS, Accelerate, NumExpr, rayon) to `threads` for the
    /// workers, each only if the user has not set it. Default: not set. A pool of n workers on a machine of m cores
    /// does well with m / n: too high oversubscribes the cores, too low leaves some idle while few tasks run.
    #[must_use]
    pub fn with_native_threads(mut self, threads: Option<NonZeroUsize>) -> Self {
        self.native_threads = threads;
        self
    }

    /// Limits the address space of each worker to so many bytes (`RLIMIT_AS`), so that a task which allocates without
    /// end fails in its worker and not on the machine. Default: no limit. Address space is more than memory: mappings
    /// and thread stacks count whole, so leave some hundred MiB above what the tasks need.
    #[must_use]
    pub fn with_address_space_limit(mut self, bytes: Option<u64>) -> Self {
        self.address_space = bytes.filter(|bytes| *bytes != 0);
        self
    }

    /// Tells the workers to send no value of more bytes, but an error in its stead. Default: no limit.
    #[must_use]
    pub fn with_frame_limit(mut self, bytes: usize) -> Self {
        self.frame_limit = bytes;
        self
    }

    /// Captures what each task prints, up to so many bytes on each of the two streams. Both then come through pipes,
    /// whatever [`with_stdout`](Self::with_stdout) and [`with_stderr`](Self::with_stderr) say. Default: off. Worst-case
    /// memory: twice the limit for every task whose result is on its way.
    #[must_use]
    pub fn with_capture(mut self, limit: Option<usize>) -> Self {
        self.capture = limit;
        self
    }

    /// Starts a worker. `name` is what `ps` shows it as, beside the program's own name; `bell` is the eventfd by which it
    /// wakes us.
    ///
    /// Call it on a thread that lives as long as the worker is to live: the kernel ends the worker when the *thread*
    /// that started it ends (`PR_SET_PDEATHSIG`), not only when the process does.
    ///
    /// # Errors
    ///
    /// [`SpawnError`]; nothing is left behind then.
    ///
    /// # Blocking
    ///
    /// For the time of a `posix_spawn`, some hundred microseconds.
    pub fn spawn(&self, name: &str, bell: BorrowedFd<'_>) -> Result<Spawned, SpawnError> {
        let Berth { control, board, theirs, capture } = self.berth(bell)?;
        let mark = Mark::new(theirs.as_fd(), Role::Worker).map_err(SpawnError::Channel)?;
        let title = format!("{} [executor worker {name}]", self.shown_program());
        let mut process = self
            .command(&title, mark)
            .stdin(theirs)
            .stdout(self.stdio(self.stdout))
            .stderr(self.stdio(self.stderr))
            .spawn()
            .map_err(|source| SpawnError::Start { program: self.program.clone(), source })?;
        // The command, and with it our copy of the worker's end, is gone here: only the worker holds that end, so its
        // death is the end of our stream.

        let child = watch_or_end(&mut process)?;
        let output = |pipe: OwnedFd| OutputPipe::new(pipe, capture).map_err(SpawnError::Channel);
        let stdout = process.stdout.take().map(|pipe| output(pipe.into())).transpose()?;
        let stderr = process.stderr.take().map(|pipe| output(pipe.into())).transpose()?;
        let link = ParentEnd::new(&board);
        Ok(Spawned { child, control, board, link, stdout, stderr })
    }

    /// Makes the channel of a worker, with the start-up message in it.
    pub(super) fn berth(&self, bell: BorrowedFd<'_>) -> Result<Berth, SpawnError> {
        let (board, board_fd) = Board::create().map_err(SpawnError::Channel)?;
        let (control, theirs) = control_pair().map_err(SpawnError::Channel)?;
        let startup = Startup {
            address_space: self.address_space,
            frame_limit: self.frame_limit as u64,
            capture: self.capture.map(|_| draw_nonce()),
        };
        send_with_fds(&control, &startup.encode(), &[board_fd.as_fd(), bell]).map_err(SpawnError::Channel)?;
        let capture = startup.capture.zip(self.capture);
        Ok(Berth { control, board, theirs, capture })
    }

    /// Starts a zygote of this command's program, with the other end of its link.
    pub(super) fn spawn_zygote(&self, link: OwnedFd) -> Result<Child, SpawnError> {
        let mark = Mark::new(link.as_fd(), Role::Zygote).map_err(SpawnError::Channel)?;
        let title = format!("{} [executor zygote]{}", self.shown_program(), Title::ROOM);
        let mut process = self
            .command(&title, mark)
            .stdin(link)
            .spawn()
            .map_err(|source| SpawnError::Start { program: self.program.clone(), source })?;
        watch_or_end(&mut process)
    }

    /// Whether standard output and standard error come through pipes.
    pub(super) fn has_pipes(&self) -> (bool, bool) {
        let is_pipe = |output| output == Output::Pipe || self.capture.is_some();
        (is_pipe(self.stdout), is_pipe(self.stderr))
    }

    /// The environment variables that workers get beside those of this process.
    pub(super) fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let threads = self.native_threads.into_iter().flat_map(|threads| {
            let names = THREAD_VARIABLES.iter().filter(|name| std::env::var_os(name).is_none());
            names.map(move |name| (OsString::from(name), threads.to_string().into()))
        });
        threads.chain(self.envs.iter().cloned())
    }

    fn stdio(&self, output: Output) -> Stdio {
        match output {
            Output::Inherit if self.capture.is_none() => Stdio::inherit(),
            Output::Inherit | Output::Pipe => Stdio::piped(),
        }
    }

    /// Nothing here may need code between fork and exec (`pre_exec`, uid, groups): then std uses `posix_spawn`, which
    /// neither copies page tables nor runs code of ours in a half-copied process.
    fn command(&self, title: &str, mark: Mark) -> Command {
        let mut command = Command::new(&self.program);
        command.arg0(title).process_group(0).envs(self.variables()).env(MARK, mark.to_string());
        command
    }

    fn shown_program(&self) -> String {
        match self.program == Path::new("/proc/self/exe") {
            true => program_name(),
            false => shown(&self.program),
        }
    }
}

/// This program's name, as it was started.
pub(crate) fn program_name() -> String {
    shown(&std::env::args_os().next().map(PathBuf::from).unwrap_or_default())
}

fn shown(path: &Path) -> String {
    path.file_name().map_or_else(|| "executor".into(), |name| name.to_string_lossy().into_owned())
}

/// A started worker.
#[derive(Debug)]
pub struct Spawned {
    /// The process.
    pub child: Child,
    /// Our end of the socket by which each side sees the end of the other.
    pub control: OwnedFd,
    /// The parent's side of the board.
    pub board: Board,
    /// The parent's end of the channel.
    pub link: ParentEnd,
    /// The worker's standard output, if that is a pipe.
    pub stdout: Option<OutputPipe>,
    /// The worker's standard error, if that is a pipe.
    pub stderr: Option<OutputPipe>,
}

/// The channel of a worker that is being started.
pub(super) struct Berth {
    pub(super) control: OwnedFd,
    pub(super) board: Board,
    /// What the worker gets.
    pub(super) theirs: OwnedFd,
    /// How output is marked, if it is captured, and how much of it is kept.
    pub(super) capture: Option<(Nonce, usize)>,
}

/// Takes a fresh child over by pidfd. Its pid is still its own, as nobody but us reaps it.
pub(crate) fn watch_or_end(process: &mut std::process::Child) -> Result<Child, SpawnError> {
    let watched = watch(process.id());
    if watched.is_err() {
        // No descriptors left, or a kernel before 5.3: end it the old way.
        let _ = process.kill();
        let _ = process.wait();
    }
    watched
}

/// Takes a child over that the system forked for us. If that is not possible, it is ended.
pub(crate) fn watch_forked(pid: i32) -> Result<Child, SpawnError> {
    let watched = watch(pid.unsigned_abs());
    if let (Err(_), Some(pid)) = (&watched, Pid::from_raw(pid)) {
        // As in `watch_or_end`. The number is still this child's: nobody but us reaps it.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(pid), WaitOptions::empty()));
    }
    watched
}

/// Takes a child over by pidfd.
fn watch(pid: u32) -> Result<Child, SpawnError> {
    i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
        .and_then(|pid| Ok(Child::new(pid, rustix::process::pidfd_open(pid, PidfdFlags::empty())?)))
        .map_err(|source| SpawnError::Watch { pid, source })
}
