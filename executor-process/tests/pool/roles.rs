//! What this program does when it is not the tests: a worker, or a program with a pool of its own.

use std::io::Read;
use std::time::Duration;

use executor_core::{Executor, ExecutorExt, Shutdown};
use executor_process::{ProcessConfig, ProcessExecutor};
use futures::executor::block_on;

use crate::support::{broken, config, error, gated, lost, open, outcome, pass, pid, value};

/// Roles of a program that forgets `init`, and what workers are to wait for before it.
pub fn before_init() {
    if let Ok(gate) = std::env::var("TEST_START_GATE")
        && executor_process::sys::worker::is_unentered()
    {
        pass(&gate, u64::from(std::process::id()));
    }
    if let Ok(list) = std::env::var("TEST_COUNT_STARTS") {
        crate::support::note(&list, "started");
    }
    match std::env::var("TEST_ROLE").as_deref() {
        Ok("without-init") => without_init(),
        Ok("without-init-nor-pool") => without_init_nor_pool(),
        Ok("without-init-and-stuck") => without_init_and_stuck(),
        _ => {}
    }
}

/// Returns only if this process is to run the tests.
pub fn after_init() {
    match std::env::var("TEST_ROLE").as_deref() {
        Ok("parent") => parent(),
        Ok("interrupted") => interrupted(),
        Ok("few-descriptors") => few_descriptors(),
        Ok("few-descriptors-for-a-while") => few_descriptors_for_a_while(),
        Ok("printer") => printer(),
        Ok("dropper") => dropper(),
        Ok("leaver") => leaver(),
        Ok("burden") => burden(),
        Ok("forker") => crate::methods::forker(),
        Ok(other) => panic!("unknown role {other}"),
        Err(_) => {}
    }
}

/// A program whose `main` opens a pool without `init`.
fn without_init() -> ! {
    let ex = match ProcessExecutor::open(config(2)) {
        Ok(ex) => ex,
        Err(error) => {
            eprintln!("{error:?}: {error}");
            std::process::exit(9)
        }
    };
    print!("{}", broken(error(ex.submit(|n: u64| n, 1))));
    block_on(ex.shutdown(Shutdown::Drain));
    std::process::exit(0)
}

/// Likewise, and what its workers find there just ends.
fn without_init_nor_pool() -> ! {
    if executor_process::sys::worker::is_unentered() {
        std::process::exit(0);
    }
    without_init()
}

/// Likewise, and its workers are busy with something else for ever.
fn without_init_and_stuck() -> ! {
    if executor_process::sys::worker::is_unentered() {
        loop {
            std::thread::park();
        }
    }
    let mut config = config(2);
    if std::env::var_os("TEST_PATIENT").is_none() {
        // Enough to come as far as here on a busy machine.
        config.start_timeout = Duration::from_secs(1);
    }
    config.breaker = 3;
    let ex = open(config);
    print!("{}", broken(error(ex.submit(|n: u64| n, 1))));
    block_on(ex.shutdown(Shutdown::Drain));
    std::process::exit(0)
}

/// Has busy workers, and waits to be killed.
fn parent() -> ! {
    let gate = std::env::var("TEST_GATE").expect("the test sets it");
    let ex = open(config(2));
    let running: Vec<_> = (0..2).map(|n| ex.submit(gated, (gate.clone(), n))).collect();
    let waiting: Vec<_> = (0..1000u64).map(|n| ex.submit(|n| n, n)).collect();
    let _ = std::io::stdin().read(&mut [0]);
    drop((running, waiting));
    panic!("this process is to be killed");
}

/// Is interrupted as by Ctrl-C, and then decides to end.
fn interrupted() -> ! {
    let gate = std::env::var("TEST_GATE").expect("the test sets it");
    let (sender, interrupts) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    static SENDER: std::sync::OnceLock<std::os::unix::net::UnixStream> = std::sync::OnceLock::new();
    SENDER.set(sender).expect("set once");
    extern "C" fn on_interrupt(_: i32) {
        use std::io::Write;
        if let Some(mut sender) = SENDER.get() {
            let _ = sender.write_all(&[1]);
        }
    }
    // SAFETY: the handler makes one system call.
    unsafe { libc::signal(libc::SIGINT, on_interrupt as *const () as libc::sighandler_t) };
    let ex = open(config(2));
    let running: Vec<_> = (0..2).map(|n| ex.submit(gated, (gate.clone(), n))).collect();
    println!("ready");
    assert_eq!((&interrupts).read(&mut [0]).expect("a socket"), 1);
    println!("interrupted");
    // The test opens the gate now: the tasks are still there, and end well.
    for future in running {
        value(future);
    }
    assert_eq!(ex.stats().lost_workers, 0);
    block_on(ex.shutdown(Shutdown::Drain));
    println!("ended");
    std::process::exit(0)
}

fn limit_descriptors(most: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(most);
    setrlimit(Resource::Nofile, limit).expect("a limit may be lowered");
}

fn open_descriptors() -> u64 {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() as u64 - 1
}

fn highest_descriptor() -> u64 {
    let names =
        std::fs::read_dir("/proc/self/fd").expect("/proc").map(|entry| entry.expect("/proc").file_name());
    let numbers: Vec<u64> = names.map(|name| name.to_string_lossy().parse().expect("a number")).collect();
    // But for the one that lists them, if it is the highest.
    let open = |number: &u64| {
        // SAFETY: asks for the flags of a number; if it is no descriptor any more, the answer is an error.
        unsafe { libc::fcntl(*number as i32, libc::F_GETFD) >= 0 }
    };
    numbers.into_iter().filter(open).max().unwrap_or(0)
}

/// Has descriptors for some of its workers, for one, for none.
fn few_descriptors() -> ! {
    // So that the number of the next descriptor is the number of those that are open.
    let mut gaps = Vec::new();
    while highest_descriptor() + 1 > open_descriptors() {
        gaps.push(std::fs::File::open("/dev/null").expect("a descriptor"));
    }
    let before = open_descriptors();
    let mut outcomes = Vec::new();
    for more in 0..24 {
        limit_descriptors(before + more);
        let said = match ProcessExecutor::open(config(2)) {
            Err(error) => format!("open: {error}"),
            Ok(ex) => {
                let said = match outcome(ex.submit(|n: u64| n + 1, 1)) {
                    Ok(value) => format!("value: {value}"),
                    Err(error) => format!("task: {error}"),
                };
                block_on(ex.shutdown(Shutdown::Drain));
                said
            }
        };
        outcomes.push(said);
        limit_descriptors(before + 200);
        crate::support::eventually_equal("descriptors", open_descriptors, &before);
        crate::support::eventually_equal("children", crate::support::children, &Vec::new());
    }
    for said in outcomes {
        println!("{said}");
    }
    std::process::exit(0)
}

/// Runs out of descriptors when workers are to be replaced, and has some again later.
fn few_descriptors_for_a_while() -> ! {
    let mut config = config(2);
    config.breaker = u32::MAX;
    config.max_tasks = Some(10);
    let ex = open(config);
    value(ex.submit(pid, ()));
    let used = open_descriptors();
    limit_descriptors(0);
    // Nothing can be opened: replacements cannot be started, and the workers go on.
    for n in 0..100 {
        assert_eq!(value(ex.submit(|n: u64| n + 1, n)), n + 1);
    }
    // Replacements are started beside the tasks, and may be due only when the tasks are done.
    crate::support::eventually("a replacement has failed", || ex.stats().lost_workers > 0);
    let kill = |()| crate::support::kill(std::process::id() as i32, libc::SIGKILL);
    assert_eq!(lost(error(ex.submit(kill, ()))).signal, Some(9));
    let waiting: Vec<_> = (0..100).map(|n| ex.submit(|n: u64| n + 1, n)).collect();
    limit_descriptors(used + 100);
    for (n, future) in (0..).zip(waiting) {
        assert_eq!(value(future), n + 1);
    }
    println!("recovered");
    block_on(ex.shutdown(Shutdown::Drain));
    std::process::exit(0)
}

/// Has workers that print.
fn printer() -> ! {
    let ex = open(config(1));
    let print = |n: u64| {
        println!("task {n} to stdout");
        eprintln!("task {n} to stderr");
    };
    for n in 0..3 {
        value(ex.submit(print, n));
    }
    block_on(ex.shutdown(Shutdown::Drain));
    std::process::exit(0)
}

/// Drops the pool while tasks wait, and stays until they have run.
fn dropper() -> ! {
    let ex = open(config(2));
    let futures: Vec<_> = (0..100u64).map(|n| ex.submit(|n| n * 2, n)).collect();
    drop(ex);
    let sum: u64 = futures.into_iter().map(value).sum();
    crate::support::eventually_equal("children", crate::support::children, &Vec::new());
    println!("{sum}");
    std::process::exit(0)
}

/// Returns from main with a pool, busy workers and unresolved futures.
fn leaver() -> ! {
    let gate = std::env::var("TEST_GATE").expect("the test sets it");
    let ex: &'static ProcessExecutor = Box::leak(Box::new(open(config(2))));
    let running: Vec<_> = (0..2).map(|n| ex.submit(gated, (gate.clone(), n))).collect();
    let _ = std::io::stdin().read(&mut [0]);
    drop(running);
    std::process::exit(0)
}

/// Maps many items over a short queue, and says how much memory that took.
fn burden() -> ! {
    let items: u64 = std::env::var("TEST_ITEMS").expect("the test sets it").parse().expect("a number");
    let chunked = std::env::var_os("TEST_CHUNKED").is_some();
    let mut config = ProcessConfig::default().with_workers(2);
    config.queue = 10_000;
    let ex = open(config);
    let map = ex.map(|n: u64| n * 3, 0..items);
    let map = if chunked { map } else { map.chunk_size(1).buffer(10_000) };
    let mut seen = 0;
    for (n, result) in (0..).zip(map) {
        assert_eq!(result, Ok(n * 3));
        seen += 1;
    }
    assert_eq!(seen, items);
    println!("{}", crate::support::memory_figure("VmHWM:"));
    block_on(ex.shutdown(Shutdown::Drain));
    std::process::exit(0)
}
