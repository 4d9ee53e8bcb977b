//! What the tests share.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use executor_core::{TaskError, TaskFuture};
use executor_process::{ForkPoint, ProcessConfig, ProcessExecutor, StartMethod};

pub use crate::waiting::{PATIENCE, await_ends, await_readable, eventually_equal, watch};

/// How long a test may take before the program gives up as a whole. Those that start hundreds of workers take some seconds, and
/// more than a minute on a processor that others use as well.
const TEST_TIME: Duration = Duration::from_secs(600);

// ---- pools -------------------------------------------------------------------------------------------------------

/// Says by which method the pools of this program start their workers.
pub const METHOD: &str = "TEST_START_METHOD";

/// By which method the pools start their workers.
pub fn method() -> StartMethod {
    match std::env::var(METHOD).as_deref() {
        Ok("spawn") => StartMethod::Spawn,
        Ok("forkserver") => StartMethod::Forkserver,
        Ok("fork") => StartMethod::Fork,
        other => panic!("{METHOD} is {other:?}"),
    }
}

/// This program before it has threads.
static FORK_POINT: OnceLock<ForkPoint> = OnceLock::new();

/// For pools whose workers are forks of this program: to be called while it has one thread.
pub fn be_forkable() {
    if method() == StartMethod::Fork {
        FORK_POINT.get_or_init(|| ForkPoint::here().expect("this process has one thread"));
    }
}

/// A pool of so many workers, which have 100 ms to end a task.
pub fn config(workers: usize) -> ProcessConfig {
    let config = ProcessConfig::default().with_workers(workers).with_grace(Duration::from_millis(100));
    match FORK_POINT.get() {
        Some(point) => config.with_fork_point(point.clone()),
        None => config.with_start_method(method()),
    }
}

pub fn open(config: ProcessConfig) -> ProcessExecutor {
    ProcessExecutor::open(config).expect("a pool can be opened here")
}

pub fn workers(workers: usize) -> ProcessExecutor {
    open(config(workers))
}

/// The outcome of a task, which has to come.
#[track_caller]
pub fn outcome<R>(future: TaskFuture<R>) -> Result<R, TaskError> {
    match future.wait_timeout(PATIENCE) {
        Some(outcome) => outcome,
        None => panic!("a future is not resolved after {PATIENCE:?}: {future:?}"),
    }
}

/// The value of a task, which has to come.
#[track_caller]
pub fn value<R>(future: TaskFuture<R>) -> R {
    match outcome(future) {
        Ok(value) => value,
        Err(error) => panic!("a value was expected, not: {error}"),
    }
}

/// The error of a task, which has to come.
#[track_caller]
pub fn error<R>(future: TaskFuture<R>) -> TaskError {
    match outcome(future) {
        Ok(_) => panic!("an error was expected, not a value"),
        Err(error) => error,
    }
}

/// What a `WorkerLost` says: exit code, signal, last words.
pub struct Lost {
    pub exit: Option<i32>,
    pub signal: Option<i32>,
    pub last_words: String,
    pub text: String,
}

#[track_caller]
pub fn lost(error: TaskError) -> Lost {
    let text = error.to_string();
    match error {
        TaskError::WorkerLost { exit, signal, stderr_tail, .. } => {
            Lost { exit, signal, last_words: stderr_tail, text }
        }
        other => panic!("WorkerLost was expected, not: {other}"),
    }
}

#[track_caller]
pub fn broken(error: TaskError) -> String {
    match error {
        TaskError::Broken { reason, .. } => reason,
        other => panic!("Broken was expected, not: {other}"),
    }
}

/// A task: which process it runs in.
pub fn pid(_: ()) -> i32 {
    std::process::id() as i32
}

/// A task that passes a gate and tells its process.
pub fn gated((gate, who): (String, u64)) -> i32 {
    pass(&gate, who);
    std::process::id() as i32
}

pub fn kill(pid: i32, signal: i32) {
    // SAFETY: a plain system call; the process is one of this test's.
    unsafe { libc::kill(pid, signal) };
}

// ---- waiting -----------------------------------------------------------------------------------------------------

/// Waits until the condition holds.
#[track_caller]
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    eventually_equal(what, holds, &true);
}

/// Ends the program if a test takes too long: a hang in a drop has no other end.
pub struct Watchdog {
    tests: Sender<Option<&'static str>>,
}

impl Watchdog {
    pub fn start() -> Self {
        let (tests, begun) = channel();
        std::thread::spawn(move || {
            let mut running = None;
            loop {
                running = match begun.recv_timeout(if running.is_some() { TEST_TIME } else { Duration::MAX })
                {
                    Ok(test) => test,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        println!("test {} hangs after {TEST_TIME:?}", running.unwrap_or("of no name"));
                        std::process::exit(101);
                    }
                };
            }
        });
        Self { tests }
    }

    pub fn begin(&self, name: &'static str) {
        self.tests.send(Some(name)).expect("the watchdog is awake");
    }

    pub fn end(&self) {
        self.tests.send(None).expect("the watchdog is awake");
    }
}

// ---- gates and lists -----------------------------------------------------------------------------------------------

/// A folder for the files of one test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("executor-pool-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        Self(folder)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the folder for temporary files has a UTF-8 name").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Holds tasks back until the test lets them go on. The test's side; tasks [`pass`] it.
pub struct Gate {
    listener: Option<UnixListener>,
    held: Vec<UnixStream>,
    folder: Folder,
}

/// Passes the gate: tells it who has come, and returns when it is open.
pub fn pass(gate: &str, who: u64) {
    // A gate that was opened is gone.
    let Ok(mut stream) = UnixStream::connect(gate) else { return };
    let _ = stream.write_all(&who.to_le_bytes());
    let _ = stream.read(&mut [0]);
}

impl Gate {
    pub fn new() -> Self {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path("gate")).expect("a socket");
        Self { listener: Some(listener), held: Vec::new(), folder }
    }

    /// What tasks need to find it.
    pub fn address(&self) -> String {
        self.folder.path("gate")
    }

    /// Waits for the next task to come, and tells which.
    #[track_caller]
    pub fn next(&mut self) -> u64 {
        let listener = self.listener.as_ref().expect("the gate is not open yet");
        loop {
            await_readable("a task has come to the gate", listener);
            let (mut stream, _) = listener.accept().expect("somebody");
            let mut who = [0; 8];
            // A task that was killed on its way has not come.
            if stream.read_exact(&mut who).is_ok() {
                self.held.push(stream);
                return u64::from_le_bytes(who);
            }
        }
    }

    /// Lets those go on that have come.
    pub fn release(&mut self) {
        self.held.clear();
    }

    /// Lets all go on that have come and that will come.
    pub fn open(&mut self) {
        self.listener = None;
        self.held.clear();
    }
}

/// Appends a line, in one write, so that lines of several processes do not mix.
pub fn note(path: &str, line: &str) {
    let mut file =
        OpenOptions::new().create(true).append(true).open(path).expect("the folder of the test is there");
    file.write_all(format!("{line}\n").as_bytes()).expect("the folder of the test is writable");
}

/// The lines that have been noted.
pub fn noted(path: &str) -> Vec<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("reading {path}: {error}"),
    }
}

// ---- this process ------------------------------------------------------------------------------------------------

/// Numbers of descriptors and threads, and children.
pub type Leftovers = (usize, usize, Vec<i32>);

/// Descriptors, threads and children of this process.
pub fn leftovers() -> Leftovers {
    let count = |path| std::fs::read_dir(path).expect("/proc").count();
    // Not counting the one that lists them.
    (count("/proc/self/fd") - 1, count("/proc/self/task"), children())
}

/// Children of this process, zombies included.
pub fn children() -> Vec<i32> {
    children_of("self")
}

/// Children of a process, zombies included, but for what workers are forked from.
pub fn children_of(process: &str) -> Vec<i32> {
    let is_worker = |pid: &i32| match method() {
        StartMethod::Spawn => true,
        StartMethod::Forkserver => {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            !line.contains("[executor zygote]")
        }
        // A worker's name in `ps` ends in a space, `w`, and its index.
        StartMethod::Fork => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim_end().trim_end_matches(|it: char| it.is_ascii_digit()).ends_with(" w")
        }
        other => panic!("no test is for {other:?}"),
    };
    all_children_of(process).into_iter().filter(is_worker).collect()
}

/// Children of a process, zombies included.
pub fn all_children_of(process: &str) -> Vec<i32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let mut children = Vec::new();
    for task in tasks.flatten() {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(text.split_whitespace().map(|pid| pid.parse::<i32>().expect("a pid")));
    }
    children
}

/// A figure of `/proc/self/status`, in bytes.
pub fn memory_figure(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the figure");
    let kib: String = line.chars().filter(char::is_ascii_digit).collect();
    kib.parse::<u64>().expect("a number") << 10
}

// ---- other programs ------------------------------------------------------------------------------------------------

/// This program in another role, see `roles`.
pub struct Program {
    pub child: Child,
}

impl Program {
    pub fn start(role: &str, env: &[(&str, &str)]) -> Self {
        let child = Command::new("/proc/self/exe")
            .env("TEST_ROLE", role)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this program");
        Self { child }
    }

    /// Waits for the end of the program: exit code or minus the signal, standard output, standard error.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        drop(self.child.stdin.take());
        let process = watch(self.child.id() as i32).expect("it is ours to reap");
        let mut streams =
            (self.child.stdout.take().expect("a pipe"), self.child.stderr.take().expect("a pipe"));
        let (out, err) = std::thread::scope(|scope| {
            let err = scope.spawn(|| read_all(&mut streams.1));
            (read_all(&mut streams.0), err.join().expect("a reader"))
        });
        await_readable("the program ends", process);
        let status = self.child.wait().expect("our child");
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
        Ended { code, out, err }
    }

    /// The next line that it prints.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let stdout = self.child.stdout.as_mut().expect("a pipe");
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            await_readable("the program says something", &*stdout);
            match stdout.read(&mut byte).expect("a pipe") {
                1 if byte[0] != b'\n' => line.push(byte[0]),
                _ => return String::from_utf8(line).expect("text"),
            }
        }
    }
}

fn read_all(stream: &mut dyn Read) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).expect("a pipe");
    String::from_utf8_lossy(&text).into_owned()
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Counts things by a key.
pub fn tally<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeMap<T, usize> {
    let mut counts = BTreeMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    counts
}
