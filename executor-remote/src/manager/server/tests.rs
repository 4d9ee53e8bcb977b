use std::sync::mpsc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::manager::protocol::*;
use crate::object::{Codec, Exception, Object};
use crate::rpc::protocol::{CallId, FailureKind, FromServer, MAGIC, encode_call_header, encode_cancel};
use crate::rpc::transport::{Batch, ReceiveMessages, SendMessages, pair};

/// How long what should happen may take.
const PATIENCE: Duration = Duration::from_secs(30);

type Outcome<T = Object> = Result<T, Exception>;

/// A manager without a listener.
struct Manager(Arc<Processes>);

impl Manager {
    fn new(registry: impl Into<Registry>) -> Self {
        Self(Arc::new(Processes::new(Arc::new(Store::new(registry.into(), 1)))))
    }

    /// A client that has said hello, and what tells how its session ended.
    fn client_and_end(&self) -> (Client, mpsc::Receiver<Result<End, TransportError>>) {
        let mut hello = Vec::new();
        Hello::new(Codec::Bincode as u8).encode(&mut hello);
        self.client_that_says(&hello)
    }

    fn client(&self) -> Client {
        self.client_and_end().0
    }

    fn client_that_says(&self, first: &[u8]) -> (Client, mpsc::Receiver<Result<End, TransportError>>) {
        let (near, far) = pair(64 * 1024);
        let (sender, ended) = mpsc::channel();
        let processes = Arc::clone(&self.0);
        io_runtime::handle().spawn(async move {
            let _ = sender.send(serve(Box::new(far), None, processes).await);
        });
        let (send, receive) = Box::new(near).split();
        let mut client = Client { send, receive, batch: Batch::new(), next_id: 0, has_hello: false };
        client.batch.push(first);
        client.flush();
        (client, ended)
    }

    fn eventually_has(&self, objects: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.store().number_of_objects() != objects {
            assert!(Instant::now() < deadline, "{}", self.0.store().debug_info());
            std::thread::yield_now();
        }
    }
}

/// The other end of a session.
struct Client {
    send: Box<dyn SendMessages>,
    receive: Box<dyn ReceiveMessages>,
    batch: Batch,
    next_id: u64,
    has_hello: bool,
}

impl Client {
    fn flush(&mut self) {
        io_runtime::block_on(poll_fn(|cx| self.send.poll_send(cx, &mut self.batch)))
            .expect("the server is there");
    }

    /// Sends a call without waiting for anything.
    fn begin(&mut self, function: &str, argument: impl Serialize) -> u64 {
        self.begin_within(None, function, argument)
    }

    fn begin_within(&mut self, deadline: Option<Duration>, function: &str, argument: impl Serialize) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.batch.push_with(|out| {
            encode_call_header(out, CallId(id), deadline, function).expect("the name is short");
            Codec::Bincode.encode(&argument, out).expect("it can be encoded");
        });
        self.flush();
        id
    }

    fn begin_method(&mut self, id: u64, method: &str, args: Vec<Object>) -> u64 {
        self.begin(CALL, (id, method, args))
    }

    fn cancel(&mut self, id: u64) {
        self.batch.push_with(|out| encode_cancel(out, CallId(id)));
        self.flush();
    }

    /// The next answer, and of which call it is.
    fn answer<T: DeserializeOwned>(&mut self) -> (u64, Result<T, FailureKind>) {
        if !std::mem::replace(&mut self.has_hello, true) {
            let hello = self.message();
            Hello::decode(&hello).and_then(Hello::of_our_version).expect("the server says hello");
        }
        let message = self.message();
        match FromServer::decode(&message).expect("it is a message") {
            FromServer::Answer(id, body) => {
                (id.0, Ok(Codec::Bincode.decode(body).expect("it is of that type")))
            }
            FromServer::Failure(id, failure) => (id.0, Err(failure.kind)),
            FromServer::Goodbye(reason) => panic!("the server says goodbye: {reason}"),
        }
    }

    fn message(&mut self) -> Vec<u8> {
        let deadline = Some(Instant::now() + PATIENCE);
        loop {
            if let Some(message) = self.receive.next() {
                return message.to_vec();
            }
            let received = io_runtime::block_on_until(poll_fn(|cx| self.receive.poll_receive(cx)), deadline);
            assert!(
                received.expect("the server answers in time").expect("the transport works"),
                "the server has left"
            );
        }
    }

    /// Calls and waits.
    #[track_caller]
    fn call<T: DeserializeOwned>(&mut self, function: &str, argument: impl Serialize) -> Outcome<T> {
        let id = self.begin(function, argument);
        let (answered, outcome) = self.answer();
        assert_eq!(answered, id, "the answer is of another call");
        outcome.expect("the call does not fail")
    }

    #[track_caller]
    fn method(&mut self, id: u64, method: &str, args: Vec<Object>) -> Outcome {
        self.call(CALL, (id, method, args))
    }

    #[track_caller]
    fn create(&mut self, type_name: &str, args: Vec<Object>) -> u64 {
        self.call::<Created>(CREATE, (type_name, args)).expect("it can be created").id
    }
}

fn builtin() -> Manager {
    Manager::new(Registry::new())
}

#[test]
fn calls_are_done_in_their_order_and_one_that_waits_is_overtaken() {
    let mut client = builtin().client();
    let queue = client.create("Queue", vec![]);
    let get = client.begin_method(queue, "get", vec![]);
    let size = client.begin_method(queue, "qsize", vec![]);
    assert_eq!(client.answer::<Outcome>(), (size, Ok(Ok(0.into()))));
    let put = client.begin_method(queue, "put", vec!["item".into()]);
    let mut answers = [client.answer::<Outcome>(), client.answer()];
    answers.sort_by_key(|(id, _)| *id);
    assert_eq!(answers, [(get, Ok(Ok("item".into()))), (put, Ok(Ok(Object::None)))]);

    let dict = client.create("dict", vec![]);
    let sets: Vec<u64> =
        (0..100).map(|n| client.begin_method(dict, "__setitem__", vec![0.into(), n.into()])).collect();
    let get = client.begin_method(dict, "__getitem__", vec![0.into()]);
    let answered: Vec<u64> = sets.iter().map(|_| client.answer::<Outcome>().0).collect();
    assert_eq!(answered, sets);
    assert_eq!(client.answer::<Outcome>(), (get, Ok(Ok(99.into()))));
}

#[test]
fn a_call_that_is_cancelled_takes_nothing() {
    let mut client = builtin().client();
    let queue = client.create("Queue", vec![]);
    let get = client.begin_method(queue, "get", vec![]);
    client.cancel(get);
    client.cancel(12345);
    client.method(queue, "put", vec![1.into()]).unwrap();
    assert_eq!(client.method(queue, "qsize", vec![]), Ok(1.into()));
}

#[test]
fn a_limit_and_a_deadline_end_a_wait() {
    let mut client = builtin().client();
    let queue = client.create("Queue", vec![]);
    let empty = client.method(queue, "get", vec![true.into(), 0.001.into()]).unwrap_err();
    assert_eq!(empty.type_name, "queue.Empty");
    let get: (u64, &str, Vec<Object>) = (queue, "get", vec![]);
    let late = client.begin_within(Some(Duration::from_millis(1)), CALL, get);
    assert_eq!(client.answer::<Outcome>(), (late, Err(FailureKind::DeadlineExceeded)));
    client.method(queue, "put", vec![1.into()]).unwrap();
    assert_eq!(client.method(queue, "get", vec![]), Ok(1.into()));
}

#[test]
fn a_session_that_ends_leaves_nothing_behind() {
    let manager = builtin();
    let (mut holder, mut other) = (manager.client(), manager.client());
    let lock = holder.create("Lock", vec![]);
    let queue = holder.create("Queue", vec![]);
    holder.create("dict", vec![]);
    other.call::<()>(INCREF, lock).unwrap();
    other.call::<()>(INCREF, queue).unwrap();
    assert_eq!(holder.method(lock, ACQUIRE, vec![Object::None]), Ok(acquired::YES.into()));
    holder.begin_method(queue, "get", vec![]);
    holder.method(lock, "locked", vec![]).unwrap();
    let waiting = other.begin_method(lock, ACQUIRE, vec![Object::None]);
    drop(holder);
    assert_eq!(other.answer::<Outcome>(), (waiting, Ok(Ok(acquired::OWNER_DIED.into()))));
    other.method(queue, "put", vec![1.into()]).unwrap();
    assert_eq!(other.method(queue, "qsize", vec![]), Ok(1.into()), "nobody waits in the queue");
    manager.eventually_has(2);
    drop(other);
    manager.eventually_has(0);
}

#[test]
fn references_are_counted_for_each_session() {
    let manager = builtin();
    let (mut one, mut two) = (manager.client(), manager.client());
    let dict = one.create("dict", vec![]);
    two.call::<()>(INCREF, dict).unwrap();
    one.call::<()>(DECREF, dict).unwrap();
    assert_eq!(one.call::<()>(DECREF, dict).unwrap_err().type_name, "ReferenceError");
    assert_eq!(two.method(dict, "__len__", vec![]), Ok(0.into()), "that of the other session counts");
    two.call::<()>(DECREF, dict).unwrap();
    assert_eq!(two.method(dict, "__len__", vec![]).unwrap_err().type_name, "ReferenceError");
    assert_eq!(two.call::<u64>(NUMBER_OF_OBJECTS, ()), Ok(0));
}

#[test]
fn what_is_published_is_found_by_others() {
    let manager = builtin();
    let mut one = manager.client();
    let dict = one.create("dict", vec![]);
    one.call::<()>(PUBLISH, ("settings", dict)).unwrap();
    drop(one);
    let mut two = manager.client();
    let found = two.call::<Created>(FIND, "settings").unwrap();
    assert_eq!(found, Created { id: dict, type_name: "dict".to_owned() });
    assert_eq!(two.call::<Created>(FIND, "nothing").unwrap_err().type_name, "KeyError");
    assert_eq!(two.call::<bool>(WITHDRAW, "settings"), Ok(true));
    assert_eq!(two.call::<Vec<String>>(METHODS, dict).unwrap()[0], "__contains__");
}

#[test]
fn what_does_not_fit_is_a_failure_of_that_call_alone() {
    let mut client = builtin().client();
    let id = client.begin("manager.fly", ());
    assert_eq!(client.answer::<()>(), (id, Err(FailureKind::UnknownName)));
    let id = client.begin(CALL, "no method call");
    assert_eq!(client.answer::<()>(), (id, Err(FailureKind::BadArguments)));
    let dict = client.create("dict", vec![]);
    let error = client.method(dict, "fly", vec![]).unwrap_err();
    assert_eq!(error.type_name, "AttributeError");
    assert!(error.message().contains("setdefault"), "{error}");
    assert_eq!(
        client.call::<Created>(CREATE, ("Dict", Vec::<Object>::new())).unwrap_err().type_name,
        "KeyError"
    );
}

#[test]
fn calls_of_one_user_object_run_in_their_order() {
    let registry = Registry::new()
        .register("Log", |(): ()| Vec::<i64>::new())
        .method("add", |log: &mut Vec<i64>, n: i64| log.push(n))
        .method("all", |log: &mut Vec<i64>, (): ()| log.clone())
        .method("add_two", |log: &mut Vec<i64>, (a, b): (i64, i64)| log.extend([a, b]))
        .method("panic", |_: &mut Vec<i64>, (): ()| -> i64 { panic!("oh") });
    let mut client = Manager::new(registry).client();
    let log = client.create("Log", vec![]);
    for n in 0..50 {
        client.begin_method(log, "add", vec![n.into()]);
    }
    client.begin_method(log, "add_two", vec![50.into(), 51.into()]);
    let last = client.begin_method(log, "all", vec![]);
    let all = loop {
        match client.answer::<Outcome>() {
            (id, Ok(Ok(all))) if id == last => break all,
            (_, outcome) => assert_eq!(outcome, Ok(Ok(Object::None))),
        }
    };
    assert_eq!(all, Object::List((0..52).map(Object::from).collect()));
    let error = client.method(log, "panic", vec![]).unwrap_err();
    assert_eq!(error.to_string(), "RuntimeError: panicked: oh");
    assert_eq!(client.method(log, "add", vec![]).unwrap_err().type_name, "TypeError");
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_from() {
    let mut client = builtin().client();
    let list = client.create("list", vec![Object::List(vec![])]);
    client.method(list, "append", vec![Object::Bytes(vec![7; 100_000])]).unwrap();
    let mut sent = 0;
    let is_blocked = loop {
        sent += 1;
        client.batch.push_with(|out| {
            encode_call_header(out, CallId(1_000_000 + sent), None, CALL).unwrap();
            Codec::Bincode.encode(&(list, "copy", Vec::<Object>::new()), out).unwrap();
        });
        let send = poll_fn(|cx| client.send.poll_send(cx, &mut client.batch));
        match io_runtime::block_on_until(send, Some(Instant::now() + Duration::from_millis(500))) {
            Some(sent) => sent.unwrap(),
            None => break true,
        }
        if sent > 100_000 {
            break false;
        }
    };
    assert!(is_blocked, "the server has read {sent} calls whose answers nobody takes");
    // It goes on as soon as answers are taken.
    for _ in 0..100 {
        assert!(matches!(client.answer::<Outcome>(), (_, Ok(Ok(Object::List(_))))));
    }
}

#[test]
fn a_peer_of_no_known_protocol_is_left() {
    let manager = builtin();
    for first in [b"GET / HTTP/1.1".as_slice(), b"", MAGIC] {
        let (_client, ended) = manager.client_that_says(first);
        let ended = ended.recv_timeout(PATIENCE).expect("the session ends");
        assert!(matches!(ended, Err(TransportError::Protocol(_))), "{ended:?}");
    }
    let (mut client, ended) = manager.client_and_end();
    client.batch.push(b"\xffnonsense");
    client.flush();
    assert!(ended.recv_timeout(PATIENCE).expect("the session ends").is_err());
}

#[test]
fn shutdown_is_answered_before_it_is_done() {
    let (mut client, ended) = builtin().client_and_end();
    client.call::<()>(SHUTDOWN, ()).unwrap();
    assert_eq!(ended.recv_timeout(PATIENCE).expect("the session ends").unwrap(), End::Shutdown);
}
