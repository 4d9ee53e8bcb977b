//! What is special about each start method.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use executor_core::{Config, Executor, ExecutorExt, OpenError};
use executor_process::{ProcessConfig, ProcessExecutor, SCHEME, StartMethod};

use crate::support::{
    Program, all_children_of, await_ends, broken, children, config, error, eventually, lost, method, open,
    outcome, pid, value, watch,
};

crate::tests![
    an_unknown_method_is_an_error_that_names_the_nearest,
    a_preload_hook_needs_a_forkserver,
    a_hook_that_nobody_registered_is_an_error_that_names_the_nearest,
    workers_of_a_forkserver_have_what_the_hook_has_made,
    a_hook_that_panics_breaks_the_pool_with_its_name,
    a_hook_that_leaves_threads_breaks_the_pool_with_its_name,
    a_hook_that_aborts_breaks_the_pool_with_its_name,
    a_zygote_that_is_killed_is_replaced_and_costs_no_task,
    a_program_with_threads_is_not_forked,
    workers_of_a_fork_have_what_the_program_had,
    a_worker_is_the_program_s_own_child,
    locks_know_the_threads_of_forked_workers,
];

// ---- hooks -------------------------------------------------------------------------------------------------------

static TABLE: OnceLock<HashMap<u64, u64>> = OnceLock::new();
static LOADS: AtomicU64 = AtomicU64::new(0);

fn load(_: ()) {
    LOADS.fetch_add(1, Ordering::Relaxed);
    TABLE.get_or_init(|| (0..100_000).map(|n| (n, n * n)).collect());
}

fn panics(_: ()) {
    panic!("there is no table");
}

fn leaves_a_thread(_: ()) {
    let _ = std::thread::Builder::new().name("left-over".to_owned()).spawn(|| {
        loop {
            std::thread::park();
        }
    });
}

fn aborts(_: ()) {
    std::process::abort();
}

executor_core::register! {
    "load-table" => load,
    "panics" => panics,
    "leaves-a-thread" => leaves_a_thread,
    "aborts" => aborts,
}

/// A task: what the hook has made, how often it ran, and whether this is another process than the one it ran in.
fn look_up(n: u64) -> (Option<u64>, u64) {
    (TABLE.get().and_then(|table| table.get(&n).copied()), LOADS.load(Ordering::Relaxed))
}

// ---- configuration -----------------------------------------------------------------------------------------------

fn configured(url: &str) -> Result<ProcessExecutor, OpenError> {
    let config = Config::from_url(url)?;
    ProcessExecutor::open(ProcessConfig::from_options(&config.options(&SCHEME)?)?)
}

#[track_caller]
fn refused(url: &str) -> String {
    match configured(url) {
        Err(error @ OpenError::InvalidOption { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

fn an_unknown_method_is_an_error_that_names_the_nearest() {
    let text = refused("process://?start_method=forksever");
    assert!(text.contains("`start_method`") && text.contains("did you mean `forkserver`?"), "{text}");
    let text = refused("process://?start_method=threads");
    assert!(text.contains("`spawn`, `forkserver` or `fork`"), "{text}");
    let text = Config::from_toml("executor = \"process\"\nstart_method = \"frok\"");
    let text = ProcessConfig::from_options(&text.expect("TOML").options(&SCHEME).expect("known keys"));
    assert!(text.expect_err("no method").to_string().contains("did you mean `fork`?"));
}

fn a_preload_hook_needs_a_forkserver() {
    let text = refused("process://?preload=load-table");
    assert!(text.contains("`preload`") && text.contains("start_method=forkserver"), "{text}");
}

fn a_hook_that_nobody_registered_is_an_error_that_names_the_nearest() {
    let text = refused("process://?start_method=forkserver&preload=load-tables");
    assert!(text.contains("`load-tables`") && text.contains("did you mean `load-table`?"), "{text}");
}

// ---- forkserver ----------------------------------------------------------------------------------------------------

fn workers_of_a_forkserver_have_what_the_hook_has_made() {
    let ex = configured("process://?start_method=forkserver&preload=load-table&workers=2").expect("a pool");
    let futures: Vec<_> = (0..100).map(|n| ex.submit(look_up, n)).collect();
    for (n, future) in (0..).zip(futures) {
        assert_eq!(value(future), (Some(n * n), 1), "it ran once, for all workers");
    }
    assert_eq!(TABLE.get(), None, "and not here");
}

#[track_caller]
fn broken_by(hook: &str) -> String {
    let ex = open(ProcessConfig::default().with_workers(2).with_preload(hook));
    let reason = broken(error(ex.submit(|n: u64| n, 1)));
    assert!(reason.contains(&format!("preload hook `{hook}`")), "{reason}");
    reason
}

fn a_hook_that_panics_breaks_the_pool_with_its_name() {
    let reason = broken_by("panics");
    assert!(reason.contains("there is no table") && reason.contains("methods.rs"), "{reason}");
}

fn a_hook_that_leaves_threads_breaks_the_pool_with_its_name() {
    let reason = broken_by("leaves-a-thread");
    assert!(reason.contains("2 threads") && reason.contains("left-over"), "{reason}");
}

fn a_hook_that_aborts_breaks_the_pool_with_its_name() {
    let reason = broken_by("aborts");
    assert!(reason.contains("killed by signal 6"), "{reason}");
}

fn zygotes() -> Vec<i32> {
    let workers = children();
    all_children_of("self").into_iter().filter(|pid| !workers.contains(pid)).collect()
}

fn a_zygote_that_is_killed_is_replaced_and_costs_no_task() {
    if method() == StartMethod::Spawn {
        assert_eq!(zygotes(), Vec::<i32>::new());
        return;
    }
    let others = zygotes();
    let ex = open(config(2));
    eventually("both workers are there", || children().len() == 2);
    let mut own: Vec<i32> = zygotes();
    own.retain(|pid| !others.contains(pid));
    assert_eq!(own.len(), 1, "one zygote a pool");
    let worker = value(ex.submit(pid, ()));
    let ends = watch(own[0]);
    crate::support::kill(own[0], libc::SIGKILL);
    await_ends("the zygote has ended", [ends]);
    // The workers do not notice.
    assert!(children().contains(&worker));
    for n in 0..100u64 {
        assert_eq!(value(ex.submit(|n: u64| n + 1, n)), n + 1);
    }
    assert_eq!(ex.stats().lost_workers, 0);
    // And one that dies is replaced, which takes another zygote.
    let kill = |()| crate::support::kill(std::process::id() as i32, libc::SIGKILL);
    assert_eq!(lost(error(ex.submit(kill, ()))).signal, Some(libc::SIGKILL));
    eventually("both workers are there again", || children().len() == 2);
    assert!(outcome(ex.submit(pid, ())).is_ok());
}

// ---- fork ----------------------------------------------------------------------------------------------------------

fn a_program_with_threads_is_not_forked() {
    // This one has a thread that watches the tests.
    let text = refused("process://?start_method=fork");
    assert!(text.contains("2 threads"), "they are counted: {text}");
    assert!(text.contains("before anything starts a thread"), "the remedy is named: {text}");
}

fn workers_of_a_fork_have_what_the_program_had() {
    let ended = Program::start("forker", &[]).end();
    assert_eq!((ended.code, ended.out.as_str()), (0, "1764 1\n1764 1\nprogram\n"), "{}", ended.err);
}

/// The role of a program that makes something and then opens a pool by URL, and another.
pub fn forker() -> ! {
    load(());
    for _ in 0..2 {
        let ex = configured("process://?start_method=fork&workers=2").expect("this process has one thread");
        // What is changed from here on is not theirs.
        LOADS.fetch_add(1, Ordering::Relaxed);
        let (square, loads) = value(ex.submit(look_up, 42));
        println!("{} {loads}", square.unwrap_or(0));
        futures::executor::block_on(ex.shutdown(executor_core::Shutdown::Drain));
        LOADS.store(1, Ordering::Relaxed);
        drop(ex);
    }
    println!("program");
    std::process::exit(0)
}

// ---- all of them ---------------------------------------------------------------------------------------------------

/// A task: whose child this process is, and whether it leads a process group.
fn kinship(_: ()) -> (i32, bool) {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    (parent, rustix::process::getpgrp() == rustix::process::getpid())
}

fn a_worker_is_the_program_s_own_child() {
    let ex = open(config(2));
    assert_eq!(value(ex.submit(kinship, ())), (std::process::id() as i32, true));
    eventually("both workers are there", || children().len() == 2);
}

/// A task: whether the C library's idea of this thread is the kernel's, which a mutex that knows its owner shows.
fn owns_its_mutex(_: ()) -> bool {
    // SAFETY: a mutex that is set up before it is used, by this thread alone; its first words are lock, count and owner.
    unsafe {
        let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
        libc::pthread_mutexattr_init(&raw mut attributes);
        libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_ERRORCHECK);
        let mut mutex: libc::pthread_mutex_t = std::mem::zeroed();
        libc::pthread_mutex_init(&raw mut mutex, &raw const attributes);
        libc::pthread_mutex_lock(&raw mut mutex);
        let owner = (&raw const mutex).cast::<[i32; 3]>().read()[2];
        libc::pthread_mutex_unlock(&raw mut mutex);
        let (mut list, mut len) = (std::ptr::null_mut::<libc::c_void>(), 0usize);
        let told = libc::syscall(libc::SYS_get_robust_list, 0, &raw mut list, &raw mut len);
        owner == libc::gettid() && told == 0 && !list.is_null()
    }
}

fn locks_know_the_threads_of_forked_workers() {
    let ex = open(config(2));
    for _ in 0..10 {
        assert!(value(ex.submit(owns_its_mutex, ())));
    }
}
