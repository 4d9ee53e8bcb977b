//! Peers over real sockets, written by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use executor_remote::connection::{Client, Connection, ConnectionError, Listener};
use executor_remote::key::ClusterKey;
use executor_remote::rpc::{RpcServer, Serving};
use futures::executor::block_on;

use super::support::{await_that, functions};

const LIMIT: usize = 1 << 20;

fn serve(server: RpcServer) -> (String, Serving) {
    let listener = block_on(Listener::bind("127.0.0.1:0", b"secret")).expect("loopback");
    let address = listener.local_addr().to_string();
    (address, server.serve(listener))
}

fn connect(address: &str) -> Connection {
    block_on(Client::connect(address, b"secret")).expect("it listens")
}

fn ask(peer: &mut Connection, message: &[u8]) -> Vec<u8> {
    block_on(async {
        peer.send_bytes(message).await.expect("it is read");
        peer.recv_bytes(LIMIT).await.expect("it is answered")
    })
}

const ADD: &[u8] = br#"{"jsonrpc": "2.0", "method": "add", "params": [2, 3], "id": 1}"#;
const FIVE: &[u8] = br#"{"jsonrpc":"2.0","result":5,"id":1}"#;

#[test]
fn each_peer_speaks_its_own_dialect() {
    let (address, _serving) = serve(functions());
    let (mut json, mut message_pack) = (connect(&address), connect(&address));
    for _ in 0..10 {
        assert_eq!(ask(&mut json, ADD), FIVE);
        assert_eq!(ask(&mut message_pack, b"\x94\0\x07\xa3add\x92\x02\x03"), b"\x94\x01\x07\xc0\x05");
    }
}

#[test]
fn an_encrypted_peer_is_served_as_any_other() {
    let key = ClusterKey::generate().expect("random bytes");
    let listener = block_on(Listener::bind_noise("127.0.0.1:0", &key)).expect("loopback");
    let address = listener.local_addr().to_string();
    let _serving = functions().serve(listener);
    let mut peer = block_on(Client::connect_noise(address, &key)).expect("it has the key");
    for _ in 0..10 {
        assert_eq!(ask(&mut peer, ADD), FIVE);
    }
    // More than one record, in both directions.
    let name = "n".repeat(200_000);
    let greet = format!(r#"{{"jsonrpc": "2.0", "method": "greet", "params": ["{name}"], "id": 1}}"#);
    let answer = String::from_utf8(ask(&mut peer, greet.as_bytes())).expect("text");
    assert!(answer.contains(&format!("hello, {name}")));
}

#[test]
fn a_server_that_has_been_stopped_takes_nobody_else() {
    let (address, serving) = serve(functions());
    let mut peer = connect(&address);
    assert_eq!(ask(&mut peer, ADD), FIVE);
    serving.handle().stop();
    serving.wait().expect("it was stopped");
    assert!(matches!(block_on(peer.recv_bytes(LIMIT)), Err(ConnectionError::Closed)));
    assert!(block_on(Client::connect(address, b"secret")).is_err());
}

#[test]
fn a_peer_too_many_waits_until_another_has_left() {
    let (address, _serving) = serve(functions().peers(1));
    let mut first = connect(&address);
    assert_eq!(ask(&mut first, ADD), FIVE);
    let mut second = connect(&address);
    block_on(second.send_bytes(ADD)).expect("it is kept by the system");
    let soon = Duration::from_millis(50);
    assert!(!block_on(second.poll(soon)).expect("it is connected"), "it is not served yet");
    drop(first);
    assert_eq!(block_on(second.recv_bytes(LIMIT)).expect("it is answered"), FIVE);
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_from_and_holds_up_nobody() {
    let called = Arc::new(AtomicUsize::new(0));
    let count = called.clone();
    let server = functions().register_async("fill", move |(): ()| {
        count.fetch_add(1, Ordering::SeqCst);
        async { "x".repeat(100_000) }
    });
    let (address, _serving) = serve(server);
    let mut greedy = connect(&address);
    let call = br#"{"jsonrpc": "2.0", "method": "fill", "id": 1}"#;
    block_on(async {
        for _ in 0..10_000 {
            // A gigabyte of answers, if they were all made.
            greedy.send_bytes(call).await.expect("the system keeps so much");
        }
    });
    await_that("it is served", || called.load(Ordering::SeqCst) >= 10);
    let mut other = connect(&address);
    for _ in 0..100 {
        assert_eq!(ask(&mut other, ADD), FIVE);
    }
    // 1 MiB in the server, and what the two sockets hold.
    let begun = called.load(Ordering::SeqCst);
    assert!(begun < 200, "{begun} answers of 100,000 bytes were made for nobody");
}
