//! The async twins, without any runtime.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;

use futures::executor::block_on;
use futures::future::{join, join_all};

use super::super::{RecvError, SendError, duplex, pipe};

#[test]
fn recv_async_waits_for_a_message_and_for_the_end() {
    let (reader, writer) = pipe().expect("a pipe");
    let mut recv = pin!(reader.recv_async());
    assert!(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| writer.send(5).expect("a receiver"));
        assert_eq!(block_on(recv).expect("a message"), 5);
    });
    let mut recv = pin!(reader.recv_async());
    assert!(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(writer);
    assert!(matches!(block_on(recv), Err(RecvError::Closed)));
}

#[test]
fn send_async_waits_for_room_and_ends_when_nobody_is_left() {
    let (reader, writer) = pipe().expect("a pipe");
    let mut sent = 0u32;
    while writer.try_send(sent).is_ok() {
        sent += 1;
    }
    let mut send = pin!(writer.send_async(sent));
    assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    thread::scope(|scope| {
        scope.spawn(|| (0..sent).for_each(|n| assert_eq!(reader.recv().expect("a message"), n)));
        block_on(send).expect("a receiver");
    });
    assert_eq!(reader.recv().expect("a message"), sent);
    while writer.try_send(0).is_ok() {}
    let mut send = pin!(writer.send_async(9));
    assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(reader);
    assert!(matches!(block_on(send), Err(SendError::Closed(9))));
}

#[test]
fn many_pipes_are_waited_for_by_one_thread() {
    let pipes: Vec<_> = (0..50).map(|_| duplex::<u32, u32>().expect("a pipe")).collect();
    let answers = pipes.iter().map(|(_, there)| async {
        let n = there.recv_async().await.expect("a message");
        there.send_async(n + 1).await.expect("a receiver");
    });
    let questions = pipes.iter().enumerate().map(|(n, (here, _))| async move {
        here.send_async(n as u32).await.expect("a receiver");
        assert_eq!(here.recv_async().await.expect("an answer"), n as u32 + 1);
    });
    block_on(join(join_all(answers), join_all(questions)));
}

#[test]
fn a_dropped_future_has_received_nothing() {
    let (reader, writer) = pipe().expect("a pipe");
    {
        let mut recv = pin!(reader.recv_async());
        assert!(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        writer.send(1).expect("a receiver");
    }
    assert_eq!(reader.recv().expect("a message"), 1);
}
