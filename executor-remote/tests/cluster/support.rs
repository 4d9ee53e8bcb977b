//! What tests work with: agents in this process and in others, a relay that can be cut, waits that end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use executor_core::{ExecutorExt, TaskError, TaskFuture};
use executor_remote::address::Address;
use executor_remote::key::ClusterKey;
use executor_remote::{Agent, AgentConfig, AgentHandle, RemoteConfig, RemoteExecutor};
use tempfile::TempDir;

/// How long anything that should happen may take.
pub const PATIENCE: Duration = Duration::from_secs(50);

macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub const TESTS: &[(&str, fn())] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use tests;

pub fn key() -> ClusterKey {
    ClusterKey::from_bytes([42; 32])
}

/// An agent in this process; stopped when it is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub handle: AgentHandle,
    thread: Option<JoinHandle<()>>,
    /// Where it keeps executables.
    pub cache: Arc<TempDir>,
}

/// Starts an agent with two slots, changed as the test wants.
pub fn agent(change: impl FnOnce(AgentConfig) -> AgentConfig) -> Running {
    agent_with_cache(Arc::new(tempfile::tempdir().unwrap()), change)
}

pub fn agent_with_cache(cache: Arc<TempDir>, change: impl FnOnce(AgentConfig) -> AgentConfig) -> Running {
    let config = AgentConfig::new("127.0.0.1:0".parse().unwrap())
        .with_key(key())
        .with_slots(2)
        .with_grace(Duration::from_millis(100))
        .with_cache_folder(cache.path());
    let agent = Agent::bind(change(config)).unwrap();
    let (address, handle) = (agent.local_addr(), agent.handle());
    let thread = std::thread::spawn(move || agent.run().unwrap());
    Running { address, handle, thread: Some(thread), cache }
}

impl Running {
    /// Stops it, and waits until it is gone.
    pub fn stop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub fn config(address: SocketAddr) -> RemoteConfig {
    RemoteConfig::new([Address::from(address)]).with_key(key())
}

pub fn client(address: SocketAddr) -> RemoteExecutor {
    RemoteExecutor::open(config(address)).unwrap()
}

#[track_caller]
pub fn outcome<R>(future: TaskFuture<R>) -> Result<R, TaskError> {
    future.wait_timeout(PATIENCE).expect("every future resolves")
}

/// That the agent at this address serves clients.
#[track_caller]
pub fn assert_serves(address: SocketAddr) {
    assert_eq!(outcome(client(address).submit(|n: u64| n + 1, 41)), Ok(42));
}

#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "this has not come to pass: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    // A zombie has ended.
    status
        .is_ok_and(|status| !status.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// What the peer does with the connection in the end: true if it closes it.
pub fn is_closed_by_peer(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

// ---- other processes -------------------------------------------------------------------------------------------

/// This program in another role. Killed when it is dropped.
pub struct Other {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Other {
    pub fn start(role: &str, args: &[String]) -> Self {
        let mut child = Command::new("/proc/self/exe")
            .arg(format!("role={role}"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent in another process, and its address.
pub fn other_agent(listen: &str, cache: &Path) -> (Other, SocketAddr) {
    let mut other = Other::start("agent", &[listen.to_owned(), cache.display().to_string()]);
    let address = other.line().parse().expect("an agent prints its address");
    (other, address)
}

/// The processes of other roles.
pub fn play(role: &str) {
    let args: Vec<String> = std::env::args().skip(2).collect();
    match role {
        "agent" => {
            let config = AgentConfig::new(args[0].parse().unwrap())
                .with_key(key())
                .with_slots(2)
                .with_cache_folder(&args[1]);
            let agent = Agent::bind(config).unwrap();
            println!("{}", agent.local_addr());
            agent.run().unwrap();
        }
        "client" => {
            let ex = client(args[0].parse().unwrap());
            let task = |path: String| {
                std::fs::write(&path, std::process::id().to_string()).unwrap();
                loop {
                    std::thread::park();
                }
            };
            let endless = ex.submit::<_, ()>(task, args[1].clone());
            println!("submitted");
            let _ = endless.wait();
        }
        other => panic!("no such role: {other}"),
    }
}

// ---- a relay between client and agent --------------------------------------------------------------------------

/// Passes bytes on between clients and one agent, counts them, and can stop doing so.
pub struct Relay {
    pub address: SocketAddr,
    pub state: Arc<RelayState>,
}

#[derive(Default)]
pub struct RelayState {
    /// Bytes from clients to the agent.
    pub up: AtomicU64,
    /// How many connections there have been.
    pub connections: AtomicU64,
    frozen_up: AtomicBool,
    frozen_down: AtomicBool,
    lock: Mutex<()>,
    thawed: Condvar,
}

pub fn relay(to: SocketAddr) -> Relay {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let state = Arc::new(RelayState::default());
    let shared = Arc::clone(&state);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let Ok(agent) = TcpStream::connect(to) else { continue };
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let (client2, agent2) = (client.try_clone().unwrap(), agent.try_clone().unwrap());
            let (up, down) = (Arc::clone(&shared), Arc::clone(&shared));
            std::thread::spawn(move || pass(client, agent, &up, true));
            std::thread::spawn(move || pass(agent2, client2, &down, false));
        }
    });
    Relay { address, state }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: &RelayState, is_up: bool) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let frozen = if is_up { &state.frozen_up } else { &state.frozen_down };
        let mut guard = state.lock.lock().unwrap();
        while frozen.load(Ordering::SeqCst) {
            guard = state.thawed.wait(guard).unwrap();
        }
        drop(guard);
        if is_up {
            state.up.fetch_add(read as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

impl RelayState {
    pub fn freeze(&self, up: bool, down: bool) {
        let _guard = self.lock.lock().unwrap();
        self.frozen_up.store(up, Ordering::SeqCst);
        self.frozen_down.store(down, Ordering::SeqCst);
        self.thawed.notify_all();
    }
}
