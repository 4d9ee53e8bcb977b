//! Models of the board under loom, named by what they show.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release -p executor-process --no-default-features --lib loom`.
//!
//! A death is modelled as the end of the worker's thread after any number of its steps: what a killed process has stored
//! stays stored, what comes after never happens. The parent learns of the death from the kernel, after it: it joins the
//! thread first.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;

use super::super::memory::Memory;
use super::super::{Board, SlotState, WorkerBoard};
use crate::ring::{Consumer, Lane, Producer};

/// Two slots, and a ring of four words for the worker's answers: 24 bytes at most.
#[derive(Debug)]
struct Heap {
    claims: [AtomicU32; 2],
    progress: [AtomicU64; 2],
    written: AtomicU64,
    read: AtomicU64,
    ring: [AtomicU64; 4],
}

impl Memory for Heap {
    type Claim = AtomicU32;
    type Cell = AtomicU64;

    fn claims(&self) -> &[AtomicU32] {
        &self.claims
    }

    fn progress(&self) -> &[AtomicU64] {
        &self.progress
    }
}

#[derive(Debug)]
struct Answers(Arc<Heap>);

impl Lane for Answers {
    type Cell = AtomicU64;

    fn written(&self) -> &AtomicU64 {
        &self.0.written
    }

    fn read(&self) -> &AtomicU64 {
        &self.0.read
    }

    fn data(&self) -> &[AtomicU64] {
        &self.0.ring
    }
}

/// Both sides of the claims, and both ends of the ring.
fn pair() -> (Board<Heap>, WorkerBoard<Heap>, Consumer<Answers>, Producer<Answers>) {
    let memory = Arc::new(Heap {
        claims: std::array::from_fn(|_| AtomicU32::new(0)),
        progress: std::array::from_fn(|_| AtomicU64::new(0)),
        written: AtomicU64::new(0),
        read: AtomicU64::new(0),
        ring: std::array::from_fn(|_| AtomicU64::new(0)),
    });
    let worker = WorkerBoard::over(Arc::clone(&memory));
    let answers = Consumer::new(Answers(Arc::clone(&memory)));
    let output = Producer::new(Answers(Arc::clone(&memory)));
    (Board::over(memory), worker, answers, output)
}

fn read(answers: &mut Consumer<Answers>) -> Vec<u8> {
    let mut bytes = [0; 24];
    let len = answers.read(&mut bytes).expect("undamaged");
    bytes[..len].to_vec()
}

/// Runs a model in every interleaving, and checks that the outcomes are these: no others, and none left out. The latter
/// shows that loom has looked where it matters.
fn explore<T: Ord + Debug + Send + 'static>(
    outcomes: impl IntoIterator<Item = T>,
    model: impl Fn() -> T + Send + Sync + 'static,
) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let note = Arc::clone(&seen);
    loom::model(move || {
        let outcome = model();
        note.lock().expect("no panic while noting").insert(outcome);
    });
    let seen = std::mem::take(&mut *seen.lock().expect("no panic while noting"));
    assert_eq!(seen, outcomes.into_iter().collect());
}

#[test]
fn a_revoked_task_is_never_begun_and_a_begun_task_is_never_revoked() {
    explore([(true, false), (false, true)], || {
        let (board, worker, ..) = pair();
        let ticket = board.offer(0);
        let worker = thread::spawn(move || worker.claim(ticket));
        let revoked = board.revoke(ticket);
        let begun = worker.join().expect("the worker's thread");
        let state = if begun { SlotState::Begun } else { SlotState::Revoked };
        assert_eq!(board.state(ticket), state);
        (revoked, begun)
    });
}

/// Outcomes: revoked, flag raised, and whether the worker began and saw the flag.
#[test]
fn a_cancel_request_loses_neither_the_claim_nor_the_revocation() {
    let outcomes =
        [(true, true, None), (true, false, None), (false, true, Some(true)), (false, true, Some(false))];
    explore(outcomes, || {
        let (board, worker, ..) = pair();
        let board = Arc::new(board);
        let ticket = board.offer(0);
        let worker = thread::spawn(move || worker.claim(ticket).then(|| worker.cancel_requested(ticket)));
        let canceller = {
            let board = Arc::clone(&board);
            thread::spawn(move || board.request_cancel(ticket))
        };
        let revoked = board.revoke(ticket);
        let raised = canceller.join().expect("the cancelling thread");
        (revoked, raised, worker.join().expect("the worker's thread"))
    });
}

/// Outcomes: the message's task was revoked, and begun.
#[test]
fn a_stale_message_never_begins_the_task_that_has_the_slot_now() {
    explore([(true, false), (false, true)], || {
        let (board, worker, ..) = pair();
        let stale = board.offer(0);
        let worker = thread::spawn(move || worker.claim(stale));
        let revoked = board.revoke(stale);
        let now = revoked.then(|| board.offer(0));
        let begun = worker.join().expect("the worker's thread");
        if let Some(now) = now {
            assert_eq!(board.state(now), SlotState::Offered);
        }
        (revoked, begun)
    });
}

#[test]
fn a_task_seen_as_begun_is_seen_with_the_results_of_the_tasks_before_it() {
    explore([SeenAs::Begun, SeenAs::Offered], || {
        let (board, worker, mut answers, mut output) = pair();
        let ticket = board.offer(0);
        let worker = thread::spawn(move || {
            assert_eq!(output.write(b"result"), Ok(6));
            output.publish();
            assert!(worker.claim(ticket));
        });
        let seen = if board.state(ticket) == SlotState::Begun {
            assert_eq!(read(&mut answers), b"result");
            SeenAs::Begun
        } else {
            SeenAs::Offered
        };
        worker.join().expect("the worker's thread");
        seen
    });
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SeenAs {
    Offered,
    Begun,
}

#[test]
fn progress_of_the_last_task_is_not_taken_for_this_ones() {
    explore([SeenAs::Begun, SeenAs::Offered], || {
        let (board, worker, ..) = pair();
        let first = board.offer(0);
        assert!(worker.claim(first));
        worker.report_progress(first, 1.0);
        let second = board.offer(0);
        let worker = thread::spawn(move || assert!(worker.claim(second)));
        let seen = match board.state(second) {
            SlotState::Begun => SeenAs::Begun,
            _ => SeenAs::Offered,
        };
        assert_eq!(board.progress(second), None);
        worker.join().expect("the worker's thread");
        seen
    });
}

/// The worker dies after each possible number of steps (claim, write, publish), while the parent takes the second task back.
/// Outcomes: how many tasks had begun, how many of those were finished, and whether the second was revoked.
#[test]
fn at_every_death_each_task_is_finished_or_begun_or_offered_or_revoked() {
    let outcomes: [&[(usize, usize, bool)]; 7] = [
        &[(0, 0, true)],
        &[(1, 0, true)],
        &[(1, 0, true)],
        &[(1, 1, true)],
        &[(1, 1, true), (2, 1, false)],
        &[(1, 1, true), (2, 1, false)],
        &[(1, 1, true), (2, 2, false)],
    ];
    for (steps, outcomes) in outcomes.into_iter().enumerate() {
        explore(outcomes.iter().copied(), move || {
            let (board, worker, mut answers, mut output) = pair();
            let tickets = [board.offer(0), board.offer(1)];
            let worker = thread::spawn(move || {
                let mut steps = 0..steps;
                for (ticket, result) in tickets.into_iter().zip([b"first ", b"second"]) {
                    if steps.next().is_none() || !worker.claim(ticket) || steps.next().is_none() {
                        return;
                    }
                    assert_eq!(output.write(result), Ok(6));
                    if steps.next().is_none() {
                        return;
                    }
                    output.publish();
                }
            });
            let revoked = board.revoke(tickets[1]);
            worker.join().expect("the worker's thread");
            let results = read(&mut answers);
            assert!(results.len().is_multiple_of(6) && b"first second".starts_with(&results[..]));
            let begun = |ticket: &&_| board.state(**ticket) == SlotState::Begun;
            (tickets.iter().filter(begun).count(), results.len() / 6, revoked)
        });
    }
}
