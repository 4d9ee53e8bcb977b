use std::time::Duration;

use super::*;
use crate::object::{Arguments, Codec};
use crate::rpc::protocol::{CallId, FromServer};

const FORM: Form = Form::Native { codec: Codec::Bincode, id: CallId(1) };

fn args<A: Serialize>(args: &A) -> Vec<u8> {
    let mut out = Vec::new();
    Codec::Bincode.encode(args, &mut out).expect("it can be encoded");
    out
}

/// Begins a call, and runs it to its end here.
fn call<A: Serialize>(handler: &dyn Handler, with: &A) -> Batch {
    let mut batch = Batch::new();
    match handler.begin(Args::Encoded(Codec::Bincode, &args(with)), &FORM, &mut batch) {
        Begun::Answered => {}
        Begun::Aside(run) => run(&FORM, &mut batch),
        Begun::Pending(mut running) => {
            futures::executor::block_on(std::future::poll_fn(|cx| running.poll(cx, &FORM, &mut batch)));
        }
    }
    batch
}

fn value<R: DeserializeOwned>(mut batch: Batch) -> Result<R, Failure> {
    let message = batch.pop().expect("it is answered").to_vec();
    assert!(batch.is_empty(), "once");
    match FromServer::decode(&message).expect("it is an answer") {
        FromServer::Answer(CallId(1), body) => Ok(Codec::Bincode.decode(body).expect("of that type")),
        FromServer::Failure(CallId(1), failure) => Err(failure),
        other => panic!("{other:?}"),
    }
}

fn plain<A, R>(function: impl Fn(A) -> R + Send + Sync + 'static) -> impl Handler
where
    A: DeserializeOwned + Send + 'static,
    R: Serialize + 'static,
{
    Function::new(move |args| Plain(function(args)), false)
}

fn place(handler: &dyn Handler) -> Place {
    let mut batch = Batch::new();
    match handler.begin(Args::Encoded(Codec::Bincode, &[]), &FORM, &mut batch) {
        Begun::Aside(run) => {
            run(&FORM, &mut batch);
            Place::Aside
        }
        _ => Place::Here,
    }
}

#[test]
fn the_first_calls_run_aside_and_quick_ones_here_after_that() {
    let handler = plain(|()| ());
    let places: Vec<_> = (0..6).map(|_| place(&handler)).collect();
    assert_eq!(places[..4], [Place::Aside; 4]);
    // The machine may be slow, but not for ever.
    assert!(places.contains(&Place::Here) || (0..10_000).any(|_| place(&handler) == Place::Here));
}

#[test]
fn a_handler_goes_aside_while_it_is_slow_on_average() {
    let pace = Pace::default();
    for _ in 0..4 {
        assert_eq!(pace.place(), Place::Aside);
        pace.record(Duration::from_micros(1));
    }
    assert_eq!(pace.place(), Place::Here);
    pace.record(Duration::from_millis(10));
    assert_eq!(pace.place(), Place::Aside, "one slow call is 1.25 ms of the mean");
    let mut quick = 0;
    while pace.place() == Place::Aside {
        pace.record(Duration::from_micros(1));
        quick += 1;
    }
    assert!((20..40).contains(&quick), "the mean falls by an eighth each time: {quick}");
}

#[test]
fn a_blocking_handler_runs_aside_always() {
    let handler = Function::new(|()| Plain(()), true);
    assert!((0..20).all(|_| place(&handler) == Place::Aside));
}

#[test]
fn a_function_has_its_arguments_and_gives_its_value() {
    let bonus = 1;
    let handler = plain(move |(x, y): (i64, i64)| x + y + bonus);
    for _ in 0..6 {
        assert_eq!(value(call(&handler, &(2i64, 3i64))), Ok(6i64));
    }
}

#[test]
fn a_panic_is_the_outcome_of_its_call_alone() {
    let handler = plain(|x: i64| if x == 13 { panic!("unlucky {x}") } else { x });
    for _ in 0..6 {
        let failure = value::<i64>(call(&handler, &13i64)).expect_err("it panics");
        assert_eq!(failure.kind, FailureKind::Panic);
        assert_eq!(failure.message, "the function panicked: unlucky 13");
        assert_eq!(value(call(&handler, &7i64)), Ok(7i64));
    }
}

#[test]
fn what_was_written_of_an_answer_before_a_panic_is_taken_back() {
    struct Bomb;
    impl Serialize for Bomb {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = serializer.serialize_tuple(2)?;
            tuple.serialize_element(&1u64)?;
            panic!("half-way");
        }
    }
    let handler = plain(|()| Bomb);
    for _ in 0..6 {
        let mut batch = Batch::new();
        batch.push(b"before");
        batch.append(&mut call(&handler, &()));
        assert_eq!(batch.pop(), Some(&b"before"[..]));
        let failure = value::<()>(batch).expect_err("it panics");
        assert_eq!(failure.message, "the function panicked: half-way");
    }
}

#[test]
fn an_error_has_its_type_and_message() {
    let handler = Function::new(|text: String| text.parse::<i64>(), false);
    assert_eq!(value(call(&handler, &"7")), Ok(7i64));
    let failure = value::<i64>(call(&handler, &"seven")).expect_err("it is no number");
    assert_eq!(failure.kind, FailureKind::Error);
    assert_eq!(failure.type_name, "core::num::error::ParseIntError");
    assert_eq!(failure.message, "invalid digit found in string");
}

#[test]
fn an_error_that_is_text_has_no_type() {
    let handler = Function::new(|()| Err::<(), _>("no"), false);
    assert_eq!(value::<()>(call(&handler, &())).expect_err("it fails").type_name, "");
    let handler = Function::new(|()| Err::<(), _>("no".to_owned()), false);
    assert_eq!(value::<()>(call(&handler, &())).expect_err("it fails").type_name, "");
}

#[test]
fn an_exception_and_an_io_error_are_what_python_would_raise() {
    let fault = from_error(&Exception::with_args("KeyError", vec![Object::from(7)]).with_note("here"));
    assert_eq!((&*fault.failure.type_name, &*fault.failure.message), ("KeyError", "7"));
    assert_eq!(fault.failure.notes, ["here"]);
    assert_eq!(fault.exception.expect("it is one").args, [Object::Int(7)]);

    let fault = from_error(&std::io::Error::from_raw_os_error(2));
    let exception = fault.exception.expect("it is an OSError");
    assert_eq!(exception.type_name, "OSError");
    assert_eq!(exception.args[0], Object::Int(2));
}

#[test]
fn arguments_that_do_not_fit_are_told_and_nothing_is_run() {
    let handler = plain(|_: (i64, String)| -> () { unreachable!("there are no arguments for it") });
    for _ in 0..6 {
        assert_eq!(value::<()>(call(&handler, &1i64)).expect_err("too few").kind, FailureKind::BadArguments);
    }
    let mut batch = Batch::new();
    let named = Arguments { positional: Vec::new(), named: vec![("x".to_owned(), Object::Int(1))] };
    let begun = handler.begin(Args::Values(named), &FORM, &mut batch);
    assert!(matches!(begun, Begun::Answered));
    assert_eq!(value::<()>(batch).expect_err("no names are known").kind, FailureKind::BadArguments);
}

#[test]
fn a_future_that_is_ready_is_answered_at_once() {
    let handler = AsyncFunction::new(|x: i64| async move { Plain(x + 1) });
    let mut batch = Batch::new();
    let begun = handler.begin(Args::Encoded(Codec::Bincode, &args(&1i64)), &FORM, &mut batch);
    assert!(matches!(begun, Begun::Answered));
    assert_eq!(value(batch), Ok(2i64));
}

#[test]
fn a_future_that_is_not_ready_goes_on() {
    let (send, receive) = futures::channel::oneshot::channel::<i64>();
    let receive = std::sync::Mutex::new(Some(receive));
    let handler = AsyncFunction::new(move |(): ()| {
        let receive = receive.lock().expect("no panic").take().expect("called once");
        async move { receive.await.map_err(|_| "gone") }
    });
    let mut batch = Batch::new();
    let begun = handler.begin(Args::Encoded(Codec::Bincode, &[]), &FORM, &mut batch);
    let Begun::Pending(mut running) = begun else { panic!("nothing has been sent") };
    assert!(batch.is_empty());
    send.send(4).expect("it is waited for");
    futures::executor::block_on(std::future::poll_fn(|cx| running.poll(cx, &FORM, &mut batch)));
    assert_eq!(value(batch), Ok(4i64));
}

#[test]
fn a_future_may_panic_before_and_after_it_has_waited() {
    let handler = AsyncFunction::new(|late: bool| async move {
        if late {
            let mut first = true;
            std::future::poll_fn(move |cx| match std::mem::replace(&mut first, false) {
                true => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                false => Poll::Ready(()),
            })
            .await;
        }
        panic!("late: {late}");
        #[expect(unreachable_code, reason = "it tells the type")]
        Plain(())
    });
    for late in [false, true] {
        let failure = value::<()>(call(&handler, &late)).expect_err("it panics");
        assert_eq!(failure.message, format!("the function panicked: late: {late}"));
    }
}

#[test]
fn a_function_on_an_executor_is_a_task_of_it() {
    let handler =
        on_executor(
            Arc::new(executor_core::Serial::new()),
            |x: i64| {
                if x == 13 { panic!("unlucky") } else { x + 1 }
            },
        );
    assert_eq!(value(call(&handler, &1i64)), Ok(2i64));
    let failure = value::<i64>(call(&handler, &13i64)).expect_err("it panics");
    assert_eq!((failure.kind, &*failure.message), (FailureKind::Panic, "the function panicked: unlucky"));
}
