//! One function in a process of its own: [`Process`].
//!
//! ```text
//! parent                                          process
//! ------                                          -------
//! argument into a memfd; its descriptors
//!   and the memfd's into a socket pair
//! posix_spawn of this executable with the role    init(): follows the parent's death, ignores SIGINT
//!   `process` in its mark, or fork                reads the argument, runs the function,
//!                                                 writes the outcome into the memfd, exits
//! pidfd readable: reap, read the outcome
//! ```
//!
//! * The outcome counts once its length is written, which is last; so a process that dies on the way has none. Nobody waits
//!   for the other, however large the values are.
//! * Who waits for the end: the caller of `join`, on its own thread; else the *keeper* (`keeper`).
//! * No process outlives the program: the kernel kills it when the program dies, and an exit handler sees to it when
//!   the program ends by itself.

mod catch;
mod child;
mod error;
mod keeper;
mod message;
mod running;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use executor_core::{ExecutorExt, Job, TaskError, TaskFuture};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::child::run;
pub use self::error::ProcessError;
use self::error::system;
pub(crate) use self::keeper::end_all;
use self::message::PackError;
use self::running::{Io, Running, Stream};
use crate::sys::{self, Exit, ForkError, MARK, Mark, OutputPipe, Role, fork, worker};
use crate::transport::{control_pair, send_with_fds};

/// Where a stream of a process goes.
#[derive(Debug, Default)]
#[non_exhaustive]
pub enum Output {
    /// Where this program's goes.
    #[default]
    Inherit,
    /// Nowhere.
    Null,
    /// Through a pipe, and from there to this program's stream. If the process dies, the last lines of its standard
    /// error are quoted in the error. A thread of this library reads the pipe; that of a process that was forked is
    /// read while it is joined or awaited, since with a thread nothing more could be forked.
    Pipe,
    /// Into a file, a pipe or a socket.
    File(OwnedFd),
}

/// How a [`Process`] is to be started; from [`Process::builder`].
#[derive(Debug, Default)]
#[must_use = "a process is started by .spawn() or .fork()"]
pub struct ProcessBuilder {
    name: Option<String>,
    envs: Vec<(OsString, OsString)>,
    is_daemon: bool,
    stdout: Output,
    stderr: Output,
}

/// A function that runs, or has run, in a process of its own.
///
/// It is Python's `multiprocessing.Process`, and gives the function's value back. The process reads nothing on its
/// standard input, ignores SIGINT, and is in a process group of its own: Ctrl-C is the program's business.
///
/// # The end of the process, the handle and the program
///
/// | | daemonic | not daemonic (the default) |
/// | --- | --- | --- |
/// | the handle is dropped | the process is killed | it runs on; its value is lost |
/// | the program returns from `main` or calls `exit` | it is killed | the program waits for it |
/// | the program dies otherwise, of a signal or an abort | it is killed | it is killed |
///
/// No process outlives the program, and none is left as a zombie.
///
/// # As a future
///
/// A `Process` is a future of its value, which any async runtime can await: `(&mut process).await`, or `process.await`.
///
/// # Cancel safety
///
/// Nothing is lost when a wait is given up, by `join_timeout` or by dropping a future that awaits `&mut process`: the value
/// is there for the next one. It is given once.
///
/// # Examples
///
/// ```no_run
/// use executor_process::Process;
///
/// executor_process::init(); // the first line of main
/// let process = Process::spawn(|name: String| format!("hello {name}"), "bob".to_owned())?;
/// assert_eq!(process.join()?, "hello bob");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Process<R> {
    /// `None` when its value was given.
    future: Option<TaskFuture<R>>,
    running: Arc<Running>,
    name: Option<String>,
    /// The keeper waits for its end.
    is_kept: bool,
}

impl Process<()> {
    /// A process with a name, an environment, streams of its own.
    pub fn builder() -> ProcessBuilder {
        ProcessBuilder::default()
    }
}

impl<R: Serialize + DeserializeOwned + Send + 'static> Process<R> {
    /// Starts the program again, in a process that runs `f(arg)` in [`init`](crate::init()) and exits.
    ///
    /// What the function uses travels as its argument. Handles of [`ipc`](crate::ipc) in it, or in the value, bring their
    /// descriptors along.
    ///
    /// # Errors
    ///
    /// [`ProcessError::InitMissing`] in a worker process that has not passed `init`; [`ProcessError::Handover`] if the
    /// argument cannot be serialised or the function is not in the main executable; [`ProcessError::System`].
    ///
    /// # Blocking
    ///
    /// For the time of a `posix_spawn`, some hundred microseconds.
    pub fn spawn<A>(f: fn(A) -> R, arg: A) -> Result<Self, ProcessError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
    {
        ProcessBuilder::default().spawn(f, arg)
    }

    /// Forks this program; the fork calls the closure, which has all that the program had, and exits.
    ///
    /// What the closure leaves behind in memory is the fork's alone; only its value comes back. Destructors of what
    /// the program holds, and its exit handlers, do not run there.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Fork`] if this process has more than one thread; [`ProcessError::System`].
    ///
    /// # Blocking
    ///
    /// For the time of a `fork`: a tenth of a millisecond, and more for a program with gigabytes of memory.
    pub fn fork(f: impl FnOnce() -> R) -> Result<Self, ProcessError> {
        ProcessBuilder::default().fork(f)
    }
}

impl ProcessBuilder {
    /// What `ps` shows it as, beside the program's own name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets an environment variable, beside those that it inherits.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Whether it is killed when its handle is dropped, and when the program ends. Default: no.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.is_daemon = daemon;
        self
    }

    /// Where its standard output goes. Default: inherited.
    pub fn stdout(mut self, stdout: Output) -> Self {
        self.stdout = stdout;
        self
    }

    /// Where its standard error goes. Default: inherited.
    pub fn stderr(mut self, stderr: Output) -> Self {
        self.stderr = stderr;
        self
    }

    /// As [`Process::spawn`].
    ///
    /// # Errors
    ///
    /// As [`Process::spawn`].
    pub fn spawn<A, R>(self, f: fn(A) -> R, arg: A) -> Result<Process<R>, ProcessError>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        if worker::is_unentered() {
            return Err(ProcessError::InitMissing);
        }
        let (mut job, future) = catch::job_of(|catch| catch.submit(f, arg));
        job.target().map_err(ProcessError::Handover)?;
        job.encode_for(message::carrier()).map_err(ProcessError::Handover)?;
        let name = self.name.clone();
        let is_daemon = self.is_daemon;
        let spawned = keeper::on_lasting_thread(move || self.spawn_job(job));
        let io = spawned.map_err(system("start the thread that starts processes"))??;
        let has_pipes = io.stdout.is_some() || io.stderr.is_some();
        let mut process = Process::new(io, future, name, is_daemon)?;
        if has_pipes {
            process.be_kept().map_err(system("start the thread that reads its output"))?;
        }
        Ok(process)
    }

    fn spawn_job(self, job: Job) -> Result<Io, ProcessError> {
        let (socket, theirs) = control_pair().map_err(system("make a socket pair"))?;
        let file = message::file().map_err(system("make a memfd"))?;
        send_with_fds(&socket, &[0], &[file.as_fd()]).map_err(system("use a socket pair"))?;
        message::write_argument(&job, &file, socket.as_fd()).map_err(|error| match error {
            PackError::Task(error) => ProcessError::Handover(error),
            PackError::Io(error) => system("hand over the argument")(error),
        })?;
        let argument = file.metadata().map_err(system("make a memfd"))?.len();
        let mark = Mark::new(theirs.as_fd(), Role::Process).map_err(system("use a socket pair"))?;
        let (stdout, our_stdout) = self.stdout.stdio().map_err(system("make a pipe"))?;
        let (stderr, our_stderr) = self.stderr.stdio().map_err(system("make a pipe"))?;
        let title = format!(
            "{} [executor process{}{}]",
            sys::program_name(),
            if self.name.is_some() { " " } else { "" },
            self.name.as_deref().unwrap_or_default()
        );
        let mut command = Command::new("/proc/self/exe");
        command.arg0(title).process_group(0).envs(self.envs).env(MARK, mark.to_string());
        command.stdin(theirs).stdout(stdout).stderr(stderr);
        let mut process = command.spawn().map_err(system("start this executable"))?;
        drop(command);
        let child = sys::watch_or_end(&mut process)
            .map_err(|error| system("watch the process")(io::Error::other(error)))?;
        Ok(Io {
            child,
            stdout: our_stdout,
            stderr: our_stderr,
            file,
            socket,
            argument,
            job: Some(job),
            exit: None,
        })
    }

    /// As [`Process::fork`].
    ///
    /// # Errors
    ///
    /// As [`Process::fork`].
    pub fn fork<R>(self, f: impl FnOnce() -> R) -> Result<Process<R>, ProcessError>
    where
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        sys::require_one_thread()?;
        let (socket, theirs) = control_pair().map_err(system("make a socket pair"))?;
        let file = message::file().map_err(system("make a memfd"))?;
        let (stdout, our_stdout) = self.stdout.open().map_err(system("make a pipe"))?;
        let (stderr, our_stderr) = self.stderr.open().map_err(system("make a pipe"))?;
        let program = rustix::process::getpid().as_raw_nonzero().get();
        // The result is decoded as a task's is; the function stands for its type.
        let (job, future) = catch::job_of(|catch| catch.submit(|(): ()| -> R { unreachable!() }, ()));
        // SAFETY: this process has one thread, and `run_fork` does not return.
        let forked = unsafe { fork::fork() };
        let pid = match forked.map_err(|source| ForkError::System { action: "fork this process", source })? {
            fork::Forked::Parent(pid) => pid,
            fork::Forked::Child => {
                let prepare = || {
                    worker::become_fork(program).map_err(worker::refuse_if_orphaned)?;
                    if let Some(stdout) = stdout {
                        rustix::stdio::dup2_stdout(&stdout)?;
                    }
                    if let Some(stderr) = stderr {
                        rustix::stdio::dup2_stderr(&stderr)?;
                    }
                    for (name, value) in &self.envs {
                        // SAFETY: this process has one thread.
                        unsafe { std::env::set_var(name, value) };
                    }
                    if let Some(name) = &self.name {
                        worker::show_as(name);
                    }
                    Ok(())
                };
                child::run_fork(prepare, f, &file, &theirs)
            }
        };
        let child =
            sys::watch_forked(pid).map_err(|error| system("watch the process")(io::Error::other(error)))?;
        let io = Io {
            child,
            stdout: our_stdout,
            stderr: our_stderr,
            file,
            socket,
            argument: 0,
            job: Some(job),
            exit: None,
        };
        Process::new(io, future, self.name, self.is_daemon)
    }
}

impl Output {
    /// What the process gets, and what we read from.
    fn open(self) -> io::Result<(Option<OwnedFd>, Option<Stream>)> {
        Ok(match self {
            Self::Inherit => (None, None),
            Self::Null => (Some(File::options().write(true).open("/dev/null")?.into()), None),
            Self::File(file) => (Some(file), None),
            Self::Pipe => {
                let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
                (Some(theirs), Some(Stream::new(OutputPipe::new(ours, None)?)))
            }
        })
    }

    fn stdio(self) -> io::Result<(Stdio, Option<Stream>)> {
        let (theirs, ours) = self.open()?;
        Ok((theirs.map_or_else(Stdio::inherit, Stdio::from), ours))
    }
}

impl<R> Process<R> {
    fn new(
        io: Io,
        future: TaskFuture<R>,
        name: Option<String>,
        is_daemon: bool,
    ) -> Result<Self, ProcessError> {
        let running = Running::new(io, is_daemon).map_err(system("watch the process"))?;
        let running = Arc::new(running);
        keeper::note(&running);
        Ok(Self { future: Some(future), running, name, is_kept: false })
    }

    /// Its process id. It stays this process's until it was reaped, which [`is_alive`](Self::is_alive),
    /// [`exit_status`](Self::exit_status) and the joins do once it has ended.
    pub fn pid(&self) -> i32 {
        self.running.pid
    }

    /// The name that the builder gave it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it is daemonic.
    pub fn is_daemon(&self) -> bool {
        self.running.is_daemon
    }

    /// Waits for its end and gives the function's value.
    ///
    /// # Errors
    ///
    /// [`TaskError::Panicked`] if the function panicked; [`TaskError::WorkerLost`], with exit code or signal, if the process
    /// ended in another way; [`TaskError::Encode`] or [`Decode`](TaskError::Decode) if the value did not make it here;
    /// [`TaskError::Closed`] if the value was given before.
    ///
    /// # Blocking
    ///
    /// Until the process has ended.
    pub fn join(mut self) -> Result<R, TaskError> {
        self.take(None).unwrap_or(Err(TaskError::Closed))
    }

    /// As [`join`](Self::join), for no longer than `limit`: `None` then.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    ///
    /// # Blocking
    ///
    /// Until the process has ended, or the time is over.
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<R, TaskError>> {
        // A limit that no clock can tell is none.
        self.take(Instant::now().checked_add(limit))
    }

    fn take(&mut self, deadline: Option<Instant>) -> Option<Result<R, TaskError>> {
        let Some(future) = self.future.take() else { return Some(Err(TaskError::Closed)) };
        if !self.is_kept {
            if self.running.wait(deadline).is_none() {
                self.future = Some(future);
                return None;
            }
            return Some(future.wait());
        }
        // The keeper resolves it.
        let Some(deadline) = deadline else { return Some(future.wait()) };
        let outcome = future.wait_timeout(deadline.saturating_duration_since(Instant::now()));
        if outcome.is_none() {
            self.future = Some(future);
        }
        outcome
    }

    /// Sends SIGKILL. A process that has ended is not affected.
    pub fn kill(&self) {
        self.running.signal(Signal::KILL);
    }

    /// Sends SIGTERM, which ends it unless its function has set a handler. A process that has ended is not affected.
    pub fn terminate(&self) {
        self.running.signal(Signal::TERM);
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended: by an exit code (0 if the function gave a value, 1 if it panicked) or by a signal. `None` while it runs.
    pub fn exit_status(&self) -> Option<Exit> {
        // Looking at its descriptor first: the keeper may be about to look after it.
        if self.running.has_ended() || !self.is_kept { self.running.look(|_| {}) } else { None }
    }

    fn be_kept(&mut self) -> io::Result<()> {
        if !self.is_kept {
            keeper::keep(Arc::clone(&self.running))?;
            self.is_kept = true;
        }
        Ok(())
    }
}

impl<R> Unpin for Process<R> {}

impl<R> Future for Process<R> {
    type Output = Result<R, TaskError>;

    /// [`TaskError::Closed`] if the value was given before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.be_kept().is_err() {
            // No thread can be had: wait here, rather than never.
            this.running.wait(None);
        }
        let Some(future) = &mut this.future else { return Poll::Ready(Err(TaskError::Closed)) };
        let outcome = Pin::new(future).poll(cx);
        if outcome.is_ready() {
            this.future = None;
        }
        outcome
    }
}

/// See [`Process`] for what becomes of the process.
///
/// # Blocking
///
/// For a daemonic one, for as long as the kernel takes to end it.
impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        let is_ours = self.running.parent == std::process::id();
        if !is_ours || self.running.look(|_| {}).is_some() {
            return;
        }
        if self.running.is_daemon {
            self.running.kill_all();
            self.running.wait(None);
        } else if self.be_kept().is_err() {
            self.running.wait(None);
        }
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pid", &self.pid())
            .field("name", &self.name)
            .field("is_daemon", &self.is_daemon())
            .field("exit_status", &self.exit_status())
            .finish()
    }
}
