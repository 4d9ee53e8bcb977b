//! A function over many items.

use std::sync::atomic::{AtomicUsize, Ordering};

use ::futures::StreamExt;
use ::futures::executor::block_on;

use super::lab::{Lab, eventually, value};
use super::list;
use super::signal::{note, pass};
use crate::error::TaskError;
use crate::ext::ExecutorExt;

list![
    results_come_in_the_order_of_the_items,
    an_unordered_map_gives_each_result_once,
    a_map_of_nothing_is_empty,
    a_map_over_endless_items_gives_what_is_asked_for,
    a_map_takes_exactly_its_buffer_ahead,
    a_failed_item_does_not_end_the_iteration,
    results_are_collected_up_to_the_first_error,
    a_map_is_a_stream,
    progress_counts_what_was_handed_out,
    an_environment_is_at_hand_for_each_item,
    a_map_that_is_dropped_cancels_what_it_has_submitted,
    a_map_is_lazy,
    a_map_waits_for_room_in_a_full_queue,
    a_map_in_small_and_in_large_chunks_gives_the_same,
    an_unordered_map_hands_out_what_is_there,
];

fn results_come_in_the_order_of_the_items(lab: &Lab) {
    let ex = lab.workers(2);
    // Later items are quicker.
    let task = |n: u64| {
        let mut x = n;
        for _ in 0..(2000 - n) * 10 {
            x = std::hint::black_box(x);
        }
        x * x
    };
    let squares: Vec<_> = ex.map(task, 0..2000u64).wait();
    assert_eq!(squares, (0..2000).map(|n| Ok(n * n)).collect::<Vec<_>>());
}

fn an_unordered_map_gives_each_result_once(lab: &Lab) {
    let ex = lab.workers(2);
    let squares: Result<Vec<u64>, TaskError> =
        ex.map(|n| n * n, 0..2000u64).unordered().into_iter().collect();
    let mut squares = squares.unwrap();
    squares.sort_unstable();
    assert_eq!(squares, (0..2000).map(|n| n * n).collect::<Vec<_>>());
}

fn a_map_of_nothing_is_empty(lab: &Lab) {
    let ex = lab.workers(1);
    assert_eq!(ex.map(|n: u64| n, []).wait(), []);
    assert_eq!(ex.map(|n: u64| n, []).unordered().wait(), []);
    assert_eq!(block_on(ex.map(|n: u64| n, []).collect::<Vec<_>>()), []);
}

fn a_map_over_endless_items_gives_what_is_asked_for(lab: &Lab) {
    let ex = lab.workers(2);
    let first: Vec<_> = ex.map(|n| n + 1, 0u64..).into_iter().take(500).collect();
    assert_eq!(first, (1..501).map(Ok).collect::<Vec<_>>());
    let unordered = ex.map(|n| n + 1, 0u64..).unordered().into_iter().take(500).count();
    assert_eq!(unordered, 500);
}

fn a_map_takes_exactly_its_buffer_ahead(lab: &Lab) {
    let ex = lab.workers(2);
    for chunk_size in [1, 3] {
        let taken = AtomicUsize::new(0);
        let items = (0u64..).inspect(|_| {
            taken.fetch_add(1, Ordering::SeqCst);
        });
        let mut results = ex.map(|n| n, items).buffer(6).chunk_size(chunk_size).into_iter();
        assert_eq!(taken.load(Ordering::SeqCst), 0);
        for n in 0..60 {
            assert_eq!(results.next(), Some(Ok(n)));
            let ahead = taken.load(Ordering::SeqCst) - (n as usize + 1);
            assert!(
                ahead < 6 + chunk_size,
                "{ahead} items are taken ahead of result {n}, with a buffer of 6"
            );
        }
        let taken_at_60 = taken.load(Ordering::SeqCst);
        drop(results);
        assert_eq!(taken.load(Ordering::SeqCst), taken_at_60);
    }
    // A map that cannot go on takes what fits its buffer, to the item.
    if lab.can.concurrent {
        let (gate, taken) = (lab.gate(), AtomicUsize::new(0));
        let address = gate.address();
        let items = (0u64..).map(|n| {
            taken.fetch_add(1, Ordering::SeqCst);
            (address.clone(), n)
        });
        let task = |(gate, n): (String, u64)| {
            pass(&gate, n);
            n
        };
        let mut results = ex.map(task, items).buffer(7).chunk_size(1);
        let pending = block_on(async { ::futures::poll!(results.next()) });
        assert!(pending.is_pending());
        assert_eq!(taken.load(Ordering::SeqCst), 7);
        gate.open();
        assert_eq!(block_on(results.next()), Some(Ok(0)));
    }
}

fn a_failed_item_does_not_end_the_iteration(lab: &Lab) {
    let ex = lab.workers(2);
    let task = |n: u64| if n % 10 == 3 { panic!("{n} ends in three") } else { n };
    for chunk_size in [1, 7, 1000] {
        let results = ex.map(task, 0..100u64).chunk_size(chunk_size).wait();
        assert_eq!(results.len(), 100);
        for (n, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert_eq!(value, n),
                Err(TaskError::Panicked { message, location, .. }) => {
                    assert_eq!(message, format!("{n} ends in three"));
                    assert!(location.contains("map.rs"), "{location}");
                }
                Err(other) => panic!("item {n}: {other}"),
            }
        }
    }
}

fn results_are_collected_up_to_the_first_error(lab: &Lab) {
    let ex = lab.workers(2);
    let task = |n: u64| if n == 30 { panic!("thirty") } else { n };
    let all: Result<Vec<_>, TaskError> = block_on(ex.map(task, 0..30).collect());
    assert_eq!(all, Ok((0..30).collect()));
    let failed: Result<Vec<_>, TaskError> = block_on(ex.map(task, 0..40).collect());
    assert!(failed.is_err_and(|error| error.is_panic()));
}

fn a_map_is_a_stream(lab: &Lab) {
    let ex = lab.workers(2);
    let sum = block_on(ex.map(|n| n * 2, 0..100u64).fold(0, async |sum, item| sum + item.unwrap()));
    assert_eq!(sum, 9900);
}

fn progress_counts_what_was_handed_out(lab: &Lab) {
    let ex = lab.workers(2);
    let mut seen = Vec::new();
    let results =
        ex.map(|n| n, 0..50u64).progress(|progress| seen.push((progress.done, progress.total))).wait();
    assert_eq!(results.len(), 50);
    assert_eq!(seen, (1..=50).map(|done| (done, Some(50))).collect::<Vec<_>>());
}

fn an_environment_is_at_hand_for_each_item(lab: &Lab) {
    let ex = lab.workers(2);
    let table: Vec<u64> = (0..1000).map(|n| n * n).collect();
    let squares = ex.map_with(table, |table, at: usize| table[at], 0..1000).wait();
    assert_eq!(squares, (0..1000).map(|n| Ok(n * n)).collect::<Vec<_>>());
    // Two environments of one type do not mix.
    let (a, b) = (
        ex.map_with(1u64, |env, n: u64| env + n, 0..100).chunk_size(3),
        ex.map_with(1000u64, |env, n: u64| env + n, 0..100).chunk_size(3),
    );
    for (n, (a, b)) in (0..).zip(a.into_iter().zip(b)) {
        assert_eq!((a, b), (Ok(n + 1), Ok(n + 1000)));
    }
}

fn a_map_that_is_dropped_cancels_what_it_has_submitted(lab: &Lab) {
    let ex = lab.workers(1);
    let (gate, tally) = (lab.gate(), lab.tally("begun"));
    let task = |(gate, tally, n): (String, String, u64)| {
        note(&tally, &n.to_string());
        pass(&gate, n);
    };
    let items = (0..).map(|n| (gate.address(), tally.path(), n));
    let mut map = ex.map(task, items).chunk_size(1).buffer(8);
    let polled = block_on(async { ::futures::poll!(map.next()) });
    assert_eq!(polled.is_pending(), lab.can.concurrent);
    if lab.can.concurrent {
        gate.wait_for(1);
    }
    drop(map);
    // A worker on another machine gives back what it was sent ahead as soon as it hears of it.
    eventually("what had not begun is taken back", || ex.stats().running <= 1);
    gate.open();
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    let begun = if lab.can.concurrent { 1 } else { 8 };
    assert_eq!(tally.lines().len(), begun, "what was queued never begins");
}

fn a_map_is_lazy(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("begun");
    let map = ex.map(|tally: String| note(&tally, "begun"), [tally.path()]);
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    assert_eq!(tally.lines().len(), 0, "nobody has asked for a result yet");
    assert_eq!(map.wait(), [Ok(())]);
    assert_eq!(tally.lines().len(), 1);
}

fn a_map_waits_for_room_in_a_full_queue(lab: &Lab) {
    let ex = lab.open(&[("workers", "2"), ("queue", "3")]);
    let results = ex.map(|n| n + 1, 0..2000u64).chunk_size(1).buffer(500).wait();
    assert_eq!(results, (1..2001).map(Ok).collect::<Vec<_>>());
    // Two maps at once, which take each other's room.
    let (a, b) = std::thread::scope(|scope| {
        let run = || ex.map(|n| n + 1, 0..1000u64).chunk_size(1).buffer(100).unordered().wait();
        let (a, b) = (scope.spawn(run), scope.spawn(run));
        (a.join().expect("it does not panic"), b.join().expect("it does not panic"))
    });
    assert!(a.iter().all(Result::is_ok) && b.iter().all(Result::is_ok));
    assert_eq!((a.len(), b.len()), (1000, 1000));
}

fn a_map_in_small_and_in_large_chunks_gives_the_same(lab: &Lab) {
    let ex = lab.workers(2);
    let expected: Vec<_> = (0..100u64).map(|n| Ok("x".repeat(n as usize))).collect();
    for chunk_size in [1, 2, 33, 100, 1000] {
        let results = ex.map(|n| "x".repeat(n as usize), 0..100u64).chunk_size(chunk_size).wait();
        assert_eq!(results, expected, "in chunks of {chunk_size}");
    }
}

fn an_unordered_map_hands_out_what_is_there(lab: &Lab) {
    let ex = lab.workers(2);
    let gate = lab.gate();
    let task = |(gate, n): (String, u64)| {
        if n == 0 {
            pass(&gate, n);
        }
        n
    };
    let items = (0..20).map(|n| (gate.address(), n));
    let mut results = ex.map(task, items).chunk_size(1).buffer(20).unordered().into_iter();
    if lab.can.concurrent {
        let mut quick: Vec<_> = results.by_ref().take(19).map(Result::unwrap).collect();
        quick.sort_unstable();
        assert_eq!(quick, (1..20).collect::<Vec<_>>(), "the first is held at the gate");
        gate.open();
        assert_eq!(results.next(), Some(Ok(0)));
        assert_eq!(results.next(), None);
    } else {
        assert_eq!(results.count(), 20);
    }
    eventually("nothing is left", || ex.stats().queued + ex.stats().running == 0);
}
