//! Many tasks at once.

use executor_core::ExecutorExt;

use crate::support::{Program, outcome, workers};

crate::tests![a_map_over_a_bounded_queue_takes_bounded_memory, many_threads_submit_while_workers_are_killed,];

/// The full figure, for a million items in an optimised build, is in the changelog; this keeps the test short.
const ITEMS: &str = if cfg!(debug_assertions) { "200000" } else { "1000000" };

fn a_map_over_a_bounded_queue_takes_bounded_memory() {
    for chunked in [false, true] {
        let mut env = vec![("TEST_ITEMS", ITEMS)];
        if chunked {
            env.push(("TEST_CHUNKED", "yes"));
        }
        let ended = Program::start("burden", &env).end();
        assert_eq!(ended.code, 0, "{ended:?}");
        let peak: u64 = ended.out.trim().parse().expect("a number");
        println!("    {ITEMS} items, chunked: {chunked}, peak {} MiB", peak >> 20);
        assert!(peak < 200_000_000, "the peak was {peak} bytes");
    }
}

fn many_threads_submit_while_workers_are_killed() {
    let ex = workers(2);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let ex = &ex;
            scope.spawn(move || {
                for n in 0..500 {
                    let n = thread * 1000 + n;
                    if n % 100 == 99 {
                        let killer = |()| crate::support::kill(std::process::id() as i32, libc::SIGKILL);
                        let _ = outcome(ex.submit(killer, ()));
                    }
                    assert_eq!(outcome(ex.task(|n: u64| n + 1, n).retries(50).submit()), Ok(n + 1));
                }
            });
        }
    });
}
