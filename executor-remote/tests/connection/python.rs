//! The other side is the `python3` of this machine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use executor_remote::connection::{
    AuthKey, Client, ConnectionError, Listener, ListenerConfig, auth::AuthFailure, blocking,
};
use executor_remote::object::{Codec, Object};
use futures::executor::block_on;

use crate::support::{MAX, addresses, messages};

/// A Python process, killed when it is dropped. Its script ends it after a minute if that does not happen.
struct Python {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start(role: &str, address: &str, key: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/connection_peer.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args([role, address, key])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 has to be installed for these tests");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Python knows no brackets, and would take an IPv6 address for IPv4.
fn addresses_of_python() -> (Vec<String>, tempfile::TempDir) {
    let (mut addresses, folder) = addresses();
    addresses.retain(|address| !address.starts_with('['));
    (addresses, folder)
}

fn key(text: &str) -> AuthKey {
    if text.is_empty() { AuthKey::none() } else { text.into() }
}

#[test]
fn a_python_client_talks_to_a_listener() {
    let (addresses, _folder) = addresses_of_python();
    for address in &addresses {
        for secret in ["secret", ""] {
            block_on(async {
                let listener = Listener::bind(address, key(secret)).await.unwrap();
                let mut python = Python::start("connect", &listener.local_addr().to_string(), secret);
                let mut connection = listener.accept().await.unwrap();
                let end = loop {
                    match connection.recv_bytes(MAX).await {
                        Ok(message) => connection.send_bytes(&message).await.unwrap(),
                        Err(end) => break end,
                    }
                };
                assert!(matches!(end, ConnectionError::Closed), "{end}");
                assert_eq!(python.line(), "done");
            });
        }
    }
}

#[test]
fn a_client_talks_to_a_python_listener() {
    for secret in ["secret", ""] {
        let (addresses, _folder) = addresses_of_python();
        for address in &addresses {
            block_on(async {
                let mut python = Python::start("listen", address, secret);
                let mut connection = Client::connect(python.line(), key(secret)).await.unwrap();
                for message in messages().iter().filter(|message| message.len() < 200_000) {
                    connection.send_bytes(message).await.unwrap();
                    assert_eq!(connection.recv_bytes(MAX).await.unwrap(), *message);
                }
                drop(connection);
                assert_eq!(python.line(), "closed");
            });
        }
    }
}

#[test]
fn the_blocking_twins_talk_to_python_as_well() {
    let listener = blocking::Listener::bind("127.0.0.1:0", "secret").unwrap();
    let mut python = Python::start("connect", &listener.local_addr().to_string(), "secret");
    let mut connection = listener.accept().unwrap();
    while let Ok(message) = connection.recv_bytes(MAX) {
        connection.send_bytes(&message).unwrap();
    }
    assert_eq!(python.line(), "done");

    let mut python = Python::start("listen", "127.0.0.1:0", "secret");
    let mut connection = blocking::Client::connect(python.line(), "secret").unwrap();
    connection.send_bytes(b"hello").unwrap();
    assert_eq!(connection.recv_bytes(5).unwrap(), b"hello");
    drop(connection);
    assert_eq!(python.line(), "closed");
}

#[test]
fn the_objects_of_a_python_client_come_back_as_they_were() {
    let config = ListenerConfig::default().with_codec(Codec::Pickle);
    block_on(async {
        let listener = Listener::bind_with("127.0.0.1:0", "secret", &config).await.unwrap();
        let mut python = Python::start("objects", &listener.local_addr().to_string(), "secret");
        let mut connection = listener.accept().await.unwrap();
        assert_eq!(connection.recv::<String>().await.unwrap(), "hi");
        connection.send("hi").await.unwrap();
        while let Ok(object) = connection.recv::<Object>().await {
            connection.send(&object).await.unwrap();
        }
        assert_eq!(python.line(), "done");
    });
}

#[test]
fn a_wrong_key_is_refused_by_either_side() {
    block_on(async {
        let listener = Listener::bind("127.0.0.1:0", "right").await.unwrap();
        let mut python = Python::start("connect", &listener.local_addr().to_string(), "wrong");
        assert_eq!(python.line(), "AuthenticationError: digest sent was rejected");

        let mut python = Python::start("listen", "127.0.0.1:0", "right");
        let refused = Client::connect(python.line(), "wrong").await.unwrap_err();
        let rejected =
            matches!(refused, ConnectionError::AuthenticationFailed { reason: AuthFailure::Rejected, .. });
        assert!(rejected, "{refused}");
        assert_eq!(python.line(), "AuthenticationError: digest received was wrong");
    });
}

#[test]
fn a_listener_that_refuses_md5_admits_only_pythons_that_know_better() {
    let version = Command::new("python3")
        .args(["-c", "import sys; print(sys.version_info >= (3, 12))"])
        .output()
        .expect("python3 has to be installed for these tests");
    let knows_better = version.stdout.starts_with(b"True");
    let config = ListenerConfig::default().refuse_md5();
    block_on(async {
        let listener = Listener::bind_with("127.0.0.1:0", "secret", &config).await.unwrap();
        let mut python = Python::start("connect", &listener.local_addr().to_string(), "secret");
        if knows_better {
            let mut connection = listener.accept().await.unwrap();
            while let Ok(message) = connection.recv_bytes(MAX).await {
                connection.send_bytes(&message).await.unwrap();
            }
            assert_eq!(python.line(), "done");
        } else {
            assert_eq!(python.line(), "AuthenticationError: digest sent was rejected");
        }
    });
}
