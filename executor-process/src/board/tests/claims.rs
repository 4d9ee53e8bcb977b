use proptest::prelude::*;

use super::*;

#[test]
fn claimed_task_cannot_be_revoked() {
    let (board, worker) = pair();
    let ticket = board.offer(3);
    assert_eq!(board.state(ticket), SlotState::Offered);
    assert!(worker.claim(ticket));
    assert!(!board.revoke(ticket));
    assert_eq!(board.state(ticket), SlotState::Begun);
    assert!(!worker.claim(ticket), "a task is begun once");
}

#[test]
fn revoked_task_cannot_be_claimed() {
    let (board, worker) = pair();
    let ticket = board.offer(WINDOW - 1);
    assert!(board.revoke(ticket));
    assert!(!worker.claim(ticket));
    assert_eq!(board.state(ticket), SlotState::Revoked);
    assert!(!board.revoke(ticket), "a task is taken back once");
}

#[test]
fn stale_message_claims_nothing_of_the_task_that_has_the_slot_now() {
    let (board, worker) = pair();
    let old = board.offer(0);
    assert!(board.revoke(old));
    let new = board.offer(0);
    assert!(!worker.claim(old));
    assert!(!board.revoke(old));
    assert!(!board.request_cancel(old));
    assert_eq!(board.state(new), SlotState::Offered);
    assert_eq!(board.state(old), SlotState::Damaged);
    assert!(worker.claim(new));
    assert!(!worker.cancel_requested(new));
}

#[test]
fn cancel_flag_is_seen_and_does_not_hinder_begin_or_revoke() {
    let (board, worker) = pair();
    let ticket = board.offer(1);
    assert!(board.request_cancel(ticket));
    assert!(worker.claim(ticket));
    assert!(worker.cancel_requested(ticket));
    assert!(board.request_cancel(ticket), "already up");
    assert_eq!(board.state(ticket), SlotState::Begun);

    let ticket = board.offer(1);
    assert!(!worker.cancel_requested(ticket), "the flag was the last task's");
    assert!(board.request_cancel(ticket));
    assert!(board.revoke(ticket));
    assert!(!board.request_cancel(ticket), "there is nothing to cancel any more");
}

#[test]
fn task_whose_slot_was_given_away_counts_as_cancelled() {
    let (board, worker) = pair();
    let old = board.offer(1);
    assert!(worker.claim(old));
    let _new = board.offer(1);
    assert!(worker.cancel_requested(old));
}

#[test]
fn progress_belongs_to_one_task() {
    let (board, worker) = pair();
    let first = board.offer(9);
    assert_eq!(board.progress(first), None, "not begun");
    assert!(worker.claim(first));
    assert_eq!(board.progress(first), None, "nothing reported");
    for value in [0.25, 0.0, -0.0, 1.0, f64::INFINITY] {
        worker.report_progress(first, value);
        assert_eq!(board.progress(first), Some(value));
    }
    worker.report_progress(first, f64::NAN);
    assert_eq!(board.progress(first), Some(f64::INFINITY), "NaN is ignored");
    let second = board.offer(9);
    assert_eq!(board.progress(second), None);
    assert!(worker.claim(second));
    assert_eq!(board.progress(second), None);
    assert_eq!(board.progress(first), None);
}

#[test]
fn generation_wraps_around() {
    let (board, worker) = pair();
    let word = &board.memory.claims()[5];
    crate::ring::Word::store(word, u32::MAX, std::sync::atomic::Ordering::Relaxed);
    let ticket = board.offer(5);
    assert_eq!(ticket.to_bits(), 5, "generation 0");
    assert!(worker.claim(ticket));
}

#[test]
#[should_panic(expected = "outside the board")]
fn offer_beyond_the_window_panics() {
    let (board, _) = pair();
    let _ = board.offer(WINDOW);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Offer,
    Revoke,
    Cancel,
    Claim,
    ClaimStale,
}

proptest! {
    #[test]
    fn ticket_survives_a_message(slot in 0..WINDOW as u64, generation in 0..1u64 << 29) {
        let bits = generation << 10 | slot;
        let ticket = Ticket::from_bits(bits).expect("in range");
        prop_assert_eq!(ticket.to_bits(), bits);
        prop_assert_eq!(ticket.slot() as u64, slot);
    }

    #[test]
    fn numbers_out_of_range_are_no_tickets(bits in 1u64 << 39..) {
        prop_assert_eq!(Ticket::from_bits(bits), None);
    }

    /// Against a model that is as plain as can be.
    #[test]
    fn any_order_of_steps_leaves_each_task_one_fate(
        steps in prop::collection::vec(
            prop_oneof![Just(Step::Offer), Just(Step::Revoke), Just(Step::Cancel), Just(Step::Claim), Just(Step::ClaimStale)],
            0..40,
        )
    ) {
        let (board, worker) = pair();
        let mut tickets = vec![board.offer(2)];
        let (mut fate, mut cancel) = (SlotState::Offered, false);
        for step in steps {
            let now = tickets[tickets.len() - 1];
            let open = fate == SlotState::Offered;
            match step {
                Step::Offer if open => {}
                Step::Offer => {
                    tickets.push(board.offer(2));
                    (fate, cancel) = (SlotState::Offered, false);
                }
                Step::Revoke => {
                    prop_assert_eq!(board.revoke(now), open);
                    fate = if open { SlotState::Revoked } else { fate };
                }
                Step::Cancel => {
                    let alive = fate != SlotState::Revoked;
                    prop_assert_eq!(board.request_cancel(now), alive);
                    cancel |= alive;
                }
                Step::Claim => {
                    prop_assert_eq!(worker.claim(now), open);
                    fate = if open { SlotState::Begun } else { fate };
                }
                Step::ClaimStale => {
                    for stale in &tickets[..tickets.len() - 1] {
                        prop_assert!(!worker.claim(*stale));
                    }
                }
            }
            let now = tickets[tickets.len() - 1];
            prop_assert_eq!(board.state(now), fate);
            prop_assert_eq!(worker.cancel_requested(now), cancel);
        }
    }
}
