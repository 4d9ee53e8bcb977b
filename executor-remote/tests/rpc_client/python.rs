//! Python's well-known thirty-line server, called from here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use executor_remote::connection::{Client, ConnectionError};
use executor_remote::object::{Codec, Object};
use executor_remote::rpc::{Call, RpcClient, RpcError};
use futures::executor::block_on;
use serde::Serialize;

/// The server, which is killed when it is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/rpc_server.py");
        let mut child = Command::new("timeout")
            .args(["60", "python3", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("timeout(1) can be run; with python3, it is required by these tests");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut address)
            .expect("it prints text");
        let address = address.trim_end().to_owned();
        assert!(!address.is_empty(), "the server does not listen: is there a python3 in PATH?");
        Server { child, address }
    }

    fn client(&self) -> RpcClient {
        let connection = block_on(Client::connect(&self.address, b"peekaboo")).expect("it listens");
        RpcClient::new(connection.with_codec(Codec::Pickle)).expect("a client")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself. timeout(1) passes a TERM on, which a KILL would keep it from.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stock_python_server_answers() {
    let server = Server::start();
    let client = server.client();
    assert_eq!(client.call::<_, i64>("add", (2, 3)).wait().unwrap(), 5);
    assert_eq!(block_on(client.call::<_, f64>("add", (0.5, 2))).unwrap(), 2.5);
    client.call::<_, ()>("nothing", ()).wait().unwrap();
    assert_eq!(client.call::<_, String>("echo", "text").wait().unwrap(), "text");

    #[derive(Serialize)]
    struct Person {
        name: &'static str,
        age: u8,
    }
    let person = Person { name: "Ada", age: 36 };
    assert_eq!(client.call::<_, String>("describe", person).wait().unwrap(), "Ada is 36");

    let nested = BTreeMap::from([("a".to_owned(), vec![1, 2]), ("b".to_owned(), vec![])]);
    assert_eq!(client.call::<_, BTreeMap<String, Vec<i64>>>("echo", &nested).wait().unwrap(), nested);
    let bytes = Object::Bytes(vec![0; 100_000]);
    assert_eq!(client.call::<_, Object>("echo", &bytes).wait().unwrap(), bytes);
}

#[test]
fn its_exceptions_arrive_with_type_message_and_notes() {
    let server = Server::start();
    let client = server.client();
    match client.call::<_, i64>("fail", ("no such colour",)).wait() {
        Err(RpcError::Remote { type_name, message, notes, .. }) => {
            assert_eq!((type_name.as_str(), message.as_str()), ("ValueError", "no such colour"));
            assert_eq!(notes, ["as it was asked to"]);
        }
        other => panic!("{other:?}"),
    }
    match block_on(client.call::<_, i64>("look_up", "k")) {
        Err(RpcError::Remote { type_name, message, .. }) => {
            assert_eq!((type_name.as_str(), message.as_str()), ("KeyError", "'k'"));
        }
        other => panic!("{other:?}"),
    }
    // The server raises for a name that it does not have, and for arguments that do not fit, too.
    let unknown = client.call::<_, i64>("subtract", (2, 3)).wait();
    assert!(matches!(unknown, Err(RpcError::Remote { type_name, .. }) if type_name == "KeyError"));
    let unfit = client.call::<_, i64>("add", (2,)).wait();
    assert!(matches!(unfit, Err(RpcError::Remote { type_name, .. }) if type_name == "TypeError"));
    let decoded = client.call::<_, i64>("echo", "text").wait();
    assert!(matches!(decoded, Err(RpcError::Decode { name, .. }) if name == "echo"));
    assert_eq!(client.call::<_, i64>("add", (2, 3)).wait().unwrap(), 5, "the others are untouched");
}

#[test]
fn pipelined_calls_are_answered_in_order_also_if_some_are_dropped() {
    let server = Server::start();
    let client = server.client();
    let calls: Vec<Call<i64>> = (0..1000_i64).map(|n| client.call("add", (n, n))).collect();
    for (n, call) in (0..).zip(calls) {
        match n % 3 {
            0 => drop(call),
            1 => assert_eq!(call.wait().unwrap(), 2 * n),
            _ => assert_eq!(block_on(call).unwrap(), 2 * n),
        }
    }
}

#[test]
fn threads_share_a_connection_to_python() {
    let server = Server::start();
    let client = server.client();
    std::thread::scope(|scope| {
        for thread in 0..4_i64 {
            let client = &client;
            scope.spawn(move || {
                for n in 0..100 {
                    assert_eq!(client.call::<_, i64>("add", (n, thread)).wait().unwrap(), n + thread);
                }
            });
        }
    });
}

#[test]
fn a_server_that_dies_fails_the_calls_in_flight() {
    let server = Server::start();
    let client = server.client();
    let calls = [client.call::<_, ()>("leave", 3), client.call::<_, ()>("nothing", ())];
    for call in calls {
        assert!(matches!(call.wait(), Err(RpcError::Disconnected { .. })));
    }
}

#[test]
fn a_wrong_key_is_refused() {
    let server = Server::start();
    let refused = block_on(RpcClient::connect(&server.address, b"guess"));
    assert!(matches!(refused, Err(ConnectionError::AuthenticationFailed { .. })), "{refused:?}");
}
