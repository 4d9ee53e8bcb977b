//! What this program does when it is not the tests.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use executor_process::board::{Ticket, WorkerBoard};
use executor_process::ring::Need;
use executor_process::sys::worker::{self, EnterError, Entered, WorkerChannel};
use executor_process::sys::{Capturer, MARK, WorkerCommand};
use executor_process::transport::{Bell, FrameReader, OutBuf, WorkerOutput};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::recovery::result;
use crate::support::Worker;

/// It got as far as its `main`, and is no worker.
pub const PROGRAM: i32 = 72;
const ORPHANED: i32 = 70;
pub const OTHER_PROTOCOL: i32 = 71;

/// Returns only if this process is to run the tests.
pub fn take_over() {
    let unentered = worker::is_unentered();
    match worker::enter() {
        Ok(Entered::Worker(channel)) => {
            assert!(unentered && worker::is_worker() && !worker::is_unentered());
            assert!(matches!(worker::enter(), Ok(Entered::Program)), "a process enters once");
            serve(channel)
        }
        Ok(Entered::Program) => assert!(!unentered && !worker::is_worker() && !worker::is_unentered()),
        Ok(Entered::Process(_)) => panic!("no test starts one"),
        Err(EnterError::Orphaned) => std::process::exit(ORPHANED),
        Err(EnterError::Protocol { ours: 1, theirs: 99 }) => std::process::exit(OTHER_PROTOCOL),
        Err(other) => panic!("{other}"),
    }
    match std::env::var("TEST_ROLE").as_deref() {
        Ok("program") => std::process::exit(0),
        Ok("main") => std::process::exit(PROGRAM),
        Ok("parent") => parent(),
        Ok("threads") => threads(),
        Ok("careless") => careless(),
        Ok(other) => panic!("unknown role {other}"),
        Err(_) => {}
    }
}

/// Has a worker that is busy and does not look at its socket, and says who that is.
fn parent() -> ! {
    let mut worker = Worker::plain();
    worker.tell("hang");
    assert_eq!(worker.answer().as_deref(), Some("hanging"));
    println!("{}", worker.spawned.child.id());
    let _ = std::io::stdin().read(&mut [0]);
    panic!("this process is to be killed");
}

/// Says what a worker finds of the thread variables.
fn threads() -> ! {
    let command = WorkerCommand::new().with_native_threads(std::num::NonZeroUsize::new(3));
    let mut worker = Worker::start(&command.with_env("MKL_NUM_THREADS", "7"));
    for variable in ["OMP_NUM_THREADS", "RAYON_NUM_THREADS", "MKL_NUM_THREADS"] {
        println!("{}", worker.ask(&format!("env {variable}")));
    }
    std::process::exit(0)
}

/// Ignores SIGCHLD, so that the kernel reaps its children.
fn careless() -> ! {
    // SAFETY: no handler is installed.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let mut worker = Worker::plain();
    worker.tell("exit 3");
    assert_eq!(worker.answer(), None);
    println!("{}", worker.spawned.child.wait().expect("an answer of some kind"));
    drop(worker);
    std::process::exit(0)
}

/// A worker: does what it is told, until the parent is gone.
struct Server {
    board: WorkerBoard,
    output: WorkerOutput,
    bell: Bell,
    capture: Option<Capturer>,
}

/// It does not look after its parent any more.
static IS_DEAF: AtomicBool = AtomicBool::new(false);

fn serve(channel: WorkerChannel) -> ! {
    let WorkerChannel { control, board, mut input, output, bell, capture, .. } = channel;
    std::thread::spawn(move || follow_parent(&control));
    let mut reader = FrameReader::new(1 << 20);
    let mut server = Server { board, output, bell, capture };
    loop {
        while let Some(body) = reader.next_frame().expect("frames") {
            server.obey(std::str::from_utf8(body).expect("text"));
        }
        input.recv(&mut reader).expect("an undamaged ring");
    }
}

fn follow_parent(control: &OwnedFd) {
    let mut fds = [PollFd::new(control, PollFlags::RDHUP)];
    while let Ok(0) | Err(Errno::INTR) = poll(&mut fds, None) {}
    if !IS_DEAF.load(Ordering::Acquire) {
        std::process::exit(0);
    }
}

impl Server {
    fn obey(&mut self, command: &str) {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "task" => self.task(rest),
            "flush" => self.bell.tell(Need::Idle).expect("an open bell"),
            verb => self.run(verb, rest),
        }
    }

    /// `TICKET COMMAND`: as a pool's worker would.
    fn task(&mut self, rest: &str) {
        let (ticket, command) = rest.split_once(' ').expect("a ticket and a command");
        let ticket = Ticket::from_bits(ticket.parse().expect("a number")).expect("a ticket");
        if !self.board.claim(ticket) {
            return self.reply("refused");
        }
        let capture = self.capture.clone();
        let section = capture.as_ref().map(|capture| capture.begin(ticket));
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "cancelled?" => {
                self.reply("running");
                while !self.board.cancel_requested(ticket) {
                    std::thread::yield_now();
                }
                self.board.report_progress(ticket, 0.5);
                self.reply("cancelled");
            }
            "square" => {
                drop(section);
                let (n, len) = rest.split_once(' ').unwrap_or((rest, "1"));
                let number = |text: &str| text.parse::<usize>().expect("a number");
                self.publish(&result(number(n), number(len)));
            }
            verb => {
                self.run(verb, rest);
                drop(section);
                self.reply("done");
            }
        }
    }

    fn run(&mut self, verb: &str, rest: &str) {
        match verb {
            "echo" => self.reply(rest),
            "env" => self.reply(&std::env::var(rest).unwrap_or_else(|_| "unset".into())),
            "stdin" => {
                let mut text = String::new();
                let read = std::io::stdin().read_to_string(&mut text).expect("an empty file");
                self.reply(&read.to_string());
            }
            "child" => {
                let status = Command::new("/proc/self/exe")
                    .env(MARK, rest)
                    .env("TEST_ROLE", "program")
                    .stdin(Stdio::null())
                    .status();
                self.reply(&status.expect("this program").to_string());
            }
            "descriptors" => self.reply(&inherited_descriptors()),
            "hang" => {
                IS_DEAF.store(true, Ordering::Release);
                self.reply("hanging");
                loop {
                    std::thread::park();
                }
            }
            "exit" => std::process::exit(rest.parse().expect("a number")),
            "abort" => {
                eprintln!("about to abort: {rest}");
                std::process::abort();
            }
            "overflow" => println!("{}", overflow(0)),
            "allocate" => {
                let bytes = vec![1u8; rest.parse().expect("a number")];
                self.reply(&bytes.len().to_string());
            }
            "print" => print(rest),
            other => panic!("unknown command {other}"),
        }
    }

    fn reply(&mut self, text: &str) {
        self.publish(text);
        self.bell.tell(Need::Idle).expect("an open bell");
    }

    /// Where it survives this process, and without a word about it.
    fn publish(&mut self, text: &str) {
        let mut out = OutBuf::new();
        out.push(text.as_bytes(), 1 << 20).expect("a short answer");
        self.output.send(out.as_slice()).expect("an undamaged ring");
    }
}

/// Descriptors above standard error that a child inherits.
pub fn inherited_descriptors() -> String {
    let all = std::fs::read_dir("/proc/self/fd").expect("/proc").filter_map(|entry| {
        let number: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        // SAFETY: asks for the flags of a number; if it is no descriptor (any more), the answer is an error.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        (number > 2 && flags >= 0 && flags & libc::FD_CLOEXEC == 0).then(|| number.to_string())
    });
    all.collect::<Vec<_>>().join(" ")
}

#[expect(unconditional_recursion, reason = "this is the point")]
fn overflow(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 100]);
    overflow(depth + 1) + frame[depth as usize % 100]
}

/// By each of the ways in which a task may print: Rust's streams, C's, and a child process; without a line end.
fn print(text: &str) {
    print!("{text} by rust,");
    std::io::stdout().flush().expect("a pipe");
    let c = std::ffi::CString::new(format!("{text} by c,")).expect("no zero byte");
    // SAFETY: a format without arguments but one string that is terminated.
    unsafe { libc::printf(c"%s".as_ptr(), c.as_ptr()) };
    // SAFETY: all streams.
    unsafe { libc::fflush(std::ptr::null_mut()) };
    Command::new("sh").args(["-c", "printf '%s by a child' \"$0\"", text]).status().expect("a shell");
    // Left in Rust's buffer: the end of the section has to flush it.
    print!(" and late");
    eprint!("{text} to stderr");
}
