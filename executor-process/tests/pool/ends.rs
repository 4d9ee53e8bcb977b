//! Ends of pools and of programs with pools.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError};
use executor_process::ProcessExecutor;
use futures::executor::block_on;

use crate::support::{
    Gate, Program, all_children_of, await_ends, children, children_of, eventually, gated, outcome, pid,
    value, watch, workers,
};

crate::tests![
    no_worker_survives_a_parent_that_is_killed,
    no_worker_survives_a_parent_that_exits,
    an_interrupt_from_the_keyboard_is_the_program_s_to_handle,
    the_drop_of_a_pool_lets_its_tasks_run,
    each_shutdown_leaves_no_process,
    shutdown_after_workers_were_killed_ends,
    two_shutdowns_at_once_both_return,
];

#[track_caller]
fn workers_of(program: &Program) -> Vec<Option<OwnedFd>> {
    let workers = children_of(&program.child.id().to_string());
    assert_eq!(workers.len(), 2, "both workers are there: {workers:?}");
    workers.into_iter().map(watch).collect()
}

fn no_worker_survives_a_parent_that_is_killed() {
    let mut gate = Gate::new();
    let mut program = Program::start("parent", &[("TEST_GATE", &gate.address())]);
    gate.next();
    gate.next();
    let mut processes = workers_of(&program);
    // With what they are forked from.
    processes.extend(all_children_of(&program.child.id().to_string()).into_iter().map(watch));
    program.child.kill().expect("it runs");
    await_ends("the workers have ended", processes);
    assert_eq!(program.child.wait().expect("our child").code(), None);
}

fn no_worker_survives_a_parent_that_exits() {
    let mut gate = Gate::new();
    let program = Program::start("leaver", &[("TEST_GATE", &gate.address())]);
    gate.next();
    gate.next();
    let workers = workers_of(&program);
    assert_eq!(program.end().code, 0, "its standard input is closed, so it leaves");
    await_ends("the workers have ended", workers);
}

fn an_interrupt_from_the_keyboard_is_the_program_s_to_handle() {
    let mut gate = Gate::new();
    let child = Command::new("/proc/self/exe")
        .env("TEST_ROLE", "interrupted")
        .env("TEST_GATE", gate.address())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // As a shell does with a job.
        .process_group(0)
        .spawn()
        .expect("this program");
    let mut program = Program { child };
    let group = program.child.id() as i32;
    assert_eq!(program.line(), "ready");
    gate.next();
    gate.next();
    // What the terminal does: the whole group, and here the workers too, wherever they are.
    crate::support::kill(-group, libc::SIGINT);
    for worker in children_of(&group.to_string()) {
        crate::support::kill(worker, libc::SIGINT);
    }
    assert_eq!(program.line(), "interrupted");
    gate.open();
    assert_eq!(program.line(), "ended");
    let ended = program.end();
    assert_eq!(ended.code, 0, "{ended:?}");
}

fn the_drop_of_a_pool_lets_its_tasks_run() {
    let ended = Program::start("dropper", &[]).end();
    assert_eq!((ended.code, ended.out.as_str()), (0, "9900\n"), "{}", ended.err);
}

fn each_shutdown_leaves_no_process() {
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        let ex = workers(2);
        let mut gate = Gate::new();
        let running: Vec<_> = (0..2).map(|n| ex.submit(gated, (gate.address(), n))).collect();
        gate.next();
        gate.next();
        let waiting: Vec<_> = (0..100u64).map(|n| ex.submit(|n| n, n)).collect();
        let workers: Vec<_> = children().into_iter().map(watch).collect();
        assert_eq!(workers.len(), 2);
        std::thread::scope(|scope| {
            let shutdown = scope.spawn(|| block_on(ex.shutdown(how)));
            match how {
                Shutdown::Kill => {}
                _ => {
                    eventually("the pool is closed", || is_closed(&ex));
                    gate.open();
                }
            }
            for future in running {
                let outcome = outcome(future);
                assert_eq!(outcome.is_ok(), how != Shutdown::Kill, "{how:?}: {outcome:?}");
            }
            for (n, future) in (0..).zip(waiting) {
                match how {
                    Shutdown::Drain => assert_eq!(value(future), n),
                    _ => assert_eq!(outcome(future), Err(TaskError::Cancelled), "{how:?}"),
                }
            }
            shutdown.join().expect("it ends");
        });
        // When shutdown returns they have left, not some time later.
        assert_eq!(children(), Vec::<i32>::new(), "{how:?}");
        await_ends("the workers have ended", workers);
    }
}

/// Whether a pool whose workers are busy takes no more.
fn is_closed(ex: &ProcessExecutor) -> bool {
    match ex.task(|n: u64| n, 1).try_submit() {
        Ok(future) => !future.cancel(),
        Err(refused) => refused.error == TaskError::Closed,
    }
}

fn shutdown_after_workers_were_killed_ends() {
    for how in [Shutdown::Drain, Shutdown::CancelPending, Shutdown::Kill] {
        for _ in 0..5 {
            let ex = workers(2);
            let worker = value(ex.submit(pid, ()));
            crate::support::kill(worker, libc::SIGKILL);
            block_on(ex.shutdown(how));
            assert_eq!(children(), Vec::<i32>::new(), "{how:?}");
        }
    }
}

fn two_shutdowns_at_once_both_return() {
    let ex = workers(2);
    let mut gate = Gate::new();
    let running = ex.submit(gated, (gate.address(), 0));
    gate.next();
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| block_on(ex.shutdown(Shutdown::Drain)));
        eventually("the pool is closed", || is_closed(&ex));
        block_on(ex.shutdown(Shutdown::Kill));
        patient.join().expect("it ends too");
    });
    assert_eq!(outcome(running), Err(TaskError::Cancelled));
    assert_eq!(children(), Vec::<i32>::new());
}
