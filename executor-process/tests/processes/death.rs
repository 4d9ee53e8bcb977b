//! How a worker ends, and what its parent learns of it.

use std::io::{BufRead, BufReader, Read};

use executor_process::sys::{Exit, Output, WorkerCommand};
use executor_process::transport::{OutBuf, Sent};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::support::{Worker, await_readable, start_role, watch};

crate::tests![
    parent_that_is_killed_takes_its_busy_worker_along,
    thread_that_started_a_worker_takes_it_along,
    worker_leaves_when_the_socket_ends,
    worker_that_is_killed_says_so,
    worker_that_exits_says_so,
    worker_that_aborts_leaves_its_last_words,
    worker_that_overflows_its_stack_says_so,
    worker_that_runs_out_of_memory_under_a_limit_says_so,
    living_worker_has_no_exit,
    dead_worker_is_reaped_once_and_not_signalled_any_more,
    dropped_worker_is_ended_and_reaped,
    worker_that_someone_else_reaped_has_an_unknown_exit,
];

fn parent_that_is_killed_takes_its_busy_worker_along() {
    let mut parent = start_role("parent", &[]);
    let mut line = String::new();
    let mut stdout = BufReader::new(parent.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("a line");
    let worker = watch(line.trim().parse().expect("a pid"));
    parent.kill().expect("alive");
    await_readable(&worker);
    parent.wait().expect("a child");
    assert_eq!(stdout.read(&mut [0]).expect("a pipe"), 0, "nobody holds the parent's output");
}

/// Why `spawn` has to be called on a thread that stays.
fn thread_that_started_a_worker_takes_it_along() {
    let start = || {
        let mut worker = Worker::plain();
        assert_eq!(worker.ask("echo ready"), "ready");
        worker
    };
    let mut worker = std::thread::spawn(start).join().expect("a worker");
    assert_eq!(worker.exit(), Exit { code: None, signal: Some(9) });
}

fn worker_leaves_when_the_socket_ends() {
    let Worker { spawned, .. } = Worker::plain();
    let (control, mut child) = (spawned.control, spawned.child);
    drop(control);
    await_readable(&child);
    assert_eq!(child.wait().expect("a child"), Exit { code: Some(0), signal: None });
}

fn worker_that_is_killed_says_so() {
    let mut worker = Worker::plain();
    assert_eq!(worker.ask("hang"), "hanging");
    worker.spawned.child.kill(libc::SIGKILL).expect("alive");
    assert_eq!(worker.answer(), None, "its end");
    assert_eq!(worker.reader.finish(), Ok(()));
    let exit = worker.exit();
    assert_eq!(exit, Exit { code: None, signal: Some(9) });
    assert_eq!(exit.to_string(), "killed by signal 9");
    let nobody_listens = rustix::net::send(&worker.spawned.control, b"hello?", SendFlags::NOSIGNAL);
    assert_eq!(nobody_listens, Err(Errno::PIPE));
    let mut out = OutBuf::new();
    out.push(&[0; 200_000], 1 << 20).expect("a frame");
    assert_eq!(worker.spawned.link.send(&mut out), Ok(Sent::Full), "what nobody reads is not waited for");
}

fn worker_that_exits_says_so() {
    let mut worker = Worker::plain();
    worker.tell("exit 7");
    assert_eq!(worker.answer(), None);
    assert_eq!(worker.exit(), Exit { code: Some(7), signal: None });
    assert_eq!(worker.exit().to_string(), "exited with code 7");
}

fn worker_that_aborts_leaves_its_last_words() {
    let mut worker = Worker::quiet();
    worker.tell("abort because");
    assert_eq!(worker.answer(), None);
    assert_eq!(worker.exit().signal, Some(libc::SIGABRT));
    assert_eq!(worker.last_words(), "about to abort: because");
}

fn worker_that_overflows_its_stack_says_so() {
    let mut worker = Worker::quiet();
    worker.tell("overflow");
    assert_eq!(worker.answer(), None);
    assert_eq!(worker.exit().signal, Some(libc::SIGABRT));
    let words = worker.last_words();
    assert!(words.contains("overflowed its stack"), "{words}");
}

fn worker_that_runs_out_of_memory_under_a_limit_says_so() {
    let command = WorkerCommand::new().with_stderr(Output::Pipe).with_address_space_limit(Some(512 << 20));
    let mut worker = Worker::start(&command);
    assert_eq!(worker.ask("allocate 1000000"), "1000000");
    worker.tell("allocate 2000000000");
    assert_eq!(worker.answer(), None);
    assert_eq!(worker.exit().signal, Some(libc::SIGABRT));
    let words = worker.last_words();
    assert!(words.contains("memory allocation of 2000000000 bytes failed"), "{words}");
}

fn living_worker_has_no_exit() {
    let mut worker = Worker::plain();
    assert_eq!(worker.spawned.child.try_exit().expect("a child"), None);
    assert_eq!(worker.ask("echo alive"), "alive");
    assert_eq!(worker.spawned.child.try_exit().expect("a child"), None);
    let error = worker.spawned.child.kill(12345).expect_err("no signal");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

fn dead_worker_is_reaped_once_and_not_signalled_any_more() {
    let mut worker = Worker::plain();
    worker.tell("exit 1");
    let exit = worker.exit();
    assert_eq!(crate::support::children(), Vec::<i32>::new(), "reaped");
    assert_eq!(worker.spawned.child.wait().expect("known"), exit);
    assert_eq!(worker.spawned.child.try_exit().expect("known"), Some(exit));
    worker.spawned.child.kill(libc::SIGKILL).expect("does nothing");
}

fn dropped_worker_is_ended_and_reaped() {
    let mut worker = Worker::plain();
    assert_eq!(worker.ask("hang"), "hanging");
    let pidfd = watch(worker.spawned.child.id());
    drop(worker);
    await_readable(&pidfd);
    assert_eq!(crate::support::children(), Vec::<i32>::new());
}

fn worker_that_someone_else_reaped_has_an_unknown_exit() {
    let mut process = start_role("careless", &[]);
    let mut text = String::new();
    process.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert_eq!(text, "ended in an unknown way\n");
    assert!(process.wait().expect("a child").success());
}
