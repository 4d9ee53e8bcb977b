//! Workers that cannot be started, or are none.

use std::time::Instant;

use executor_core::ExecutorExt;

use crate::support::{
    Folder, Gate, PATIENCE, Program, all_children_of, await_ends, broken, children, config, error,
    eventually, noted, open, value, watch, workers,
};

crate::tests![
    a_program_without_init_is_told_and_starts_no_flood,
    a_program_without_init_whose_workers_just_end_is_told,
    a_program_without_init_whose_workers_are_stuck_is_told,
    a_worker_of_a_program_without_init_ends_with_the_program,
    a_program_that_does_not_exist_breaks_the_pool_with_its_name,
    a_file_that_is_not_executable_breaks_the_pool_with_its_name,
    a_program_that_is_no_worker_breaks_the_pool,
    a_broken_pool_says_so_to_all,
    few_descriptors_lead_to_errors_and_not_to_hangs,
    descriptors_that_come_back_let_the_pool_recover,
    fifty_pools_in_a_row_leave_nothing,
    a_pool_that_is_dropped_before_its_workers_report_ends,
];

/// The most processes that a pool of two starts before it gives up, and the program itself.
const MOST_STARTS: usize = 1 + 10 + 2;

#[track_caller]
fn check_without_init(role: &str) -> crate::support::Ended {
    let folder = Folder::new();
    let starts = folder.path("starts");
    let ended = Program::start(role, &[("TEST_COUNT_STARTS", &starts)]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("executor::init()"), "the remedy is named: {ended:?}");
    let started = noted(&starts).len();
    assert!((2..=MOST_STARTS).contains(&started), "{started} processes were started");
    ended
}

fn a_program_without_init_is_told_and_starts_no_flood() {
    let ended = check_without_init("without-init");
    assert!(ended.err.contains("InitMissing"), "a pool in a worker that is none is refused: {ended:?}");
}

fn a_program_without_init_whose_workers_just_end_is_told() {
    check_without_init("without-init-nor-pool");
}

fn a_program_without_init_whose_workers_are_stuck_is_told() {
    check_without_init("without-init-and-stuck");
}

/// Whatever it is doing: nothing of ours has run in it but what runs before `main`.
fn a_worker_of_a_program_without_init_ends_with_the_program() {
    let mut program = Program::start("without-init-and-stuck", &[("TEST_PATIENT", "yes")]);
    let id = program.child.id().to_string();
    eventually("a worker is there", || !all_children_of(&id).is_empty());
    let workers: Vec<_> = all_children_of(&id).into_iter().map(watch).collect();
    program.child.kill().expect("it runs");
    await_ends("the workers have ended", workers);
    assert_eq!(program.end().code, -libc::SIGKILL);
}

fn a_program_that_does_not_exist_breaks_the_pool_with_its_name() {
    let ex = open(config(2).with_program("/nonexistent/worker"));
    let began = Instant::now();
    let reason = broken(error(ex.submit(|n: u64| n, 1)));
    assert!(reason.contains("/nonexistent/worker"), "{reason}");
    assert!(reason.contains("No such file"), "{reason}");
    assert!(began.elapsed() < PATIENCE / 3);
}

fn a_file_that_is_not_executable_breaks_the_pool_with_its_name() {
    let folder = Folder::new();
    let path = folder.path("not-executable");
    std::fs::write(&path, "#!/bin/sh\n").expect("the folder is writable");
    let ex = open(config(2).with_program(&path));
    let reason = broken(error(ex.submit(|n: u64| n, 1)));
    assert!(reason.contains(&path) && reason.contains("ermission denied"), "{reason}");
}

fn a_program_that_is_no_worker_breaks_the_pool() {
    let ex = open(config(2).with_program("/bin/false"));
    let reason = broken(error(ex.submit(|n: u64| n, 1)));
    assert!(reason.contains("code 1") && reason.contains("init()"), "{reason}");
}

fn a_broken_pool_says_so_to_all() {
    let ex = open(config(1).with_program("/bin/false"));
    let futures: Vec<_> = (0..100u64).map(|n| ex.submit(|n| n, n)).collect();
    for future in futures {
        broken(error(future));
    }
    let results = ex.map(|n: u64| n, 0..10).wait();
    assert!(results.len() == 10 && results.into_iter().all(|it| it.is_err()));
    let refused = ex.task(|n: u64| n, 3).try_submit().expect_err("it has given up");
    assert_eq!(refused.into_arg(), 3);
}

fn few_descriptors_lead_to_errors_and_not_to_hangs() {
    let ended = Program::start("few-descriptors", &[]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let said: Vec<&str> = ended.out.lines().filter(|line| !line.is_empty()).collect();
    let outcomes: Vec<_> = said
        .iter()
        .filter(|line| ["open: ", "task: ", "value: "].iter().any(|it| line.starts_with(it)))
        .collect();
    assert_eq!(outcomes.len(), 24, "{ended:?}");
    // With none it cannot be opened, with some more it has no worker, with many it works.
    assert!(
        outcomes[0].starts_with("open: ") && outcomes[0].contains("Too many open files"),
        "{}",
        outcomes[0]
    );
    let told = |it: &&&str| it.starts_with("task: ") && it.contains("Too many open files");
    assert!(outcomes.iter().any(told), "{outcomes:#?}");
    assert_eq!(*outcomes[23], "value: 2");
}

fn descriptors_that_come_back_let_the_pool_recover() {
    let ended = Program::start("few-descriptors-for-a-while", &[]).end();
    assert_eq!((ended.code, ended.out.as_str()), (0, "recovered\n"), "{}", ended.err);
}

fn fifty_pools_in_a_row_leave_nothing() {
    let before = crate::support::leftovers();
    for n in 0..50 {
        let ex = workers(2);
        if n % 3 > 0 {
            assert_eq!(value(ex.submit(|n: u64| n + 1, n)), n + 1);
        }
        if n % 3 > 1 {
            futures::executor::block_on(executor_core::Executor::shutdown(
                &ex,
                executor_core::Shutdown::Drain,
            ));
        }
    }
    crate::support::eventually_equal("nothing is left", crate::support::leftovers, &before);
}

fn a_pool_that_is_dropped_before_its_workers_report_ends() {
    let mut starts = Gate::new();
    let ex = open(config(1).with_env("TEST_START_GATE", starts.address()));
    let worker = crate::support::watch(starts.next() as i32);
    drop(ex);
    crate::support::await_ends("the worker has ended", [worker]);
    crate::support::eventually("no child is left", || children().is_empty());
}
