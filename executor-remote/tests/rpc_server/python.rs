//! The thirty-line client of Python, unchanged, run by the python3 of the machine.

use executor_remote::connection::Listener;
use futures::executor::block_on;

use super::support::{Python, functions};

#[test]
fn the_well_known_client_is_served_over_tcp() {
    let listener = block_on(Listener::bind("127.0.0.1:0", b"secret")).expect("loopback");
    let address = listener.local_addr().to_string();
    let _serving = functions().serve(listener);
    Python::start("rpc_client.py", &[&address, "secret"]).expect_ok();
}

#[test]
fn the_well_known_client_is_served_over_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rpc").to_str().expect("it is text").to_owned();
    let listener = block_on(Listener::bind(format!("unix:{path}"), b"secret")).expect("a free path");
    let _serving = functions().serve(listener);
    Python::start("rpc_client.py", &[&path, "secret"]).expect_ok();
}

#[test]
fn many_python_programs_are_served_at_a_time() {
    let listener = block_on(Listener::bind("127.0.0.1:0", b"secret")).expect("loopback");
    let address = listener.local_addr().to_string();
    let _serving = functions().serve(listener);
    let peers: Vec<_> = (0..4).map(|_| Python::start("rpc_client.py", &[&address, "secret"])).collect();
    peers.into_iter().for_each(Python::expect_ok);
}

#[test]
fn a_python_program_learns_that_the_server_has_stopped() {
    let listener = block_on(Listener::bind("127.0.0.1:0", b"secret")).expect("loopback");
    let address = listener.local_addr().to_string();
    let serving = functions().serve(listener);
    let mut peer = Python::start("rpc_stopped.py", &[&address, "secret"]);
    assert_eq!(peer.line(), "called");
    serving.handle().stop();
    peer.expect_ok();
    serving.wait().expect("it was stopped");
}
