//! Test binaries as workers: `init_before_main!` and what works in them.
#![cfg(feature = "process")]

use executor::prelude::*;

mod before {
    executor::register! { "registered before" => |n: u64| n + 1 }
}

executor::init_before_main!();

mod behind {
    executor::register! { "registered behind" => |n: u64| n + 2 }
}

fn open() -> std::sync::Arc<dyn Executor> {
    executor::open("process://?workers=2").unwrap()
}

#[test]
fn a_test_binary_is_its_own_worker() {
    let ex = open();
    let there = ex.submit(|()| std::process::id(), ()).wait().unwrap();
    assert_ne!(there, std::process::id());
}

/// Whatever order the linker has put the constructors in: `register!` has one of its own.
#[test]
fn functions_registered_by_name_are_known_in_a_worker_that_begins_before_main() {
    let ex = open();
    assert_eq!(ex.call::<_, u64>("registered before", 1u64).wait(), Ok(2));
    assert_eq!(ex.call::<_, u64>("registered behind", 1u64).wait(), Ok(3));
}

#[test]
fn a_worker_that_begins_before_main_has_arguments_and_environment() {
    let ex = open();
    let (arguments, path) =
        ex.submit(|()| (std::env::args().count(), std::env::var("PATH").ok()), ()).wait().unwrap();
    assert!(arguments > 0);
    assert_eq!(path, std::env::var("PATH").ok());
}

#[test]
fn a_task_opens_a_pool_of_its_own() {
    let ex = open();
    let pool_in_a_task = |()| -> Result<u64, String> {
        let inner = executor::open("process://?workers=1").map_err(|error| error.to_string())?;
        inner.submit(|n: u64| n + 1, 41).wait().map_err(|error| error.to_string())
    };
    assert_eq!(ex.submit(pool_in_a_task, ()).wait().unwrap(), Ok(42));
}
