//! What this program does when it is not the tests.

use std::io::{Read, Write};

use executor_process::Process;

use crate::ends::hang;

pub fn before_init() {
    if std::env::var("TEST_ROLE").as_deref() == Ok("without-init") {
        let process = match Process::spawn(|n: u64| n, 1) {
            Ok(process) => process,
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(9)
            }
        };
        println!("{}", process.join().expect_err("nobody has run it"));
        std::process::exit(0)
    }
}

pub fn after_init() {
    match std::env::var("TEST_ROLE").as_deref() {
        Ok("leaver") => leaver(false),
        Ok("forking-leaver") => leaver(true),
        Ok("parent") => parent(false),
        Ok("forking-parent") => parent(true),
        Ok("threaded") => threaded(),
        Ok(other) => panic!("unknown role {other}"),
        Err(_) => {}
    }
}

/// Says so when the program is about to end.
fn linger(_: ()) {
    // Until the program has no more to do than to wait for this process.
    let parent = rustix::process::getppid().expect("a parent").as_raw_nonzero().get();
    while !is_ending(parent) {
        std::thread::yield_now();
    }
    println!("the process has ended");
    std::io::stdout().flush().expect("a stream");
}

/// Whether the program has said that its main has ended: it is the name of its main thread then.
fn is_ending(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "ending")
}

/// Ends with two processes, one of them daemonic, of which handles are left.
fn leaver(forks: bool) -> ! {
    let daemon = Process::builder().daemon(true);
    let (daemon, other) = match forks {
        true => (daemon.fork(|| hang(())), Process::fork(|| linger(()))),
        false => (daemon.spawn(hang, ()), Process::spawn(linger, ())),
    };
    let (daemon, other) = (daemon.expect("a process"), other.expect("a process"));
    println!("{}\n{}", daemon.pid(), other.pid());
    println!("main has ended");
    std::mem::forget((daemon, other));
    rustix::thread::set_name(c"ending").expect("a name");
    std::process::exit(0)
}

/// Has two processes, and waits to be killed.
fn parent(forks: bool) -> ! {
    let daemon = Process::builder().daemon(true);
    let (daemon, other) = match forks {
        true => (daemon.fork(|| hang(())), Process::fork(|| hang(()))),
        false => (daemon.spawn(hang, ()), Process::spawn(hang, ())),
    };
    println!("{}\n{}", daemon.expect("a process").pid_kept(), other.expect("a process").pid_kept());
    let _ = std::io::stdin().read(&mut [0]);
    panic!("this process is to be killed");
}

trait PidKept {
    /// The process id, and the handle stays.
    fn pid_kept(self) -> i32;
}

impl<R> PidKept for Process<R> {
    fn pid_kept(self) -> i32 {
        let pid = self.pid();
        std::mem::forget(self);
        pid
    }
}

fn threaded() -> ! {
    let idler = std::thread::Builder::new().name("idler".to_owned());
    idler.spawn(|| hang(())).expect("a thread");
    println!("{}", Process::fork(|| 1u64).expect_err("it has threads"));
    std::process::exit(0)
}
