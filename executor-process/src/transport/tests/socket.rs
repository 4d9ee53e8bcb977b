use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::super::*;

fn pair() -> (SocketChannel, SocketChannel) {
    SocketChannel::pair().expect("a socket pair")
}

fn out(bodies: &[&[u8]]) -> OutBuf {
    let mut out = OutBuf::new();
    for body in bodies {
        out.push(body, 1 << 30).expect("within the limit");
    }
    out
}

#[test]
fn frames_cross_and_the_end_is_seen() {
    let (mut ours, mut theirs) = pair();
    assert_eq!(ours.try_send(&mut out(&[b"one", b"", b"three"])).expect("room"), Sent::All);
    drop(ours);
    let mut reader = FrameReader::new(100);
    assert_eq!(theirs.recv(&mut reader).expect("readable"), Received::Bytes(20));
    for body in [&b"one"[..], b"", b"three"] {
        assert_eq!(reader.next_frame(), Ok(Some(body)));
    }
    assert_eq!(theirs.recv(&mut reader).expect("readable"), Received::Closed);
    assert_eq!(theirs.try_recv(&mut reader).expect("readable"), Received::Closed);
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn nothing_to_receive_is_not_the_end() {
    let (_ours, mut theirs) = pair();
    assert_eq!(theirs.try_recv(&mut FrameReader::new(100)).expect("readable"), Received::Nothing);
}

#[test]
fn full_channel_keeps_the_rest_and_goes_on_when_there_is_room() {
    let (mut ours, mut theirs) = pair();
    let body: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let mut out = out(&[&body]);
    assert_eq!(ours.try_send(&mut out).expect("a peer"), Sent::Full);
    assert!(!out.is_empty());
    assert_eq!(ours.try_send_bytes(b"x").expect("a peer"), 0);
    let mut reader = FrameReader::new(body.len());
    loop {
        while let Received::Bytes(_) = theirs.try_recv(&mut reader).expect("a peer") {}
        if ours.try_send(&mut out).expect("a peer") == Sent::All {
            break;
        }
    }
    while let Received::Bytes(_) = theirs.try_recv(&mut reader).expect("a peer") {}
    assert_eq!(reader.next_frame(), Ok(Some(&body[..])));
}

#[test]
fn waiting_send_crosses_whole() {
    let (mut ours, mut theirs) = pair();
    let sender = std::thread::spawn(move || ours.send(out(&[&[5; 1_000_000]]).as_slice()));
    let mut reader = FrameReader::new(1_000_000);
    while theirs.recv(&mut reader).expect("a peer") != Received::Closed {}
    assert_eq!(reader.next_frame(), Ok(Some(&[5; 1_000_000][..])));
    sender.join().expect("the sender").expect("a peer that reads");
}

#[test]
fn sending_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    let (mut ours, theirs) = pair();
    assert_eq!(ours.try_send(&mut out(&[b"never read"])).expect("room"), Sent::All);
    drop(theirs);
    for _ in 0..2 {
        let error = ours.try_send(&mut out(&[b"x"])).expect_err("nobody there");
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}

#[test]
fn what_a_peer_sent_arrives_even_if_it_left_unread_bytes_behind() {
    let (mut ours, mut theirs) = pair();
    assert_eq!(ours.try_send(&mut out(&[b"never read"])).expect("room"), Sent::All);
    assert_eq!(theirs.try_send(&mut out(&[b"last words"])).expect("room"), Sent::All);
    drop(theirs);
    let mut reader = FrameReader::new(100);
    assert_eq!(ours.try_recv(&mut reader).expect("readable"), Received::Bytes(14));
    assert_eq!(reader.next_frame(), Ok(Some(&b"last words"[..])));
    assert_eq!(ours.try_recv(&mut reader).expect("a reset is an end"), Received::Closed);
}

#[test]
fn clone_is_the_same_end() {
    let (ours, mut theirs) = pair();
    let mut clone = ours.try_clone().expect("a descriptor");
    drop(ours);
    assert_eq!(clone.try_send(&mut out(&[b"x"])).expect("room"), Sent::All);
    let mut reader = FrameReader::new(100);
    assert_eq!(theirs.recv(&mut reader).expect("readable"), Received::Bytes(5));
    drop(clone);
    assert_eq!(theirs.recv(&mut reader).expect("readable"), Received::Closed);
}

fn inode(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).expect("stat").st_ino
}

#[test]
fn descriptor_crosses_with_its_message_and_leaves_what_follows() {
    let (mut ours, mut theirs) = pair();
    let (read, _write) = rustix::pipe::pipe().expect("a pipe");
    send_with_fd(&ours, b"hello", read.as_fd()).expect("room");
    assert_eq!(ours.try_send(&mut out(&[b"next"])).expect("room"), Sent::All);
    let mut message = [0; 5];
    let got = recv_with_fd(&theirs, &mut message).expect("a descriptor");
    assert_eq!(&message, b"hello");
    assert_eq!(inode(&got), inode(&read));
    let flags = rustix::io::fcntl_getfd(&got).expect("flags");
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let mut reader = FrameReader::new(100);
    assert_eq!(theirs.recv(&mut reader).expect("readable"), Received::Bytes(8));
    assert_eq!(reader.next_frame(), Ok(Some(&b"next"[..])));
}

#[test]
fn message_without_a_descriptor_or_cut_short_is_refused() {
    let (mut ours, theirs) = pair();
    ours.send(b"hello").expect("room");
    let error = recv_with_fd(&theirs, &mut [0; 5]).expect_err("no descriptor");
    assert!(matches!(error, RecvFdError::Unexpected { bytes: 5, descriptors: 0, .. }), "{error}");

    let (read, _write) = rustix::pipe::pipe().expect("a pipe");
    send_with_fd(&ours, b"hel", read.as_fd()).expect("room");
    drop(ours);
    let error = recv_with_fd(&theirs, &mut [0; 5]).expect_err("cut short");
    assert!(matches!(error, RecvFdError::Unexpected { bytes: 3, descriptors: 1, .. }), "{error}");
    assert!(matches!(recv_with_fd(&theirs, &mut [0; 5]), Err(RecvFdError::Closed)));
}

#[test]
fn descriptor_needs_a_byte_to_travel_with() {
    let (ours, theirs) = pair();
    let error = send_with_fd(&ours, b"", theirs.as_fd()).expect_err("nothing to send");
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn channel_becomes_its_descriptor() {
    let (ours, _theirs) = pair();
    let before = inode(&ours);
    assert_eq!(inode(OwnedFd::from(ours)), before);
}
