//! Messages of all kinds, within one process. Those between processes are in `tests/ipc_queue`.

use std::thread;
use std::time::{Duration, Instant};

use executor_core::Blob;
use serde::{Deserialize, Serialize};

use super::super::message::{INLINE, MOST_DESCRIPTORS};
use super::super::{PipeReader, PipeWriter, RecvError, SendError, duplex, pipe};
use crate::ipc::Queue;

const SOON: Duration = Duration::from_millis(20);

#[test]
fn what_was_sent_is_received_in_order_and_then_the_end() {
    let (reader, writer) = pipe().expect("a pipe");
    for n in 0..100u32 {
        writer.send((n, vec![n; 10])).expect("a receiver");
    }
    drop(writer);
    for n in 0..100 {
        assert_eq!(reader.recv().expect("a message"), (n, vec![n; 10]));
    }
    for _ in 0..2 {
        assert!(matches!(reader.recv(), Err(RecvError::Closed)));
        assert!(matches!(reader.try_recv(), Err(RecvError::Closed)));
    }
    assert!(reader.poll(SOON), "the end is something to receive");
}

#[test]
fn sending_to_nobody_is_an_error_with_the_message() {
    let (reader, writer) = pipe().expect("a pipe");
    writer.send("unread".to_owned()).expect("a receiver");
    drop(reader);
    for _ in 0..3 {
        match writer.send("lost".to_owned()) {
            Err(error @ SendError::Closed(_)) => {
                assert!(error.to_string().contains("nobody is left"), "{error}");
                assert_eq!(error.into_message(), "lost");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn both_ways() {
    let (asking, answering) = duplex::<u32, String>().expect("a pipe");
    thread::scope(|scope| {
        scope.spawn(move || {
            while let Ok(n) = answering.recv() {
                answering.send(n.to_string()).expect("a receiver");
            }
        });
        for n in 0..100 {
            asking.send(n).expect("a receiver");
            assert_eq!(asking.recv().expect("an answer"), n.to_string());
        }
        drop(asking);
    });
}

#[test]
fn what_an_end_sent_before_it_closed_unread_is_received() {
    let (one, other) = duplex::<u8, u8>().expect("a pipe");
    one.send(1).expect("a receiver");
    other.send(2).expect("a receiver");
    // It has not received the 1, so the kernel reports a reset to the other side.
    drop(other);
    assert_eq!(one.recv().expect("sent before"), 2);
    assert!(matches!(one.recv(), Err(RecvError::Closed)));
    assert!(matches!(one.send(3), Err(SendError::Closed(3))));
}

#[test]
fn an_empty_pipe_says_so() {
    let (reader, writer) = pipe::<u8>().expect("a pipe");
    assert!(matches!(reader.try_recv(), Err(RecvError::Empty)));
    assert!(!reader.poll(Duration::ZERO));
    let start = Instant::now();
    assert!(matches!(reader.recv_timeout(SOON), Err(RecvError::Empty)));
    assert!(!reader.poll(SOON));
    assert!(start.elapsed() >= 2 * SOON);
    writer.send(1).expect("a receiver");
    assert!(reader.poll(Duration::ZERO));
    assert_eq!(reader.recv_timeout(SOON).expect("a message"), 1);
}

#[test]
fn a_full_pipe_gives_the_message_back_and_goes_on_when_there_is_room() {
    let (reader, writer) = pipe().expect("a pipe");
    let mut sent = 0u32;
    let error = loop {
        match writer.try_send(sent) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SendError::Full(n) if n == sent) && sent > 10);
    assert!(matches!(writer.send_timeout(0, SOON), Err(SendError::Full(0))));
    thread::scope(|scope| {
        scope.spawn(|| writer.send(sent).expect("a receiver"));
        for n in 0..=sent {
            assert_eq!(reader.recv().expect("a message"), n);
        }
    });
}

#[test]
fn messages_of_every_size_arrive_whole() {
    let (reader, writer) = pipe().expect("a pipe");
    let sizes = [0, 1, INLINE - 10, INLINE - 3, INLINE - 1, INLINE, INLINE + 1, 100_000, 5_000_000, 2];
    let message = |size: usize| (0..size).map(|at| (at * 7 + size) as u8).collect::<Vec<u8>>();
    thread::scope(|scope| {
        scope.spawn(|| sizes.iter().for_each(|size| writer.send(message(*size)).expect("a receiver")));
        for size in sizes {
            assert!(reader.recv().expect("a message") == message(size), "{size} bytes");
        }
    });
    let (reader, writer) = pipe::<()>().expect("a pipe");
    writer.send(()).expect("a receiver");
    reader.recv().expect("an empty message is no end");
}

#[test]
fn long_messages_that_nobody_receives_are_few() {
    let (_reader, writer) = pipe().expect("a pipe");
    let message = vec![1u8; 1 << 20];
    let sent = (0..100).take_while(|_| writer.try_send(message.clone()).is_ok()).count();
    assert!((1..=12).contains(&sent), "{sent} MiB are under way");
}

#[test]
fn blobs_of_every_size_arrive_whole() {
    let (reader, writer) = pipe().expect("a pipe");
    let sizes = [0, 10, 20_000, INLINE, 40_000, 3_000_000];
    let blob = |size: usize| Blob::from((0..size).map(|at| (at * 5 + size) as u8).collect::<Vec<u8>>());
    let message: Vec<(usize, Blob)> = sizes.iter().map(|size| (*size, blob(*size))).collect();
    thread::scope(|scope| {
        scope.spawn(|| writer.send(message).expect("a receiver"));
        for (size, received) in reader.recv().expect("a message") {
            assert!(*received == *blob(size), "{size} bytes");
        }
    });
}

#[test]
fn handles_travel_inside_of_messages() {
    let (reader, writer) =
        pipe::<(String, Queue<u32>, PipeWriter<u32>, Option<PipeReader<u32>>)>().expect("a pipe");
    let queue = Queue::unbounded().expect("a queue");
    let (results, result_writer) = pipe().expect("a pipe");
    writer.send(("take these".to_owned(), queue.clone(), result_writer, None)).expect("a receiver");
    drop(writer);
    let (_, there, results_there, _) = reader.recv().expect("a message");
    queue.put(20).expect("room");
    results_there.send(there.get().expect("an item") + 1).expect("a receiver");
    drop(results_there);
    assert_eq!(results.recv().expect("a result"), 21);
    assert!(matches!(results.recv(), Err(RecvError::Closed)), "no descriptor stays behind");
}

#[test]
fn handles_in_a_long_message_travel_too() {
    let (reader, writer) = pipe().expect("a pipe");
    let queue = Queue::<u8>::unbounded().expect("a queue");
    writer.send((vec![7u8; 1_000_000], queue.clone(), Blob::from(vec![8; 50_000]))).expect("a receiver");
    let (bytes, there, blob): (Vec<u8>, Queue<u8>, Blob) = reader.recv().expect("a message");
    assert!(bytes.len() == 1_000_000 && blob.len() == 50_000 && blob[49_999] == 8);
    queue.put(3).expect("room");
    assert_eq!(there.get().expect("an item"), 3);
}

#[test]
fn more_handles_than_the_kernel_takes_are_refused() {
    let (_reader, writer) = pipe().expect("a pipe");
    let queues: Vec<_> = (0..=MOST_DESCRIPTORS).map(|_| Queue::<u8>::unbounded().expect("a queue")).collect();
    match writer.send(queues) {
        Err(SendError::TooManyHandles { message, descriptors, .. }) => {
            assert_eq!((message.len(), descriptors), (MOST_DESCRIPTORS + 1, MOST_DESCRIPTORS + 1));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_handle_that_was_sent_twice_in_one_message_is_one() {
    let (reader, writer) = pipe().expect("a pipe");
    let queue = Queue::<u8>::unbounded().expect("a queue");
    writer.send(vec![queue.clone(); 300]).expect("one descriptor");
    let there: Vec<Queue<u8>> = reader.recv().expect("a message");
    there[0].put(1).expect("room");
    assert_eq!(there[299].len(), 1);
}

#[derive(Debug, Serialize)]
struct Stubborn;

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("never"))
    }
}

#[test]
fn a_message_that_does_not_decode_is_lost_alone() {
    let (reader, writer) = pipe::<Result<u8, Stubborn>>().expect("a pipe");
    writer.send(Ok(1)).expect("a receiver");
    writer.send(Err(Stubborn)).expect("a receiver");
    writer.send(Ok(2)).expect("a receiver");
    assert_eq!(reader.recv().expect("a message").expect("the first"), 1);
    match reader.recv() {
        Err(RecvError::Decode { reason, type_name }) => {
            assert!(reason.contains("never") && type_name.contains("Stubborn"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(reader.recv().expect("a message").expect("the third"), 2);
}

#[test]
fn a_message_that_does_not_encode_is_given_back() {
    struct Unspeakable;
    impl Serialize for Unspeakable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no words"))
        }
    }
    let (_reader, writer) = pipe().expect("a pipe");
    let error = writer.send(Unspeakable).expect_err("not encoded");
    assert!(error.to_string().contains("no words"), "{error}");
    let Unspeakable = error.into_message();
}

#[test]
fn a_handle_written_elsewhere_says_where_it_can_be_written() {
    let (reader, _writer) = pipe::<u8>().expect("a pipe");
    let error = serde_json::to_string(&reader).expect_err("descriptors are no text");
    assert!(error.to_string().contains("PipeReader"), "{error}");
}
