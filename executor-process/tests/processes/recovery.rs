//! What is left of a worker that died: exactly the tasks that it had not finished, and all results that it had.

use executor_process::board::{RING_BYTES, SlotState, Ticket};
use executor_process::transport::OutBuf;

use crate::support::Worker;

crate::tests![
    revoked_task_is_refused_by_the_worker,
    cancel_flag_and_progress_cross_processes,
    finished_results_survive_a_death_before_anybody_looked,
    results_that_nobody_was_told_of_are_there_without_a_bell,
    a_task_seen_as_begun_is_seen_with_the_results_of_all_before_it,
    kill_at_any_moment_costs_at_most_the_running_task,
    kill_in_the_midst_of_long_results_costs_at_most_the_running_task,
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

/// They are in the ring although the worker has rung for none of them, and lives on.
fn results_that_nobody_was_told_of_are_there_without_a_bell() {
    let mut worker = Worker::plain();
    let tickets: Vec<_> = (0..10).map(|slot| worker.spawned.board.offer(slot)).collect();
    for (n, ticket) in tickets.iter().enumerate() {
        worker.task(*ticket, &format!("square {n}"));
    }
    let mut answers = Vec::new();
    while answers.len() < 10 {
        answers.extend(worker.next_answer());
        std::thread::yield_now();
    }
    assert_eq!(answers, (0..10).map(|n| (n * n).to_string()).collect::<Vec<_>>());
    assert!(rustix::io::read(&worker.bell, &mut [0; 8][..]).is_err(), "it has not rung");
}

/// While the worker runs, at moments of its own choice.
fn a_task_seen_as_begun_is_seen_with_the_results_of_all_before_it() {
    let mut worker = Worker::plain();
    let mut looks = 0;
    for _ in 0..20 {
        let tickets: Vec<_> = (0..1000).map(|slot| worker.spawned.board.offer(slot)).collect();
        let mut out = OutBuf::new();
        for (n, ticket) in tickets.iter().enumerate() {
            out.push(format!("task {} square {n}", ticket.to_bits()).as_bytes(), 100).expect("short");
        }
        worker.send(&mut out);
        let mut received = 0;
        while received < tickets.len() {
            let board = &worker.spawned.board;
            let begun = tickets.iter().rposition(|ticket| board.state(*ticket) == SlotState::Begun);
            while let Some(answer) = worker.next_answer() {
                assert_eq!(answer, (received * received).to_string());
                received += 1;
            }
            assert!(received >= begun.unwrap_or(0), "{begun:?} has begun, {received} were finished");
            looks += 1;
        }
    }
    assert!(looks >= 20);
}

/// What a worker that was killed at any moment leaves: a whole beginning of the results, and at most one task that it had
/// begun and not finished.
fn check_what_is_left(worker: &mut Worker, tickets: &[Ticket], mut received: Vec<String>, len: usize) {
    worker.exit();
    received.extend(std::iter::from_fn(|| worker.next_answer()));
    if len < RING_BYTES / 2 {
        assert_eq!(worker.reader.finish(), Ok(()), "whole frames");
    }
    let expected: Vec<_> = (0..received.len()).map(|n| result(n, len)).collect();
    assert!(received == expected, "results are a whole beginning");
    let states: Vec<_> = tickets.iter().map(|ticket| worker.spawned.board.state(*ticket)).collect();
    let begun = states.iter().take_while(|state| **state == SlotState::Begun).count();
    let finished = received.len();
    assert!(begun == finished || begun == finished + 1, "{begun} begun, {finished} finished");
    assert!(states[begun..].iter().all(|state| *state == SlotState::Offered));
}

/// What `square N LEN` answers.
pub fn result(n: usize, len: usize) -> String {
    let digits = (n * n).to_string();
    "0".repeat(len.saturating_sub(digits.len())) + &digits
}

/// A worker that has been given so many tasks, which answer with so many bytes.
fn busy(tasks: usize, len: usize) -> (Worker, Vec<Ticket>) {
    let mut worker = Worker::plain();
    let tickets: Vec<_> = (0..tasks).map(|slot| worker.spawned.board.offer(slot)).collect();
    let mut out = OutBuf::new();
    for (n, ticket) in tickets.iter().enumerate() {
        out.push(format!("task {} square {n} {len}", ticket.to_bits()).as_bytes(), 100).expect("short");
        if n % 7 == 0 {
            out.push(b"flush", 100).expect("short");
        }
    }
    worker.send(&mut out);
    (worker, tickets)
}

/// Kills a worker in the midst of 1,000 tasks, at a moment that differs from round to round: after so many answers, while
/// nobody reads what else it says.
fn kill_at_any_moment_costs_at_most_the_running_task() {
    for round in 0..50 {
        let (mut worker, tickets) = busy(1000, 1);
        let mut received = Vec::new();
        while received.len() < 1 + round * 18 {
            received.push(worker.answer().expect("alive"));
        }
        worker.spawned.child.kill(libc::SIGKILL).expect("alive or just dead");
        check_what_is_left(&mut worker, &tickets, received, 1);
    }
}

/// Results that fill the ring, so that it waits for room most of the time, and results that are larger than the ring, of which
/// a death leaves pieces.
fn kill_in_the_midst_of_long_results_costs_at_most_the_running_task() {
    for (len, rounds) in [(10_000, 20), (RING_BYTES - 100, 10), (3 * RING_BYTES, 10)] {
        for round in 0..rounds {
            let (mut worker, tickets) = busy(100, len);
            let mut received = Vec::new();
            while received.len() < round {
                received.push(worker.answer().expect("alive"));
            }
            worker.spawned.child.kill(libc::SIGKILL).expect("alive or just dead");
            check_what_is_left(&mut worker, &tickets, received, len);
        }
    }
}
