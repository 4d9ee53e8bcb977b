use std::time::Duration;

use executor_remote::connection::{AuthKey, Client, Connection, ConnectionError, Listener, blocking};
use executor_remote::key::ClusterKey;
use futures::executor::block_on;

const MAX: usize = 64 << 20;

fn addresses() -> (Vec<String>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("unix:{}/socket", folder.path().display());
    let name = format!("unix:@executor-{}-{:?}", std::process::id(), std::thread::current().id());
    (vec!["127.0.0.1:0".into(), "[::1]:0".into(), path, name], folder)
}

fn messages() -> Vec<Vec<u8>> {
    [0, 1, 16_384, 16_385, 65_536, 65_537, 3 << 20].map(|len| (0..len).map(|n| n as u8).collect()).into()
}

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
fn a_connection_works_inside_of_a_tokio_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let listener = Listener::bind("127.0.0.1:0", "secret").await.unwrap();
        let mut one = Client::connect(listener.local_addr(), "secret").await.unwrap();
        let other = listener.accept().await.unwrap();
        assert!(!one.poll(Duration::from_millis(1)).await.unwrap());
        exchange(one, other).await;
    });
}
