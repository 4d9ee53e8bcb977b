//! Workers that die, in all ways and all the time.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use executor_core::{Executor, ExecutorExt, TaskError, context};
use executor_process::ProcessExecutor;

use crate::ledger::{self, Ledger};
use crate::support::{
    Folder, children, config, error, kill, lost, note, noted, open, outcome, tally, value, workers,
};

crate::tests![
    workers_killed_all_the_time_cost_retries_only,
    without_retries_each_kill_costs_at_most_one_task,
    without_retries_each_kill_in_a_task_costs_exactly_that_task,
    the_error_tells_how_the_worker_died,
    a_task_beyond_the_memory_limit_dies_of_it,
    last_words_are_the_last_hundred_lines,
    a_child_of_a_task_that_lives_on_keeps_nobody_waiting,
];

const MANY_TASKS: u32 = 200_000;
const TASKS: u64 = 20_000;

/// Work that takes so long, in any build.
fn work(n: u64, time: Duration) -> u64 {
    let end = std::time::Instant::now() + time;
    let mut sum = n;
    while std::time::Instant::now() < end {
        sum = std::hint::black_box(sum.wrapping_mul(31));
    }
    std::hint::black_box(sum);
    n * n
}

/// Calls `kill` with a worker at random after every so many tasks that the pool has finished while `f` runs; what it gave.
///
/// It is tasks that are counted and not time: where workers take longer to start than they are left alive, no task would
/// finish any more, and the pool would give up.
fn while_killing<T: Send>(
    ex: &ProcessExecutor,
    tasks: u64,
    kill: impl Fn(i32) -> Option<T> + Send,
    f: impl FnOnce(),
) -> Vec<T> {
    let (done, is_done) = channel::<()>();
    std::thread::scope(|scope| {
        let killer = scope.spawn(move || {
            let mut kills = Vec::new();
            let mut random = 0x9E37_79B9_7F4A_7C15u64;
            // A kill that comes late does not put off the next, which waits for one task at least.
            let mut due = tasks;
            while is_done.recv_timeout(Duration::from_millis(1)) == Err(RecvTimeoutError::Timeout) {
                if ex.stats().finished < due {
                    continue;
                }
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let workers = children();
                if !workers.is_empty()
                    && let Some(killed) = kill(workers[random as usize % workers.len()])
                {
                    kills.push(killed);
                    due = (due + tasks).max(ex.stats().finished + 1);
                }
            }
            kills
        });
        f();
        drop(done);
        killer.join().expect("the killer does not panic")
    })
}

/// Kills whatever the worker is doing.
fn kill_anyway(pid: i32) -> Option<()> {
    kill(pid, libc::SIGKILL);
    Some(())
}

fn workers_killed_all_the_time_cost_retries_only() {
    let ex = workers(2);
    let kills = while_killing(&ex, 1200, kill_anyway, || {
        let task = |n| work(n, Duration::from_micros(50));
        let futures: Vec<_> =
            (0..u64::from(MANY_TASKS)).map(|n| ex.task(task, n).retries(20).submit()).collect();
        for (n, future) in (0..).zip(futures) {
            assert_eq!(value(future), n * n);
        }
    });
    assert!(kills.len() > 100, "{} workers were killed", kills.len());
}

fn without_retries_each_kill_costs_at_most_one_task() {
    let ex = workers(2);
    let folder = Folder::new();
    let begun = folder.path("begun");
    let task = |(begun, n): (String, u64)| {
        note(&begun, &n.to_string());
        (work(n, Duration::from_micros(200)), context().attempt())
    };
    let mut lost = 0;
    let kills = while_killing(&ex, 500, kill_anyway, || {
        let futures: Vec<_> = (0..TASKS).map(|n| ex.submit(task, (begun.clone(), n))).collect();
        for (n, future) in (0..).zip(futures) {
            match outcome(future) {
                Ok(value) => assert_eq!(value, (n * n, 1)),
                Err(TaskError::WorkerLost { signal: Some(libc::SIGKILL), attempts: 1, .. }) => lost += 1,
                Err(other) => panic!("WorkerLost was expected, not: {other}"),
            }
        }
    });
    let kills = kills.len();
    assert!(kills > 10, "{kills} workers were killed");
    assert!(lost > 0 && lost <= kills, "{lost} tasks were lost by {kills} kills");
    let begun = tally(noted(&begun));
    assert!(begun.values().all(|times| *times == 1), "each was begun once");
    // A worker may be killed between its claim and the first line of the body.
    assert!(begun.len() + lost >= TASKS as usize, "{} were begun, {lost} were lost", begun.len());
}

/// Kills the worker if it is in a task, and tells which. It is stopped first: one that runs on may be in the next
/// task by the time the signal arrives, or in none.
fn kill_in_a_task(pid: i32, ledger: &Ledger) -> Option<u32> {
    kill(pid, libc::SIGSTOP);
    if !is_stopped(pid) {
        return None;
    }
    let task = ledger.task_of(pid);
    kill(pid, if task.is_some() { libc::SIGKILL } else { libc::SIGCONT });
    task
}

/// Waits until the child has stopped; false if it has ended instead.
fn is_stopped(pid: i32) -> bool {
    let mut state = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let wanted = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT;
    loop {
        // SAFETY: a system call that writes the state, or nothing.
        let waited = unsafe { libc::waitid(libc::P_PID, pid as u32, state.as_mut_ptr(), wanted) };
        if waited == 0 {
            // SAFETY: it was written, and zeros are valid.
            return unsafe { state.assume_init() }.si_code == libc::CLD_STOPPED;
        }
        let error = std::io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => return false,
            _ => panic!("waiting for the stop of {pid}: {error}"),
        }
    }
}

fn without_retries_each_kill_in_a_task_costs_exactly_that_task() {
    let ex = workers(2);
    let folder = Folder::new();
    let path = folder.path("ledger");
    let ledger = Ledger::create(&path, MANY_TASKS as usize);
    let task = |(path, n): (String, u32)| {
        let square = ledger::noted(&path, n, || work(u64::from(n), Duration::from_micros(50)));
        (square, context().attempt())
    };
    let mut lost = Vec::new();
    let kill = |pid| kill_in_a_task(pid, &ledger);
    let mut killed = while_killing(&ex, 1600, kill, || {
        let futures: Vec<_> = (0..MANY_TASKS).map(|n| ex.submit(task, (path.clone(), n))).collect();
        for (n, future) in (0..MANY_TASKS).zip(futures) {
            match outcome(future) {
                Ok(value) => assert_eq!(value, (u64::from(n).pow(2), 1)),
                Err(TaskError::WorkerLost { signal: Some(libc::SIGKILL), attempts: 1, .. }) => lost.push(n),
                Err(other) => panic!("WorkerLost was expected, not: {other}"),
            }
        }
    });
    killed.sort_unstable();
    assert!(killed.len() > 50, "{} workers were killed in a task", killed.len());
    assert_eq!(lost, killed, "the tasks that were lost, and those in which a worker was killed");
    ledger.assert_all_begun(1);
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn recurse(above: &mut [u32; 1024]) -> u32 {
    let mut frame = [above[7]; 1024];
    std::hint::black_box(&mut frame);
    recurse(&mut frame) + frame[above[3] as usize % 1024]
}

fn the_error_tells_how_the_worker_died() {
    let ex = workers(1);
    let abort = |()| -> () {
        eprintln!("no way out of here");
        std::process::abort()
    };
    let died = lost(error(ex.submit(abort, ())));
    assert_eq!((died.exit, died.signal), (None, Some(libc::SIGABRT)));
    assert_eq!(died.last_words.trim_end(), "no way out of here");
    for part in ["SIGABRT", "attempt 1", "process ", "no way out of here"] {
        assert!(died.text.contains(part), "{part} in {}", died.text);
    }

    let overflow = |()| recurse(&mut [1; 1024]);
    let died = lost(error(ex.submit(overflow, ())));
    assert_eq!((died.exit, died.signal), (None, Some(libc::SIGABRT)));
    assert!(died.text.contains("overflowed its stack"), "{}", died.text);

    let exit = |()| -> () {
        eprintln!("good bye");
        std::process::exit(42)
    };
    let died = lost(error(ex.submit(exit, ())));
    assert_eq!((died.exit, died.signal), (Some(42), None));
    assert!(died.text.contains("exit code 42") && died.text.contains("good bye"), "{}", died.text);

    let exit = |()| -> () { std::process::exit(0) };
    let died = lost(error(ex.submit(exit, ())));
    assert_eq!((died.exit, died.signal), (Some(0), None), "a clean exit is a loss too");

    let killed = |()| kill(std::process::id() as i32, libc::SIGKILL);
    let died = lost(error(ex.submit(killed, ())));
    assert_eq!((died.exit, died.signal), (None, Some(libc::SIGKILL)));
    assert!(died.text.contains("SIGKILL"), "{}", died.text);
    assert_eq!(died.last_words, "");
}

fn abort(_: ()) {
    std::process::abort()
}

fn a_task_beyond_the_memory_limit_dies_of_it() {
    let mut config = config(1);
    config.memory_limit = Some(2 << 30);
    let ex = open(config);
    let allocate = |bytes: u64| vec![1u8; bytes as usize].iter().map(|byte| u64::from(*byte)).sum::<u64>();
    assert_eq!(value(ex.submit(allocate, 1_000_000)), 1_000_000);
    let died = lost(error(ex.submit(allocate, 3_000_000_000)));
    assert_eq!((died.exit, died.signal), (None, Some(libc::SIGABRT)));
    assert!(died.last_words.contains("memory allocation of 3000000000 bytes failed"), "{}", died.last_words);
    assert_eq!(value(ex.submit(allocate, 1_000_000)), 1_000_000, "the next worker has the limit too");
    assert_eq!(lost(error(ex.submit(allocate, 3_000_000_000))).signal, Some(libc::SIGABRT));
}

fn last_words_are_the_last_hundred_lines() {
    let ex = workers(1);
    let task = |lines: u64| -> () {
        for line in 1..=lines {
            eprintln!("line {line} of the end");
        }
        std::process::abort()
    };
    let words = lost(error(ex.submit(task, 2000))).last_words;
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[99]), (100, "line 1901 of the end", "line 2000 of the end"));
}

/// Forks, and does not wait for the child, which holds all that the worker has open.
fn leave_a_child((gate, own_session): (String, bool)) -> i32 {
    // SAFETY: the child calls nothing that takes a lock which another thread may have held at the fork, except for
    // malloc's, which the C library makes usable in the child.
    match unsafe { libc::fork() } {
        0 => {
            if own_session {
                // SAFETY: a plain system call.
                unsafe { libc::setsid() };
            }
            crate::support::pass(&gate, u64::from(std::process::id()));
            // SAFETY: ends this process without running what belongs to its parent.
            unsafe { libc::_exit(0) }
        }
        pid => pid,
    }
}

fn a_child_of_a_task_that_lives_on_keeps_nobody_waiting() {
    // In the worker's process group, it ends with the worker.
    let ex = workers(1);
    let mut gate = crate::support::Gate::new();
    let child = value(ex.submit(leave_a_child, (gate.address(), false)));
    assert_eq!(gate.next(), child as u64, "it lives");
    let process = crate::support::watch(child);
    let died = lost(error(ex.submit(abort, ())));
    assert_eq!(died.signal, Some(libc::SIGABRT), "although the child holds the channel and the pipes");
    crate::support::await_ends("the child has ended with the worker", [process]);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);

    // In a session of its own, it lives on.
    let child = value(ex.submit(leave_a_child, (gate.address(), true)));
    assert_eq!(gate.next(), child as u64);
    let process = crate::support::watch(child);
    assert_eq!(lost(error(ex.submit(abort, ()))).signal, Some(libc::SIGABRT));
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    futures::executor::block_on(executor_core::Executor::shutdown(&ex, executor_core::Shutdown::Drain));
    assert!(process.is_some(), "the child lives on");
    gate.open();
    crate::support::await_ends("the child goes on and ends", [process]);
}
