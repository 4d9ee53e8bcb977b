//! Every message is read as it was written, and no bytes do harm.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

/// A message that owns its bytes; the messages themselves borrow them.
#[derive(Debug, Clone)]
struct Owned<M> {
    message: M,
    bytes: Vec<u8>,
    more: Vec<u8>,
}

/// A value that is plain for an even number of bytes, and otherwise has something attached.
fn packed(bytes: &[u8]) -> Packed<'_> {
    if bytes.len().is_multiple_of(2) {
        return Packed::from(bytes);
    }
    let (bytes, attached) = bytes.split_at(bytes.len() / 2);
    Packed { bytes, attached, is_bulk: bytes.is_empty() }
}

fn targets() -> impl Strategy<Value = Target> {
    prop_oneof![
        (any::<u64>(), any::<u64>())
            .prop_map(|(descriptor, function)| Target::Image { descriptor, function }),
        ".{0,20}".prop_map(Target::Named),
    ]
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(Duration::ZERO), any::<u64>().prop_map(Duration::from_nanos)]
}

fn shares() -> impl Strategy<Value = Vec<ShareId>> {
    vec(any::<u128>().prop_map(ShareId), 0..4)
}

fn errors() -> impl Strategy<Value = TaskError> {
    let loss = (".{0,10}", any::<Option<i32>>(), any::<Option<i32>>(), ".{0,10}", ".{0,30}");
    prop_oneof![
        (".{0,30}", ".{0,30}", ".{0,30}").prop_map(|(a, b, c)| TaskError::panicked(a, b, c)),
        Just(TaskError::Cancelled),
        Just(TaskError::Full),
        Just(TaskError::Closed),
        (durations(), ".{0,10}").prop_map(|(limit, worker)| TaskError::timed_out(limit, worker)),
        (loss, any::<u32>()).prop_map(|((worker, exit, signal, reason, stderr_tail), attempts)| {
            let loss = crate::WorkerLoss { worker, exit, signal, reason, stderr_tail };
            TaskError::worker_lost(loss, attempts)
        }),
        (".{0,10}", ".{0,10}").prop_map(|(a, b)| TaskError::encode(a, b)),
        (".{0,10}", ".{0,10}").prop_map(|(a, b)| TaskError::decode(a, b)),
        ".{0,10}".prop_map(TaskError::not_portable),
        ".{0,10}".prop_map(TaskError::broken),
        (".{0,10}", ".{0,10}").prop_map(|(a, b)| TaskError::build_mismatch(a, b)),
        (".{0,10}", ".{0,10}").prop_map(|(a, b)| TaskError::unreachable(a, b)),
        any::<usize>().prop_map(TaskError::nested_too_deep),
    ]
}

fn task_options() -> impl Strategy<Value = TaskOptions> {
    let rare = (any::<bool>(), any::<Option<u32>>());
    (option::of(".{0,10}"), option::of(durations()), any::<u32>(), any::<i32>(), rare).prop_map(
        |(name, timeout, retries, priority, (idempotent, worker))| TaskOptions {
            name,
            timeout,
            retries,
            priority,
            idempotent,
            worker,
        },
    )
}

fn extras() -> impl Strategy<Value = Option<TaskExtra>> {
    option::of(
        (option::of(durations()), option::of(".{0,10}"), shares(), any::<Option<u32>>())
            .prop_map(|(timeout, name, shares, worker)| TaskExtra { timeout, name, shares, worker }),
    )
}

fn owned<M: std::fmt::Debug>(messages: impl Strategy<Value = M>) -> impl Strategy<Value = Owned<M>> {
    (messages, vec(any::<u8>(), 0..100), vec(any::<u8>(), 0..10)).prop_map(|(message, bytes, more)| Owned {
        message,
        bytes,
        more,
    })
}

/// Calls `check` with a message that borrows from the owned one.
type ToWorkerMaker = Box<dyn Fn(&[u8], &mut dyn FnMut(ToWorker<'_>))>;
type FromWorkerMaker = Box<dyn Fn(&[u8], &[u8], &mut dyn FnMut(FromWorker<'_>))>;

struct Maker<F>(&'static str, F);

impl<F> std::fmt::Debug for Maker<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

fn to_worker() -> impl Strategy<Value = Maker<ToWorkerMaker>> {
    fn make(
        name: &'static str,
        f: impl Fn(&[u8], &mut dyn FnMut(ToWorker<'_>)) + 'static,
    ) -> Maker<ToWorkerMaker> {
        Maker(name, Box::new(f))
    }
    prop_oneof![
        (any::<u64>(), any::<u64>(), any::<u32>(), any::<bool>(), targets(), extras()).prop_map(
            |(slot, task, attempt, is_async, target, extra)| {
                make("Task", move |arg, check| {
                    check(ToWorker::Task(TaskFrame {
                        slot,
                        task: TaskId::from_raw(task),
                        attempt,
                        is_async,
                        target: target.clone(),
                        extra: extra.clone(),
                        arg: packed(arg),
                    }));
                })
            }
        ),
        any::<u128>().prop_map(|id| make("Share", move |bytes, check| check(ToWorker::Share(
            ShareId(id),
            packed(bytes)
        )))),
        any::<u128>().prop_map(|id| make("Unshare", move |_, check| check(ToWorker::Unshare(ShareId(id))))),
        any::<u64>().prop_map(|id| make("NestedDone", move |bytes, check| check(ToWorker::NestedDone(
            id,
            Ok(packed(bytes))
        )))),
        (any::<u64>(), errors()).prop_map(|(id, error)| make("NestedDone", move |_, check| {
            check(ToWorker::NestedDone(id, Err(error.clone())))
        })),
        Just(()).prop_map(|()| make("Exit", |_, check| check(ToWorker::Exit))),
        Just(()).prop_map(|()| make("Ping", |_, check| check(ToWorker::Ping))),
        (any::<u64>(), durations())
            .prop_map(|(slot, grace)| make("Stop", move |_, check| check(ToWorker::Stop(slot, grace)))),
        any::<u64>().prop_map(|slot| make("Revoke", move |_, check| check(ToWorker::Revoke(slot)))),
        (any::<u64>(), any::<u64>())
            .prop_map(|(id, n)| make("Release", move |_, check| check(ToWorker::Release(id, n)))),
        any::<u64>().prop_map(|id| make("Withdraw", move |_, check| check(ToWorker::Withdraw(id)))),
    ]
}

fn from_worker() -> impl Strategy<Value = Maker<FromWorkerMaker>> {
    fn make(
        name: &'static str,
        f: impl Fn(&[u8], &[u8], &mut dyn FnMut(FromWorker<'_>)) + 'static,
    ) -> Maker<FromWorkerMaker> {
        Maker(name, Box::new(f))
    }
    let fractions =
        prop_oneof![Just(0.0), Just(1.0), any::<f64>().prop_filter("equal to itself", |it| !it.is_nan())];
    prop_oneof![
        any::<u32>().prop_map(|slots| make("Ready", move |_, _, check| check(FromWorker::Ready(slots)))),
        (any::<u64>(), durations()).prop_map(|(slot, time)| make("Done", move |bytes, _, check| {
            check(FromWorker::Done(slot, time, Ok(packed(bytes))))
        })),
        (any::<u64>(), durations(), errors())
            .prop_map(|(slot, time, error)| make("Done", move |_, _, check| {
                check(FromWorker::Done(slot, time, Err(error.clone())))
            })),
        (any::<u64>(), any::<bool>(), targets(), task_options(), shares()).prop_map(
            |(nested, is_async, target, options, shares)| {
                make("Nested", move |arg, _, check| {
                    check(FromWorker::Nested(NestedFrame {
                        nested,
                        is_async,
                        target: target.clone(),
                        options: options.clone(),
                        shares: shares.clone(),
                        arg: packed(arg),
                    }));
                })
            }
        ),
        any::<u64>()
            .prop_map(|id| make("NestedCancel", move |_, _, check| check(FromWorker::NestedCancel(id)))),
        any::<u128>().prop_map(|id| make("NestedShare", move |bytes, _, check| {
            check(FromWorker::NestedShare(ShareId(id), packed(bytes)))
        })),
        any::<u64>().prop_map(|slot| make("Blocked", move |_, _, check| check(FromWorker::Blocked(slot)))),
        any::<u64>()
            .prop_map(|slot| make("Unblocked", move |_, _, check| check(FromWorker::Unblocked(slot)))),
        (any::<u64>(), fractions).prop_map(|(slot, it)| make("Progress", move |_, _, check| check(
            FromWorker::Progress(slot, it)
        ))),
        (any::<u64>(), any::<bool>()).prop_map(|(slot, taken)| make("Revoked", move |_, _, check| check(
            FromWorker::Revoked(slot, taken)
        ))),
        any::<u64>().prop_map(|slot| make("Output", move |stdout, stderr, check| {
            check(FromWorker::Output(slot, stdout, stderr))
        })),
        Just(()).prop_map(|()| make("Pong", |_, _, check| check(FromWorker::Pong))),
        (any::<u64>(), any::<u64>())
            .prop_map(|(id, n)| make("Release", move |_, _, check| check(FromWorker::Release(id, n)))),
        any::<u64>().prop_map(|id| make("Withdraw", move |_, _, check| check(FromWorker::Withdraw(id)))),
    ]
}

/// The body of the only frame in these bytes.
fn body(frame: &[u8]) -> &[u8] {
    let (len, body) = frame.split_first_chunk::<LENGTH>().expect("a frame has a length");
    assert_eq!(u32::from_le_bytes(*len) as usize, body.len(), "the length is that of the body");
    body
}

proptest! {
    #[test]
    fn messages_to_workers_are_read_as_they_were_written(it in owned(to_worker())) {
        (it.message.1)(&it.bytes, &mut |message| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            assert_eq!(ToWorker::decode(body(&frame)), Ok(message));
        });
    }

    /// The layout stands twice: in one piece for plain frames, field by field for all.
    #[test]
    fn the_short_way_writes_and_reads_what_the_long_one_does(it in owned(to_worker())) {
        (it.message.1)(&it.bytes, &mut |message| {
            let mut short = Vec::new();
            message.encode(&mut short);
            if let ToWorker::Task(task) = &message {
                let mut long = Vec::new();
                task.encode_any(&mut long);
                assert_eq!(short, long);
            }
            assert_eq!(ToWorker::decode_any(body(&short)), Ok(message));
        });
    }

    #[test]
    fn a_plain_value_is_that_of_its_message(it in owned(from_worker())) {
        (it.message.1)(&it.bytes, &it.more, &mut |message| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            let expected = match &message {
                FromWorker::Done(slot, time, Ok(value)) if value.is_plain() => Some((*slot, *time, value.bytes)),
                _ => None,
            };
            assert_eq!(FromWorker::plain_value(body(&frame)), expected);
        });
    }

    #[test]
    fn messages_from_workers_are_read_as_they_were_written(it in owned(from_worker())) {
        (it.message.1)(&it.bytes, &it.more, &mut |message| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            assert_eq!(FromWorker::decode(body(&frame)), Ok(message));
        });
    }

    #[test]
    fn truncated_messages_to_workers_are_another_message_or_an_error(it in owned(to_worker())) {
        (it.message.1)(&it.bytes, &mut |message| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            let body = body(&frame);
            for len in 0..body.len() {
                // What is left of trailing bytes is a shorter message, never the same.
                if let Ok(shorter) = ToWorker::decode(&body[..len]) {
                    assert_ne!(shorter, message, "{len} of {} bytes", body.len());
                }
            }
        });
    }

    #[test]
    fn truncated_messages_from_workers_are_another_message_or_an_error(it in owned(from_worker())) {
        (it.message.1)(&it.bytes, &it.more, &mut |message| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            let body = body(&frame);
            for len in 0..body.len() {
                if let Ok(shorter) = FromWorker::decode(&body[..len]) {
                    assert_ne!(shorter, message, "{len} of {} bytes", body.len());
                }
            }
        });
    }

    #[test]
    fn random_bodies_never_panic(kind in any::<u8>(), bytes in vec(any::<u8>(), 0..200)) {
        let mut body = vec![kind];
        body.extend(bytes);
        let is_known = (1..=10).contains(&kind);
        prop_assert!(is_known || ToWorker::decode(&body) == Err(WireError::UnknownKind(kind)));
        let is_known = (65..=77).contains(&kind);
        prop_assert!(is_known || FromWorker::decode(&body) == Err(WireError::UnknownKind(kind)));
        // Known kinds: whatever they are read as, reading has ended.
        let _ = (ToWorker::decode(&body), FromWorker::decode(&body));
    }

    #[test]
    fn garbled_bodies_never_panic(it in owned(to_worker()), other in owned(from_worker()), at in any::<usize>(), bit in 0u32..8) {
        (it.message.1)(&it.bytes, &mut |message| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            let at = LENGTH + at % (frame.len() - LENGTH);
            frame[at] ^= 1u8 << bit;
            let _ = ToWorker::decode(body(&frame));
        });
        (other.message.1)(&other.bytes, &other.more, &mut |message| {
            let mut frame = Vec::new();
            message.encode(&mut frame);
            let at = LENGTH + at % (frame.len() - LENGTH);
            frame[at] ^= 1u8 << bit;
            let _ = FromWorker::decode(body(&frame));
        });
    }
}

#[test]
fn an_empty_body_is_truncated() {
    assert_eq!(ToWorker::decode(&[]), Err(WireError::Truncated { kind: 0, len: 0 }));
    assert_eq!(FromWorker::decode(&[]), Err(WireError::Truncated { kind: 0, len: 0 }));
}

#[test]
fn a_length_inside_of_a_body_is_not_believed() {
    // A named task whose name claims 4 GiB.
    let mut body = vec![1, 2];
    body.extend([0; 20]);
    body.extend(u32::MAX.to_le_bytes());
    assert_eq!(ToWorker::decode(&body), Err(WireError::Truncated { kind: 1, len: body.len() }));
}

#[test]
fn frames_stand_one_behind_the_other() {
    let mut out = Vec::new();
    ToWorker::Ping.encode(&mut out);
    let first = out.len();
    ToWorker::Revoke(7).encode(&mut out);
    assert_eq!(ToWorker::decode(body(&out[..first])), Ok(ToWorker::Ping));
    assert_eq!(ToWorker::decode(body(&out[first..])), Ok(ToWorker::Revoke(7)));
}

#[test]
fn a_result_is_written_straight_into_its_frame() {
    let time = Duration::from_micros(5);
    let (mut direct, mut whole) = (vec![9], vec![9]);
    let written = encode_done::<TaskError>(&mut direct, 3, |out| {
        out.extend([1, 2, 3]);
        Ok(Finished { elapsed: time, ..Finished::default() })
    });
    FromWorker::Done(3, time, Ok(Packed::from(&[1u8, 2, 3][..]))).encode(&mut whole);
    assert_eq!((written, &direct), (Ok(()), &whole));

    let failed = encode_done(&mut direct, 4, |out| {
        out.extend([1, 2, 3]);
        Err(TaskError::Closed)
    });
    assert_eq!((failed, direct), (Err(TaskError::Closed), whole), "nothing is left of a result that failed");
}

#[test]
fn times_beyond_the_range_are_cut() {
    let mut out = Vec::new();
    ToWorker::Stop(1, Duration::MAX).encode(&mut out);
    let longest = Duration::from_nanos(u64::MAX);
    assert_eq!(ToWorker::decode(body(&out)), Ok(ToWorker::Stop(1, longest)));
}

#[test]
fn a_result_is_written_with_what_is_attached_to_it() {
    let (mut direct, mut whole) = (Vec::new(), Vec::new());
    let mut attached = Vec::new();
    Item::Inline(&[7; 9]).write(&mut attached);
    let finished = Finished { attached: attached.clone(), is_bulk: true, ..Finished::default() };
    encode_done::<()>(&mut direct, 3, |_| Ok(finished)).unwrap();
    let value = Packed { bytes: &[], attached: &attached, is_bulk: true };
    FromWorker::Done(3, Duration::ZERO, Ok(value)).encode(&mut whole);
    assert_eq!(direct, whole);
}

#[test]
fn nothing_attached_costs_no_byte() {
    let mut out = Vec::new();
    FromWorker::Done(1, Duration::ZERO, Ok(Packed::from(&[5u8; 10][..]))).encode(&mut out);
    assert_eq!(out.len(), LENGTH + 1 + 8 + 8 + 1 + 10);
}

fn items() -> impl Strategy<Value = (u8, u64, u64, Vec<u8>)> {
    (0u8..5, any::<u64>(), any::<u64>(), vec(any::<u8>(), 0..50))
}

fn item(made: &(u8, u64, u64, Vec<u8>)) -> Item<'_> {
    let (kind, id, len, bytes) = made;
    match kind {
        0 => Item::Inline(bytes),
        1 | 2 => Item::Granted { id: *id, len: *len, is_new: *kind == 2 },
        3 => Item::Returned { id: *id, len: *len },
        _ => Item::Local(*len as u8),
    }
}

proptest! {
    #[test]
    fn items_are_read_as_they_were_written(made in vec(items(), 0..6), garble in any::<usize>()) {
        let mut bytes = Vec::new();
        made.iter().for_each(|made| item(made).write(&mut bytes));
        fn attached(bytes: &[u8]) -> Result<Vec<Item<'_>>, WireError> {
            Packed { bytes: &[], attached: bytes, is_bulk: false }.items()
        }
        prop_assert_eq!(attached(&bytes), Ok(made.iter().map(item).collect::<Vec<_>>()));
        if !bytes.is_empty() {
            // Whatever it is read as, reading ends.
            let at = garble % bytes.len();
            drop(attached(&bytes[..at]));
            bytes[at] ^= 1 << (garble % 8);
            drop(attached(&bytes));
        }
    }
}
