//! What tasks print: kept per task if wanted, passed on otherwise.

use executor_core::{ExecutorExt, TaskError, TaskFuture};
use executor_process::ProcessExecutor;

use crate::support::{PATIENCE, Program, config, open, value};

crate::tests![
    captured_streams_are_apart_and_each_task_has_its_own,
    what_a_task_printed_before_it_panicked_is_kept,
    what_a_task_printed_before_it_killed_its_worker_is_kept,
    a_task_with_retries_has_the_output_of_its_last_attempt,
    a_task_that_prints_without_end_is_cut_at_the_limit,
    without_capture_output_is_passed_on,
    a_task_that_closes_its_streams_costs_nobody_anything,
];

fn capturing(workers: usize, limit: usize) -> ProcessExecutor {
    let mut config = config(workers);
    config.capture = Some(limit);
    open(config)
}

/// The outcome of a task and what it has printed.
#[track_caller]
fn printed<R>(future: TaskFuture<R>) -> (Result<R, TaskError>, String, String) {
    let outcome = future.wait_timeout(PATIENCE).expect("it is resolved");
    let printed = future.printed().expect("output is captured");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (outcome, text(&printed.stdout), text(&printed.stderr))
}

fn captured_streams_are_apart_and_each_task_has_its_own() {
    let ex = capturing(2, 10_000);
    let task = |n: u64| {
        println!("{n} begins");
        eprint!("{n} complains");
        print!("{n} ends");
        n
    };
    let futures: Vec<_> = (0..500).map(|n| ex.submit(task, n)).collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(printed(future), (Ok(n), format!("{n} begins\n{n} ends"), format!("{n} complains")));
    }
    assert_eq!(printed(ex.submit(|n: u64| n, 7)), (Ok(7), String::new(), String::new()));
}

fn what_a_task_printed_before_it_panicked_is_kept() {
    let ex = capturing(1, 10_000);
    let task = |n: u64| {
        println!("so far so good");
        assert!(n == 0, "not so good");
    };
    let (outcome, stdout, stderr) = printed(ex.submit(task, 1));
    assert!(matches!(outcome, Err(TaskError::Panicked { .. })));
    assert_eq!(stdout, "so far so good\n");
    assert!(stderr.contains("not so good"), "the panic's message: {stderr}");
}

fn what_a_task_printed_before_it_killed_its_worker_is_kept() {
    let ex = capturing(1, 10_000);
    let task = |n: u64| {
        println!("to be");
        eprintln!("or not");
        if n == 2 {
            std::process::abort();
        }
        n
    };
    let futures: Vec<_> = (0..5).map(|n| ex.submit(task, n)).collect();
    for (n, future) in (0..).zip(futures) {
        let (outcome, stdout, stderr) = printed(future);
        match outcome {
            Ok(value) => assert_eq!((value, n == 2), (n, false)),
            Err(TaskError::WorkerLost { stderr_tail, .. }) => {
                assert_eq!(n, 2);
                assert!(stderr_tail.contains("or not"), "{stderr_tail}");
            }
            Err(other) => panic!("WorkerLost was expected, not: {other}"),
        }
        assert_eq!((stdout.as_str(), stderr.as_str()), ("to be\n", "or not\n"), "of task {n}");
    }
}

fn a_task_with_retries_has_the_output_of_its_last_attempt() {
    let ex = capturing(1, 10_000);
    let task = |()| {
        let attempt = executor_core::context().attempt();
        println!("attempt {attempt}");
        if attempt < 3 {
            std::process::abort();
        }
        attempt
    };
    assert_eq!(printed(ex.task(task, ()).retries(5).submit()), (Ok(3), "attempt 3\n".into(), String::new()));
}

fn a_task_that_prints_without_end_is_cut_at_the_limit() {
    let ex = capturing(1, 1000);
    let task = |n: usize| {
        for _ in 0..n {
            println!("{}", "x".repeat(99));
        }
        n
    };
    // More than fits into the pipe, so that the worker waits for the parent to read.
    let (outcome, stdout, stderr) = printed(ex.submit(task, 5000));
    assert_eq!((outcome, stdout.len(), stderr.len()), (Ok(5000), 1000, 0));
    assert_eq!(printed(ex.submit(task, 1)).1.len(), 100, "the next one starts anew");
}

fn without_capture_output_is_passed_on() {
    let ended = Program::start("printer", &[]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "task 0 to stdout\ntask 1 to stdout\ntask 2 to stdout\n");
    assert_eq!(ended.err, "task 0 to stderr\ntask 1 to stderr\ntask 2 to stderr\n");
}

fn a_task_that_closes_its_streams_costs_nobody_anything() {
    for capture in [None, Some(1000)] {
        let mut config = config(1);
        config.capture = capture;
        let ex = open(config);
        let worker = value(ex.submit(crate::support::pid, ()));
        let close = |()| {
            // SAFETY: std's handles of these two cope with their being closed, and nobody else here has them.
            unsafe { (libc::close(1), libc::close(2)) }
        };
        assert_eq!(value(ex.submit(close, ())), (0, 0));
        for n in 0..100 {
            let task = |n: u64| {
                eprintln!("nobody hears this");
                // It may get one of the numbers of the streams.
                let file = std::fs::File::open("/dev/null");
                (n * 2, file.is_ok())
            };
            assert_eq!(value(ex.submit(task, n)), (n * 2, true));
        }
        assert_eq!(value(ex.submit(crate::support::pid, ())), worker, "the worker is the same");
        // A file that gets the number of a stream is not written to by us.
        let folder = crate::support::Folder::new();
        let task = |path: String| {
            let mut file = std::fs::File::create(path).expect("the folder is writable");
            std::os::fd::AsRawFd::as_raw_fd(&file);
            std::io::Write::write_all(&mut file, b"mine").expect("the file is writable");
            std::mem::forget(file);
        };
        for n in 0..3 {
            value(ex.submit(task, folder.path(&n.to_string())));
        }
        for n in 0..3 {
            assert_eq!(std::fs::read(folder.path(&n.to_string())).expect("it is there"), b"mine", "file {n}");
        }
    }
}
