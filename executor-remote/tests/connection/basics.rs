use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use executor_remote::connection::auth::AuthFailure;
use executor_remote::connection::{
    Address, AuthKey, Client, Connection, ConnectionError, Listener, ListenerConfig, blocking,
};
use executor_remote::key::ClusterKey;
use executor_remote::noise::Handshake;
use executor_remote::object::Codec;
use futures::executor::block_on;

use crate::support::{MAX, addresses, framed, messages, raw, with_time};

async fn exchange(mut one: Connection, mut other: Connection) {
    for message in messages() {
        let (sent, received) = futures::join!(one.send_bytes(&message), other.recv_bytes(MAX));
        sent.unwrap();
        assert_eq!(received.unwrap(), message);
    }
    // Many at a time, in order.
    for n in 0..100_u8 {
        other.send_bytes(&[n]).await.unwrap();
    }
    for n in 0..100_u8 {
        assert_eq!(one.recv_bytes(1).await.unwrap(), [n]);
    }
    drop(other);
    assert!(matches!(one.recv_bytes(MAX).await, Err(ConnectionError::Closed)));
}

fn exchange_waiting(mut one: blocking::Connection, other: blocking::Connection) {
    let (mut sender, mut receiver) = other.split();
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || {
            while let Ok(message) = receiver.recv_bytes(MAX) {
                sender.send_bytes(&message).unwrap();
            }
            sender
        });
        for message in messages() {
            let message = &message[..message.len().min(200_000)]; // less than the buffers between hold
            one.send_bytes(message).unwrap();
            assert_eq!(one.recv_bytes(MAX).unwrap(), message);
        }
        drop(one);
        echo.join().unwrap();
    });
}

#[test]
fn messages_travel_over_addresses_of_all_kinds_with_and_without_a_key() {
    let (addresses, _folder) = addresses();
    for address in &addresses {
        for key in [AuthKey::none(), AuthKey::from("secret")] {
            block_on(async {
                let listener = Listener::bind(address, &key).await.unwrap();
                let one = Client::connect(listener.local_addr(), &key).await.unwrap();
                let other = listener.accept().await.unwrap();
                assert_eq!(one.peer_addr(), listener.local_addr());
                exchange(one, other).await;
            });
            let listener = blocking::Listener::bind(address, &key).unwrap();
            let one = blocking::Client::connect(listener.local_addr(), &key).unwrap();
            exchange_waiting(one, listener.accept().unwrap());
        }
    }
}

#[test]
fn encrypted_messages_travel_over_addresses_of_all_kinds() {
    let (addresses, _folder) = addresses();
    let key = ClusterKey::generate().unwrap();
    for address in &addresses {
        block_on(async {
            let listener = Listener::bind_noise(address, &key).await.unwrap();
            let one = Client::connect_noise(listener.local_addr(), &key).await.unwrap();
            exchange(one, listener.accept().await.unwrap()).await;
        });
        let listener = blocking::Listener::bind_noise(address, &key).unwrap();
        let one = blocking::Client::connect_noise(listener.local_addr(), &key).unwrap();
        exchange_waiting(one, listener.accept().unwrap());
    }
}

#[test]
fn what_comes_along_with_the_end_of_a_noise_handshake_is_received() {
    /// Connects by hand, and sends the first message, the second, and the close in one go with the end of the handshake.
    fn peer(address: &Address, key: &ClusterKey) -> TcpStream {
        let mut stream = raw(address);
        let mut handshake = Handshake::initiator(Some(key)).unwrap();
        let mut bytes = Vec::new();
        loop {
            handshake.poll_transmit(&mut bytes);
            if handshake.is_done() {
                break;
            }
            stream.write_all(&bytes).unwrap();
            bytes.resize(handshake.wanted(), 0);
            stream.read_exact(&mut bytes).unwrap();
            handshake.handle_bytes(&bytes).unwrap();
            bytes.clear();
        }
        assert!(!bytes.is_empty(), "the initiator has the last word");
        let (mut sealer, _) = handshake.take_halves().unwrap();
        sealer.seal(&framed(b"first"), &mut bytes).unwrap();
        sealer.seal(&framed(b"second"), &mut bytes).unwrap();
        sealer.close(&mut bytes).unwrap();
        stream.write_all(&bytes).unwrap();
        stream
    }
    let key = ClusterKey::generate().unwrap();
    block_on(async {
        let listener = Listener::bind_noise("127.0.0.1:0", &key).await.unwrap();
        let _peer = peer(listener.local_addr(), &key);
        let mut accepted = listener.accept().await.unwrap();
        assert!(accepted.poll(Duration::from_secs(30)).await.unwrap(), "it has come already");
        assert_eq!(accepted.recv_bytes(MAX).await.unwrap(), b"first");
        assert_eq!(accepted.recv_bytes(MAX).await.unwrap(), b"second");
        assert!(matches!(accepted.recv_bytes(MAX).await, Err(ConnectionError::Closed)));
    });
    let listener = blocking::Listener::bind_noise("127.0.0.1:0", &key).unwrap();
    let _peer = peer(listener.local_addr(), &key);
    let mut accepted = listener.accept().unwrap();
    assert!(accepted.poll(Duration::from_secs(30)).unwrap(), "it has come already");
    assert_eq!(accepted.recv_bytes(MAX).unwrap(), b"first");
    assert_eq!(accepted.recv_bytes(MAX).unwrap(), b"second");
    assert!(matches!(accepted.recv_bytes(MAX), Err(ConnectionError::Closed)));
}

#[test]
fn a_connection_works_inside_of_a_tokio_runtime() {
    with_time(async {
        let listener = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        let one = Client::connect(listener.local_addr(), "secret").await.unwrap();
        let other = listener.accept().await.unwrap();
        exchange(one, other).await;
    });
}

#[test]
fn values_travel_in_every_codec() {
    let name = format!("unix:@executor-codecs-{}", std::process::id());
    let listener = blocking::Listener::bind(name, None).unwrap();
    block_on(async {
        let mut one = Client::connect(listener.local_addr(), None).await.unwrap();
        let mut other = listener.accept().unwrap();
        assert_eq!(one.codec(), Codec::Bincode);
        for codec in [Codec::Bincode, Codec::Pickle, Codec::MessagePack, Codec::Json] {
            one.set_codec(codec);
            other.set_codec(codec);
            let value = (String::from("hi"), vec![1, -2, 300], Some(2.5), "x".repeat(20_000));
            one.send(&value).await.unwrap();
            let received: (String, Vec<i64>, Option<f64>, String) = other.recv().unwrap();
            assert_eq!(received, value);
            other.send(&received).unwrap();
            assert_eq!(one.recv::<(String, Vec<i64>, Option<f64>, String)>().await.unwrap(), value);
        }
    });
}

#[test]
fn a_message_that_is_not_the_wanted_value_is_taken_and_the_connection_goes_on() {
    let config = ListenerConfig::default().with_codec(Codec::Json);
    let listener = blocking::Listener::bind_with("127.0.0.1:0", None, &config).unwrap();
    let mut one = blocking::Client::connect(listener.local_addr(), None).unwrap();
    let mut other = listener.accept().unwrap();
    one.send_bytes(b"{").unwrap();
    one.send_bytes(b"5").unwrap();
    assert!(matches!(other.recv::<i64>(), Err(ConnectionError::Codec(_))));
    assert_eq!(other.recv::<i64>().unwrap(), 5);

    // JSON has no maps with keys that are lists: nothing of it is sent.
    let unsendable = std::collections::BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(other.send(&unsendable), Err(ConnectionError::Codec(_))));
    other.send(&6).unwrap();
    assert_eq!(one.recv_bytes(10).unwrap(), b"6");
}

#[test]
fn a_client_that_was_given_no_key_learns_that_there_should_be_one() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        let mut client = Client::connect(listener.local_addr(), None).await.unwrap();
        let error = client.recv::<i64>().await.unwrap_err();
        let required =
            matches!(error, ConnectionError::AuthenticationFailed { reason: AuthFailure::KeyRequired, .. });
        assert!(required, "{error}");
    });
}

#[test]
fn poll_tells_whether_a_message_can_be_received_at_once() {
    let (short, long) = (Duration::from_millis(20), Duration::from_secs(30));
    let listener = blocking::Listener::bind("127.0.0.1:0", None).unwrap();
    let mut waiting = blocking::Client::connect(listener.local_addr(), None).unwrap();
    let mut peer = listener.accept().unwrap();
    block_on(async {
        let mut woken = Client::connect(listener.local_addr(), None).await.unwrap();
        let mut other = listener.accept().unwrap();
        let begun = Instant::now();
        assert!(!woken.poll(short).await.unwrap() && !waiting.poll(short).unwrap());
        assert!(begun.elapsed() >= 2 * short);
        peer.send_bytes(b"").unwrap();
        other.send_bytes(b"").unwrap();
        assert!(woken.poll(long).await.unwrap() && waiting.poll(long).unwrap());
        assert!(woken.poll(Duration::ZERO).await.unwrap() && waiting.poll(Duration::ZERO).unwrap());
        assert_eq!((woken.recv_bytes(0).await.unwrap(), waiting.recv_bytes(0).unwrap()), (vec![], vec![]));
        drop((peer, other));
        // The end of the stream is something that can be received.
        assert!(woken.poll(long).await.unwrap() && waiting.poll(long).unwrap());
        assert!(matches!(woken.recv_bytes(0).await, Err(ConnectionError::Closed)));
        assert!(matches!(waiting.recv_bytes(0), Err(ConnectionError::Closed)));
    });
}

#[test]
fn a_half_that_is_dropped_closes_its_direction_only() {
    let name = format!("unix:@executor-halves-{}", std::process::id());
    let listener = blocking::Listener::bind(name, None).unwrap();
    block_on(async {
        let one = Client::connect(listener.local_addr(), None).await.unwrap();
        let mut other = listener.accept().unwrap();
        let (mut sender, mut receiver) = one.split();
        sender.send_bytes(b"last").await.unwrap();
        drop(sender);
        assert_eq!(other.recv_bytes(MAX).unwrap(), b"last");
        assert!(matches!(other.recv_bytes(MAX), Err(ConnectionError::Closed)));
        other.send_bytes(b"answer").unwrap();
        assert_eq!(receiver.recv_bytes(MAX).await.unwrap(), b"answer");
    });
}

#[test]
fn an_encrypted_stream_that_is_cut_is_not_taken_for_a_closed_one() {
    let key = ClusterKey::generate().unwrap();
    let listener = blocking::Listener::bind_noise("127.0.0.1:0", &key).unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, target) = (proxy.local_addr().unwrap(), listener.local_addr().to_string());
    std::thread::scope(|scope| {
        // Somebody in the middle, who closes one direction as the client might.
        let (cut, wait) = std::sync::mpsc::channel();
        scope.spawn(move || {
            let (client, _) = proxy.accept().unwrap();
            let server = TcpStream::connect(target).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| std::io::copy(&mut &client, &mut &server));
                scope.spawn(|| std::io::copy(&mut &server, &mut &client));
                wait.recv().unwrap();
                server.shutdown(Shutdown::Both).unwrap();
                client.shutdown(Shutdown::Both).unwrap();
            });
        });
        let mut client = blocking::Client::connect_noise(address, &key).unwrap();
        let mut accepted = listener.accept().unwrap();
        client.send_bytes(b"hello").unwrap();
        assert_eq!(accepted.recv_bytes(MAX).unwrap(), b"hello");
        cut.send(()).unwrap();
        for _ in 0..2 {
            assert!(matches!(client.recv_bytes(MAX), Err(ConnectionError::Truncated)));
        }
    });
}

#[test]
fn what_users_hold_may_go_to_other_threads() {
    fn check<T: Send + Sync + Unpin + 'static>() {}
    check::<Connection>();
    check::<Listener>();
    check::<blocking::Connection>();
    check::<blocking::Listener>();
    check::<ConnectionError>();
    fn is_send<T: Send>(_: &T) {}
    is_send(&Listener::bind("127.0.0.1:0", "secret"));
    is_send(&Client::connect("127.0.0.1:0", "secret"));
}
