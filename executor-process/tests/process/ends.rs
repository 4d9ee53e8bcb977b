//! How processes end, and what becomes of them when their handle or the program does.

use std::time::Duration;

use executor_core::TaskError;
use executor_process::{Exit, Output, Process};

use crate::support::{PATIENCE, Program, await_ends, children_of, eventually_equal, watch};

crate::tests![
    a_process_can_be_killed,
    a_process_can_be_terminated,
    a_join_gives_up_and_loses_nothing,
    an_exit_is_told,
    a_death_quotes_the_last_words,
    ctrl_c_is_ignored,
    a_daemonic_process_ends_with_its_handle,
    another_runs_on_without_its_handle,
    a_process_outlives_the_thread_that_started_it,
    a_program_waits_for_its_processes_and_kills_the_daemonic_ones,
    a_program_that_is_killed_leaves_nothing,
    a_program_without_init_is_told,
];

/// Never ends.
pub fn hang(_: ()) {
    loop {
        std::thread::park();
    }
}

fn lost<R: std::fmt::Debug>(outcome: Result<R, TaskError>) -> (Option<i32>, Option<i32>, String, String) {
    match outcome {
        Err(TaskError::WorkerLost { exit, signal, reason, stderr_tail, .. }) => {
            (exit, signal, reason, stderr_tail)
        }
        other => panic!("WorkerLost was expected, not: {other:?}"),
    }
}

fn a_process_can_be_killed() {
    let process = Process::spawn(hang, ()).expect("a process");
    assert!(process.is_alive() && process.exit_status().is_none());
    process.kill();
    assert_eq!(lost(process.join()).1, Some(libc::SIGKILL));
}

fn a_process_can_be_terminated() {
    let mut process = Process::spawn(hang, ()).expect("a process");
    process.terminate();
    let outcome = process.join_timeout(PATIENCE).expect("it ends");
    assert_eq!(lost(outcome).1, Some(libc::SIGTERM));
    assert!(!process.is_alive());
    assert_eq!(process.exit_status(), Some(Exit { code: None, signal: Some(libc::SIGTERM) }));
    // Nobody is hit by it.
    process.kill();
}

fn a_join_gives_up_and_loses_nothing() {
    let (ours, theirs) = std::io::pipe().expect("a pipe");
    let builder = Process::builder().stdout(Output::File(theirs.into()));
    let mut process = builder.spawn(hang, ()).expect("a process");
    assert_eq!(process.join_timeout(Duration::from_millis(1)), None);
    assert_eq!(process.join_timeout(Duration::ZERO), None);
    process.kill();
    assert!(process.join_timeout(Duration::MAX).is_some_and(|outcome| outcome.is_err()));
    drop(ours);
}

fn an_exit_is_told() {
    let process = Process::spawn(|code: i32| std::process::exit(code), 7).expect("a process");
    let process: Process<()> = process;
    let (exit, signal, reason, _) = lost(process.join());
    assert_eq!((exit, signal), (Some(7), None));
    assert_eq!(reason, "it exited before its function had returned");
}

fn a_death_quotes_the_last_words() {
    let die = |()| {
        eprintln!("good bye from a test");
        std::process::abort()
    };
    let die: fn(()) = die;
    let process = Process::builder().stderr(Output::Pipe).spawn(die, ()).expect("a process");
    let (_, signal, _, words) = lost(process.join());
    assert_eq!((signal, words.as_str()), (Some(libc::SIGABRT), "good bye from a test"));
}

fn ctrl_c_is_ignored() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let say = |()| {
        use std::io::Write;
        println!("ready");
        std::io::stdout().flush().expect("a stream");
        hang(())
    };
    let say: fn(()) = say;
    let mut process =
        Process::builder().stdout(Output::File(theirs.into())).spawn(say, ()).expect("a process");
    std::io::Read::read_exact(&mut ours, &mut [0; 6]).expect("a word");
    // SAFETY: a plain system call; the process is this test's.
    unsafe { libc::kill(process.pid(), libc::SIGINT) };
    // The signals come in the order of their numbers, and it is the second that ends it.
    process.terminate();
    assert_eq!(lost(process.join_timeout(PATIENCE).expect("it ends")).1, Some(libc::SIGTERM));
}

fn a_daemonic_process_ends_with_its_handle() {
    let process = Process::builder().daemon(true).spawn(hang, ()).expect("a process");
    assert!(process.is_daemon());
    drop(process);
    assert_eq!(children_of("self"), Vec::<i32>::new(), "it is reaped as well");
}

fn another_runs_on_without_its_handle() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let (go, gate) = std::io::pipe().expect("a pipe");
    let wait = |path: String| {
        // Opens the pipe by its name in /proc, and waits for its end.
        let _ = std::fs::read(path);
        print!("done");
    };
    let wait: fn(String) = wait;
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&go));
    let builder = Process::builder().stdout(Output::File(theirs.into()));
    drop(builder.spawn(wait, path).expect("a process"));
    assert_eq!(children_of("self").len(), 1, "it runs");
    drop((gate, go));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut ours, &mut text).expect("text, and the end");
    assert_eq!(text, "done");
    eventually_equal("it is reaped", || children_of("self"), &Vec::new());
}

fn a_process_outlives_the_thread_that_started_it() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let echo = |()| {
        use std::io::{Read, Write};
        // Standard output is a socket, which can be read as well.
        // SAFETY: the descriptor is open, and a copy of it is made.
        let socket =
            unsafe { std::os::fd::BorrowedFd::borrow_raw(1) }.try_clone_to_owned().expect("a descriptor");
        let mut socket = std::os::unix::net::UnixStream::from(socket);
        socket.read_exact(&mut [0]).expect("a byte");
        socket.write_all(&[1]).expect("a byte");
        true
    };
    let start =
        move || Process::builder().stdout(Output::File(theirs.into())).spawn(echo, ()).expect("a process");
    let process = std::thread::spawn(start).join().expect("a process");
    std::io::Write::write_all(&mut ours, &[0]).expect("somebody listens");
    assert_eq!(process.join(), Ok(true));
}

fn a_program_waits_for_its_processes_and_kills_the_daemonic_ones() {
    for role in ["leaver", "forking-leaver"] {
        let mut program = Program::start(role);
        let pids: Vec<i32> = (0..2).map(|_| program.line().parse().expect("a pid")).collect();
        let watches: Vec<_> = pids.iter().map(|pid| watch(*pid)).collect();
        let (code, out, err) = program.end();
        assert_eq!((code, out.as_str()), (0, "main has ended\nthe process has ended\n"), "{role}: {err}");
        await_ends("a process ends", watches);
    }
}

fn a_program_that_is_killed_leaves_nothing() {
    for role in ["parent", "forking-parent"] {
        let mut program = Program::start(role);
        let pids: Vec<i32> = (0..2).map(|_| program.line().parse().expect("a pid")).collect();
        let mut children = children_of(&program.child.id().to_string());
        children.sort_unstable();
        let mut expected = pids.clone();
        expected.sort_unstable();
        assert_eq!(children, expected, "{role}");
        let watches: Vec<_> = pids.iter().map(|pid| watch(*pid)).collect();
        assert!(watches.iter().all(Option::is_some));
        program.child.kill().expect("it runs");
        await_ends("a process ends", watches);
        assert_eq!(program.end().0, -libc::SIGKILL);
    }
}

fn a_program_without_init_is_told() {
    let (code, out, err) = Program::start("without-init").end();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("it ended before it ran its function") && out.contains("executor::init()"), "{out}");
    assert!(err.contains("main function did not call executor::init()"), "in the process: {err}");
}
