//! Peers that do not behave, and agents that are not there or not the right ones.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use executor_core::{Executor, ExecutorExt, TaskError, wire};
use executor_remote::key::ClusterKey;
use executor_remote::noise::{self, Secure};
use executor_remote::{AgentConfig, RemoteConfig, RemoteExecutor};
use futures::executor::block_on;

use super::support::{
    PATIENCE, agent, assert_serves, client, config, is_closed_by_peer, key, outcome, tests,
};

tests! {
    a_wrong_key_fails_tasks_at_once_and_names_the_remedy,
    a_client_without_a_key_is_told_that_it_needs_one,
    an_agent_without_a_key_serves_clients_without_one,
    a_peer_that_says_nothing_is_cut_off_and_harms_nobody,
    more_silent_peers_than_allowed_are_turned_away_at_once,
    random_bytes_end_their_own_connection_only,
    a_huge_length_ends_its_own_connection_only,
    nonsense_in_a_session_ends_it_only,
    a_client_of_another_protocol_is_refused_with_what_the_agent_is,
    an_agent_of_another_protocol_fails_tasks_at_once,
    an_agent_of_another_transport_fails_tasks_at_once,
    an_agent_that_is_not_there_fails_tasks_after_a_while,
    something_else_at_the_port_is_told,
    an_agent_that_comes_late_is_found,
    more_clients_than_allowed_are_told_so,
}

#[track_caller]
fn unreachable(error: TaskError) -> (String, String) {
    match error {
        TaskError::Unreachable { address, reason, .. } => (address, reason),
        other => panic!("Unreachable was expected, not: {other}"),
    }
}

fn a_wrong_key_fails_tasks_at_once_and_names_the_remedy() {
    let agent = agent(|config| config);
    let wrong = RemoteConfig::new([agent.address.into()]).with_key(ClusterKey::from_bytes([1; 32]));
    let patient = wrong.with_unreachable(Duration::from_secs(3600));
    let ex = RemoteExecutor::open(patient).unwrap();
    let (address, reason) = unreachable(outcome(ex.submit(|n: u64| n, 1)).unwrap_err());
    assert_eq!(address, agent.address.to_string());
    assert!(reason.contains("give both sides the same key file"), "{reason}");
    assert!(matches!(block_on(ex.ready()), Err(TaskError::Unreachable { .. })));
    assert_serves(agent.address);
}

fn a_client_without_a_key_is_told_that_it_needs_one() {
    let agent = agent(|config| config);
    let ex = RemoteExecutor::open(RemoteConfig::new([agent.address.into()])).unwrap();
    let (_, reason) = unreachable(outcome(ex.submit(|n: u64| n, 1)).unwrap_err());
    assert!(reason.contains("demands a cluster key"), "{reason}");
}

fn an_agent_without_a_key_serves_clients_without_one() {
    let agent = agent(|config| {
        let mut config: AgentConfig = config;
        config.key = None;
        config
    });
    let ex = RemoteExecutor::open(RemoteConfig::new([agent.address.into()])).unwrap();
    assert_eq!(outcome(ex.submit(|n: u64| n + 1, 1)), Ok(2));
}

fn a_peer_that_says_nothing_is_cut_off_and_harms_nobody() {
    let agent = agent(|config| config.with_handshake_timeout(Duration::from_millis(200)));
    let mut silent = TcpStream::connect(agent.address).unwrap();
    let mut half_silent = TcpStream::connect(agent.address).unwrap();
    half_silent.write_all(b"EXECU").unwrap();
    assert_serves(agent.address);
    assert!(is_closed_by_peer(&mut silent));
    assert!(is_closed_by_peer(&mut half_silent));
}

fn more_silent_peers_than_allowed_are_turned_away_at_once() {
    let agent = agent(|config| config.with_max_half_open(2).with_handshake_timeout(PATIENCE * 10));
    let mut peers: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(agent.address).unwrap()).collect();
    let mut third = TcpStream::connect(agent.address).unwrap();
    assert!(is_closed_by_peer(&mut third), "well before the deadline of the handshake");
    // A place is free again when a peer leaves.
    drop(peers.pop());
    assert_serves(agent.address);
}

fn random_bytes_end_their_own_connection_only() {
    let agent = agent(|config| config);
    let ex = client(agent.address);
    assert_eq!(outcome(ex.submit(|n: u64| n, 1)), Ok(1));
    let mut word = 1u64;
    for len in [1, 16, 17, 100, 70_000] {
        let bytes: Vec<u8> = (0..len)
            .map(|_| {
                word ^= word << 13;
                word ^= word >> 7;
                word ^= word << 17;
                word as u8 | 0x80 // never the first byte of a hello
            })
            .collect();
        let mut stream = TcpStream::connect(agent.address).unwrap();
        // The agent may close before all of it is written.
        let _ = stream.write_all(&bytes);
        assert!(is_closed_by_peer(&mut stream), "{len} bytes");
    }
    assert_eq!(outcome(ex.submit(|n: u64| n, 2)), Ok(2));
    assert_serves(agent.address);
}

/// A connection that has proved the key.
fn secure(address: SocketAddr) -> Secure<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    noise::connect(stream, Some(&key()), Instant::now() + PATIENCE).unwrap()
}

/// That the agent closes the connection.
#[track_caller]
fn assert_ends(mut secure: Secure<TcpStream>) {
    secure.reader.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut received = Vec::new();
    loop {
        match secure.reader.receive(&mut received) {
            Ok(1..) => {}
            Ok(0) => return,
            Err(error) => {
                let error = std::io::Error::from(error);
                assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the agent keeps the connection");
                return;
            }
        }
    }
}

fn a_huge_length_ends_its_own_connection_only() {
    let agent = agent(|config| config);
    let ex = client(agent.address);
    assert_eq!(outcome(ex.submit(|n: u64| n, 1)), Ok(1));
    let mut peer = secure(agent.address);
    peer.writer.send(&u32::MAX.to_le_bytes()).unwrap();
    assert_ends(peer);
    assert_eq!(outcome(ex.submit(|n: u64| n, 2)), Ok(2));
}

/// The frame of a hello, of that protocol and this executable, which the agent has.
fn hello(protocol: u32) -> Vec<u8> {
    let exe = std::fs::read("/proc/self/exe").unwrap();
    let target = format!("{}-{}-{}", std::env::consts::ARCH, std::env::consts::OS, usize::BITS);
    let mut body = vec![129];
    body.extend(protocol.to_le_bytes());
    body.push(executor_core::CODEC_ID);
    body.extend((target.len() as u16).to_le_bytes());
    body.extend(target.as_bytes());
    body.extend(executor_core::build_id().as_bytes());
    body.extend(blake3::hash(&exe).as_bytes());
    body.extend((exe.len() as u64).to_le_bytes());
    body.extend((1u32 << 20).to_le_bytes());
    body.extend(1000u32.to_le_bytes());
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

/// The body of the next frame.
fn receive_frame(peer: &mut Secure<TcpStream>) -> Vec<u8> {
    peer.reader.stream().set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    while bytes.len() < 4 || bytes.len() < 4 + u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize {
        assert_ne!(peer.reader.receive(&mut bytes).unwrap(), 0, "the peer has left");
    }
    bytes.split_off(4)
}

fn nonsense_in_a_session_ends_it_only() {
    let agent = agent(|config| config);
    assert_serves(agent.address); // the executable is there now
    let ex = client(agent.address);
    let frames: [&[u8]; 5] = [
        &[99],
        &[1, 0, 1, 2],
        &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        // Two tasks under one number.
        &[],
        &[200; 1000],
    ];
    for frame in frames {
        let mut peer = secure(agent.address);
        peer.writer.send(&hello(wire::PROTOCOL)).unwrap();
        assert_eq!(receive_frame(&mut peer)[0], 130, "welcome");
        peer.writer.send(&framed(frame)).unwrap();
        assert_ends(peer);
        assert_eq!(outcome(ex.submit(|n: u64| n, 2)), Ok(2));
    }
}

fn a_client_of_another_protocol_is_refused_with_what_the_agent_is() {
    let agent = agent(|config| config);
    let mut peer = secure(agent.address);
    peer.writer.send(&hello(99)).unwrap();
    let refused = receive_frame(&mut peer);
    assert_eq!(refused[..2], [132, 1]);
    let text = String::from_utf8_lossy(&refused[2..]);
    assert!(text.contains(&format!("protocol {}", wire::PROTOCOL)), "{text}");
    assert_ends(peer);
    assert_serves(agent.address);
}

/// Somebody who listens, and treats each connection like this.
fn impostor(treat: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            treat(stream.unwrap());
        }
    });
    address
}

fn patient(address: SocketAddr) -> RemoteExecutor {
    RemoteExecutor::open(config(address).with_unreachable(Duration::from_secs(3600))).unwrap()
}

fn an_agent_of_another_protocol_fails_tasks_at_once() {
    let address = impostor(|stream| {
        let mut peer = noise::accept(stream, Some(&key()), Instant::now() + PATIENCE).unwrap();
        receive_frame(&mut peer);
        let refusal = [&[132, 1][..], b"protocol 99, codec 1, vax-vms-32"].concat();
        peer.writer.send(&framed(&refusal)).unwrap();
        peer.writer.close().unwrap();
        assert_ends(peer);
    });
    match outcome(patient(address).submit(|n: u64| n, 1)) {
        Err(TaskError::BuildMismatch { ours, theirs, .. }) => {
            assert!(ours.contains(std::env::consts::ARCH), "{ours}");
            assert!(theirs.contains("vax-vms-32") && theirs.contains(&address.to_string()), "{theirs}");
        }
        other => panic!("BuildMismatch was expected, not: {other:?}"),
    }
}

fn an_agent_of_another_transport_fails_tasks_at_once() {
    let address = impostor(|mut stream| {
        let mut hello = *b"EXECUTOR\x63\x00\x01\x02\0\0\0\0";
        hello[11] = 1;
        stream.write_all(&hello).unwrap();
        is_closed_by_peer(&mut stream);
    });
    match outcome(patient(address).submit(|n: u64| n, 1)) {
        Err(TaskError::BuildMismatch { theirs, .. }) => {
            assert!(theirs.contains("version 99") && theirs.contains("same release"), "{theirs}");
        }
        other => panic!("BuildMismatch was expected, not: {other:?}"),
    }
}

fn something_else_at_the_port_is_told() {
    let address = impostor(|mut stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").unwrap();
        is_closed_by_peer(&mut stream);
    });
    let (_, reason) = unreachable(outcome(patient(address).submit(|n: u64| n, 1)).unwrap_err());
    assert!(reason.contains("SSH-2.0") && reason.contains("is the port right?"), "{reason}");
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn an_agent_that_is_not_there_fails_tasks_after_a_while() {
    let address = nobody();
    let ex = RemoteExecutor::open(config(address).with_unreachable(Duration::from_millis(100))).unwrap();
    let futures: Vec<_> = (0..100).map(|n: u64| ex.submit(|n| n, n)).collect();
    for future in futures {
        let (failed, reason) = unreachable(outcome(future).unwrap_err());
        assert_eq!(failed, address.to_string());
        assert!(reason.contains("is it started?"), "{reason}");
    }
    assert!(matches!(block_on(ex.ready()), Err(TaskError::Unreachable { .. })));
    // Also what comes later, at once.
    unreachable(outcome(ex.submit(|n: u64| n, 1)).unwrap_err());
    block_on(ex.shutdown(executor_core::Shutdown::Drain));
}

fn an_agent_that_comes_late_is_found() {
    let address = nobody();
    let ex = RemoteExecutor::open(config(address).with_unreachable(Duration::from_secs(3600))).unwrap();
    let early = ex.submit(|n: u64| n + 1, 1);
    let agent = agent(|mut config| {
        config.listen = address.into();
        config
    });
    assert_eq!(outcome(early), Ok(2));
    assert_eq!(agent.address, address);
}

fn more_clients_than_allowed_are_told_so() {
    let agent = agent(|config| config.with_max_sessions(1));
    let first = client(agent.address);
    assert_eq!(outcome(first.submit(|n: u64| n, 1)), Ok(1));
    let config = config(agent.address).with_unreachable(Duration::from_millis(100));
    let second = RemoteExecutor::open(config).unwrap();
    super::support::eventually("the second client is told why", || {
        let (_, reason) = unreachable(outcome(second.submit(|n: u64| n, 1)).unwrap_err());
        reason.contains("as many clients as it may")
    });
    // It is served when the first has left.
    block_on(first.shutdown(executor_core::Shutdown::Drain));
    drop(first);
    super::support::eventually("the second client is served", || {
        outcome(second.submit(|n: u64| n, 2)) == Ok(2)
    });
}
