use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use super::super::*;

fn pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().expect("a socket pair")
}

fn inode(fd: impl AsFd) -> u64 {
    rustix::fs::fstat(fd).expect("stat").st_ino
}

#[test]
fn descriptors_cross_with_their_message_in_order_and_leave_what_follows() {
    let (mut ours, theirs) = pair();
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let bell = bell().expect("an eventfd");
    send_with_fds(&ours, b"hello", &[bell.as_fd(), read.as_fd(), bell.as_fd()]).expect("room");
    ours.write_all(b"next").expect("room");
    let mut message = [0; 5];
    let [first, second, third] = recv_with_fds(&theirs, &mut message).expect("descriptors");
    assert_eq!(&message, b"hello");
    assert_eq!([inode(&first), inode(&second), inode(&third)], [&bell, &read, &bell].map(inode));
    for got in [&first, &second, &third] {
        let flags = rustix::io::fcntl_getfd(got).expect("flags");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }
    let mut rest = [0; 10];
    assert_eq!(rustix::io::read(&theirs, &mut rest[..]), Ok(4), "what follows is still there");
    drop(write);
}

#[test]
fn message_without_the_right_descriptors_or_cut_short_is_refused() {
    let (mut ours, theirs) = pair();
    ours.write_all(b"hello").expect("room");
    let error = recv_with_fds::<1>(&theirs, &mut [0; 5]).expect_err("no descriptor");
    assert!(matches!(error, RecvFdError::Unexpected { bytes: 5, descriptors: 0, .. }), "{error}");

    let (read, _write) = rustix::pipe::pipe().expect("a pipe");
    send_with_fds(&ours, b"hello", &[read.as_fd(); 3]).expect("room");
    let error = recv_with_fds::<2>(&theirs, &mut [0; 5]).expect_err("one too many");
    assert!(matches!(error, RecvFdError::Unexpected { wanted: 2, descriptors: 3, .. }), "{error}");

    send_with_fds(&ours, b"hel", &[read.as_fd()]).expect("room");
    drop(ours);
    let error = recv_with_fds::<1>(&theirs, &mut [0; 5]).expect_err("cut short");
    assert!(matches!(error, RecvFdError::Unexpected { bytes: 3, descriptors: 1, .. }), "{error}");
    assert!(matches!(recv_with_fds::<1>(&theirs, &mut [0; 5]), Err(RecvFdError::Closed)));
}

#[test]
fn descriptors_need_a_byte_to_travel_with_and_are_not_many() {
    let (ours, theirs) = pair();
    for (message, fds) in [(&b""[..], 1), (b"x", 9)] {
        let error =
            send_with_fds(&ours, message, &vec![theirs.as_fd(); fds]).expect_err("that cannot be sent");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
