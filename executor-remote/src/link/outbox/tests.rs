use std::io::Read;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use super::*;
use crate::key::ClusterKey;
use crate::noise::{self, SecureReader};

/// An outbox, and the peer that reads what it sends.
fn connected() -> (Arc<Outbox>, SecureReader<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let key = ClusterKey::from_bytes([7; 32]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    let accepting = {
        let key = key.clone();
        thread::spawn(move || noise::accept(theirs, Some(&key), deadline).unwrap())
    };
    let ours = noise::connect(ours, Some(&key), deadline).unwrap();
    let theirs = accepting.join().unwrap();
    let (stream, sealer) = ours.writer.into_parts();
    let (socket, _) = ours.reader.into_parts();
    (Arc::new(Outbox::new(stream, sealer)), theirs.reader, socket)
}

fn pusher(outbox: &Arc<Outbox>) -> thread::JoinHandle<()> {
    let outbox = Arc::clone(outbox);
    thread::spawn(move || outbox.run_pusher())
}

fn read_to_end(reader: &mut SecureReader<TcpStream>) -> Vec<u8> {
    let mut all = Vec::new();
    while reader.receive(&mut all).unwrap() > 0 {}
    all
}

#[test]
fn frames_of_many_threads_arrive_whole_and_in_the_order_of_each() {
    const THREADS: u8 = 4;
    const FRAMES: u32 = 5_000;
    let (outbox, mut reader, _socket) = connected();
    let pusher = pusher(&outbox);
    let writers: Vec<_> = (0..THREADS)
        .map(|name| {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || {
                for number in 0..FRAMES {
                    outbox.append(0, |out| {
                        out.push(name);
                        out.extend_from_slice(&number.to_le_bytes());
                    });
                    match number % 3 {
                        0 => outbox.flush_soon(),
                        _ => outbox.flush(),
                    }
                }
            })
        })
        .collect();
    let closing = {
        let outbox = Arc::clone(&outbox);
        thread::spawn(move || {
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            outbox.close();
        })
    };
    let mut next = [0; THREADS as usize];
    for frame in read_to_end(&mut reader).chunks(5) {
        let number = u32::from_le_bytes([frame[1], frame[2], frame[3], frame[4]]);
        let expected = &mut next[usize::from(frame[0])];
        assert_eq!(number, *expected);
        *expected += 1;
    }
    assert_eq!(next, [FRAMES; THREADS as usize]);
    closing.join().unwrap();
    pusher.join().unwrap();
}

#[test]
fn a_peer_that_does_not_read_blocks_nobody_and_gets_all_of_it_later() {
    const LEN: usize = 32 << 20;
    let (outbox, mut reader, _socket) = connected();
    let pusher = pusher(&outbox);
    outbox.append(0, |out| out.resize(LEN, 5));
    outbox.flush(); // far more than the buffers of the system take
    assert!(!outbox.wait_for_room(LEN / 2, Duration::ZERO), "what is not written is held");
    outbox.append(0, |out| out.push(6));
    outbox.close();
    let all = read_to_end(&mut reader);
    assert_eq!((all.len(), all[0], all[LEN]), (LEN + 1, 5, 6));
    assert!(outbox.wait_for_room(0, Duration::from_secs(60)));
    pusher.join().unwrap();
}

#[test]
fn a_flush_that_is_put_off_happens() {
    let (outbox, mut reader, _socket) = connected();
    let pusher = pusher(&outbox);
    outbox.append(0, |out| out.push(1));
    outbox.flush_soon();
    let mut got = Vec::new();
    reader.receive(&mut got).unwrap();
    assert_eq!(got, [1]);
    outbox.fail();
    pusher.join().unwrap();
}

#[test]
fn a_failure_ends_both_halves_and_drops_frames() {
    let (outbox, reader, mut socket) = connected();
    let pusher = pusher(&outbox);
    drop(reader);
    outbox.fail();
    assert_eq!(outbox.append(0, |out| out.push(1)), 0);
    outbox.flush();
    assert!(matches!(socket.read(&mut [0; 8]), Ok(0) | Err(_)));
    pusher.join().unwrap();
}

#[test]
fn what_is_held_is_released_by_answers() {
    let (outbox, mut reader, _socket) = connected();
    outbox.hold(1000);
    assert!(!outbox.wait_for_room(999, Duration::ZERO));
    let waiting = {
        let outbox = Arc::clone(&outbox);
        thread::spawn(move || outbox.wait_for_room(10, Duration::from_secs(60)))
    };
    outbox.append(1000, |out| out.push(1));
    assert!(waiting.join().unwrap());
    outbox.close();
    assert_eq!(read_to_end(&mut reader), [1]);
}
