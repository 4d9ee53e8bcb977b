//! Panics: an outcome like a value, which carries what is needed to find its cause.

use super::lab::{Lab, error, value};
use super::list;
use crate::error::TaskError;
use crate::ext::ExecutorExt;

list![
    a_panic_carries_message_location_and_backtrace,
    a_panic_costs_its_own_future_only,
    a_panic_without_text_is_still_a_panic,
    a_panic_whose_payload_panics_when_dropped_is_survived,
    a_result_whose_drop_panics_is_survived,
    a_panic_is_not_tried_again,
    an_async_panic_carries_message_and_location,
    a_panic_in_an_argument_s_drop_costs_its_own_future_only,
];

fn a_panic_carries_message_location_and_backtrace(lab: &Lab) {
    let ex = lab.workers(1);
    for message in ["no such thing", "", "with\nseveral lines", "ünïcode"] {
        let line = line!() + 1;
        match error(ex.submit(|message: String| -> u64 { panic!("{message}") }, message.to_owned())) {
            TaskError::Panicked { message: got, location, backtrace, .. } => {
                assert_eq!(got, message);
                let place = format!("errors.rs:{line}:");
                assert!(location.contains(&place), "`{location}` should contain `{place}`");
                assert!(!backtrace.is_empty(), "there is a backtrace");
            }
            other => panic!("a panic was expected, not: {other}"),
        }
    }
}

fn a_panic_costs_its_own_future_only(lab: &Lab) {
    let ex = lab.workers(2);
    let futures: Vec<_> = (0..200u64)
        .map(|n| ex.submit(|n| if n % 3 == 0 { panic!("{n} is divisible by three") } else { n }, n))
        .collect();
    for (n, future) in (0..).zip(futures) {
        if n % 3 == 0 {
            let error = error(future);
            assert!(error.to_string().contains(&format!("{n} is divisible by three")), "{error}");
        } else {
            assert_eq!(value(future), n);
        }
    }
    assert_eq!(ex.stats().lost_workers, 0, "a panic is no death");
}

fn a_panic_without_text_is_still_a_panic(lab: &Lab) {
    let ex = lab.workers(1);
    let future = ex.submit(|n: u64| -> u64 { std::panic::panic_any(n) }, 7);
    assert!(error(future).is_panic());
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}

fn a_panic_whose_payload_panics_when_dropped_is_survived(lab: &Lab) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the payload's own panic");
        }
    }
    let ex = lab.workers(1);
    let future = ex.submit::<_, ()>(|()| std::panic::panic_any(Bomb), ());
    assert!(error(future).is_panic());
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}

#[derive(serde::Serialize, serde::Deserialize)]
struct DropPanics {
    armed: bool,
}

impl Drop for DropPanics {
    fn drop(&mut self) {
        if self.armed && !std::thread::panicking() {
            self.armed = false;
            panic!("panics when dropped");
        }
    }
}

fn a_result_whose_drop_panics_is_survived(lab: &Lab) {
    let ex = lab.workers(1);
    // Dropped in the worker on backends that serialise, with the future here on the others.
    drop(ex.submit(|()| DropPanics { armed: true }, ()).wait().map(|mut result| result.armed = false));
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}

fn a_panic_in_an_argument_s_drop_costs_its_own_future_only(lab: &Lab) {
    let ex = lab.workers(1);
    let future = ex.submit(
        |arg: (DropPanics, u64)| {
            let (_dropped_at_the_end, n) = arg;
            n
        },
        (DropPanics { armed: false }, 1),
    );
    assert_eq!(value(future), 1);
    let future = ex.submit(|arg: u64| DropPanics { armed: arg > 0 }.armed, 1);
    assert!(error(future).is_panic());
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}

fn a_panic_is_not_tried_again(lab: &Lab) {
    let ex = lab.workers(1);
    let tally = lab.tally("begun");
    let task = |tally: String| {
        super::signal::note(&tally, "begun");
        panic!("on purpose")
    };
    let future = ex.task::<String, ()>(task, tally.path()).retries(3).submit();
    assert!(error(future).is_panic());
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
    assert_eq!(tally.lines().len(), 1, "a panic is a result");
}

fn an_async_panic_carries_message_and_location(lab: &Lab) {
    let ex = lab.workers(1);
    let future = ex.submit_async(
        |n: u64| async move {
            super::signal::yield_now().await;
            assert_eq!(n, 8, "not eight");
        },
        7,
    );
    match error(future) {
        TaskError::Panicked { message, location, backtrace, .. } => {
            assert!(message.contains("not eight"), "{message}");
            assert!(location.contains("errors.rs"), "{location}");
            assert!(!backtrace.is_empty(), "there is a backtrace");
        }
        other => panic!("a panic was expected, not: {other}"),
    }
    // Before the first await too.
    let future = ex.submit_async(|n: u64| async move { assert_eq!(n, 8, "not eight") }, 7);
    assert!(error(future).is_panic());
    assert_eq!(value(ex.submit(|n: u64| n, 1)), 1);
}
