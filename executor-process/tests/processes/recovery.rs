//! What is left of a worker that died: exactly the tasks that it had not finished, and all results that it had.

use executor_process::board::SlotState;
use executor_process::transport::OutBuf;

use crate::support::Worker;

crate::tests![
    revoked_task_is_refused_by_the_worker,
    cancel_flag_and_progress_cross_processes,
    finished_results_survive_a_death_before_anybody_looked,
    kill_at_any_moment_costs_at_most_the_running_task,
];

fn revoked_task_is_refused_by_the_worker() {
    let mut worker = Worker::plain();
    let ticket = worker.spawned.board.offer(0);
    assert!(worker.spawned.board.revoke(ticket));
    worker.task(ticket, "square 3");
    assert_eq!(worker.answer().as_deref(), Some("refused"));
    let ticket = worker.spawned.board.offer(0);
    worker.task(ticket, "square 3");
    worker.tell("flush");
    assert_eq!(worker.answer().as_deref(), Some("9"));
    assert!(!worker.spawned.board.revoke(ticket));
}

fn cancel_flag_and_progress_cross_processes() {
    let mut worker = Worker::plain();
    let ticket = worker.spawned.board.offer(5);
    worker.task(ticket, "cancelled?");
    assert_eq!(worker.answer().as_deref(), Some("running"));
    assert_eq!(worker.spawned.board.progress(ticket), None);
    assert!(worker.spawned.board.request_cancel(ticket));
    assert_eq!(worker.answer().as_deref(), Some("cancelled"));
    assert_eq!(worker.spawned.board.progress(ticket), Some(0.5));
}

/// Waits for the worker's end, and only then reads what it has left behind: the answers that come.
fn all_that_is_left(worker: &mut Worker) -> Vec<String> {
    worker.exit();
    let answers = std::iter::from_fn(|| worker.next_answer()).collect();
    assert_eq!(worker.reader.finish(), Ok(()), "whole frames");
    answers
}

fn finished_results_survive_a_death_before_anybody_looked() {
    let mut worker = Worker::quiet();
    let tickets: Vec<_> = (0..100).map(|slot| worker.spawned.board.offer(slot)).collect();
    for (n, ticket) in tickets.iter().enumerate() {
        let command = if n == 60 { "abort".into() } else { format!("square {n}") };
        worker.task(*ticket, &command);
    }
    let answers = all_that_is_left(&mut worker);
    assert_eq!(answers, (0..60).map(|n| (n * n).to_string()).collect::<Vec<_>>());
    for (n, ticket) in tickets.iter().enumerate() {
        let expected = if n <= 60 { SlotState::Begun } else { SlotState::Offered };
        assert_eq!(worker.spawned.board.state(*ticket), expected, "task {n}");
    }
}

/// Kills a worker in the midst of 1,000 tasks, at a moment that differs from round to round.
fn kill_at_any_moment_costs_at_most_the_running_task() {
    for round in 0..25u64 {
        let mut worker = Worker::plain();
        let tickets: Vec<_> = (0..1000).map(|slot| worker.spawned.board.offer(slot)).collect();
        let mut out = OutBuf::new();
        for (n, ticket) in tickets.iter().enumerate() {
            out.push(format!("task {} square {n}", ticket.to_bits()).as_bytes(), 100).expect("short");
            if n % 7 == 0 {
                out.push(b"flush", 100).expect("short");
            }
        }
        worker.send(&mut out);
        let mut received = Vec::new();
        while (received.len() as u64) < 1 + round * 37 {
            received.push(worker.answer().expect("alive"));
        }
        worker.spawned.child.kill(libc::SIGKILL).expect("alive or just dead");
        received.extend(all_that_is_left(&mut worker));

        let expected: Vec<_> = (0..received.len()).map(|n| (n * n).to_string()).collect();
        assert_eq!(received, expected, "results are a whole beginning");
        let states: Vec<_> = tickets.iter().map(|ticket| worker.spawned.board.state(*ticket)).collect();
        let begun = states.iter().take_while(|state| **state == SlotState::Begun).count();
        assert!(
            begun == received.len() || begun == received.len() + 1,
            "{begun} begun, {} finished",
            received.len()
        );
        assert!(states[begun..].iter().all(|state| *state == SlotState::Offered));
    }
}
