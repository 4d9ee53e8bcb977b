use std::future::poll_fn;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::mpsc::channel;

use rustix::net::{RecvFlags, recv};

use super::*;
use crate::io_runtime;

/// A socket, and its peer.
fn pair() -> (Arc<Watched>, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    (Arc::new(Watched::new(ours.into(), io_runtime::handle()).unwrap()), peer)
}

/// Receives a byte.
async fn receive(socket: &Watched) -> u8 {
    let mut byte = [0];
    poll_fn(|cx| {
        socket.poll_io(cx, true, || {
            let (received, _) = recv(socket.fd(), &mut byte, RecvFlags::DONTWAIT)?;
            Ok(if received == 1 { Done::Some } else { Done::All })
        })
    })
    .await
    .unwrap();
    byte[0]
}

#[test]
fn what_arrives_while_nobody_watches_is_there_when_it_is_polled() {
    let (socket, mut peer) = pair();
    socket.ignore();
    peer.write_all(b"a").unwrap();
    assert_eq!(io_runtime::block_on(receive(&socket)), b'a');
    peer.write_all(b"b").unwrap();
    assert_eq!(io_runtime::block_on(receive(&socket)), b'b');
}

#[test]
fn who_would_wait_has_it_watched_again() {
    let (socket, mut peer) = pair();
    for byte in 0..100 {
        socket.ignore();
        let receiving = Arc::clone(&socket);
        let (waits, is_waiting) = channel();
        let task = io_runtime::handle().spawn(async move {
            let mut byte = pin!(receive(&receiving));
            if let Poll::Ready(byte) = futures::poll!(&mut byte) {
                return byte;
            }
            let _ = waits.send(());
            byte.await
        });
        if byte % 2 == 0 {
            is_waiting.recv().expect("nothing has been sent yet");
        }
        peer.write_all(&[byte]).unwrap();
        assert_eq!(io_runtime::block_on(task).unwrap(), byte);
    }
}

#[test]
fn the_descriptor_comes_back() {
    let (socket, mut peer) = pair();
    let fd = Arc::into_inner(socket).unwrap().into_fd();
    peer.write_all(b"x").unwrap();
    assert_eq!(recv(&fd, &mut [0; 2], RecvFlags::empty()).unwrap().0, 1);
}
