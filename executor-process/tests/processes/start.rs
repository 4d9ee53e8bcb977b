//! How a worker starts and what it finds.

use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use executor_process::limits::resident_bytes;
use executor_process::sys::{Exit, MARK, SpawnError, WorkerCommand};
use executor_process::transport::bell;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::roles::{OTHER_PROTOCOL, PROGRAM, inherited_descriptors};
use crate::support::{Worker, start_role};

crate::tests![
    worker_answers,
    worker_has_no_standard_input_and_no_mark,
    worker_hands_no_descriptor_to_its_children,
    child_that_inherits_the_mark_is_no_worker,
    worker_is_in_its_own_process_group_and_survives_ctrl_c,
    worker_is_recognisable_in_ps,
    worker_whose_parent_is_gone_before_it_starts_leaves,
    worker_of_another_protocol_says_so,
    extra_environment_arrives,
    thread_variables_of_the_user_are_left_alone,
    executable_that_is_not_there_is_an_error,
    many_workers_leave_nothing_behind,
    memory_of_a_worker_is_known,
];

fn worker_answers() {
    let mut worker = Worker::plain();
    assert_eq!(worker.ask("echo hello"), "hello");
    let long = "x".repeat(150_000);
    assert_eq!(worker.ask(&format!("echo {long}")), long, "an answer larger than the ring");
    assert_eq!(worker.ask("echo and on"), "and on");
}

fn worker_has_no_standard_input_and_no_mark() {
    let mut worker = Worker::plain();
    assert_eq!(worker.ask("stdin"), "0");
    assert_eq!(worker.ask(&format!("env {MARK}")), "unset");
}

fn worker_hands_no_descriptor_to_its_children() {
    let mut worker = Worker::plain();
    // What this process was started with itself, from a shell or a CI runner, is all that a child gets.
    assert_eq!(worker.ask("descriptors"), inherited_descriptors());
}

fn child_that_inherits_the_mark_is_no_worker() {
    let mut worker = Worker::plain();
    let inode = rustix::fs::fstat(&worker.spawned.control).expect("stat").st_ino;
    for mark in [format!("1:{}:{inode}:worker", std::process::id()), "nonsense".into(), String::new()] {
        assert_eq!(worker.ask(&format!("child {mark}")), "exit status: 0", "{mark:?}");
    }
}

fn worker_is_in_its_own_process_group_and_survives_ctrl_c() {
    let mut worker = Worker::plain();
    assert_eq!(worker.ask("echo ready"), "ready");
    let pid = rustix::process::Pid::from_raw(worker.spawned.child.id()).expect("a pid");
    assert_eq!(rustix::process::getpgid(Some(pid)).expect("alive"), pid);
    worker.spawned.child.kill(libc::SIGINT).expect("alive");
    assert_eq!(worker.ask("echo still here"), "still here");
}

fn worker_is_recognisable_in_ps() {
    let mut worker = Worker::plain();
    assert_eq!(worker.ask("echo ready"), "ready");
    let of = |file| std::fs::read_to_string(format!("/proc/{}/{file}", worker.spawned.child.id()));
    let line = of("cmdline").expect("alive");
    assert!(line.starts_with("processes-") && line.contains("[executor worker test]"), "{line}");
    assert!(of("comm").expect("alive").starts_with("processes-"));
}

/// Starts this program with a mark made by hand, and returns its exit code.
fn start_with_mark(mark: impl Fn(u64) -> String) -> Option<i32> {
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (_ours, theirs) = pair.expect("a socket pair");
    let inode = rustix::fs::fstat(&theirs).expect("stat").st_ino;
    let status =
        Command::new("/proc/self/exe").env(MARK, mark(inode)).env("TEST_ROLE", "main").stdin(theirs).status();
    status.expect("this program").code()
}

fn worker_whose_parent_is_gone_before_it_starts_leaves() {
    assert_eq!(start_with_mark(|inode| format!("1:1:{inode}:worker")), Some(0), "it has no main");
    let other = start_with_mark(|inode| format!("1:1:{}:worker", inode + 1));
    assert_eq!(other, Some(PROGRAM), "not this process's mark");
}

fn worker_of_another_protocol_says_so() {
    let pid = std::process::id();
    assert_eq!(start_with_mark(|inode| format!("99:{pid}:{inode}:worker")), Some(OTHER_PROTOCOL));
}

fn extra_environment_arrives() {
    let mut worker = Worker::start(&WorkerCommand::new().with_env("TEST_EXTRA", "value"));
    assert_eq!(worker.ask("env TEST_EXTRA"), "value");
    assert_eq!(worker.ask("env OMP_NUM_THREADS"), std::env::var("OMP_NUM_THREADS").unwrap_or("unset".into()));
}

fn thread_variables_of_the_user_are_left_alone() {
    let mut process = start_role("threads", &[("OMP_NUM_THREADS", "5")]);
    let mut text = String::new();
    process.stdout.take().expect("a pipe").read_to_string(&mut text).expect("text");
    assert_eq!(text, "5\n3\n7\n");
    assert!(process.wait().expect("a child").success());
}

fn executable_that_is_not_there_is_an_error() {
    let command = WorkerCommand::new().with_program("/nonexistent/program");
    let bell = bell().expect("a descriptor");
    match command.spawn("test", bell.as_fd()) {
        Err(SpawnError::Start { program, source }) => {
            assert_eq!(program.to_str(), Some("/nonexistent/program"));
            assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
        }
        other => panic!("{other:?}"),
    }
    let mut other = Worker::start(&WorkerCommand::new().with_program("/bin/true"));
    assert_eq!(other.answer(), None, "another program is no worker, and its end is seen");
    assert_eq!(other.exit(), Exit { code: Some(0), signal: None });
}

/// The count of descriptors and children is taken after every test.
fn many_workers_leave_nothing_behind() {
    let command = WorkerCommand::new().with_capture(Some(100));
    for round in 0..20 {
        let mut workers: Vec<Worker> = (0..4).map(|_| Worker::start(&command)).collect();
        if round % 2 == 0 {
            for worker in &mut workers {
                assert_eq!(worker.ask("echo ready"), "ready");
            }
        }
    }
    let mut zombie = Command::new("/bin/true").stdin(Stdio::null()).spawn().expect("a program");
    assert_eq!(crate::support::children().len(), 1, "the count sees what is left");
    zombie.wait().expect("a child");
}

fn memory_of_a_worker_is_known() {
    let mut worker = Worker::plain();
    assert_eq!(worker.ask("echo ready"), "ready");
    let bytes = resident_bytes(worker.spawned.child.id()).expect("alive");
    assert!((100_000..1_000_000_000).contains(&bytes), "{bytes}");
}
