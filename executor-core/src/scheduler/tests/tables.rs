//! The data structures under the scheduler.

use proptest::prelude::*;

use super::super::buckets::{Buckets, NOWHERE};
use super::super::queue::PriorityQueue;
use super::super::tasks::{Task, Tasks};
use super::super::timers::Timers;
use super::super::workers::Worker;
use super::*;

#[test]
fn a_waiting_task_takes_32_bytes_with_a_pointer_sized_payload() {
    assert_eq!(size_of::<Task<Box<u8>>>(), 32);
}

#[test]
fn a_worker_fits_in_two_cache_lines() {
    assert!(size_of::<Worker>() <= 128, "{} bytes", size_of::<Worker>());
}

#[test]
fn keys_cost_nothing_extra_when_optional_and_survive_the_wire() {
    assert_eq!(size_of::<Option<TaskKey>>(), 8);
    assert_eq!(size_of::<Option<WorkerKey>>(), 8);
    let key = TaskKey::new(7, 3);
    assert_eq!(TaskKey::from_raw(key.into_raw()), Some(key));
    assert_eq!(key.slot(), 7);
    assert_eq!(TaskKey::from_raw(0), None);
}

#[test]
fn a_slot_is_reused_under_another_key() {
    let mut tasks = Tasks::new();
    let slot = tasks.insert(&TaskSpec::default(), 'a');
    let old = tasks.key(slot);
    assert_eq!(tasks.remove(slot), Some('a'));
    assert_eq!(tasks.insert(&TaskSpec::default(), 'b'), slot);
    assert_eq!(tasks.find(old), None);
    assert_eq!(tasks.find(tasks.key(slot)), Some(slot));
}

#[test]
fn unknown_numbers_are_no_keys() {
    let mut tasks = Tasks::new();
    tasks.insert(&TaskSpec::default(), 'a');
    for raw in [1, u64::MAX, 1 << 32 | 5, 2 << 32] {
        let key = TaskKey::from_raw(raw).expect("not 0");
        assert_eq!(tasks.find(key), None, "{raw:#x}");
    }
}

#[test]
fn who_became_idle_last_is_chosen_first_and_equals_take_turns() {
    let mut buckets = Buckets::new();
    buckets.shift(0, NOWHERE, 0);
    buckets.shift(1, NOWHERE, 0);
    assert_eq!(buckets.lowest(), Some(1));
    buckets.shift(1, 0, 3);
    buckets.shift(0, 0, 3);
    assert_eq!(buckets.lowest(), Some(1));
    buckets.rotate(1, 3);
    assert_eq!(buckets.lowest(), Some(0));
    assert_eq!(buckets.count_below(3), 0);
    assert_eq!(buckets.count_below(4), 2);
}

proptest! {
    #[test]
    fn buckets_find_the_least_and_the_most_loaded(moves in prop::collection::vec((0..20u32, 0..9u8), 1..200)) {
        let mut buckets = Buckets::new();
        let mut levels = [NOWHERE; 20];
        for (worker, level) in moves {
            let to = if level == 8 { NOWHERE } else { level * 4 };
            buckets.shift(worker, levels[worker as usize], to);
            levels[worker as usize] = to;
            let filed = || levels.iter().copied().filter(|&level| level != NOWHERE);
            prop_assert_eq!(buckets.lowest().map(|worker| levels[worker as usize]), filed().min());
            prop_assert_eq!(buckets.highest().map(|worker| levels[worker as usize]), filed().max());
            prop_assert_eq!(buckets.count_below(9), filed().filter(|&level| level < 9).count());
            prop_assert_eq!(buckets.any_below(9), filed().any(|level| level < 9));
        }
    }

    #[test]
    fn timers_fire_in_order_unless_disarmed(ops in prop::collection::vec((0..1000u64, any::<bool>()), 1..200)) {
        let start = Instant::now();
        let mut timers = Timers::default();
        let mut armed = Vec::new();
        for (n, (at, disarm)) in (0..).zip(ops) {
            if disarm && !armed.is_empty() {
                let (_, id, _) = armed.swap_remove(at as usize % armed.len());
                timers.disarm(id);
            } else {
                armed.push((at, timers.arm(start + us(at), Timer::Limit(n)), n));
            }
            let first = armed.iter().map(|&(at, ..)| start + us(at)).min();
            prop_assert_eq!(timers.next_deadline(), first);
        }
        let mut fired = Vec::new();
        for now in 0..1000 {
            while let Some(Timer::Limit(n)) = timers.pop_due(start + us(now)) {
                fired.push((now, n));
            }
        }
        let mut expected: Vec<_> = armed.iter().map(|&(at, _, n)| (at, n)).collect();
        expected.sort_unstable();
        fired.sort_unstable();
        prop_assert_eq!(fired, expected);
        prop_assert_eq!(timers.next_deadline(), None);
    }

    #[test]
    fn a_queue_is_strict_between_priorities_and_fifo_within(ops in prop::collection::vec((-2..3i32, 0..4u8), 1..200)) {
        let mut tasks = Tasks::new();
        let mut queue = PriorityQueue::new();
        let mut model: Vec<(i32, u32)> = Vec::new();
        for (priority, op) in ops {
            let best = model.iter().map(|&(priority, _)| priority).max();
            let first = model.iter().position(|&(priority, _)| Some(priority) == best);
            match op {
                0 => prop_assert_eq!(queue.pop_front(&mut tasks), first.map(|at| model.remove(at).1)),
                1 if !model.is_empty() => {
                    let (_, slot) = model.remove(priority.unsigned_abs() as usize % model.len());
                    queue.remove(&mut tasks, slot);
                }
                _ => {
                    let slot = tasks.insert(&TaskSpec { priority, ..TaskSpec::default() }, ());
                    if op == 2 {
                        queue.push_front(&mut tasks, slot);
                        model.insert(0, (priority, slot));
                    } else {
                        queue.push_back(&mut tasks, slot);
                        model.push((priority, slot));
                    }
                }
            }
            prop_assert_eq!(queue.is_empty(), model.is_empty());
        }
    }
}
