//! How a process becomes a worker.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::process::{Resource, Rlimit, Signal};

use super::output::Capturer;
use super::zygote::{Title, Zygote};
use super::{MARK, Mark, PROTOCOL, Role, Startup, fork};
use crate::board::{MapError, WorkerBoard};
use crate::transport::{Bell, RecvFdError, WorkerInput, WorkerOutput, recv_with_fds};

/// What a worker has to work with.
#[derive(Debug)]
pub struct WorkerChannel {
    /// The worker's end of the control socket. Its end of file means that the parent is gone.
    pub control: OwnedFd,
    /// The worker's side of the board.
    pub board: WorkerBoard,
    /// Where frames come from.
    pub input: WorkerInput,
    /// Where answers go.
    pub output: WorkerOutput,
    /// Wakes the parent.
    pub bell: Bell,
    /// The largest value that the parent takes.
    pub frame_limit: usize,
    /// Marks the output of tasks, if the parent captures it.
    pub capture: Option<Capturer>,
}

/// Why a process that was started as a worker cannot be one. It has to exit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnterError {
    /// The parent ended before this process was ready. Nothing to report, and nobody to report it to.
    #[error("the program that started this worker is gone")]
    Orphaned,
    /// The parent is another version.
    #[error("this worker speaks protocol {ours}, the program that started it {theirs}")]
    Protocol {
        /// The version of this executable.
        ours: u32,
        /// The version of the parent.
        theirs: u32,
    },
    /// The descriptors of board and bell did not arrive.
    #[error("the worker got no start-up message")]
    Startup(#[source] RecvFdError),
    /// The board could not be mapped.
    #[error("the worker cannot use its board")]
    Board(#[from] MapError),
    /// A system call failed.
    #[error("cannot {action}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Whether this process was started as a worker and has not passed [`enter`] yet.
///
/// A pool that is opened in such a process would start workers which open pools; it must refuse, and say that the
/// program's `main` has to begin with the call that leads here.
#[must_use]
pub fn is_unentered() -> bool {
    ROLE.load(Ordering::Acquire) == UNKNOWN && mark().is_some()
}

/// Whether this process is a worker, by [`enter`].
#[must_use]
pub fn is_worker() -> bool {
    ROLE.load(Ordering::Acquire) == WORKER
}

const UNKNOWN: u8 = 0;
const PROGRAM: u8 = 1;
const WORKER: u8 = 2;

/// What this process is.
static ROLE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// What this process is to be.
#[derive(Debug)]
pub enum Entered {
    /// The program: nobody of this crate has started it, or it has entered before.
    Program,
    /// A worker of a pool; a zygote's fork, or started by itself.
    Worker(WorkerChannel),
    /// A process that runs one function, which comes through the socket.
    Process(OwnedFd),
}

/// Makes a worker of a process that was started as one.
///
/// Afterwards the process dies when its parent does (`PR_SET_PDEATHSIG`), ignores SIGINT (Ctrl-C is the program's
/// business), reads nothing on standard input, and has the limits that the parent set. In a process that was started as a
/// zygote this returns in its forks only.
///
/// # Errors
///
/// [`EnterError`]. The process is then of no use and should exit, with a message unless it is
/// [`Orphaned`](EnterError::Orphaned).
///
/// # Blocking
///
/// In a worker not noticeably: the start-up message was sent before this process existed.
pub fn enter() -> Result<Entered, EnterError> {
    let Some(mark) = mark() else {
        let _ = ROLE.compare_exchange(UNKNOWN, PROGRAM, Ordering::AcqRel, Ordering::Acquire);
        return Ok(Entered::Program);
    };
    if ROLE.swap(WORKER, Ordering::AcqRel) == WORKER {
        return Ok(Entered::Program);
    }
    die_with_parent(mark.parent)?;
    if mark.protocol != PROTOCOL {
        return Err(EnterError::Protocol { ours: PROTOCOL, theirs: mark.protocol });
    }
    ignore_terminal_signals();
    let socket = take_socket()?;
    take_program_name();
    remove_mark();
    match mark.role {
        Role::Worker => settle(socket).map(Entered::Worker),
        Role::Zygote => Zygote::new(socket, mark.parent, Title::find()).serve().map(Entered::Worker),
        Role::Process => Ok(Entered::Process(socket)),
    }
}

/// Makes a zygote of a fork of the program. It returns in the zygote's own forks only.
///
/// # Errors
///
/// [`EnterError`], after which the process has to exit.
pub(super) fn enter_fork(link: OwnedFd, program: i32) -> Result<WorkerChannel, EnterError> {
    become_fork(program)?;
    Zygote::new(link, program, None).serve()
}

/// What a process that is a fork of the program does first, in place of what `exec` does.
pub(crate) fn become_fork(program: i32) -> Result<(), EnterError> {
    ROLE.store(WORKER, Ordering::Release);
    IS_FORK.store(true, Ordering::Release);
    die_with_parent(program)?;
    let _ = rustix::process::setpgid(None, None);
    reset_signals();
    ignore_terminal_signals();
    close_stdin()
}

/// Whether this process shares its exit handlers with the program that it was forked from.
static IS_FORK: AtomicBool = AtomicBool::new(false);

/// Ends this process as a program ends, with its exit handlers; a fork of the program without, for they are the
/// program's.
pub(crate) fn exit(code: i32) -> ! {
    if !IS_FORK.load(Ordering::Acquire) {
        std::process::exit(code)
    }
    crate::process::end_all();
    fork::flush_streams();
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Ends a process that was started as a worker and cannot be one, with a message.
pub(crate) fn refuse(error: &EnterError) -> ! {
    if let EnterError::Orphaned = error {
        // The parent is gone; there is nobody to tell.
        exit(0)
    }
    eprintln!("this process cannot be a worker: {}", super::error_chain(error));
    exit(70)
}

/// An error for a fork that cannot follow the program; one whose program is gone leaves.
pub(crate) fn refuse_if_orphaned(error: EnterError) -> io::Error {
    if let EnterError::Orphaned = error {
        refuse(&error)
    }
    io::Error::other(super::error_chain(&error))
}

/// The threads of this process. A thread that has been joined is still listed for some microseconds; it is waited for.
pub(crate) fn threads_besides_dying() -> io::Result<Vec<String>> {
    /// Far longer than a thread takes to vanish.
    const PATIENCE: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let threads = fork::threads()?;
        if threads.len() <= 1 || Instant::now() >= deadline {
            return Ok(threads);
        }
        std::thread::yield_now();
    }
}

/// Reads the start-up message and takes up the post.
pub(super) fn settle(socket: OwnedFd) -> Result<WorkerChannel, EnterError> {
    let mut startup = [0; Startup::SIZE];
    let [board, bell] = recv_with_fds(&socket, &mut startup).map_err(|error| match error {
        RecvFdError::Closed => EnterError::Orphaned,
        error => EnterError::Startup(error),
    })?;
    let board = WorkerBoard::map(board)?;
    let bell = Bell::new(&board, bell);
    let startup = Startup::decode(startup);
    let capture = startup.capture.map(Capturer::new).transpose();
    let capture =
        capture.map_err(|source| EnterError::Io { action: "take the output pipes over", source })?;
    limit_address_space(startup.address_space)?;
    Ok(WorkerChannel {
        control: socket,
        input: WorkerInput::new(&board, bell.clone()),
        output: WorkerOutput::new(&board, bell.clone()),
        bell,
        board,
        frame_limit: usize::try_from(startup.frame_limit).unwrap_or(usize::MAX),
        capture,
    })
}

fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}

/// The mark, if it is meant for this process: fd 0 is the very socket that it names.
fn mark() -> Option<Mark> {
    let mark = Mark::parse(std::env::var_os(MARK)?.to_str()?)?;
    let stat = rustix::fs::fstat(stdin()).ok()?;
    let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
    (is_socket && stat.st_ino == mark.inode).then_some(mark)
}

/// Before `main`: follows the parent, if this process bears a mark.
pub(super) fn follow_if_marked() {
    if let Some(mark) = mark()
        && let Err(EnterError::Orphaned) = die_with_parent(mark.parent)
    {
        // SAFETY: ends the process, in which nothing has been set up yet.
        unsafe { libc::_exit(0) }
    }
}

/// First the signal, then the check: a parent that dies before the signal is set is noticed by the check, one that dies
/// later by the signal.
pub(super) fn die_with_parent(program: i32) -> Result<(), EnterError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(io_error("follow the parent"))?;
    match rustix::process::getppid() {
        Some(parent) if parent.as_raw_nonzero().get() == program => Ok(()),
        _ => Err(EnterError::Orphaned),
    }
}

/// SIGINT: the terminal sends Ctrl-C to the program's process group, which this process is not in; but people and tools
/// send it by hand, too. SIGTTOU: a worker is in the background of its terminal, and what it prints must not stop it.
fn ignore_terminal_signals() {
    for signal in [libc::SIGINT, libc::SIGTTOU] {
        // SAFETY: sets a disposition to "ignore"; no handler is installed that could run anywhere.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Signals that are handled get their default, and none is blocked, as after `exec`: a handler is the program's, and what
/// it does, such as writing to a pipe, it would do to the program. The handlers of faults stay, which say that a stack
/// overflowed.
fn reset_signals() {
    const FAULTS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    for signal in (1..libc::SIGRTMAX()).filter(|signal| !FAULTS.contains(signal)) {
        // SAFETY: asks for a disposition, and replaces a handler by the default; for numbers that are none of ours, such
        // as those that the C library keeps, the answer is an error.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
                && ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction)
            {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
    // SAFETY: an empty set of signals is no memory but this.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

/// Moves the socket from fd 0 to where it does not pass for standard input, and where no child inherits it.
fn take_socket() -> Result<OwnedFd, EnterError> {
    /// Above the numbers that programs hand out to their children by convention.
    const HIGH: i32 = 64;
    let socket = rustix::io::fcntl_dupfd_cloexec(stdin(), HIGH)
        .or_else(|_| rustix::io::fcntl_dupfd_cloexec(stdin(), 3))
        .map_err(io_error("move the worker's socket"))?;
    close_stdin()?;
    Ok(socket)
}

/// Leaves nothing to be read on standard input.
fn close_stdin() -> Result<(), EnterError> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(io_error("open /dev/null"))?;
    rustix::stdio::dup2_stdin(&null).map_err(io_error("replace standard input"))
}

fn limit_address_space(bytes: Option<u64>) -> Result<(), EnterError> {
    let Some(bytes) = bytes else { return Ok(()) };
    let old = rustix::process::getrlimit(Resource::As);
    let bytes = old.maximum.map_or(bytes, |maximum| maximum.min(bytes));
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    rustix::process::setrlimit(Resource::As, limit).map_err(io_error("limit the address space"))
}

/// Shows a fork of the program, whose arguments are the program's, as the worker of this name where there is room: in place
/// of the program's name.
pub(crate) fn show_as(name: &str) {
    /// What the kernel keeps.
    const ROOM: usize = 15;
    let Ok(program) = std::fs::read_to_string("/proc/self/comm") else { return };
    let suffix = format!(" w{name}");
    let mut text = program.trim_end().to_owned();
    text.truncate(text.floor_char_boundary(ROOM.saturating_sub(suffix.len())));
    if let Ok(text) = CString::new(text + &suffix) {
        let _ = rustix::thread::set_name(&text);
    }
}

/// Shows the program's name in `ps` and `top` instead of "exe", which the kernel took from `/proc/self/exe`.
fn take_program_name() {
    let name = std::fs::read_link("/proc/self/exe")
        .ok()
        .and_then(|path| CString::new(path.file_name()?.as_encoded_bytes()).ok());
    if let Some(name) = name {
        // Cosmetic: a kernel that refuses changes nothing.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Takes the mark out of the environment if that is safe: the environment belongs to C, which knows no lock. It is
/// tidiness only. A child of a task that inherits the mark does not have the socket, and ignores it.
fn remove_mark() {
    if fork::count_threads().is_ok_and(|count| count == 1) {
        // SAFETY: no other thread exists that could read or write the environment meanwhile; only this one could start
        // one, and does not.
        unsafe { std::env::remove_var(MARK) };
    }
}

fn io_error(action: &'static str) -> impl Fn(rustix::io::Errno) -> EnterError {
    move |error| EnterError::Io { action, source: error.into() }
}

impl AsFd for WorkerChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }
}
