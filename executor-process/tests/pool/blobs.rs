//! What is large, between processes that live, die, and run out of descriptors.

use std::sync::{Mutex, PoisonError};

use executor_core::{Blob, BlobMut, ExecutorExt, TaskError};
use executor_process::ipc;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::{
    Gate, config, error, gated, kill, leftovers, lost, memory_figure, open, pass, pid, value, workers,
};

crate::tests![
    segments_are_used_again,
    values_become_large_at_any_of_their_bytes,
    a_worker_that_is_killed_with_blobs_gives_them_back,
    a_result_outlives_its_worker_and_goes_on_to_another,
    a_worker_that_keeps_a_blob_keeps_its_bytes,
    a_shared_blob_is_in_memory_once,
    without_descriptors_large_values_go_in_frames,
    a_task_with_blobs_is_tried_again_with_them,
    handles_travel_inside_of_other_values,
    results_that_nobody_takes_leave_nothing,
    a_revoked_task_with_handles_leaves_the_lane_in_order,
];

const LEN: usize = 3_000_000;

fn blob(byte: u8) -> Blob {
    let mut bytes = BlobMut::new(LEN);
    bytes.fill(byte);
    bytes.freeze()
}

fn is_whole(blob: &Blob, byte: u8) -> bool {
    blob.len() == LEN && blob.iter().all(|it| *it == byte)
}

fn changed(blob: Blob) -> Blob {
    let mut bytes = BlobMut::new(blob.len());
    for (to, from) in bytes.iter_mut().zip(blob.iter()) {
        *to = from + 1;
    }
    bytes.freeze()
}

/// A number is written as a byte and four more. When those four were the first in bulk memory, the next byte went to where
/// the value had been before, and was lost.
fn values_become_large_at_any_of_their_bytes() {
    let ex = workers(1);
    for padding in 0..5u8 {
        let numbers: Vec<i64> = (100_000..140_000).collect();
        let sent = (vec![padding; padding.into()], numbers);
        let back =
            value(ex.submit(|(padding, numbers): (Vec<u8>, Vec<i64>)| (padding, numbers), sent.clone()));
        assert!(back == sent, "{padding} bytes before the numbers");
    }
}

fn segments_are_used_again() {
    let ex = workers(1);
    let round = |n: u8| {
        let back = value(ex.submit(changed, blob(n)));
        assert!(is_whole(&back, n + 1));
        back.as_ptr()
    };
    let mut places: Vec<_> = (0..10).map(round).collect();
    let (descriptors, ..) = leftovers();
    let memory = memory_figure("RssShmem:");
    places.extend((10..100).map(round));
    assert_eq!(leftovers().0, descriptors, "no descriptor more");
    assert!(memory_figure("RssShmem:") < memory + LEN as u64, "no memory more");
    places.sort();
    places.dedup();
    assert!(places.len() <= 4, "the results were in {} places", places.len());
}

fn a_worker_that_is_killed_with_blobs_gives_them_back() {
    let ex = workers(1);
    let mut gate = Gate::new();
    let hold = |(gate, blob): (String, Blob)| {
        pass(&gate, std::process::id().into());
        blob.len()
    };
    value(ex.submit(changed, blob(1)));
    let mut counts = Vec::new();
    for n in 0..5 {
        let future = ex.submit(hold, (gate.address(), blob(n)));
        kill(gate.next() as i32, libc::SIGKILL);
        assert_eq!(lost(error(future)).signal, Some(libc::SIGKILL));
        // The pool is whole again, and so is the memory.
        assert!(is_whole(&value(ex.submit(changed, blob(7))), 8));
        gate.release();
        counts.push(leftovers().0);
    }
    assert!(counts[4] <= counts[1], "descriptors stay behind: {counts:?}");
}

fn a_result_outlives_its_worker_and_goes_on_to_another() {
    let ex = workers(1);
    let (one, made) = value(ex.submit(|byte: u8| (pid(()), blob(byte)), 5));
    kill(one, libc::SIGKILL);
    let (other, whole, back) =
        value(ex.submit(|blob: Blob| (pid(()), is_whole(&blob, 5), blob), made.clone()));
    assert!(whole && one != other);
    assert!(std::ptr::eq(back.as_ptr(), made.as_ptr()), "it was not copied");
    kill(other, libc::SIGKILL);
    assert!(is_whole(&back, 5));
}

fn a_worker_that_keeps_a_blob_keeps_its_bytes() {
    static KEPT: Mutex<Option<Blob>> = Mutex::new(None);
    let ex = workers(1);
    value(ex.submit(|blob: Blob| *KEPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(blob), blob(3)));
    for n in 0..20 {
        value(ex.submit(changed, blob(n)));
    }
    let kept = value(ex.submit(|()| KEPT.lock().unwrap_or_else(PoisonError::into_inner).take(), ()));
    assert!(is_whole(&kept.expect("it is there"), 3));
}

fn a_shared_blob_is_in_memory_once() {
    let ex = workers(2);
    let before = memory_figure("RssShmem:");
    let shared = ex.share((blob(4), blob(5)));
    let futures: Vec<_> = (0..200usize)
        .map(|at| {
            let read = |(shared, at): (executor_core::Shared<(Blob, Blob)>, usize)| {
                u32::from(shared.0[at * 1000]) + u32::from(shared.1[at])
            };
            ex.submit(read, (shared.clone(), at))
        })
        .collect();
    assert!(futures.into_iter().all(|future| value(future) == 9));
    let grown = memory_figure("RssShmem:") - before;
    assert!(grown < 3 * LEN as u64, "{grown} bytes more for two blobs of {LEN}");
}

/// Leaves this process no descriptor but those that it has; gives them back at its drop.
struct NoDescriptors(Rlimit);

impl NoDescriptors {
    fn here() -> Self {
        let before = getrlimit(Resource::Nofile);
        // The lowest free number is the limit: none below it is free.
        let next = rustix::io::dup(rustix::stdio::stdin()).expect("one is left");
        let lowest = std::os::fd::AsRawFd::as_raw_fd(&next);
        drop(next);
        let limit = Rlimit { current: Some(lowest as u64), ..before };
        setrlimit(Resource::Nofile, limit).expect("a lower limit is always possible");
        Self(before)
    }
}

impl Drop for NoDescriptors {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, self.0);
    }
}

fn without_descriptors_large_values_go_in_frames() {
    let ex = workers(1);
    value(ex.submit(pid, ()));
    {
        let _none = NoDescriptors::here();
        // Here, the argument cannot have a segment; the result, which has one, cannot be taken over.
        assert!(value(ex.submit(|blob: Blob| is_whole(&blob, 1), blob(1))));
        assert_eq!(value(ex.submit(|bytes: Vec<u8>| bytes.len(), vec![1; LEN])), LEN);
        let refused = error(ex.submit(changed, blob(1)));
        assert!(matches!(refused, TaskError::Decode { .. }), "{refused}");
    }
    // Once there are some again, all is as before.
    assert!(is_whole(&value(ex.submit(changed, blob(1))), 2));
    // There, nothing can be made and nothing be taken over but what goes in frames.
    let starved = |bytes: Vec<u8>| {
        std::mem::forget(NoDescriptors::here());
        bytes
    };
    assert_eq!(value(ex.submit(starved, vec![7; LEN + 100_000])), vec![7; LEN + 100_000]);
    assert!(value(ex.submit(|n: usize| "x".repeat(n), 2 * LEN)).len() == 2 * LEN);
}

fn a_task_with_blobs_is_tried_again_with_them() {
    let ex = open(config(1));
    let mut gate = Gate::new();
    let task = |(gate, blob): (String, Blob)| {
        pass(&gate, std::process::id().into());
        is_whole(&blob, 6)
    };
    let future = ex.task(task, (gate.address(), blob(6))).retries(3).submit();
    for _ in 0..3 {
        kill(gate.next() as i32, libc::SIGKILL);
    }
    gate.next();
    gate.open();
    assert!(value(future));
}

fn handles_travel_inside_of_other_values() {
    let ex = workers(2);
    let counter = ipc::Value::new(0i64).expect("shared memory");
    let add = |(counters, n): (Vec<Option<ipc::Value<i64>>>, i64)| {
        for counter in counters.into_iter().flatten() {
            counter.fetch_add(n);
        }
    };
    let futures: Vec<_> = (0..50)
        .map(|n| ex.submit(add, (vec![None, Some(counter.clone()), Some(counter.clone())], n)))
        .collect();
    futures.into_iter().for_each(|future| value(future));
    assert_eq!(counter.load(), 2 * (0..50).sum::<i64>());
    // As a result, and on to another task.
    let made = value(ex.submit(|n: i64| (blob(1), ipc::Value::new(n).map_err(|it| it.to_string())), 5));
    let there = made.1.expect("shared memory");
    value(ex.submit(
        |value: ipc::Value<i64>| {
            value.fetch_add(1);
        },
        there.clone(),
    ));
    assert_eq!(there.load(), 6);
}

fn results_that_nobody_takes_leave_nothing() {
    let ex = workers(2);
    for _ in 0..20 {
        drop(ex.submit(changed, blob(1)));
        let _cancelled = ex.submit(changed, blob(1)).cancel();
    }
    assert!(is_whole(&value(ex.submit(changed, blob(1))), 2));
}

fn a_revoked_task_with_handles_leaves_the_lane_in_order() {
    let ex = workers(1);
    let mut gate = Gate::new();
    // Tasks that are handed ahead and taken back: their descriptors have been sent.
    for _ in 0..200 {
        value(ex.submit(pid, ()));
    }
    let holder = ex.submit(gated, (gate.address(), 0));
    gate.next();
    let values: Vec<_> = (0..40).map(|n| ipc::Value::new(n).expect("shared memory")).collect();
    let futures: Vec<_> =
        values.iter().map(|it| ex.submit(|value: ipc::Value<i64>| value.load(), it.clone())).collect();
    let (gone, kept): (Vec<_>, Vec<_>) = futures.into_iter().enumerate().partition(|(n, _)| n % 3 == 0);
    for (_, future) in gone {
        assert!(future.cancel());
    }
    gate.open();
    value(holder);
    for (n, future) in kept {
        assert_eq!(value(future), n as i64);
    }
}
