use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use futures::FutureExt;
use proptest::prelude::*;

use super::batch::frame;
use super::*;

fn popped(batch: &mut Batch) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| batch.pop().map(<[u8]>::to_vec)).collect()
}

#[test]
fn a_batch_is_framed_as_the_connection_frames() {
    let mut batch = Batch::new();
    batch.push(b"");
    batch.push(b"hi");
    assert_eq!(batch.frames(), b"\0\0\0\0\0\0\0\x02hi");
    assert_eq!(batch.size(), 10);
    assert_eq!(popped(&mut batch), [&b""[..], b"hi"]);
    assert!(batch.is_empty());
}

#[test]
fn a_message_that_cannot_be_written_leaves_the_batch_as_it_was() {
    let mut batch = Batch::new();
    batch.push(b"one");
    let failed = batch.try_push_with(|out| {
        out.extend_from_slice(b"half a mess");
        Err("age")
    });
    assert_eq!(failed, Err("age"));
    assert_eq!(popped(&mut batch), [b"one"]);
}

#[test]
fn bytes_are_taken_in_any_portions() {
    let mut batch = Batch::new();
    batch.push(b"one");
    batch.advance(5);
    batch.push(b"two");
    assert_eq!(batch.frames(), b"ne\0\0\0\x03two");
    batch.advance(9);
    assert!(batch.is_empty());
    assert_eq!(batch.size(), 0);
}

#[test]
fn a_frame_of_either_form_is_read() {
    assert_eq!(frame(&[0, 0, 0, 5]), Some((4, 5)));
    assert_eq!(frame(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 0]), Some((12, 1 << 32)));
    assert_eq!(frame(&[0xff, 0xff, 0xff, 0xfe]), None);
    assert_eq!(frame(&[0xff, 0xff, 0xff, 0xff, 0]), None);
}

#[test]
fn a_sender_waits_for_a_receiver_that_does_not_receive() {
    let (near, far) = pair(10);
    let (mut send, _) = Box::new(near).split();
    let (_, mut receive) = Box::new(far).split();
    let mut cx = Context::from_waker(Waker::noop());

    let mut batch = Batch::new();
    for _ in 0..5 {
        batch.push(b"six by");
    }
    assert!(send.poll_send(&mut cx, &mut batch).is_pending());
    assert_eq!(batch.size(), 3 * 10, "two were taken");

    assert!(matches!(receive.poll_receive(&mut cx), Poll::Ready(Ok(true))));
    assert!(send.poll_send(&mut cx, &mut batch).is_pending());
    assert_eq!(batch.size(), 10);
    assert_eq!((receive.next().is_some(), receive.next().is_some(), receive.next()), (true, true, None));
}

#[test]
fn the_end_comes_after_the_last_message() {
    let (near, far) = pair(100);
    let (mut send, _) = Box::new(near).split();
    let (_, mut receive) = Box::new(far).split();
    let mut batch = Batch::new();
    batch.push(b"last");
    poll_fn(|cx| send.poll_send(cx, &mut batch)).now_or_never().expect("there is room").expect("it is open");
    drop(send);
    let mut receive_now = || poll_fn(|cx| receive.poll_receive(cx)).now_or_never().expect("it has come");
    assert!(matches!(receive_now(), Ok(true)));
    assert_eq!(receive.next(), Some(&b"last"[..]));
    let ended = poll_fn(|cx| receive.poll_receive(cx)).now_or_never().expect("it has come");
    assert!(matches!(ended, Ok(false)));
}

#[test]
fn sending_to_nobody_fails() {
    let (near, far) = pair(100);
    let (mut send, _) = Box::new(near).split();
    drop(Box::new(far).split());
    let mut batch = Batch::new();
    batch.push(b"lost");
    let sent = poll_fn(|cx| send.poll_send(cx, &mut batch)).now_or_never().expect("it is known at once");
    assert!(matches!(sent, Err(TransportError::Io(_))));
}

proptest! {
    #[test]
    fn batches_hold_what_was_put_into_them(first: Vec<Vec<u8>>, second: Vec<Vec<u8>>) {
        let (mut batch, mut other) = (Batch::new(), Batch::new());
        first.iter().for_each(|message| batch.push(message));
        second.iter().for_each(|message| other.push(message));
        batch.append(&mut other);
        prop_assert!(other.is_empty());
        let all: Vec<_> = first.into_iter().chain(second).collect();
        prop_assert_eq!(popped(&mut batch), all);
    }
}

#[test]
fn a_look_receives_what_a_poll_would() {
    use crate::connection::{Client, Listener};
    let (mut peer, connection) = crate::io_runtime::block_on(async {
        let listener = Listener::bind("127.0.0.1:0", b"secret").await.unwrap();
        let address = listener.local_addr().to_string();
        let (peer, connection) = futures::join!(Client::connect(&address, b"secret"), listener.accept());
        (peer.unwrap(), connection.unwrap())
    });
    let (_send, mut receive) = Box::<dyn Transport>::from(Box::new(connection)).split();
    for number in 0..200_u32 {
        let message = number.to_be_bytes();
        crate::io_runtime::block_on(peer.send_bytes(&message)).unwrap();
        // If another test looks at its connection, or this machine has one processor, it is polled.
        if !receive.look() {
            assert!(crate::io_runtime::block_on(poll_fn(|cx| receive.poll_receive(cx))).unwrap());
        }
        assert_eq!(receive.next(), Some(&message[..]));
        assert_eq!(receive.next(), None);
    }
    assert!(!receive.look(), "nothing came");
    drop(peer);
    assert!(!receive.look(), "the end is for a poll to say");
    assert!(!crate::io_runtime::block_on(poll_fn(|cx| receive.poll_receive(cx))).unwrap());
}
