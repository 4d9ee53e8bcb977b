use std::task::{Wake, Waker};

use super::*;

fn table(matching: Matching) -> InFlight<&'static str> {
    InFlight::new(matching)
}

fn task() -> Waiter {
    Waiter::Task(Waker::noop().clone())
}

#[test]
fn an_answer_is_taken_once() {
    let mut calls = table(Matching::Cancellable);
    let id = calls.insert_sent();
    assert_eq!((calls.due(), calls.take(id)), (1, None));
    assert!(calls.answer(id, "yes").is_none());
    assert_eq!((calls.due(), calls.is_answered(id)), (0, true));
    assert_eq!(calls.take(id), Some("yes"));
    assert_eq!(calls.take(id), None);
}

#[test]
fn an_answer_after_its_caller_has_gone_is_nobody_elses() {
    let mut calls = table(Matching::Cancellable);
    let gone = calls.insert_sent();
    assert_eq!(calls.forget(gone).0, Forgotten::Sent);
    let next = calls.insert_sent();
    assert_eq!(next.short(), gone.short(), "the place is used again");
    assert!(calls.answer(gone, "late").is_none());
    assert_eq!(calls.take(next), None);
    calls.answer(next, "mine");
    assert_eq!(calls.take(next), Some("mine"));
}

#[test]
fn where_nothing_can_be_cancelled_a_place_is_kept_until_its_answer() {
    let mut calls = table(Matching::ById);
    let gone = calls.insert_sent();
    calls.forget(gone);
    assert_eq!(calls.due(), 1, "it still burdens the server");
    let next = calls.insert_sent();
    assert_ne!(next.short(), gone.short());
    calls.answer_place(gone.short(), "late");
    assert_eq!((calls.due(), calls.take(next)), (1, None));
    calls.answer_place(next.short(), "mine");
    assert_eq!(calls.take(next), Some("mine"));
    assert_eq!(calls.insert_sent().short(), next.short(), "both places are free");
}

#[test]
fn an_abandoned_call_keeps_its_place_until_its_answer() {
    let mut calls = table(Matching::Cancellable);
    let (sent, held) = (calls.insert_sent(), calls.insert_held(|_| vec![1]));
    calls.register(sent, task());
    let (abandoned, waiter) = calls.abandon(sent);
    assert!(abandoned && waiter.is_some(), "who waits is not forgotten in the table");
    assert_eq!((calls.due(), calls.tasks()), (1, 0));
    assert!(calls.answer(sent, "unwanted").is_none());
    assert_eq!((calls.due(), calls.take(sent)), (0, None));
    assert_eq!(calls.insert_sent().short(), sent.short(), "the place is free");
    assert!(!calls.abandon(held).0, "what was not sent has to be waited for");
    assert_eq!(calls.send_next_held(), Some(vec![1]));

    // One that is answered already is dropped.
    calls.answer(held, "unwanted");
    assert!(calls.abandon(held).0);
    assert_eq!(calls.take(held), None);
}

#[test]
fn answers_in_order_count_those_whose_callers_have_gone() {
    let mut calls = table(Matching::InOrder);
    let [first, second, third] = [calls.insert_sent(), calls.insert_sent(), calls.insert_sent()];
    calls.forget(second);
    for answer in ["1", "2", "3"] {
        assert!(calls.answer_oldest(answer).is_none(), "nobody has registered");
    }
    assert_eq!((calls.take(first), calls.take(second), calls.take(third)), (Some("1"), None, Some("3")));
    assert!(calls.answer_oldest("4").is_none(), "nobody asked");
}

#[test]
fn held_calls_are_sent_in_order_without_those_that_have_gone() {
    let mut calls = table(Matching::Cancellable);
    let held: Vec<_> = (0..4).map(|n| calls.insert_held(|_| vec![n])).collect();
    assert_eq!(calls.forget(held[0]).0, Forgotten::Silently);
    assert_eq!(calls.forget(held[2]).0, Forgotten::Silently);
    assert_eq!(calls.due(), 0);
    assert_eq!(calls.send_next_held(), Some(vec![1]));
    assert_eq!(calls.send_next_held(), Some(vec![3]));
    assert_eq!((calls.send_next_held(), calls.has_held(), calls.due()), (None, false, 2));
    calls.answer(held[3], "yes");
    assert_eq!(calls.take(held[3]), Some("yes"));
}

#[test]
fn the_place_of_a_held_call_that_has_gone_may_be_used_again() {
    let mut calls = table(Matching::Cancellable);
    let gone = calls.insert_held(|_| vec![1]);
    calls.forget(gone);
    let next = calls.insert_sent();
    assert_eq!(next.short(), gone.short());
    assert_eq!((calls.has_held(), calls.send_next_held()), (false, None), "it is not sent again");
}

#[test]
fn an_answer_gives_back_who_waits_for_it() {
    let mut calls = table(Matching::Cancellable);
    let [one, other] = [calls.insert_sent(), calls.insert_sent()];
    assert!(calls.register(one, task()).is_none());
    assert!(calls.register(other, Waiter::Thread(std::thread::current())).is_none());
    assert_eq!((calls.tasks(), calls.threads()), (1, 1));
    assert_eq!(calls.any_thread().map(|(id, _)| id), Some(other));
    assert!(matches!(calls.answer(one, ""), Some(Waiter::Task(_))));
    assert!(matches!(calls.answer(other, ""), Some(Waiter::Thread(_))));
    assert_eq!((calls.tasks(), calls.threads()), (0, 0));
    assert!(calls.any_thread().is_none());
}

#[test]
fn the_newest_waiter_counts() {
    struct Count;
    impl Wake for Count {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    let mut calls = table(Matching::Cancellable);
    let id = calls.insert_sent();
    calls.register(id, Waiter::Thread(std::thread::current()));
    assert!(matches!(calls.register_task(id, Waker::noop()), Some(Waiter::Thread(_))));
    assert!(calls.register_task(id, Waker::noop()).is_none(), "it is the same one");
    let other = Waker::from(std::sync::Arc::new(Count));
    assert!(matches!(calls.register_task(id, &other), Some(Waiter::Task(_))));
    assert_eq!((calls.tasks(), calls.threads()), (1, 0));
    assert!(matches!(calls.answer(id, ""), Some(Waiter::Task(newest)) if newest.will_wake(&other)));
}

#[test]
fn all_calls_fail_and_know_whether_they_were_sent() {
    let mut calls = table(Matching::ById);
    let answered = calls.insert_sent();
    calls.answer_place(answered.short(), "in time");
    let sent = calls.insert_sent();
    let gone = calls.insert_sent();
    calls.forget(gone);
    let held = calls.insert_held(|_| vec![]);
    calls.register(sent, task());
    calls.register(held, task());
    let waiters = calls.fail_all(|sent| if sent { "sent" } else { "held" });
    assert_eq!((waiters.len(), calls.due(), calls.tasks(), calls.has_held()), (2, 0, 0, false));
    assert_eq!(calls.take(answered), Some("in time"));
    assert_eq!((calls.take(sent), calls.take(held)), (Some("sent"), Some("held")));
}
