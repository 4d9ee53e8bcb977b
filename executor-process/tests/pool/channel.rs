//! What goes wrong on a channel costs the tasks of that channel only.

use executor_core::{Executor, ExecutorExt, TaskError, context};

use crate::support::{Gate, children, config, error, eventually, gated, open, outcome, pid, value, workers};

crate::tests![
    a_task_that_writes_rubbish_to_its_channel_costs_its_own_worker_only,
    rubbish_that_announces_a_long_frame_is_noticed_too,
    a_task_that_closes_its_channel_costs_its_own_worker_only,
    a_task_that_closes_its_bell_is_not_waited_for,
    a_task_that_scribbles_over_its_board_costs_its_own_worker_only,
    a_task_that_goes_on_scribbling_costs_its_own_worker_only,
    an_argument_over_the_limit_fails_its_own_future,
    a_result_over_the_limit_fails_its_own_future,
    a_result_of_an_async_task_over_the_limit_fails_its_own_future,
    nested_values_over_the_limit_fail_their_own_futures,
    a_panic_with_a_long_message_passes_a_low_limit,
    values_at_the_limit_pass,
    a_pool_that_holds_enough_bytes_is_full,
];

/// Writes to every socket that this process has open.
fn write_to_sockets((bytes, times): (Vec<u8>, usize)) -> usize {
    let mut written = 0;
    for fd in 3..256 {
        // SAFETY: `stat` is plain data, and a number that is no descriptor is an error; `send` only reads the bytes.
        unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            if libc::fstat(fd, &mut stat) == 0 && stat.st_mode & libc::S_IFMT == libc::S_IFSOCK {
                for _ in 0..times {
                    let sent = libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL);
                    written += usize::try_from(sent).unwrap_or(0);
                }
            }
        }
    }
    written
}

/// Bytes that look random, and are the same in each run.
fn rubbish(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// One worker is given rubbish to send while the other works: only what the first was running may be lost.
fn check_rubbish(bytes: Vec<u8>) {
    let ex = workers(2);
    let mut gate = Gate::new();
    let neighbour = ex.submit(gated, (gate.address(), 1));
    gate.next();
    let what = format!("{:02x?}..", &bytes[..bytes.len().min(16)]);
    let bad = ex.submit(write_to_sockets, (bytes, 1));
    let waiting: Vec<_> = (0..50u64).map(|n| ex.submit(|n| n * n, n)).collect();
    match outcome(bad) {
        // It was finished before the rubbish was noticed.
        Ok(_) => {}
        Err(TaskError::WorkerLost { reason, .. }) => assert!(!reason.is_empty(), "it says why: {what}"),
        Err(other) => panic!("a value or WorkerLost was expected for {what}, not: {other}"),
    }
    for (n, future) in (0..).zip(waiting) {
        match outcome(future) {
            Ok(value) => assert_eq!(value, n * n),
            // Begun before the rubbish was noticed.
            Err(TaskError::WorkerLost { .. }) => {}
            Err(other) => panic!("a value or WorkerLost was expected, not: {other}"),
        }
    }
    eventually("the worker has been ended", || ex.stats().lost_workers == 1);
    gate.open();
    assert!(value(neighbour) > 0);
    assert_eq!(ex.stats().lost_workers, 1, "{what}");
    assert_eq!(value(ex.submit(|n: u64| n, 7)), 7);
}

fn a_task_that_writes_rubbish_to_its_channel_costs_its_own_worker_only() {
    for seed in 0..20 {
        check_rubbish(rubbish(seed, 3 + seed as usize * 37));
    }
}

fn rubbish_that_announces_a_long_frame_is_noticed_too() {
    // A length that is allowed, of a frame that never comes; alone, and with the kind of a result and of a share.
    check_rubbish(vec![0, 0, 0, 32]);
    check_rubbish(vec![0, 0, 0, 32, 66, 0, 0, 0]);
    check_rubbish(vec![0, 0, 0, 32, 69]);
    check_rubbish(vec![100, 0, 0, 0]);
}

/// A process that closes what it needs has itself to blame; it is to be replaced.
fn close_descriptors(_: ()) {
    for fd in 3..256 {
        // SAFETY: a number; what it stands for is not used by this thread.
        unsafe { libc::close(fd) };
    }
}

fn a_task_that_closes_its_channel_costs_its_own_worker_only() {
    let ex = workers(1);
    // Its result is in the ring before the worker notices.
    match outcome(ex.submit(close_descriptors, ())) {
        Ok(()) | Err(TaskError::WorkerLost { .. }) => {}
        Err(other) => panic!("a value or WorkerLost was expected, not: {other}"),
    }
    assert_eq!(value(ex.submit(|n: u64| n, 7)), 7);
}

/// Everybody sleeps when the worker finds that it cannot wake anybody.
fn a_task_that_closes_its_bell_is_not_waited_for() {
    let ex = workers(2);
    let mut gate = Gate::new();
    let task = |gate: String| {
        await_follower();
        close_descriptors(());
        crate::support::pass(&gate, 1);
    };
    let bad = ex.submit(task, gate.address());
    gate.next();
    // Longer than anybody looks for answers or naps: the pool sleeps.
    eventually("the pool sleeps", is_asleep);
    gate.open();
    // Before anybody looks at the future: a thread that waits for an answer needs no bell.
    eventually("the worker has ended", || ex.stats().lost_workers == 1);
    match outcome(bad) {
        Ok(()) | Err(TaskError::WorkerLost { .. }) => {}
        Err(other) => panic!("a value or WorkerLost was expected, not: {other}"),
    }
    for n in 0..20u64 {
        assert_eq!(value(ex.submit(|n: u64| n, n)), n);
    }
}

/// Waits until the thread that follows the parent sleeps over the control socket: if it comes there later, it ends the worker.
fn await_follower() {
    eventually("the worker follows its parent", || {
        let threads = std::fs::read_dir("/proc/self/task").expect("/proc").flatten();
        let mut stats = threads.filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
        stats.any(|stat| stat.contains("(executor-parent) S"))
    });
}

/// Whether the pool's thread has been asleep for some time.
fn is_asleep() -> bool {
    let times = || {
        let threads = std::fs::read_dir("/proc/self/task").expect("/proc").flatten();
        let read = |file: &str, path: &std::path::Path| std::fs::read_to_string(path.join(file));
        let pool = threads
            .map(|thread| thread.path())
            .find(|path| read("comm", path).is_ok_and(|name| name.trim() == "executor-pool"))?;
        let status = read("status", &pool).ok()?;
        Some(
            status
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    };
    let before = times();
    std::thread::sleep(std::time::Duration::from_millis(20));
    before.is_some() && before == times()
}

/// How a task overwrites its board: from here on, so much of it, with one byte or with what looks random.
type Pattern = (usize, usize, Option<u8>, u64);

/// More than any board has.
const ALL: usize = usize::MAX;

/// The board as it is mapped in this process.
fn board() -> &'static mut [u8] {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let line = maps.lines().find(|line| line.contains("executor-board")).expect("a worker has a board");
    let range = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
    let number = |text| usize::from_str_radix(text, 16).expect("an address");
    let (start, end) = (number(range.0), number(range.1));
    // SAFETY: it is mapped for writing for as long as this process lives. That others use it at the same time is the point.
    unsafe { std::slice::from_raw_parts_mut(start as *mut u8, end - start) }
}

fn scribble((from, len, byte, seed): Pattern) -> usize {
    let board = board();
    let part = &mut board[from..];
    let len = len.min(part.len());
    match byte {
        Some(byte) => part[..len].fill(byte),
        None => part[..len].copy_from_slice(&rubbish(seed, len)),
    }
    len
}

/// It may be told any fate, and its worker may be lost or not; nobody else has any part in it.
fn a_task_that_scribbles_over_its_board_costs_its_own_worker_only() {
    const PAGE: usize = 4096;
    let parts =
        [(0, PAGE), (PAGE, PAGE), (2 * PAGE, 2 * PAGE), (4 * PAGE, 32 * PAGE), (36 * PAGE, 32 * PAGE)];
    let all = [Some(0), Some(0xFF), Some(1), None].map(|byte| (0, ALL, byte, 7));
    let parts = parts.into_iter().flat_map(|(from, len)| (0..4).map(move |seed| (from, len, None, seed)));
    for pattern in parts.chain(all) {
        let ex = workers(2);
        let mut gate = Gate::new();
        let neighbour = ex.submit(gated, (gate.address(), 1));
        gate.next();
        let bad = ex.submit(scribble, pattern);
        let waiting: Vec<_> = (0..50u64).map(|n| ex.submit(|n| n * n, n)).collect();
        let check = |what: Result<(), TaskError>| match what {
            Ok(()) | Err(TaskError::WorkerLost { .. } | TaskError::Decode { .. }) => {}
            Err(other) => panic!("a value or WorkerLost was expected for {pattern:?}, not: {other}"),
        };
        check(outcome(bad).map(drop));
        for (n, future) in (0..).zip(waiting) {
            // They went to the same worker.
            check(outcome(future).map(|value| assert_eq!(value, n * n, "{pattern:?}")));
        }
        gate.open();
        assert!(value(neighbour) > 0, "{pattern:?}");
        assert!(ex.stats().lost_workers <= 1, "{pattern:?}");
        for n in 0..50u64 {
            assert_eq!(value(ex.submit(|n: u64| n, n)), n, "{pattern:?}");
        }
    }
}

/// While its parent hands tasks to its worker, takes them back and asks for their progress.
fn a_task_that_goes_on_scribbling_costs_its_own_worker_only() {
    let ex = workers(2);
    let mut gate = Gate::new();
    let neighbour = ex.submit(gated, (gate.address(), 1));
    gate.next();
    let scribbling = |rounds: u64| {
        for seed in 0..rounds {
            scribble((0, ALL, None, seed));
        }
        rounds
    };
    let bad = ex.submit(scribbling, 300);
    while !bad.is_done() {
        let others: Vec<_> = (0..10u64).map(|n| ex.submit(|n| n * n, n)).collect();
        for (n, future) in (0..).zip(others) {
            let _ = (future.progress(), future.cancel());
            match outcome(future) {
                Ok(value) => assert_eq!(value, n * n),
                Err(TaskError::WorkerLost { .. } | TaskError::Cancelled) => {}
                Err(other) => panic!("a value, WorkerLost or Cancelled was expected, not: {other}"),
            }
        }
    }
    match outcome(bad) {
        // What it publishes at last is right again, if nobody has looked before.
        Ok(_) => {}
        Err(TaskError::WorkerLost { .. }) => {}
        Err(other) => panic!("a value or WorkerLost was expected, not: {other}"),
    }
    gate.open();
    assert!(value(neighbour) > 0);
    assert!(ex.stats().lost_workers <= 1);
    assert_eq!(value(ex.submit(|n: u64| n, 7)), 7);
}

const LIMIT: usize = 10_000;

fn limited() -> executor_process::ProcessExecutor {
    let mut config = config(1);
    config.frame_limit = LIMIT;
    open(config)
}

#[track_caller]
fn check_limit(error: TaskError, what: &str) {
    match error {
        TaskError::Encode { what: named, message, .. } => {
            assert!(named.contains(what), "{named}: {message}");
            assert!(message.contains("frame_limit") && message.contains("10000"), "{named}: {message}");
        }
        other => panic!("Encode was expected, not: {other}"),
    }
}

fn bytes(len: usize) -> Vec<u8> {
    vec![7; len]
}

fn an_argument_over_the_limit_fails_its_own_future() {
    let ex = limited();
    let future = ex.submit(|bytes: Vec<u8>| bytes.len(), bytes(LIMIT + 1));
    let neighbour = ex.submit(|n: u64| n, 1);
    check_limit(error(future), "argument");
    assert_eq!(value(neighbour), 1);
    let refused =
        ex.task(|bytes: Vec<u8>| bytes.len(), bytes(LIMIT + 1)).try_submit().expect_err("too large");
    assert_eq!(refused.into_arg().len(), LIMIT + 1, "it comes back");
}

fn a_result_over_the_limit_fails_its_own_future() {
    let ex = limited();
    let worker = value(ex.submit(pid, ()));
    for len in [LIMIT + 1, 10 * LIMIT, 1000 * LIMIT] {
        let future = ex.submit(bytes, len);
        let neighbour = ex.submit(|n: u64| n, 1);
        check_limit(error(future), "result");
        assert_eq!(value(neighbour), 1);
    }
    assert_eq!(value(ex.submit(pid, ())), worker, "that is no reason to lose a worker");
}

fn a_result_of_an_async_task_over_the_limit_fails_its_own_future() {
    let ex = limited();
    let worker = value(ex.submit(pid, ()));
    check_limit(error(ex.submit_async(|len: usize| async move { bytes(len) }, 1000 * LIMIT)), "result");
    assert_eq!(value(ex.submit(pid, ())), worker);
}

fn nested_values_over_the_limit_fail_their_own_futures() {
    let ex = limited();
    let task = |()| {
        let ex = context().executor();
        let argument = ex.submit(|bytes: Vec<u8>| bytes.len(), bytes(LIMIT + 1)).wait();
        let result = ex.submit(bytes, LIMIT + 1).wait();
        let shared = ex.map_with(bytes(LIMIT + 1), |env, n: usize| env.len() + n, [1usize]).wait();
        (argument.map(|_| ()), result.map(|_| ()), shared[0].clone().map(|_| ()), std::process::id() as i32)
    };
    let (argument, result, shared, worker) = value(ex.submit(task, ()));
    check_limit(argument.expect_err("too large"), "argument");
    check_limit(result.expect_err("too large"), "result");
    check_limit(shared.expect_err("too large"), "shared value");
    eventually("the extra worker has left", || children() == [worker]);
    let outside = ex.map_with(bytes(LIMIT + 1), |env: &Vec<u8>, n: usize| env.len() + n, [1usize]).wait();
    check_limit(outside[0].clone().expect_err("too large"), "shared value");
}

fn a_panic_with_a_long_message_passes_a_low_limit() {
    let mut config = config(1);
    config.frame_limit = LIMIT;
    // Kept from the terminal.
    config.capture = Some(100);
    let ex = open(config);
    let worker = value(ex.submit(pid, ()));
    let task = |len: usize| -> () { panic!("{}", "long ".repeat(len)) };
    for len in [10, 10_000, 1_000_000] {
        match error(ex.submit(task, len)) {
            TaskError::Panicked { message, .. } => assert!(message.starts_with("long long "), "of {len}"),
            other => panic!("Panicked was expected, not: {other}"),
        }
    }
    assert_eq!(value(ex.submit(pid, ())), worker);
}

fn values_at_the_limit_pass() {
    let ex = limited();
    // The codec writes some bytes for the length.
    let most = bytes(LIMIT - 9);
    assert_eq!(value(ex.submit(|bytes: Vec<u8>| bytes, most.clone())), most);
}

fn a_pool_that_holds_enough_bytes_is_full() {
    let mut config = config(1);
    config.max_bytes = 50_000;
    let ex = open(config);
    let mut gate = Gate::new();
    let task = |(gate, bytes): (String, Vec<u8>)| {
        crate::support::pass(&gate, 1);
        bytes.len()
    };
    let mut taken = Vec::new();
    let full = loop {
        match ex.task(task, (gate.address(), bytes(10_000))).try_submit() {
            Ok(future) => taken.push(future),
            Err(refused) => break refused,
        }
    };
    assert!(full.is_full() && full.into_arg().1.len() == 10_000, "it comes back");
    assert_eq!(taken.len(), 5);
    assert_eq!(error(ex.submit(|bytes: Vec<u8>| bytes.len(), bytes(10_000))), TaskError::Full);
    gate.next();
    gate.open();
    futures::executor::block_on(ex.ready()).expect("there is room again");
    for future in taken {
        assert_eq!(value(future), 10_000);
    }
    assert_eq!(value(ex.submit(|bytes: Vec<u8>| bytes.len(), bytes(10_000))), 10_000);
    // More bytes than the pool may hold, piece by piece.
    let lengths = ex.map(|bytes: Vec<u8>| bytes.len(), (0..200).map(|_| bytes(10_000))).chunk_size(1).wait();
    assert!(lengths.into_iter().all(|length| length == Ok(10_000)));
}
