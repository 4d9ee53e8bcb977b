//! Against a server of the native dialect that is written here, over a pair of sockets.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use futures::executor::block_on;
use futures::future::join_all;

use super::*;
use crate::connection::frame::Inbox;
use crate::rpc::protocol::{
    CallId, Failure, FailureKind, Hello, ToServer, encode_answer_header, encode_failure, encode_goodbye,
};
use crate::rpc::transport;
use crate::rpc::transport::Batch;

/// What a server has been told.
#[derive(Debug, PartialEq)]
enum Told {
    Call { id: u64, name: String, body: Vec<u8> },
    Cancel(u64),
}

/// The server's end, by hand.
struct Server {
    stream: UnixStream,
    inbox: Inbox,
    greeted: bool,
}

impl Server {
    /// The next message, or none at the end.
    fn next(&mut self) -> Option<Told> {
        loop {
            while let Some(message) = self.inbox.next(usize::MAX).expect("the client frames well") {
                let bytes = self.inbox.bytes(&message);
                if !std::mem::replace(&mut self.greeted, true) {
                    Hello::decode(bytes).expect("a client says hello first");
                    continue;
                }
                return Some(match ToServer::decode(bytes).expect("the client speaks well") {
                    ToServer::Call(call) => {
                        Told::Call { id: call.id.0, name: call.name.to_owned(), body: call.body.to_vec() }
                    }
                    ToServer::Cancel(id) => Told::Cancel(id.0),
                });
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => {
                    self.inbox.spare().extend_from_slice(&chunk[..count]);
                    self.inbox.settle();
                }
            }
        }
    }

    fn next_call(&mut self) -> (u64, Vec<u8>) {
        match self.next() {
            Some(Told::Call { id, body, .. }) => (id, body),
            other => panic!("not a call: {other:?}"),
        }
    }

    fn answer(&mut self, id: u64, body: &[u8]) {
        let mut batch = Batch::new();
        push_answer(&mut batch, id, body);
        self.stream.write_all(batch.frames()).expect("the client reads");
    }

    /// Answers each call with its arguments, until the end.
    fn echo(mut self) {
        let mut batch = Batch::new();
        while let Some(told) = self.next() {
            if let Told::Call { id, body, .. } = told {
                push_answer(&mut batch, id, &body);
            }
            if self.inbox.is_between_messages() || batch.size() > 1 << 16 {
                if self.stream.write_all(batch.frames()).is_err() {
                    return;
                }
                batch.clear();
            }
        }
    }
}

fn push_answer(batch: &mut Batch, id: u64, body: &[u8]) {
    batch.push_with(|out| {
        encode_answer_header(out, CallId(id));
        out.extend_from_slice(body);
    });
}

fn pair_with(config: ClientConfig) -> (RpcClient, Server) {
    // What is written by hand is in bincode.
    let config = config.with_codec(Codec::Bincode);
    let (near, far) = UnixStream::pair().expect("a pair of sockets");
    let client =
        RpcClient::of_socket(near.into(), Inbox::new(1 << 24), Codec::Bincode, "a test".into(), config);
    (client.expect("a socket is there"), Server { stream: far, inbox: Inbox::new(1 << 24), greeted: false })
}

fn pair() -> (RpcClient, Server) {
    pair_with(ClientConfig::default())
}

fn echo() -> (RpcClient, JoinHandle<()>) {
    let (client, server) = pair();
    (client, std::thread::spawn(move || server.echo()))
}

#[test]
fn calls_are_answered_by_wait_and_by_await() {
    let (client, server) = echo();
    for n in 0..100_u64 {
        assert_eq!(client.call::<_, u64>("echo", n).wait().unwrap(), n);
        assert_eq!(block_on(client.call::<_, u64>("echo", n)).unwrap(), n);
    }
    drop(client);
    server.join().unwrap();
}

#[test]
fn answers_find_their_calls_in_any_order() {
    let (client, mut server) = pair();
    let calls: Vec<Call<u64>> = (0..100_u64).map(|n| client.call("x", n)).collect();
    let mut seen: Vec<_> = (0..100).map(|_| server.next_call()).collect();
    seen.reverse();
    seen.iter().for_each(|(id, body)| server.answer(*id, body));
    let values: Vec<u64> = block_on(join_all(calls)).into_iter().map(|value| value.unwrap()).collect();
    assert_eq!(values, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_thread_that_waits_long_does_not_keep_others_from_their_answers() {
    let (client, mut server) = pair();
    let slow = client.call::<_, u64>("slow", 1_u64);
    let quick = client.call::<_, u64>("quick", 2_u64);
    let (slow_id, slow_body) = server.next_call();
    let (quick_id, quick_body) = server.next_call();
    // Whichever of the two reads, the other's answer is the first to come.
    let waits = std::thread::spawn(|| slow.wait());
    let other = std::thread::spawn(|| block_on(quick));
    server.answer(quick_id, &quick_body);
    assert_eq!(other.join().unwrap().unwrap(), 2);
    server.answer(slow_id, &slow_body);
    assert_eq!(waits.join().unwrap().unwrap(), 1);
}

#[test]
fn threads_and_futures_share_a_connection() {
    let (client, server) = echo();
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let client = client.clone();
            scope.spawn(move || {
                for n in 0..500 {
                    let n = n * 8 + thread;
                    let call = client.call::<_, u64>("echo", n);
                    let value = if (n / 8 + thread) % 3 == 0 { block_on(call) } else { call.wait() };
                    assert_eq!(value.unwrap(), n);
                }
            });
        }
    });
    drop(client);
    server.join().unwrap();
}

#[test]
fn dropping_a_call_cancels_it() {
    let (client, mut server) = pair();
    let call = client.call::<_, ()>("long", ());
    let (id, _) = server.next_call();
    drop(call);
    assert_eq!(server.next(), Some(Told::Cancel(id)));
    // Its answer comes nevertheless, and is nobody's.
    let next = client.call::<_, u64>("next", 7_u64);
    let (next_id, body) = server.next_call();
    server.answer(id, b"late");
    server.answer(next_id, &body);
    assert_eq!(next.wait().unwrap(), 7);
}

#[test]
fn a_detached_call_is_carried_out_and_not_cancelled() {
    let (client, mut server) = pair();
    client.call::<_, ()>("unwanted", ()).detach();
    let (unwanted, _) = server.next_call();
    let next = client.call::<_, u64>("next", 7_u64);
    let (next_id, body) = server.next_call();
    server.answer(unwanted, b"late");
    server.answer(next_id, &body);
    assert_eq!(next.wait().unwrap(), 7);
}

#[test]
fn detached_calls_are_sent_although_the_client_is_dropped() {
    let (client, mut server) = pair();
    // With one in flight, the others are left to be sent together.
    for n in 0..100_u64 {
        client.call::<_, ()>("unwanted", n).detach();
    }
    drop(client);
    let told = std::iter::from_fn(|| server.next()).count();
    assert_eq!(told, 100);
}

#[test]
fn a_client_knows_that_its_server_has_left() {
    let (client, server) = pair();
    assert!(!client.is_closed());
    drop(server);
    assert!(client.is_closed(), "without having read");
    assert!(client.call::<_, ()>("anything", ()).wait().is_err());
    assert!(client.is_closed());
}

#[test]
fn a_deadline_ends_a_call_in_a_thread_and_in_a_future() {
    let (client, mut server) = pair();
    let limit = Duration::from_millis(20);
    let failed = client.call::<_, ()>("long", ()).deadline(limit).wait();
    assert!(matches!(failed, Err(RpcError::DeadlineExceeded { name, .. }) if name == "long"));
    let (id, _) = server.next_call();
    assert_eq!(server.next(), Some(Told::Cancel(id)));

    let failed = block_on(client.with_deadline(limit).call::<_, ()>("long", ()));
    assert!(matches!(failed, Err(RpcError::DeadlineExceeded { .. })));
    let (id, _) = server.next_call();
    assert_eq!(server.next(), Some(Told::Cancel(id)));
}

#[test]
fn waiting_for_a_while_leaves_the_call_as_it_is() {
    let (client, mut server) = pair();
    let mut call = client.call::<_, u64>("long", 7_u64);
    assert!(call.wait_timeout(Duration::from_millis(10)).is_none());
    let (id, body) = server.next_call();
    server.answer(id, &body);
    assert_eq!(call.wait_timeout(Duration::from_secs(60)).expect("it is there").unwrap(), 7);
}

#[test]
fn a_thread_that_gives_up_leaves_reading_to_the_others() {
    let (client, mut server) = pair();
    let mut first = client.call::<_, u64>("first", 1_u64);
    let second = client.call::<_, u64>("second", 2_u64);
    let other = std::thread::spawn(|| second.wait());
    // Nothing is answered, so one of the two has to give the role up to the other.
    assert!(first.wait_timeout(Duration::from_millis(30)).is_none());
    server.next_call();
    let (id, body) = server.next_call();
    server.answer(id, &body);
    assert_eq!(other.join().unwrap().unwrap(), 2);
}

#[test]
fn a_lost_connection_fails_all_calls_in_flight_and_later_ones() {
    let (client, mut server) = pair();
    let calls: Vec<Call<u64>> = (0..10_u64).map(|n| client.call("x", n)).collect();
    let (id, body) = server.next_call();
    server.answer(id, &body);
    drop(server);
    let mut calls = calls.into_iter();
    assert_eq!(calls.next().expect("ten").wait().unwrap(), 0, "its answer came before the end");
    std::thread::scope(|scope| {
        for call in calls {
            scope.spawn(|| assert!(matches!(call.wait(), Err(RpcError::Disconnected { .. }))));
        }
    });
    let later = client.call::<_, u64>("x", 1_u64).wait();
    assert!(matches!(later, Err(RpcError::Disconnected { .. })));
}

#[test]
fn a_lost_connection_wakes_futures() {
    let (client, mut server) = pair();
    let calls: Vec<Call<u64>> = (0..10_u64).map(|n| client.call("x", n)).collect();
    let waits = std::thread::spawn(move || block_on(join_all(calls)));
    server.next_call();
    drop(server);
    for outcome in waits.join().unwrap() {
        assert!(matches!(outcome, Err(RpcError::Disconnected { .. })));
    }
}

#[test]
fn what_is_no_answer_ends_the_connection_with_the_reason() {
    let (client, mut server) = pair();
    let call = client.call::<_, u64>("x", 1_u64);
    server.next_call();
    server.stream.write_all(b"\0\0\0\x01\x77").unwrap();
    assert!(matches!(call.wait(), Err(RpcError::Protocol(_))));
    assert!(matches!(client.call::<_, u64>("x", 1_u64).wait(), Err(RpcError::Protocol(_))));
    assert!(server.next().is_none(), "the client has closed it");

    let (client, mut server) = pair();
    let call = client.call::<_, u64>("x", 1_u64);
    server.next_call();
    server.stream.write_all(&[0xff, 0xff, 0xff, 0xfe]).unwrap();
    assert!(matches!(call.wait(), Err(RpcError::Disconnected { source: Some(_), .. })));
}

#[test]
fn a_goodbye_says_why() {
    let (client, mut server) = pair();
    let call = client.call::<_, u64>("x", 1_u64);
    server.next_call();
    let mut batch = Batch::new();
    batch.push_with(|out| Hello::new(0).encode(out));
    batch.push_with(|out| encode_goodbye(out, "lunch"));
    server.stream.write_all(batch.frames()).unwrap();
    match call.wait() {
        Err(RpcError::Disconnected { reason, .. }) => assert!(reason.contains("lunch"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_failure_reaches_its_call_alone() {
    let (client, mut server) = pair();
    let (bad, good) = (client.call::<_, u64>("bad", ()), client.call::<_, u64>("good", 3_u64));
    let ((bad_id, _), (good_id, body)) = (server.next_call(), server.next_call());
    let mut batch = Batch::new();
    let mut failure = Failure::new(FailureKind::UnknownName, "");
    failure.notes = vec!["bat".into()];
    batch.push_with(|out| encode_failure(out, CallId(bad_id), &failure));
    server.stream.write_all(batch.frames()).unwrap();
    server.answer(good_id, &body);
    match bad.wait() {
        Err(RpcError::UnknownName { name, nearest }) => {
            assert_eq!((name.as_str(), nearest), ("bad", vec!["bat".into()]))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(good.wait().unwrap(), 3);
}

#[test]
fn the_connection_ends_with_the_last_clone_and_the_last_call() {
    let (client, mut server) = pair();
    let other = client.clone();
    let call = client.call::<_, u64>("x", 9_u64);
    let (id, body) = server.next_call();
    drop((client, other));
    server.answer(id, &body);
    assert_eq!(block_on(call).unwrap(), 9);
    assert!(server.next().is_none());
}

#[test]
fn calls_wait_while_the_server_reads_nothing_and_memory_is_bounded() {
    const BIG: usize = 64 * 1024;
    let config = ClientConfig::default().with_unsent_bytes(1 << 20);
    let (client, mut server) = pair_with(config);
    let call = || client.call::<_, u64>("big", vec![0_u8; BIG]);
    let calls: Vec<Call<u64>> = (0..200).map(|_| call()).collect();
    let unsent = client.owner.shared().unsent();
    assert!(unsent <= (1 << 20) + 2 * BIG, "{unsent} bytes wait to be sent");
    // Those that are given up were never sent, and free what they held.
    drop(calls);
    let failed = call().deadline(Duration::from_millis(10)).wait();
    assert!(matches!(failed, Err(RpcError::DeadlineExceeded { .. })));
    // When the server reads again, calls go on.
    let last = client.call::<_, u64>("last", 5_u64);
    let reads = std::thread::spawn(move || {
        let mut bigs = 0;
        loop {
            match server.next().expect("the last call is still to come") {
                Told::Call { name, id, body } if name == "last" => {
                    server.answer(id, &body);
                    return bigs;
                }
                Told::Call { .. } => bigs += 1,
                Told::Cancel(_) => {}
            }
        }
    });
    assert_eq!(last.wait().unwrap(), 5);
    assert!(reads.join().unwrap() < 40, "what was held is not sent when nobody wants it any more");
}

#[test]
fn more_calls_than_may_be_in_flight_are_all_answered() {
    let (client, server) = pair_with(ClientConfig::default().with_calls_in_flight(3));
    let server = std::thread::spawn(move || server.echo());
    let calls: Vec<Call<u64>> = (0..1000_u64).map(|n| client.call("echo", n)).collect();
    let (waited, awaited): (Vec<_>, Vec<_>) = calls.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    for (n, value) in block_on(join_all(awaited.into_iter().map(async |(n, call)| (n, call.await)))) {
        assert_eq!(value.unwrap(), n as u64);
    }
    for (n, call) in waited {
        assert_eq!(call.wait().unwrap(), n as u64);
    }
    drop(client);
    server.join().unwrap();
}

#[test]
fn messages_of_any_size_arrive() {
    let (client, server) = echo();
    for size in [0, 1, 29, 30, 31, 32, 5_000, 70_000, 3_000_000] {
        let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
        assert_eq!(client.call_bytes("echo", &bytes).wait().unwrap(), bytes);
        assert_eq!(block_on(client.call_bytes("echo", &bytes)).unwrap(), bytes);
    }
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_value_can_be_mapped_and_an_error_replaced() {
    let (client, server) = echo();
    let call = client.call::<_, u64>("echo", 20_u64).map(|n| n + 1).map(|n| n.to_string());
    assert_eq!(call.wait().unwrap(), "21");
    let call = client.call::<_, String>("echo", 20_u64).then(|value| Ok(value.is_err()));
    assert!(block_on(call).unwrap(), "20 is no text");
    drop(client);
    server.join().unwrap();
}

#[test]
fn arguments_that_cannot_be_sent_concern_one_call() {
    struct Unsendable;
    impl Serialize for Unsendable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not this one"))
        }
    }
    let (client, server) = echo();
    let failed = client.call::<_, u64>("echo", Unsendable).wait();
    assert!(matches!(failed, Err(RpcError::Encode { message, .. }) if message.contains("not this one")));
    let failed = block_on(client.call::<_, u64>(&"x".repeat(256), 1_u64));
    assert!(matches!(failed, Err(RpcError::Encode { .. })));
    assert_eq!(client.call::<_, u64>("echo", 1_u64).wait().unwrap(), 1);
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_call_may_be_made_while_another_is_encoded() {
    struct Nested(RpcClient);
    impl Serialize for Nested {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let inner = self.0.call::<_, u64>("echo", 5_u64).wait().map_err(serde::ser::Error::custom)?;
            to.serialize_u64(inner + 1)
        }
    }
    let (client, server) = echo();
    assert_eq!(client.call::<_, u64>("echo", Nested(client.clone())).wait().unwrap(), 6);
    drop(client);
    server.join().unwrap();
}

#[test]
fn any_transport_will_do() {
    let (near, far) = transport::pair(1 << 16);
    let client =
        RpcClient::over(near, Codec::Bincode, ClientConfig::default().with_codec(Codec::Bincode)).unwrap();
    let server = std::thread::spawn(move || {
        let (mut send, mut receive) = Transport::split(Box::new(far));
        let mut greeted = false;
        block_on(async move {
            while std::future::poll_fn(|cx| receive.poll_receive(cx)).await.unwrap() {
                let mut batch = Batch::new();
                while let Some(message) = receive.next() {
                    if !std::mem::replace(&mut greeted, true) {
                        continue;
                    }
                    if let Ok(ToServer::Call(call)) = ToServer::decode(message) {
                        push_answer(&mut batch, call.id.0, call.body);
                    }
                }
                std::future::poll_fn(|cx| send.poll_send(cx, &mut batch)).await.unwrap();
            }
        });
    });
    let calls: Vec<Call<u64>> = (0..100_u64).map(|n| client.call("echo", n)).collect();
    for (n, call) in calls.into_iter().enumerate() {
        let value = if n % 2 == 0 { call.wait() } else { block_on(call) };
        assert_eq!(value.unwrap(), n as u64);
    }
    drop(client);
    server.join().unwrap();
}

#[test]
fn calls_can_be_sent_to_other_threads() {
    fn check<T: Send + Unpin>() {}
    fn check_client<T: Clone + Send + Sync>() {}
    check::<Call<std::rc::Rc<()>>>();
    check_client::<RpcClient>();
}
