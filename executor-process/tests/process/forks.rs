//! Closures in forks of the program.

use executor_core::TaskError;
use executor_process::{Exit, ForkError, Output, Process, ProcessError};

use crate::support::{Program, children_of};

crate::tests![
    a_closure_has_what_the_program_had,
    several_forks_live_at_once,
    a_panic_in_a_fork_is_told,
    an_exit_of_a_fork_leaves_the_program_alone,
    a_fork_forks,
    a_daemonic_fork_ends_with_its_handle,
    a_fork_has_a_name_and_an_environment_and_streams,
    a_program_with_threads_is_not_forked,
];

fn a_closure_has_what_the_program_had() {
    let mut text = String::from("seen by");
    let numbers: Vec<u64> = (0..1000).collect();
    let process = Process::fork(|| {
        text.push_str(" the fork");
        (text.clone(), numbers.iter().sum::<u64>())
    });
    let value = process.expect("a process").join();
    assert_eq!(value, Ok(("seen by the fork".to_owned(), 499_500)));
    assert_eq!(text, "seen by", "what the fork changes is its own");
}

fn several_forks_live_at_once() {
    let processes: Vec<_> = (0..10u64).map(|n| Process::fork(move || n * n).expect("a process")).collect();
    for (n, process) in (0..).zip(processes) {
        assert_eq!(process.join(), Ok(n * n));
    }
}

fn a_panic_in_a_fork_is_told() {
    let process = Process::builder().stderr(Output::Null).fork(|| -> u64 { panic!("not here") });
    match process.expect("a process").join() {
        Err(TaskError::Panicked { message, location, .. }) => {
            assert_eq!(message, "not here");
            assert!(location.contains("forks.rs"), "{location}");
        }
        other => panic!("{other:?}"),
    }
}

fn an_exit_of_a_fork_leaves_the_program_alone() {
    let other = Process::fork(|| crate::ends::hang(())).expect("a process");
    let mut process = Process::fork(|| -> u64 { std::process::exit(9) }).expect("a process");
    match process.join_timeout(crate::support::PATIENCE) {
        Some(Err(TaskError::WorkerLost { exit: Some(9), .. })) => {}
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(process.exit_status(), Some(Exit { code: Some(9), signal: None }));
    assert!(other.is_alive(), "the program's processes are not the fork's to end");
    other.kill();
    assert!(other.join().is_err());
}

fn a_fork_forks() {
    let inner = || Process::fork(|| 20u64).map_err(|it| it.to_string())?.join().map_err(|it| it.to_string());
    let process = Process::fork(|| inner().map(|value| value + 1)).expect("a process");
    assert_eq!(process.join(), Ok(Ok(21)));
}

fn a_daemonic_fork_ends_with_its_handle() {
    let process = Process::builder().daemon(true).fork(|| crate::ends::hang(()));
    drop(process.expect("a process"));
    assert_eq!(children_of("self"), Vec::<i32>::new(), "it is reaped as well");
}

fn a_fork_has_a_name_and_an_environment_and_streams() {
    let builder = Process::builder().name("3").env("TEST_EXTRA", "value").stdout(Output::Pipe);
    let process = builder.fork(|| {
        let name = std::fs::read_to_string("/proc/self/comm").expect("/proc");
        let is_leader = rustix::process::getpgrp() == rustix::process::getpid();
        let input = std::io::read_to_string(std::io::stdin()).expect("an empty stream").len();
        (name.trim_end().ends_with(" w3"), std::env::var("TEST_EXTRA").ok(), is_leader, input)
    });
    let found = process.expect("a process").join();
    assert_eq!(found, Ok((true, Some("value".to_owned()), true, 0)));
}

fn a_program_with_threads_is_not_forked() {
    let (code, out, err) = Program::start("threaded").end();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("2 threads") && out.contains("idler"), "they are counted and named: {out}");
    assert!(out.contains("before anything starts a thread"), "the remedy is named: {out}");
    let error = ProcessError::Fork(ForkError::Threads { threads: vec!["a".to_owned(), "b".to_owned()] });
    assert!(error.to_string().contains("2 threads (a, b)"), "{error}");
}
