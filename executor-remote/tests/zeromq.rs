//! Remote calls over ZeroMQ, with `pyzmq` at the other end, in both directions.
//!
//! Needs `python3` with its module `venv`, and for the first run the packages `pyzmq` and `msgpack` from wherever pip gets
//! packages: they are installed into a virtual environment under the target folder.

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use executor_remote::object::Codec;
use executor_remote::rpc::transport::{Batch, Transport};
use executor_remote::rpc::zeromq::{Dealer, Router, ZeroMqError};
use executor_remote::rpc::{ClientConfig, RpcClient, RpcError, RpcServer, Serving};
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

/// A server in Python, which ends with this value, or with this process.
struct PythonServer {
    process: Child,
    address: String,
    _input: ChildStdin,
}

impl PythonServer {
    fn start(pattern: &str) -> Self {
        let mut process = Command::new(python())
            .arg(script("zmq_server.py"))
            .arg(pattern)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim_end().to_owned(), _input: input }
    }

    fn client(&self) -> RpcClient {
        let dealer = block_on(Dealer::connect(&self.address)).unwrap();
        RpcClient::over(dealer, Codec::MessagePack, ClientConfig::default()).unwrap()
    }
}

impl Drop for PythonServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
fn functions_behind_a_rep_socket_of_python_are_called() {
    calls_functions_of(&PythonServer::start("REP"));
}

#[test]
fn functions_behind_a_router_socket_of_python_are_called() {
    calls_functions_of(&PythonServer::start("ROUTER"));
}

fn calls_functions_of(server: &PythonServer) {
    let client = server.client();
    assert_eq!(client.call::<_, i64>("add", (2, 3)).wait().unwrap(), 5);
    let calls: Vec<_> = (0..500).map(|n| client.call::<_, i64>("add", (n, n))).collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait().unwrap(), 2 * n as i64);
    }
    let large = "x".repeat(3_000_000);
    assert_eq!(client.call::<_, String>("echo", (&large,)).wait().unwrap(), large);
    match client.call::<_, ()>("fail", ("no such luck",)).wait() {
        Err(RpcError::Remote { message, .. }) => assert!(message.contains("no such luck"), "{message}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(block_on(client.call::<_, i64>("add", (20, 22))).unwrap(), 42);
}

#[test]
fn answers_of_a_router_may_come_in_another_order_than_the_calls() {
    let server = PythonServer::start("ROUTER");
    let client = server.client();
    let mut held = client.call::<_, String>("echo", ("hold",));
    assert_eq!(client.call::<_, String>("echo", ("second",)).wait().unwrap(), "second");
    let first = held.wait_timeout(Duration::from_secs(30)).expect("it is answered after the second");
    assert_eq!(first.unwrap(), "hold");
}

#[test]
fn calls_fail_when_the_server_is_gone() {
    let mut server = PythonServer::start("ROUTER");
    let client = server.client();
    assert_eq!(client.call::<_, i64>("add", (1, 1)).wait().unwrap(), 2);
    let held = client.call::<_, String>("echo", ("hold",));
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    assert!(matches!(held.wait(), Err(RpcError::Disconnected { .. })));
    assert!(matches!(client.call::<_, i64>("add", (1, 1)).wait(), Err(RpcError::Disconnected { .. })));
}

#[test]
fn rust_calls_rust_in_every_codec() {
    let (address, _serving) = serve();
    for codec in [Codec::MessagePack, Codec::Json, Codec::Bincode, Codec::Pickle] {
        let dealer = block_on(Dealer::connect(&address)).unwrap();
        let client = RpcClient::over(dealer, codec, ClientConfig::default()).unwrap();
        let calls: Vec<_> = (0i64..300).map(|n| client.call::<_, i64>("add", (n, 1i64))).collect();
        for (n, call) in (0i64..).zip(calls) {
            assert_eq!(call.wait().unwrap(), n + 1, "{codec:?}");
        }
        let unknown = client.call::<_, i64>("ad", (1i64, 1i64)).wait().unwrap_err();
        assert!(unknown.to_string().contains("add"), "{codec:?}: {unknown}");
    }
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
fn what_is_no_call_ends_that_peer_and_no_other() {
    let (address, _serving) = serve();
    let bystander = {
        let dealer = block_on(Dealer::connect(&address)).unwrap();
        RpcClient::over(dealer, Codec::MessagePack, ClientConfig::default()).unwrap()
    };
    assert_eq!(bystander.call::<_, i64>("add", (1, 2)).wait().unwrap(), 3);
    for message in [&b""[..], b"\xc1\xff", b"\x94\x00\x01", b"\x94\x00\xcf\xff", b"\x80\x05.", &[0x91; 5000]]
    {
        let (mut sender, _receiver) = Box::new(block_on(Dealer::connect(&address)).unwrap()).split();
        send(&mut *sender, message);
        assert_eq!(bystander.call::<_, i64>("add", (1, 2)).wait().unwrap(), 3);
    }
    expect_ok(&python_client(&address, "REQ"));
}

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
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
