//! What is left of processes that die: of clients, of managers, of programs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use executor_remote::connection::Client;
use executor_remote::manager::{Registry, ServerProcess};
use futures::executor::block_on;

use crate::support::{Python, eventually, run, serve, unix_address};

tests![
    references_of_a_killed_python_process_are_dropped,
    a_lock_of_a_killed_python_process_is_released,
    a_call_that_a_killed_python_process_waited_in_takes_nothing,
    a_manager_has_a_process_of_its_own,
    a_manager_ends_with_its_handle,
    a_manager_ends_with_its_program,
    a_manager_whose_function_does_not_serve_is_an_error,
];

/// What this program does for other tests of it.
pub fn play(role: &str) {
    assert_eq!(role, "program-with-manager");
    let manager = ServerProcess::start().expect("a manager can be started");
    println!("{} {}", manager.pid(), manager.address());
    std::thread::park();
}

fn references_of_a_killed_python_process_are_dropped() {
    let served = serve(&unix_address("crash"), Registry::new());
    let mut python = Python::start(&served.address, crate::support::KEY, "crash");
    python.expect("created");
    run(&served.address, "one_object");
    python.kill();
    run(&served.address, "soon_no_object");
}

fn a_lock_of_a_killed_python_process_is_released() {
    let served = serve("127.0.0.1:0", Registry::new());
    let mut holder = Python::start(&served.address, crate::support::KEY, "hold_lock");
    holder.expect("held");
    let mut next = Python::start(&served.address, crate::support::KEY, "take_lock");
    next.expect("waiting");
    holder.kill();
    next.finish();
}

fn a_call_that_a_killed_python_process_waited_in_takes_nothing() {
    let served = serve("127.0.0.1:0", Registry::new());
    let mut python = Python::start(&served.address, crate::support::KEY, "blocked_get");
    python.expect("waiting");
    python.kill();
    run(&served.address, "put_and_get");
}

fn a_manager_has_a_process_of_its_own() {
    let manager = ServerProcess::start_with(|setup| {
        let registry = Registry::new()
            .register("Pid", |(): ()| std::process::id())
            .method("pid", |pid: &mut u32, (): ()| *pid);
        setup.serve(registry);
    })
    .expect("a manager can be started");
    assert_ne!(manager.pid(), std::process::id() as i32);
    assert!(manager.is_alive());
    let connected = block_on(Client::connect(manager.address(), manager.authkey()));
    connected.expect("it listens");
    let refused = block_on(Client::connect(manager.address(), "another key"));
    refused.expect_err("it has a key of its own");
}

fn a_manager_ends_with_its_handle() {
    let manager = ServerProcess::start().expect("a manager can be started");
    let pid = manager.pid();
    drop(manager);
    eventually("the manager has ended", || !is_running(pid));
}

fn a_manager_ends_with_its_program() {
    let program = std::env::current_exe().expect("this program has a path");
    let mut program = Command::new(program)
        .arg("role=program-with-manager")
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program can be started");
    let mut line = String::new();
    let output = program.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says its manager's process id");
    let (pid, _) = line.split_once(' ').expect("a process id and an address");
    let pid = pid.parse().expect("it is a number");
    assert!(is_running(pid));
    program.kill().expect("it can be killed"); // SIGKILL
    program.wait().expect("it can be waited for");
    eventually("the manager has ended", || !is_running(pid));
}

fn a_manager_whose_function_does_not_serve_is_an_error() {
    let error = ServerProcess::start_with(drop).expect_err("nothing listens");
    assert!(error.to_string().contains("ManagerSetup::serve"), "{error}");
}

fn is_running(pid: i32) -> bool {
    // A zombie is none: its state is behind the name, which is in parentheses.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
