//! Our server, called in every dialect, from threads, from tokio and from other executors.

use std::time::Duration;

use executor_remote::connection::{Client, Listener};
use executor_remote::key::ClusterKey;
use executor_remote::object::Codec;
use executor_remote::rpc::{Call, RpcClient, RpcError, RpcServer, ServerHandle};
use futures::executor::block_on;
use futures::future::join_all;

const CODECS: [Codec; 4] = [Codec::Bincode, Codec::Pickle, Codec::MessagePack, Codec::Json];

fn functions() -> RpcServer {
    RpcServer::new()
        .register("add", |(x, y): (i64, i64)| x + y)
        .register("greet", |name: String| format!("hello, {name}"))
        .register("nothing", |()| ())
        .register_fallible("parse", |text: String| text.parse::<i64>())
        .register("crash", |()| -> i64 { panic!("on purpose") })
        .register_async("never", |()| std::future::pending::<()>())
}

/// A server, which is stopped when it is dropped.
struct Server {
    address: String,
    handle: ServerHandle,
}

impl Server {
    fn start() -> Server {
        Server::at(block_on(Listener::bind("127.0.0.1:0", b"key")).expect("a port is free"))
    }

    fn at(listener: Listener) -> Server {
        let address = listener.local_addr().to_string();
        let serving = functions().serve(listener);
        let handle = serving.handle();
        std::thread::spawn(move || serving.wait());
        Server { address, handle }
    }

    async fn client(&self, codec: Codec) -> RpcClient {
        let connection = Client::connect(&self.address, b"key").await.expect("it listens");
        RpcClient::new(connection.with_codec(codec)).expect("a client")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

#[test]
fn every_dialect_has_values_and_errors() {
    let server = Server::start();
    for codec in CODECS {
        let client = block_on(server.client(codec));
        assert_eq!(client.call::<_, i64>("add", (2, 3)).wait().unwrap(), 5, "{codec:?}");
        assert_eq!(client.call::<_, String>("greet", "you").wait().unwrap(), "hello, you", "{codec:?}");
        client.call::<_, ()>("nothing", ()).wait().unwrap();

        let failed = client.call::<_, i64>("parse", "x").wait();
        assert!(
            matches!(&failed, Err(RpcError::Remote { message, .. }) if message.contains("invalid digit")),
            "{codec:?} {failed:?}"
        );
        let crashed = client.call::<_, i64>("crash", ()).wait().expect_err("it panics").to_string();
        assert!(crashed.contains("on purpose"), "{codec:?} {crashed}");
        let unknown = client.call::<_, i64>("ad", (2, 3)).wait().expect_err("there is none").to_string();
        assert!(unknown.contains("add"), "{codec:?} {unknown}");
        let unfit = client.call::<_, i64>("add", ("two", 3)).wait();
        assert!(unfit.is_err(), "{codec:?}");
        assert_eq!(client.call::<_, i64>("add", (2, 3)).wait().unwrap(), 5, "the others are untouched");
    }
}

#[test]
fn arguments_of_other_types_fit_or_are_errors_and_are_never_other_values() {
    let server = Server::start();
    for codec in CODECS {
        let client = block_on(server.client(codec));
        assert_eq!(client.call::<_, u8>("add", (100_u64, 50_i16)).wait().unwrap(), 150, "{codec:?}");
        for outcome in [
            client.call::<_, i64>("add", ("2", "3")).wait(),
            client.call::<_, i64>("add", (2, 3, 4)).wait(),
            client.call::<_, i64>("add", (u64::MAX, 1)).wait(),
        ] {
            let is_told = match &outcome {
                Err(RpcError::BadArguments { .. }) => true,
                // The word of a dialect that has no other.
                Err(RpcError::Remote { type_name, .. }) => codec == Codec::Pickle && type_name == "TypeError",
                _ => false,
            };
            assert!(is_told, "{codec:?}: {outcome:?}");
        }
        let outcome = client.call::<_, u8>("add", (300, 1)).wait();
        assert!(matches!(outcome, Err(RpcError::Decode { .. })), "{codec:?}: {outcome:?}");
    }
}

#[test]
fn pipelined_calls_of_every_dialect_find_their_answers() {
    let server = Server::start();
    for codec in CODECS {
        let client = block_on(server.client(codec));
        let calls: Vec<Call<i64>> = (0..2000).map(|n| client.call("add", (n, 1))).collect();
        let (waited, awaited): (Vec<_>, Vec<_>) = (1..).zip(calls).partition(|(n, _)| n % 2 == 0);
        for (n, value) in block_on(join_all(awaited.into_iter().map(async |(n, call)| (n, call.await)))) {
            assert_eq!(value.unwrap(), n, "{codec:?}");
        }
        for (n, call) in waited {
            assert_eq!(call.wait().unwrap(), n, "{codec:?}");
        }
    }
}

#[test]
fn any_runtime_will_do_and_none() {
    let server = Server::start();
    let client = block_on(server.client(Codec::Bincode));
    let one_by_one = async |client: RpcClient| {
        for n in 0..100 {
            assert_eq!(client.call::<_, i64>("add", (n, 1)).await.unwrap(), n + 1);
        }
    };
    block_on(one_by_one(client.clone()));
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    current.block_on(one_by_one(client.clone()));
    // That runtime is gone; the client goes on in another.
    drop(current);
    let multi = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    multi.block_on(async {
        let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(one_by_one(client.clone()))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        // A thread of the runtime may wait as well.
        assert_eq!(client.call::<_, i64>("add", (1, 1)).wait().unwrap(), 2);
    });
    drop(multi);
    assert_eq!(client.call::<_, i64>("add", (2, 2)).wait().unwrap(), 4);
}

#[test]
fn an_encrypted_connection_carries_calls() {
    let key = ClusterKey::generate().unwrap();
    let server = Server::at(block_on(Listener::bind_noise("127.0.0.1:0", &key)).unwrap());
    let client = RpcClient::new(block_on(Client::connect_noise(&server.address, &key)).unwrap()).unwrap();
    let calls: Vec<Call<i64>> = (0..500).map(|n| client.call("add", (n, 1))).collect();
    for (n, call) in (1..).zip(calls) {
        let value = if n % 2 == 0 { call.wait() } else { block_on(call) };
        assert_eq!(value.unwrap(), n);
    }
}

#[test]
fn a_deadline_ends_a_call_that_is_not_answered() {
    let server = Server::start();
    for codec in CODECS {
        let client = block_on(server.client(codec)).with_deadline(Duration::from_millis(30));
        let waited = client.call::<_, ()>("never", ()).wait();
        assert!(matches!(waited, Err(RpcError::DeadlineExceeded { .. })), "{codec:?} {waited:?}");
        let awaited = block_on(client.call::<_, ()>("never", ()));
        assert!(matches!(awaited, Err(RpcError::DeadlineExceeded { .. })), "{codec:?} {awaited:?}");
    }
}

#[test]
fn a_server_that_stops_says_so() {
    let server = Server::start();
    let client = block_on(server.client(Codec::Bincode));
    assert_eq!(client.call::<_, i64>("add", (2, 3)).wait().unwrap(), 5);
    server.handle.stop();
    let mut outcome = client.call::<_, i64>("add", (2, 3)).wait();
    // What it read before it heard of the stop is still answered.
    while outcome.is_ok() {
        outcome = client.call::<_, i64>("add", (2, 3)).wait();
    }
    assert!(matches!(outcome, Err(RpcError::Stopping { .. } | RpcError::Disconnected { .. })), "{outcome:?}");
}
