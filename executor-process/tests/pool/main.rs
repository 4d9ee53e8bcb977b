//! Pools of real worker processes, put under stress: workers that are killed, fed with rubbish, replaced, and left alone.
//!
//! The test program is its own worker, and, in some tests, a program of its own with a pool (`roles`), so its `main` decides
//! what the process is. Tests run one after the other, because each is checked for descriptors, threads and
//! processes that it has left. They wait for events; the limits in `support` only turn a hang into a failure.

mod blobs;
mod burden;
mod channel;
mod deaths;
mod ends;
mod ledger;
mod methods;
mod nesting;
mod output;
mod recycling;
mod roles;
mod starts;
mod stops;
mod support;

#[path = "../common/harness.rs"]
mod harness;
#[path = "../common/waiting.rs"]
mod waiting;

use std::process::{Command, ExitCode};

use executor_process::StartMethod;
use harness::{Tally, selected};
use support::{Watchdog, leftovers};

/// Tests that hold each worker back in its `main`, where only a spawned one comes by.
const SPAWN_ONLY: &[&str] = &[
    "the_replacement_is_ready_before_the_old_worker_leaves",
    "a_pool_ends_in_the_midst_of_recycling",
    "a_worker_that_dies_while_it_is_replaced_is_replaced_once",
    "a_pool_that_is_dropped_before_its_workers_report_ends",
];

/// Tests with another program as the worker, of which a fork knows nothing; with one that forgets `init`, which a fork
/// never calls; and with pools in workers, which have threads, so that a fork is refused.
const NOT_FORK: &[&str] = &[
    "a_task_opens_a_pool_of_its_own",
    "a_pool_in_a_task_ends_with_its_worker",
    "a_program_without_init_is_told_and_starts_no_flood",
    "a_program_without_init_whose_workers_just_end_is_told",
    "a_program_without_init_whose_workers_are_stuck_is_told",
    "a_worker_of_a_program_without_init_ends_with_the_program",
    "a_program_that_does_not_exist_breaks_the_pool_with_its_name",
    "a_file_that_is_not_executable_breaks_the_pool_with_its_name",
    "a_program_that_is_no_worker_breaks_the_pool",
    "a_broken_pool_says_so_to_all",
];

fn main() -> ExitCode {
    roles::before_init();
    executor_process::init();
    if std::env::var_os(support::METHOD).is_none() {
        return run_for_each_method();
    }
    support::be_forkable();
    roles::after_init();
    let mut tests = selected(&[
        deaths::TESTS,
        recycling::TESTS,
        output::TESTS,
        starts::TESTS,
        methods::TESTS,
        nesting::TESTS,
        ends::TESTS,
        channel::TESTS,
        stops::TESTS,
        burden::TESTS,
        blobs::TESTS,
    ]);
    tests.retain(|(name, _)| support::method() == StartMethod::Spawn || !SPAWN_ONLY.contains(name));
    tests.retain(|(name, _)| support::method() != StartMethod::Fork || !NOT_FORK.contains(name));
    let mut tally = Tally::start(tests.len());
    let watchdog = Watchdog::start();
    tally.run(tests, |(name, test)| {
        let before = leftovers();
        watchdog.begin(name);
        test();
        support::eventually_equal("nothing is left behind", leftovers, &before);
        watchdog.end();
    });
    tally.end()
}

/// All tests, in a process for each start method.
fn run_for_each_method() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let mut code = ExitCode::SUCCESS;
    for method in ["spawn", "forkserver", "fork"] {
        println!("\nstart_method={method}");
        let status = Command::new("/proc/self/exe").args(&arguments).env(support::METHOD, method).status();
        if !status.expect("this program").success() {
            code = ExitCode::FAILURE;
        }
    }
    code
}
