//! rayon's parallel iterators on the pool's threads.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use executor_core::{ExecutorExt, context};
use executor_thread::{ThreadConfig, ThreadExecutor};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::support::open;

#[test]
fn a_parallel_iterator_inside_of_a_task_uses_the_pools_threads() {
    let ex = ThreadExecutor::open(ThreadConfig::default().with_workers(2).with_name("mine")).unwrap();
    // Two pieces that meet: each goes on only when the other one runs too, so both threads must take part.
    let meeting = Arc::new(std::sync::Barrier::new(2));
    let names = ex.spawn(move || {
        assert_eq!(rayon::current_num_threads(), 2);
        let name = || {
            meeting.wait();
            std::thread::current().name().map(str::to_owned)
        };
        rayon::join(name, name)
    });
    let (one, other) = names.wait().unwrap();
    let names: HashSet<_> = [one.unwrap(), other.unwrap()].into();
    assert_eq!(names, HashSet::from(["mine-0".to_owned(), "mine-1".to_owned()]));
}

#[test]
fn rayons_work_gets_through_while_tasks_keep_coming() {
    let ex = open(2);
    let is_over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    // Each task submits its successor, on both threads, until the pieces of the iterator have met.
    fn again(ex: &ThreadExecutor, is_over: &Arc<std::sync::atomic::AtomicBool>) {
        let (ex, is_over) = (ex.clone(), Arc::clone(is_over));
        if !is_over.load(Ordering::Relaxed) {
            drop(ex.clone().spawn(move || again(&ex, &is_over)));
        }
    }
    for _ in 0..4 {
        again(&ex, &is_over);
    }
    let met = ex.spawn(|| {
        let meeting = std::sync::Barrier::new(2);
        rayon::join(|| meeting.wait(), || meeting.wait());
    });
    assert_eq!(met.wait(), Ok(()));
    is_over.store(true, Ordering::Relaxed);
}

#[test]
fn a_piece_of_a_parallel_iterator_may_wait_for_a_task() {
    for workers in [1, 2] {
        let ex = open(workers);
        let sum = ex.submit(
            |()| {
                let ex = context().executor();
                (0..64u64).into_par_iter().map(|n| ex.submit(|n: u64| n, n).wait().unwrap()).sum::<u64>()
            },
            (),
        );
        assert_eq!(sum.wait(), Ok(64 * 63 / 2));
    }
}
