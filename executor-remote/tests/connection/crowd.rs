//! Many peers, silent peers, slow peers.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use executor_remote::connection::{
    Client, ClientConfig, ConnectionError, Listener, ListenerConfig, blocking,
};
use futures::executor::block_on;
use futures::future::poll_immediate;
use tokio::time::timeout;

use crate::support::{MAX, framed, raw, with_time};

/// The length of what a listener sends first.
const CHALLENGE: usize = 63;

/// That nothing has come that was not read, nor the end.
#[track_caller]
fn assert_silent(mut stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Reads until the peer closes; how many bytes came.
fn drain(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("it is not cut off: {error}"),
        _ => bytes.len(),
    }
}

#[test]
fn an_honest_client_gets_through_beside_a_thousand_silent_ones() {
    let files = raise_the_limit_of_files();
    assert!(files > 1_500, "{files} files are too few for this test");
    // Nobody is cut off for being late: it is the next who comes that makes room.
    let config = ListenerConfig::default().with_handshake_limit(Duration::from_secs(3600));
    let listener = blocking::Listener::bind_with("127.0.0.1:0", "secret", &config).unwrap();
    let mut silent: Vec<_> = (0..1_000).map(|_| raw(listener.local_addr())).collect();

    let patient = ClientConfig::default().with_limit(Duration::from_secs(60));
    let mut honest = blocking::Client::connect_with(listener.local_addr(), "secret", &patient).unwrap();
    let mut accepted = listener.accept().unwrap();
    honest.send_bytes(b"me").unwrap();
    assert_eq!(accepted.recv_bytes(2).unwrap(), b"me");

    // Those that came first have made room, and no more of them than had to.
    let kept = silent.split_off(1_000 - 256 + 1);
    for mut stream in silent {
        drain(&mut stream);
    }
    for mut stream in kept {
        stream.read_exact(&mut [0; CHALLENGE]).unwrap();
        assert_silent(&stream);
    }
}

/// The limit of open files, which is the most that is allowed then.
fn raise_the_limit_of_files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    limit.current.unwrap_or(u64::MAX)
}

#[test]
fn a_silent_peer_is_cut_off_at_the_deadline() {
    let limit = Duration::from_millis(100);
    let config = ListenerConfig::default().with_handshake_limit(limit);
    let listener = blocking::Listener::bind_with("127.0.0.1:0", "secret", &config).unwrap();
    let begun = Instant::now();
    assert_eq!(drain(&mut raw(listener.local_addr())), CHALLENGE, "and no more");
    assert!(begun.elapsed() >= limit);
}

#[test]
fn a_peer_that_drips_bytes_is_cut_off_at_the_same_deadline() {
    let limit = Duration::from_millis(100);
    let config = ListenerConfig::default().with_handshake_limit(limit);
    let listener = blocking::Listener::bind_with("127.0.0.1:0", "secret", &config).unwrap();
    // Before it is there: its time begins when it is accepted.
    let begun = Instant::now();
    let mut peer = raw(listener.local_addr());
    peer.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut buffer = [0; 100];
    peer.write_all(&[0, 0, 0, 250]).unwrap(); // a message that could be a response
    // Until the end of the stream, or a reset.
    while begun.elapsed() < Duration::from_secs(30) {
        if peer.write_all(&[0]).is_err() || matches!(peer.read(&mut buffer), Ok(0)) {
            break;
        }
    }
    let took = begun.elapsed();
    assert!(took >= limit && took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn of_too_many_silent_peers_the_oldest_is_cut_off() {
    let config =
        ListenerConfig::default().with_max_half_open(2).with_handshake_limit(Duration::from_secs(60));
    let listener = blocking::Listener::bind_with("127.0.0.1:0", "secret", &config).unwrap();
    let challenged = || {
        let mut stream = raw(listener.local_addr());
        stream.read_exact(&mut [0; CHALLENGE]).unwrap();
        stream
    };
    let (mut first, second, _third) = (challenged(), challenged(), challenged());
    assert_eq!(drain(&mut first), 0);
    assert_silent(&second);
}

#[test]
fn who_is_not_accepted_waits_and_no_more_than_the_limit_are_let_in() {
    let config = ListenerConfig::default().with_max_waiting(1).with_max_half_open(1);
    let listener = blocking::Listener::bind_with("127.0.0.1:0", None, &config).unwrap();
    // Whoever has no handshake to make is never one of too many.
    let mut clients: Vec<_> =
        (0..20).map(|_| blocking::Client::connect(listener.local_addr(), None).unwrap()).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send_bytes(&[n as u8]).unwrap();
        assert_eq!(listener.accept().unwrap().recv_bytes(1).unwrap(), [n as u8]);
    }
}

#[test]
fn a_listener_that_is_dropped_frees_its_address_and_cuts_off_who_waits() {
    let listener = blocking::Listener::bind("127.0.0.1:0", None).unwrap();
    let address = listener.local_addr().clone();
    let mut waiting = blocking::Client::connect(&address, None).unwrap();
    drop(listener);
    assert!(waiting.recv_bytes(1).unwrap_err().is_disconnected());
    let again = blocking::Listener::bind(&address, None).unwrap();
    blocking::Client::connect(again.local_addr(), None).unwrap();
}

// BACK-PRESSURE

#[test]
fn a_peer_that_reads_nothing_is_waited_for_and_loses_nothing() {
    with_time(async {
        let listener = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        let mut sender = Client::connect(listener.local_addr(), "secret").await.unwrap();
        let mut receiver = listener.accept().await.unwrap();
        let mut sent = 0;
        // Each message is of another length and has another first byte.
        let message = |n: usize| vec![n as u8; 1 + 40_000 * (n % 7)];
        while timeout(Duration::from_millis(200), sender.send_bytes(&message(sent))).await.is_ok() {
            sent += 1;
            assert!(sent < 10_000, "some gigabytes are buffered somewhere");
        }
        // The message whose sending was given up is completed before the next.
        let rest = async {
            sender.send_bytes(b"last").await.unwrap();
            drop(sender);
        };
        let all = async {
            let mut received = Vec::new();
            loop {
                match receiver.recv_bytes(MAX).await {
                    Ok(message) => received.push(message),
                    Err(ConnectionError::Closed) => return received,
                    Err(other) => panic!("{other}"),
                }
            }
        };
        let ((), mut received) = futures::join!(rest, all);
        assert_eq!(received.pop().unwrap(), b"last");
        // Of the one that was given up nothing or everything has been sent.
        assert!(received.len() == sent || received.len() == sent + 1, "{} of {sent}", received.len());
        for (n, received) in received.iter().enumerate() {
            assert!(*received == message(n), "message {n} is damaged");
        }
    });
}

#[test]
fn a_reader_is_not_fed_more_than_it_asks_for() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let mut peer = raw(listener.local_addr());
        let mut connection = listener.accept().await.unwrap();
        let message = framed(&[7; 1000]);
        peer.set_nonblocking(true).unwrap();
        // Until all buffers between are full; the connection takes one message and no more.
        let mut written = 0;
        while let Ok(more) = peer.write(&message[written % message.len()..]) {
            written += more;
        }
        assert_eq!(connection.recv_bytes(1000).await.unwrap(), [7; 1000]);
        assert!(written < 64 << 20, "{written} bytes are buffered somewhere");
    });
}

// CANCELLATION

#[test]
fn what_a_dropped_future_has_received_is_not_lost() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let mut peer = raw(listener.local_addr());
        let mut connection = listener.accept().await.unwrap();
        for message in [vec![5; 10], vec![6; 200_000]] {
            let stream = framed(&message);
            for piece in [&stream[..3], &stream[3..7], &stream[7..]] {
                assert!(poll_immediate(connection.recv_bytes(MAX)).await.is_none());
                assert!(poll_immediate(connection.poll(Duration::MAX)).await.is_none());
                peer.write_all(piece).unwrap();
            }
            assert_eq!(connection.recv_bytes(MAX).await.unwrap(), message);
        }
    });
}

#[test]
fn no_peer_is_lost_by_a_dropped_accept() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        assert!(poll_immediate(listener.accept()).await.is_none());
        let waiting = listener.accept();
        let mut client = Client::connect(listener.local_addr(), "secret").await.unwrap();
        drop(waiting);
        client.send_bytes(b"me").await.unwrap();
        assert_eq!(listener.accept().await.unwrap().recv_bytes(2).await.unwrap(), b"me");
    });
}

#[test]
fn a_dropped_connect_closes_its_connection() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    block_on(async {
        let mut connecting = Box::pin(Client::connect(server.local_addr().unwrap(), "secret"));
        assert!(poll_immediate(&mut connecting).await.is_none());
        let (mut stream, _) = server.accept().unwrap();
        drop(connecting);
        assert_eq!(drain(&mut stream), 0);
    });
}

#[test]
fn sending_that_is_given_up_is_completed_by_closing() {
    with_time(async {
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let client = Client::connect(listener.local_addr(), None).await.unwrap();
        let mut receiver = listener.accept().await.unwrap();
        let (mut sender, _receiver) = client.split();
        sender.send_bytes(b"first").await.unwrap(); // the runtime knows now that there is room
        let message = vec![9; 32 << 20]; // more than the buffers between hold
        assert!(poll_immediate(sender.send_bytes(&message)).await.is_none());
        assert_eq!(receiver.recv_bytes(MAX).await.unwrap(), b"first");
        let (closed, received) = futures::join!(sender.close(), receiver.recv_bytes(MAX));
        closed.unwrap();
        assert!(received.unwrap() == message);
        assert!(matches!(receiver.recv_bytes(MAX).await, Err(ConnectionError::Closed)));
    });
}
