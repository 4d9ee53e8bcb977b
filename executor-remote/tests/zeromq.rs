//! Remote calls over ZeroMQ, with `pyzmq` at the other end, in both directions.
//!
//! Needs `python3` with its module `venv`, and for the first run the packages `pyzmq` and `msgpack` from wherever pip gets
//! packages: they are installed into a virtual environment under the target folder.

use std::future::poll_fn;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use executor_remote::rpc::transport::{Batch, Transport};
use executor_remote::rpc::zeromq::{Dealer, Router, ZeroMqError};
use executor_remote::rpc::{RpcServer, Serving};
use futures::executor::block_on;

/// The interpreter of a virtual environment that has the two packages.
fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zeromq-venv");
        let python = folder.join("bin/python");
        let is_ready = || {
            let import =
                Command::new(&python).args(["-c", "import msgpack, zmq"]).stderr(Stdio::null()).status();
            import.is_ok_and(|status| status.success())
        };
        if !is_ready() {
            run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "pyzmq", "msgpack"]));
            assert!(
                is_ready(),
                "pip has installed pyzmq and msgpack into {}, but they cannot be imported",
                folder.display()
            );
        }
        python
    })
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; these tests need python3 in PATH"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}\nthese tests need python3 with venv, and pip that can install pyzmq and msgpack",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name)
}

/// Runs the client script to its end, which it reaches by itself: it waits for no answer longer than half a minute.
fn python_client(address: &str, kind: &str) -> Output {
    Command::new(python()).arg(script("zmq_client.py")).args([address, kind]).output().unwrap()
}

fn functions() -> RpcServer {
    RpcServer::new()
        .register("add", |(x, y): (i64, i64)| x + y)
        .register("greet", |name: String| format!("hello, {name}"))
        .register("total", |numbers: Vec<i64>| numbers.iter().sum::<i64>())
        .register("zeros", |count: usize| "0".repeat(count))
        .register_fallible("divide", |(x, y): (i64, i64)| x.checked_div(y).ok_or("division by zero"))
        .register("crash", |(): ()| -> () { panic!("on purpose") })
}

/// Serves the functions above until it is dropped.
fn serve() -> (String, Serving) {
    start(functions())
}

fn start(server: RpcServer) -> (String, Serving) {
    let router = block_on(Router::bind("tcp://127.0.0.1:0")).unwrap();
    let address = router.local_addr().to_owned();
    (address, server.serve(router))
}

fn expect_ok(output: &Output) {
    assert!(output.status.success() && output.stdout == b"ok\n", "{output:?}");
}

#[test]
fn a_req_socket_of_python_calls_functions_and_is_told_of_errors() {
    let (address, _serving) = serve();
    expect_ok(&python_client(&address, "REQ"));
}

#[test]
fn a_dealer_socket_of_python_has_thousands_of_calls_under_way() {
    let (address, _serving) = serve();
    expect_ok(&python_client(&address, "DEALER"));
}

#[test]
fn req_sockets_behind_a_broker_of_python_get_each_their_own_answers() {
    let (address, _serving) = serve();
    expect_ok(&python_client(&address, "BROKER"));
}

#[test]
fn only_addresses_of_this_machine_are_allowed() {
    for address in ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://192.0.2.1:5555"] {
        for error in
            [block_on(Router::bind(address)).unwrap_err(), block_on(Dealer::connect(address)).unwrap_err()]
        {
            assert!(matches!(error, ZeroMqError::NotLoopback { .. }), "{error}");
            assert!(error.to_string().contains(address), "{error}");
        }
    }
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let router = block_on(Router::bind("tcp://127.0.0.1:0")).unwrap();
    let error = block_on(Router::bind(router.local_addr())).unwrap_err();
    assert!(error.to_string().contains(router.local_addr()), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("in use"), "{cause}");
}

#[test]
fn what_speaks_no_zeromq_disturbs_nobody() {
    let (address, _serving) = serve();
    let mut stranger = std::net::TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
    stranger.write_all(&[b'x'; 1000]).unwrap();
    let _silent = std::net::TcpStream::connect(address.strip_prefix("tcp://").unwrap()).unwrap();
    expect_ok(&python_client(&address, "REQ"));
}

/// Sends a message of any bytes.
fn send(dealer: &mut dyn executor_remote::rpc::transport::SendMessages, message: &[u8]) {
    let mut batch = Batch::new();
    batch.push(message);
    block_on(poll_fn(|cx| dealer.poll_send(cx, &mut batch))).unwrap();
}

#[test]
fn a_peer_that_reads_no_answers_costs_bounded_memory_and_stops_nobody_else() {
    const ANSWER: usize = 1 << 20;
    // What runs for a peer is bounded by their number, what waits for it in bytes.
    let (address, _serving) = start(functions().calls_in_flight(16));
    let (mut sender, unread) = Box::new(block_on(Dealer::connect(&address)).unwrap()).split();
    let before = resident();
    // Two gigabytes of answers, if all of them were made.
    for id in 0..2048u32 {
        send(&mut *sender, &rmp_serde::to_vec(&(0u8, id, "zeros", (ANSWER,))).unwrap());
    }
    let begin = Instant::now();
    expect_ok(&python_client(&address, "DEALER"));
    let (took, grown) = (begin.elapsed(), resident().saturating_sub(before));
    assert!(took < Duration::from_secs(30), "the others had to wait {took:?}");
    assert!(grown < 256 << 20, "{} MiB more are in memory", grown >> 20);
    drop((sender, unread));
}
/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}
