//! Peers that do what they should not, and addresses that cannot be had.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use executor_remote::connection::auth::AuthFailure;
use executor_remote::connection::{
    Client, ClientConfig, Connection, ConnectionError, Found, Listener, ListenerConfig,
};
use executor_remote::key::ClusterKey;
use futures::executor::block_on;

use crate::support::{framed, raw};

/// What a client makes of a server that says `bytes` and closes its direction.
fn connect_to(bytes: &[u8]) -> Result<Connection, ConnectionError> {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = server.accept().unwrap();
            stream.write_all(bytes).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let _ = stream.read_to_end(&mut Vec::new()); // until the client has seen it
        });
        block_on(Client::connect(address, "secret"))
    })
}

fn failure(outcome: Result<Connection, ConnectionError>) -> AuthFailure {
    match outcome {
        Err(ConnectionError::AuthenticationFailed { reason, .. }) => reason,
        other => panic!("no failed authentication but {other:?}"),
    }
}

/// What is received from a peer that sends `bytes` and closes.
async fn receive(bytes: &[u8]) -> Result<Vec<u8>, ConnectionError> {
    let config = ListenerConfig::default().with_max_message(1000);
    let listener = Listener::bind_with("127.0.0.1:0", None, &config).await.unwrap();
    let mut peer = raw(listener.local_addr());
    peer.write_all(bytes).unwrap();
    drop(peer);
    let mut connection = listener.accept().await.unwrap();
    let received = connection.recv_bytes(100).await;
    if let Err(error) = &received {
        let again = connection.recv_bytes(100).await.unwrap_err();
        assert_eq!(again.to_string(), error.to_string());
    }
    received
}

// MESSAGES

#[test]
fn the_end_of_the_stream_is_told_from_a_message_cut_short() {
    block_on(async {
        assert!(matches!(receive(b"").await, Err(ConnectionError::Closed)));
        let message = framed(b"hello");
        assert_eq!(receive(&message).await.unwrap(), b"hello");
        for len in 1..message.len() {
            assert!(matches!(receive(&message[..len]).await, Err(ConnectionError::Truncated)), "{len}");
        }
    });
}

#[test]
fn lengths_that_are_none_or_too_long_are_errors() {
    block_on(async {
        assert!(matches!(receive(b"\xff\xff\xff\xfe").await, Err(ConnectionError::BadLength { len: -2 })));
        let long = b"\xff\xff\xff\xff\0\0\0\0\0\0\0\x02hi";
        assert_eq!(receive(long).await.unwrap(), b"hi");
        let error = receive(&framed(&[0; 101])).await.unwrap_err();
        assert!(matches!(error, ConnectionError::TooLong { len: 101, max: 100 }), "{error}");
        let error = receive(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").await.unwrap_err();
        assert!(matches!(error, ConnectionError::TooLong { len: u64::MAX, max: 100 }), "{error}");
    });
}

#[test]
fn a_message_over_the_limit_is_not_lost() {
    block_on(async {
        let config = ListenerConfig::default().with_max_message(1000);
        let listener = Listener::bind_with("127.0.0.1:0", None, &config).await.unwrap();
        let mut peer = raw(listener.local_addr());
        peer.write_all(&[framed(&[1; 1000]), framed(&[2; 1001])].concat()).unwrap();
        let mut connection = listener.accept().await.unwrap();
        let error = connection.recv_bytes(999).await.unwrap_err();
        assert!(matches!(error, ConnectionError::TooLong { len: 1000, max: 999 }), "{error}");
        assert_eq!(connection.recv_bytes(1000).await.unwrap(), [1; 1000]);
        let error = connection.recv_bytes(usize::MAX).await.unwrap_err();
        assert!(matches!(error, ConnectionError::TooLong { len: 1001, max: 1000 }), "{error}");
    });
}

// HANDSHAKES

#[test]
fn a_wrong_key_is_refused_on_both_sides() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", "right").await.unwrap();
        let refused = Client::connect(listener.local_addr(), "wrong").await;
        assert_eq!(failure(refused), AuthFailure::Rejected);
        // And the listener goes on.
        let mut honest = Client::connect(listener.local_addr(), "right").await.unwrap();
        honest.send_bytes(b"me").await.unwrap();
        assert_eq!(listener.accept().await.unwrap().recv_bytes(2).await.unwrap(), b"me");
    });
}

#[test]
fn a_peer_without_a_key_does_not_get_through() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        let mut connection = Client::connect(listener.local_addr(), None).await.unwrap();
        connection.send_bytes(b"run this").await.unwrap();
        assert!(connection.recv_bytes(256).await.unwrap().starts_with(b"#CHALLENGE#"));
        assert_eq!(connection.recv_bytes(256).await.unwrap(), b"#FAILURE#");
        assert!(connection.recv_bytes(256).await.unwrap_err().is_disconnected());
    });
}

#[test]
fn a_server_that_knows_of_no_key_is_not_waited_for_for_ever() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
        let config = ClientConfig::default().with_limit(Duration::from_millis(50));
        let error = Client::connect_with(listener.local_addr(), "secret", &config).await.unwrap_err();
        assert!(matches!(error, ConnectionError::HandshakeTimedOut { .. }), "{error}");
        assert!(error.to_string().contains("the challenge of the peer"), "{error}");
    });
}

#[test]
fn a_handshake_that_is_cut_off_is_told_from_a_refusal() {
    let challenge = framed(&[b"#CHALLENGE#{sha256}".as_slice(), &[0; 40]].concat());
    for len in 0..=challenge.len() {
        let error = connect_to(&challenge[..len]).unwrap_err();
        assert!(matches!(error, ConnectionError::HandshakeClosed { .. }), "after {len} bytes: {error}");
        assert!(error.is_disconnected());
    }
}

#[test]
fn a_server_that_says_something_else_is_not_trusted() {
    let challenge = framed(&[b"#CHALLENGE#{sha256}".as_slice(), &[1; 40]].concat());
    let welcome = framed(b"#WELCOME#");
    let unexpected = |bytes: &[u8]| matches!(failure(connect_to(bytes)), AuthFailure::Unexpected { .. });
    // Verdicts in another order.
    assert!(unexpected(&welcome));
    assert!(unexpected(&[&challenge[..], &challenge].concat()));
    assert_eq!(failure(connect_to(&[&challenge[..], &framed(b"#FAILURE#")].concat())), AuthFailure::Rejected);
    // It welcomes everybody, and cannot answer.
    let outcome = connect_to(&[&challenge[..], &welcome, &framed(&[0; 16])].concat());
    assert_eq!(failure(outcome), AuthFailure::WrongKey);
    let outcome = connect_to(&[&challenge[..], &welcome, &welcome].concat());
    assert_eq!(failure(outcome), AuthFailure::UnknownDigest { len: 9 });
    // It does not speak the protocol at all.
    let error = connect_to(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err();
    assert!(matches!(error, ConnectionError::TooLong { .. }), "{error}");
    assert!(matches!(connect_to(b"\xff\xff\xff\xfe"), Err(ConnectionError::BadLength { len: -2 })));
}

#[test]
fn an_empty_key_is_refused() {
    block_on(async {
        assert!(matches!(Listener::bind("127.0.0.1:0", "").await, Err(ConnectionError::EmptyKey)));
        assert!(matches!(Client::connect("127.0.0.1:1", b"").await, Err(ConnectionError::EmptyKey)));
    });
}

#[test]
fn encrypted_and_other_peers_do_not_come_together() {
    let key = ClusterKey::generate().unwrap();
    let config = ClientConfig::default().with_limit(Duration::from_secs(5));
    block_on(async {
        let listener = Listener::bind_noise("127.0.0.1:0", &key).await.unwrap();
        let other = ClusterKey::generate().unwrap();
        let error = Client::connect_noise(listener.local_addr(), &other).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Noise { .. }), "{error}");
        // It sends nothing before it is asked, and so does a client with an authkey.
        let short = ClientConfig::default().with_limit(Duration::from_millis(50));
        let error = Client::connect_with(listener.local_addr(), "secret", &short).await.unwrap_err();
        assert!(matches!(error, ConnectionError::HandshakeTimedOut { .. }), "{error}");

        let listener = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        let error = Client::connect_noise_with(listener.local_addr(), &key, &config).await.unwrap_err();
        assert!(matches!(error, ConnectionError::Noise { .. }), "{error}");
    });
}

// ADDRESSES

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    block_on(async {
        let first = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        let error = Listener::bind(first.local_addr(), "secret").await.unwrap_err();
        assert!(matches!(&error, ConnectionError::AddressInUse { address } if address == first.local_addr()));
        let name = format!("unix:@executor-in-use-{}", std::process::id());
        let first = Listener::bind(name, "secret").await.unwrap();
        let error = Listener::bind(first.local_addr(), "secret").await.unwrap_err();
        assert!(matches!(error, ConnectionError::AddressInUse { .. }), "{error}");
    });
}

#[test]
fn a_path_that_exists_is_an_error_that_says_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let bind = || block_on(Listener::bind(format!("unix:{}", path.display()), None));
    let found = |outcome: Result<Listener, ConnectionError>| match outcome {
        Err(ConnectionError::PathExists { found, path: at }) if at == path => found,
        other => panic!("{other:?}"),
    };
    let listener = bind().unwrap();
    assert_eq!(found(bind()), Found::LiveSocket);
    drop(listener);
    assert!(!path.exists(), "the file is removed");

    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(found(bind()), Found::StaleSocket);
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, "text").unwrap();
    assert_eq!(found(bind()), Found::OtherFile);
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

#[test]
fn a_file_that_somebody_else_put_there_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = block_on(Listener::bind(format!("unix:{}", path.display()), None)).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "text").unwrap();
    drop(listener);
    assert!(path.exists());
}

#[test]
fn other_machines_need_a_key() {
    block_on(async {
        for address in ["0.0.0.0:0", "[::]:0"] {
            let error = Listener::bind(address, None).await.unwrap_err();
            assert!(matches!(error, ConnectionError::NotLoopback { .. }), "{error}");
            assert!(error.to_string().contains("authkey"), "{error}");
            Listener::bind(address, "secret").await.unwrap();
            Listener::bind_noise(address, &ClusterKey::generate().unwrap()).await.unwrap();
        }
        Listener::bind("localhost:0", None).await.unwrap();
    });
}

#[test]
fn nobody_there_is_an_error_that_names_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/socket", folder.path().display());
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [path, port.to_string(), "unix:@executor-nobody".into()] {
        let error = block_on(Client::connect(&address, "secret")).unwrap_err();
        assert!(matches!(error, ConnectionError::Connect { .. }), "{error}");
        assert!(error.to_string().contains(&address), "{error}");
        let twin = executor_remote::connection::blocking::Client::connect(&address, "secret").unwrap_err();
        assert_eq!(twin.to_string(), error.to_string());
    }
    let error = block_on(Client::connect("nowhere", None)).unwrap_err();
    assert!(matches!(error, ConnectionError::BadAddress { .. }), "{error}");
}
