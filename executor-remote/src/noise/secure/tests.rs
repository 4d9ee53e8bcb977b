use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use super::*;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn key(byte: u8) -> ClusterKey {
    ClusterKey::from_bytes([byte; 32])
}

/// Both sides' ends of a handshake over a pair of sockets.
fn meet(
    ours: Option<ClusterKey>,
    theirs: Option<ClusterKey>,
) -> (Result<Secure<UnixStream>, HandshakeError>, Result<Secure<UnixStream>, HandshakeError>) {
    let (a, b) = UnixStream::pair().unwrap();
    let other = thread::spawn(move || accept(b, theirs.as_ref(), soon()));
    (connect(a, ours.as_ref(), soon()), other.join().unwrap())
}

/// Accepts, with a key, a peer that does as `peer` says. It gets 30 seconds.
fn accept_from(peer: impl FnOnce(UnixStream) + Send + 'static) -> HandshakeError {
    let (a, b) = UnixStream::pair().unwrap();
    let peer = thread::spawn(move || peer(a));
    let error = accept(b, Some(&key(1)), soon()).err().expect("the peer has no key");
    peer.join().unwrap();
    error
}

fn receive_all(reader: &mut SecureReader<impl Stream>) -> Result<Vec<u8>, SecureError> {
    let mut out = Vec::new();
    while reader.receive(&mut out)? > 0 {}
    Ok(out)
}

#[test]
fn megabytes_pass_both_ways_at_once() {
    for key in [None, Some(key(1))] {
        let (a, b) = meet(key.clone(), key);
        let data: Vec<u8> = (0..3_000_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        let received: Vec<_> = thread::scope(|scope| {
            let mut receivers = Vec::new();
            for side in [a.unwrap(), b.unwrap()] {
                let Secure { mut reader, mut writer } = side;
                let data = &data;
                scope.spawn(move || {
                    writer.send(data).unwrap();
                    writer.close().unwrap();
                });
                receivers.push(scope.spawn(move || receive_all(&mut reader).unwrap()));
            }
            receivers.into_iter().map(|receiver| receiver.join().unwrap()).collect()
        });
        assert!(received.iter().all(|bytes| *bytes == data));
    }
}

#[test]
fn frames_pass_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let agent = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut secure = accept(stream, Some(&key(1)), soon()).unwrap();
        let mut frame = Vec::new();
        while secure.reader.receive(&mut frame).unwrap() > 0 {
            secure.writer.send(&frame).unwrap();
            frame.clear();
        }
    });
    let stream = TcpStream::connect(address).unwrap();
    let mut secure = connect(stream, Some(&key(1)), soon()).unwrap();
    for round in 0..10 {
        secure.writer.send(&[round; 40]).unwrap();
        let mut echo = Vec::new();
        while echo.len() < 40 {
            assert!(secure.reader.receive(&mut echo).unwrap() > 0);
        }
        assert_eq!(echo, [round; 40]);
    }
    secure.writer.close().unwrap();
    agent.join().unwrap();
}

#[test]
fn both_sides_learn_of_a_wrong_key() {
    let (a, b) = meet(Some(key(1)), Some(key(2)));
    assert!(matches!(a, Err(HandshakeError::KeyRefused { .. })));
    assert!(matches!(b, Err(HandshakeError::WrongKey { .. })));
}

#[test]
fn both_sides_learn_that_one_has_no_key() {
    let (a, b) = meet(None, Some(key(1)));
    assert!(matches!(a, Err(HandshakeError::KeyRequired)));
    assert!(matches!(b, Err(HandshakeError::PeerWithoutKey)));
    let (a, b) = meet(Some(key(1)), None);
    assert!(matches!(a, Err(HandshakeError::PeerWithoutKey)));
    assert!(matches!(b, Err(HandshakeError::KeyRequired)));
}

#[test]
fn a_refusal_survives_unread_bytes_over_tcp() {
    // The responder refuses at the hello and never reads what follows it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let agent = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        accept(stream, None, soon()).err()
    });
    let stream = TcpStream::connect(address).unwrap();
    let error = connect(stream, Some(&key(1)), soon()).err();
    assert!(matches!(error, Some(HandshakeError::PeerWithoutKey)), "{error:?}");
    assert!(matches!(agent.join().unwrap(), Some(HandshakeError::KeyRequired)));
}

#[test]
fn a_peer_that_says_nothing_is_given_up_at_the_deadline() {
    let (a, silent) = UnixStream::pair().unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    let error = accept(a, Some(&key(1)), deadline).err().unwrap();
    assert!(matches!(error, HandshakeError::TimedOut { waiting_for: Stage::Hello }), "{error}");
    assert!(Instant::now() >= deadline);
    drop(silent);

    let (a, _silent) = UnixStream::pair().unwrap();
    let deadline = Instant::now() + Duration::from_millis(20);
    let error = connect(a, Some(&key(1)), deadline).err().unwrap();
    // On a busy machine not even the hello is out by then.
    assert!(matches!(error, HandshakeError::TimedOut { .. }), "{error}");
}

#[test]
fn a_deadline_that_has_passed_is_kept() {
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"EXECUTOR").unwrap();
    let error = accept(a, None, Instant::now()).err().unwrap();
    assert!(matches!(error, HandshakeError::TimedOut { .. }), "{error}");
}

#[test]
fn a_peer_that_trickles_bytes_does_not_extend_the_deadline() {
    let (a, mut b) = UnixStream::pair().unwrap();
    let (done, over) = mpsc::channel::<()>();
    let trickle = thread::spawn(move || {
        let mut hello = Vec::new();
        Handshake::initiator(Some(&key(1))).unwrap().poll_transmit(&mut hello);
        // A byte each time the wait for the end passes; 64 of them take 640 ms, and then silence.
        for byte in hello {
            if over.recv_timeout(Duration::from_millis(10)) != Err(mpsc::RecvTimeoutError::Timeout)
                || b.write_all(&[byte]).is_err()
            {
                return;
            }
        }
        let _ = over.recv();
    });
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = accept(a, Some(&key(1)), deadline).err().unwrap();
    assert!(matches!(error, HandshakeError::TimedOut { .. }), "{error}");
    drop(done);
    trickle.join().unwrap();
}

#[test]
fn a_peer_that_does_not_take_its_answer_is_given_up_at_the_deadline() {
    let (a, b) = UnixStream::pair().unwrap();
    // Fill the socket, so that the hello finds no room.
    a.set_nonblocking(true).unwrap();
    while (&a).write(&[0; 4096]).is_ok() {}
    let deadline = Instant::now() + Duration::from_millis(20);
    let error = connect(a, Some(&key(1)), deadline).err().unwrap();
    assert!(matches!(error, HandshakeError::TimedOut { waiting_for: Stage::Send }), "{error}");
    drop(b);
}

#[test]
fn random_bytes_and_other_protocols_are_named() {
    let error = accept_from(|mut peer| peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap());
    assert!(error.to_string().contains("GET / HTTP/1.1"), "{error}");
    let error = accept_from(|mut peer| peer.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).unwrap());
    assert!(error.to_string().contains("\\x16\\x03\\x01"), "{error}");
}

#[test]
fn a_handshake_cut_at_any_byte_is_a_clear_error() {
    let mut whole = Vec::new();
    Handshake::initiator(Some(&key(1))).unwrap().poll_transmit(&mut whole);
    for len in 0..=whole.len() {
        let start = whole[..len].to_vec();
        let error = accept_from(move |mut peer| {
            peer.write_all(&start).unwrap();
            peer.shutdown(Shutdown::Write).unwrap();
            let _ = peer.read(&mut [0; 200]);
        });
        let expected = match len {
            0..16 => Stage::Hello,
            16..64 => Stage::Proof,
            _ => Stage::Confirmation,
        };
        match error {
            HandshakeError::Closed { waiting_for } => assert_eq!(waiting_for, expected),
            other => panic!("after {len} bytes: {other}"),
        }
    }
}

#[test]
fn an_agent_that_hangs_up_is_named_on_the_client() {
    let (a, b) = UnixStream::pair().unwrap();
    drop(b);
    let error = connect(a, None, soon()).err().unwrap();
    assert!(matches!(error, HandshakeError::Closed { .. }), "{error}");
}

#[test]
fn a_cut_connection_is_told_from_a_closed_one() {
    let (a, b) = meet(Some(key(1)), Some(key(1)));
    let mut reader = a.unwrap().reader;
    let mut peer = b.unwrap();
    peer.writer.send(b"half a story").unwrap();
    drop(peer);
    let mut out = Vec::new();
    assert_eq!(reader.receive(&mut out).unwrap(), 12);
    let error = reader.receive(&mut out).unwrap_err();
    assert!(matches!(error, SecureError::Record(RecordError::Cut)), "{error}");
    assert_eq!(io::Error::from(error).kind(), ErrorKind::UnexpectedEof);
}

#[test]
fn bytes_put_into_an_encrypted_connection_are_noticed() {
    let (a, b) = meet(Some(key(1)), Some(key(1)));
    let mut reader = a.unwrap().reader;
    let (mut raw, _) = b.unwrap().writer.into_parts();
    raw.write_all(&[0, 20]).unwrap();
    raw.write_all(&[5; 20]).unwrap();
    let error = reader.receive(&mut Vec::new()).unwrap_err();
    assert!(matches!(error, SecureError::Record(RecordError::Forged { record: 0 })), "{error}");
}
