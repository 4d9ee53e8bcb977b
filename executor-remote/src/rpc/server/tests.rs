use std::future::poll_fn;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::channel::oneshot;
use futures::executor::block_on;

use super::*;
use crate::object::{Codec, Object, pickle};
use crate::rpc::dialect::codec_to_wire;
use crate::rpc::protocol::{self, CallId, Failure, FailureKind, FromServer, Hello};
use crate::rpc::transport::{self, Batch, ReceiveMessages, SendMessages};

/// Long enough for any machine, so that what hangs fails.
const LONG: Duration = Duration::from_secs(30);

/// A peer whose messages are written and read by hand.
struct Client {
    send: Box<dyn SendMessages>,
    receive: Box<dyn ReceiveMessages>,
    out: Batch,
}

impl Client {
    /// Of a server that serves nobody else.
    fn new(server: RpcServer) -> (Self, Serving) {
        Self::with_room(server, 1 << 20)
    }

    fn with_room(server: RpcServer, capacity: usize) -> (Self, Serving) {
        let (near, far) = transport::pair(capacity);
        let serving = server.serve_transport(far);
        let (send, receive) = Box::new(near).split();
        (Self { send, receive, out: Batch::new() }, serving)
    }

    /// That has said hello.
    fn native(server: RpcServer) -> (Self, Serving) {
        let (mut client, serving) = Self::new(server);
        client.out.push_with(|out| Hello::new(codec_to_wire(Codec::Bincode)).encode(out));
        client.flush();
        assert_eq!(Hello::decode(&client.next().expect("a hello")), Ok(Hello::new(0)));
        (client, serving)
    }

    fn call(&mut self, id: u64, name: &str, args: impl Serialize) {
        self.call_within(id, name, None, args);
    }

    fn call_within(&mut self, id: u64, name: &str, deadline: Option<Duration>, args: impl Serialize) {
        self.out.push_with(|out| {
            protocol::encode_call_header(out, CallId(id), deadline, name).expect("a short name");
            Codec::Bincode.encode(&args, out).expect("it can be encoded");
        });
        self.flush();
    }

    fn cancel(&mut self, id: u64) {
        self.out.push_with(|out| protocol::encode_cancel(out, CallId(id)));
        self.flush();
    }

    fn say(&mut self, message: &[u8]) {
        self.out.push(message);
        self.flush();
    }

    fn flush(&mut self) {
        block_on(poll_fn(|cx| self.send.poll_send(cx, &mut self.out))).expect("the server is there");
    }

    /// The next message; none if the server has closed its side.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(message) = self.receive.next() {
                return Some(message.to_vec());
            }
            let received = async {
                tokio::time::timeout(LONG, poll_fn(|cx| self.receive.poll_receive(cx)))
                    .await
                    .expect("in time")
            };
            let _runtime = crate::io_runtime::handle().enter();
            if !block_on(received).expect("the transport is whole") {
                return None;
            }
        }
    }

    /// The next answer, of whichever call.
    fn answer<R: DeserializeOwned>(&mut self) -> (u64, Result<R, Failure>) {
        let message = self.next().expect("an answer");
        match FromServer::decode(&message).expect("of the protocol") {
            FromServer::Answer(id, body) => (id.0, Ok(Codec::Bincode.decode(body).expect("of that type"))),
            FromServer::Failure(id, failure) => (id.0, Err(failure)),
            FromServer::Goodbye(reason) => panic!("goodbye: {reason}"),
        }
    }

    fn goodbye(&mut self) -> String {
        let message = self.next().expect("a goodbye");
        match FromServer::decode(&message).expect("of the protocol") {
            FromServer::Goodbye(reason) => reason.to_owned(),
            other => panic!("{other:?}"),
        }
    }
}

fn adder() -> RpcServer {
    RpcServer::new()
        .register("add", |(x, y): (i64, i64)| x + y)
        .register("subtract", |(x, y): (i64, i64)| x - y)
}

/// A handler that waits until it is let go, and says when it has begun and when it was dropped.
fn gate() -> (RpcServer, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let handler = {
        let gate = gate.clone();
        move |at: usize| {
            let (send, receive) = oneshot::channel::<()>();
            gate.senders.lock().expect("no panic").push((at, send));
            let guard = Gone(gate.clone());
            async move {
                receive.await.expect("it is let go");
                std::mem::forget(guard);
                at
            }
        }
    };
    (adder().register_async("wait", handler), gate)
}

#[derive(Default)]
struct Gate {
    senders: Mutex<Vec<(usize, oneshot::Sender<()>)>>,
    dropped: AtomicUsize,
}

struct Gone(Arc<Gate>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

impl Gate {
    fn open(&self, at: usize) {
        let mut senders = self.senders.lock().expect("no panic");
        let place = senders.iter().position(|(waiting, _)| *waiting == at).expect("it has begun");
        senders.swap_remove(place).1.send(()).expect("it waits");
    }

    fn begun(&self) -> usize {
        self.senders.lock().expect("no panic").len()
    }

    /// Until so many handlers were dropped before they were done.
    fn await_dropped(&self, count: usize) {
        let limit = std::time::Instant::now() + LONG;
        while self.dropped.load(Ordering::SeqCst) < count {
            assert!(std::time::Instant::now() < limit, "they are not dropped");
            std::thread::yield_now();
        }
    }
}

#[test]
fn calls_are_answered_by_their_ids() {
    let (mut client, _serving) = Client::native(adder());
    for id in 0..100 {
        client.call(id, "add", (id as i64, 1i64));
    }
    let mut answers: Vec<_> = (0..100).map(|_| client.answer::<i64>()).collect();
    answers.sort_unstable_by_key(|(id, _)| *id);
    let expected: Vec<_> = (0..100).map(|id| (id, Ok(id as i64 + 1))).collect();
    assert_eq!(answers, expected);
}

#[test]
fn a_fault_leaves_the_other_calls_untouched() {
    let server = adder()
        .register("panic", |()| -> i64 { panic!("on purpose") })
        .register_fallible("fail", |()| Err::<i64, _>("no"));
    let (mut client, _serving) = Client::native(server);
    for round in 0..10 {
        let id = round * 10;
        client.call(id, "add", (1i64, 2i64));
        client.call(id + 1, "panic", ());
        client.call(id + 2, "fail", ());
        client.call(id + 3, "ad", ());
        client.call(id + 4, "add", 1i32);
        client.call(id + 5, "add", (3i64, 4i64));
        let mut answers: Vec<_> = (0..6).map(|_| client.answer::<i64>()).collect();
        answers.sort_unstable_by_key(|(id, _)| *id);
        let kinds: Vec<_> =
            answers.into_iter().map(|(_, answer)| answer.map_err(|failure| failure.kind)).collect();
        let expected = [
            Ok(3),
            Err(FailureKind::Panic),
            Err(FailureKind::Error),
            Err(FailureKind::UnknownName),
            Err(FailureKind::BadArguments),
            Ok(7),
        ];
        assert_eq!(kinds, expected);
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let (mut client, _serving) =
        Client::native(adder().register("addd", |()| ()).register("far_off", |()| ()));
    client.call(1, "ad", ());
    let (_, answer) = client.answer::<()>();
    let failure = answer.expect_err("there is no such function");
    assert_eq!(failure.message, "there is no function `ad`; did you mean `add` or `addd`?");
    assert_eq!(failure.notes, ["add", "addd"]);
    client.call(2, "nothing_like_it", ());
    assert_eq!(client.answer::<()>().1.expect_err("no").message, "there is no function `nothing_like_it`");
}

#[test]
fn a_quick_call_overtakes_one_that_waits() {
    let (server, gate) = gate();
    let (mut client, _serving) = Client::native(server);
    client.call(1, "wait", 1usize);
    client.call(2, "add", (1i64, 1i64));
    assert_eq!(client.answer(), (2, Ok(2i64)));
    gate.open(1);
    assert_eq!(client.answer(), (1, Ok(1usize)));
}

#[test]
fn a_cancelled_call_is_dropped_and_not_answered() {
    let (server, gate) = gate();
    let (mut client, _serving) = Client::native(server);
    client.call(1, "wait", 1usize);
    client.call(2, "wait", 2usize);
    client.cancel(1);
    gate.await_dropped(1);
    gate.open(2);
    assert_eq!(client.answer(), (2, Ok(2usize)));
    client.cancel(77); // that there is no such call is nobody's fault
    client.call(1, "add", (1i64, 1i64));
    assert_eq!(client.answer(), (1, Ok(2i64)));
}

#[test]
fn calls_that_wait_are_dropped_when_their_peer_leaves() {
    let (server, gate) = gate();
    let (mut client, serving) = Client::native(server);
    client.call(1, "wait", 1usize);
    client.call(2, "add", (1i64, 1i64));
    assert_eq!(client.answer(), (2, Ok(2i64)));
    drop(client);
    gate.await_dropped(1);
    assert!(serving.wait().is_ok());
}

#[test]
fn a_deadline_drops_the_call_and_tells() {
    let (server, gate) = gate();
    let (mut client, _serving) = Client::native(server);
    client.call_within(1, "wait", Some(Duration::from_millis(1)), 1usize);
    let (id, answer) = client.answer::<usize>();
    assert_eq!((id, answer.expect_err("it waits for ever").kind), (1, FailureKind::DeadlineExceeded));
    gate.await_dropped(1);
    client.call_within(2, "add", Some(LONG), (1i64, 1i64));
    assert_eq!(client.answer(), (2, Ok(2i64)));
}

#[test]
fn no_more_calls_are_begun_than_may_be_in_flight() {
    let (server, gate) = gate();
    let (mut client, _serving) = Client::native(server.calls_in_flight(3));
    for at in 0..5usize {
        client.call(at as u64, "wait", at);
    }
    for at in 0..5 {
        // The answer of the last one shows that what may have been begun has been begun.
        let limit = std::time::Instant::now() + LONG;
        while gate.begun() < 3.min(5 - at) {
            assert!(std::time::Instant::now() < limit, "they are not begun");
            std::thread::yield_now();
        }
        assert_eq!(gate.begun(), 3.min(5 - at));
        gate.open(at);
        assert_eq!(client.answer(), (at as u64, Ok(at)));
    }
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_from() {
    const ANSWER: usize = 10_000;
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let server = RpcServer::new()
        .register_async("fill", move |(): ()| {
            count.fetch_add(1, Ordering::SeqCst);
            async { "x".repeat(ANSWER) }
        })
        .unsent_bytes(100_000);
    let (mut client, serving) = Client::with_room(server, 50_000);
    client.out.push_with(|out| Hello::new(0).encode(out));
    let body = |out: &mut Vec<u8>, id| protocol::encode_call_header(out, CallId(id), None, "fill");
    for id in 0..100_000 {
        client.out.try_push_with(|out| body(out, id)).expect("a short name");
    }
    // As far as the server takes them: until the transport is full in both directions.
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut before = usize::MAX;
    while client.out.size() != before || called.load(Ordering::SeqCst) < 15 {
        before = client.out.size();
        assert!(client.send.poll_send(&mut cx, &mut client.out).is_pending(), "100,000 calls do not fit");
        std::thread::sleep(Duration::from_millis(20)); // nothing tells that nothing more happens
    }
    let begun = called.load(Ordering::SeqCst);
    assert!(begun <= 30, "{begun} answers of {ANSWER} bytes are kept, for 150,000 bytes of room");

    // Who reads is answered again.
    assert_eq!(Hello::decode(&client.next().expect("a hello")), Ok(Hello::new(0)));
    for id in 0..50 {
        let (answered, text) = client.answer::<String>();
        assert_eq!((answered, text.expect("a text").len()), (id, ANSWER));
        let _ = client.send.poll_send(&mut cx, &mut client.out);
    }
    drop(serving);
}

#[test]
fn stopping_completes_what_runs_and_begins_nothing() {
    let (server, gate) = gate();
    let (mut client, serving) = Client::native(server);
    client.call(1, "wait", 1usize);
    client.call(2, "add", (1i64, 1i64));
    assert_eq!(client.answer(), (2, Ok(2i64)));
    serving.handle().stop();
    client.call(3, "add", (1i64, 1i64));
    assert_eq!(client.answer::<i64>().1.expect_err("not begun").kind, FailureKind::Stopping);
    gate.open(1);
    assert_eq!(client.answer(), (1, Ok(1usize)));
    assert_eq!(client.goodbye(), "the server is stopping");
    assert_eq!(client.next(), None);
    drop(client);
    assert!(serving.wait().is_ok());
}

#[test]
fn a_server_that_was_stopped_before_it_serves_says_goodbye() {
    let server = adder();
    server.handle().stop();
    let (mut client, serving) = Client::new(server);
    assert_eq!(client.next(), None, "it is not known which dialect the goodbye would have");
    drop(client);
    assert!(serving.wait().is_ok());
}

#[test]
fn dropping_the_server_drops_what_runs() {
    let (server, gate) = gate();
    let (mut client, serving) = Client::native(server);
    client.call(1, "wait", 1usize);
    client.call(2, "add", (1i64, 1i64));
    assert_eq!(client.answer(), (2, Ok(2i64)));
    drop(serving);
    gate.await_dropped(1);
    assert_eq!(client.next(), None);
}

#[test]
fn a_hello_of_another_version_is_told_ours_and_refused() {
    let (mut client, _serving) = Client::new(adder());
    client.say(b"\x01executor-rpc\x09\x00");
    assert_eq!(Hello::decode(&client.next().expect("a hello")), Ok(Hello::new(0)));
    assert!(client.goodbye().contains("the peer speaks version 9"));
    assert_eq!(client.next(), None);
}

#[test]
fn a_codec_that_there_is_not_is_refused() {
    let (mut client, _serving) = Client::new(adder());
    client.say(b"\x01executor-rpc\x01\x09");
    assert!(client.next().is_some());
    assert!(client.goodbye().contains("bad codec"));
}

#[test]
fn what_is_no_message_of_the_dialect_ends_the_connection() {
    for message in [&b"\x63"[..], b"", b"\x01\x01", b"\x02\x01"] {
        let (mut client, _serving) = Client::native(adder());
        client.say(message);
        client.goodbye();
        assert_eq!(client.next(), None);
    }
    let (mut client, _serving) = Client::new(adder());
    client.say(b"GET / HTTP/1.1");
    assert_eq!(client.next(), None);
}

#[test]
fn an_id_that_is_in_flight_is_refused() {
    let (server, gate) = gate();
    let (mut client, _serving) = Client::native(server);
    client.call(1, "wait", 1usize);
    client.call(1, "wait", 2usize);
    assert!(client.goodbye().contains("a call of this id in flight"));
    gate.await_dropped(2);
}

#[test]
fn a_fixed_dialect_is_that_of_all() {
    let (mut client, _serving) = Client::new(adder().dialect(Dialect::Native));
    client.say(br#"{"jsonrpc": "2.0", "method": "add", "params": [2, 3], "id": 1}"#);
    assert_eq!(client.next(), None);

    let (mut client, _serving) = Client::new(adder().dialect(Dialect::JsonRpc));
    client.say(br#"{"jsonrpc": "2.0", "method": "add", "params": [2, 3], "id": 1}"#);
    assert_eq!(client.next().expect("an answer"), br#"{"jsonrpc":"2.0","result":5,"id":1}"#);
}

#[test]
fn calls_of_the_python_recipe_are_answered_in_order() {
    let (server, gate) = gate();
    let (mut client, _serving) = Client::new(server);
    let kwargs = std::collections::BTreeMap::<String, i64>::new();
    let wait = pickle::to_vec(&("wait", (1,), &kwargs)).expect("data");
    let add = pickle::to_vec(&("add", (2, 3), &kwargs)).expect("data");
    client.say(&add);
    assert_eq!(pickle::from_slice::<i64>(&client.next().expect("an answer")).expect("a number"), 5);
    client.say(&wait);
    client.say(&add);
    let limit = std::time::Instant::now() + LONG;
    while gate.begun() == 0 {
        assert!(std::time::Instant::now() < limit, "it is not begun");
        std::thread::yield_now();
    }
    gate.open(1);
    assert_eq!(pickle::from_slice::<i64>(&client.next().expect("an answer")).expect("a number"), 1);
    assert_eq!(pickle::from_slice::<i64>(&client.next().expect("an answer")).expect("a number"), 5);
}

#[test]
fn a_message_pack_client_is_served() {
    let (mut client, _serving) = Client::new(adder());
    client.say(b"\x94\0\x07\xa3add\x92\x02\x03");
    assert_eq!(client.next().expect("an answer"), b"\x94\x01\x07\xc0\x05");
    client.say(b"\x93\x02\xa3add\x92\x02\x03"); // a notification has none
    client.say(b"\x94\0\x08\xa3sub\x92\x02\x03");
    let answer: Object = Codec::MessagePack.decode(&client.next().expect("an answer")).expect("MessagePack");
    assert!(answer.to_string().contains("'UnknownName'"), "{answer}");
}

#[test]
fn a_json_batch_is_answered_in_one_message() {
    let (mut client, _serving) = Client::new(adder());
    client.say(
        br#"[{"jsonrpc":"2.0","method":"add","params":[1,2],"id":1},{"jsonrpc":"2.0","method":"add","params":[1,2]},
            {"jsonrpc":"2.0","method":"nothing","id":2}]"#,
    );
    let answer: serde_json::Value = serde_json::from_slice(&client.next().expect("an answer")).expect("JSON");
    let answers = answer.as_array().expect("an array");
    let of = |id: u64| answers.iter().find(|answer| answer["id"] == id).expect("it is there");
    assert_eq!((answers.len(), &of(1)["result"]), (2, &serde_json::json!(3)));
    assert_eq!(of(2)["error"]["code"], -32601);
}

#[test]
fn a_json_batch_of_more_calls_than_may_be_in_flight_is_refused() {
    let (mut client, _serving) = Client::new(adder().calls_in_flight(2));
    client.say(br#"[{"jsonrpc":"2.0"},{"jsonrpc":"2.0"},{"jsonrpc":"2.0"}]"#);
    let answer = String::from_utf8(client.next().expect("an answer")).expect("text");
    assert!(answer.contains("a message of 3 calls, and at most 2 are allowed"), "{answer}");
}

#[test]
fn peers_that_have_closed_their_side_are_answered_if_they_cannot_cancel() {
    let (mut client, serving) = Client::new(adder());
    client.out.push(br#"{"jsonrpc": "2.0", "method": "add", "params": [2, 3], "id": 1}"#);
    client.flush();
    block_on(poll_fn(|cx| client.send.poll_close(cx))).expect("the server is there");
    assert!(client.next().is_some());
    assert_eq!(client.next(), None);
    assert!(serving.wait().is_ok());
}
