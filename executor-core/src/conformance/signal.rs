//! How tests and tasks tell each other things, wherever the tasks run: sockets and files.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::lab::PATIENCE;

/// Holds tasks back until the test lets them go on. The test's side; tasks [`pass`] it.
pub(super) struct Gate {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    state: Mutex<State>,
    arrival: Condvar,
}

#[derive(Default)]
struct State {
    arrived: Vec<u64>,
    /// Tasks that are held: closing the connection lets them go on.
    held: Vec<TcpStream>,
    is_open: bool,
    is_gone: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes the gate at this address: tells it who has come, and returns when it is open.
pub(super) fn pass(address: &str, who: u64) {
    let mut stream = TcpStream::connect(address).expect("the gate of the test is there");
    stream.write_all(&who.to_le_bytes()).expect("the gate of the test listens");
    // Ends when the gate closes the connection, or with the test's process.
    match stream.read(&mut [0]) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("waiting at the gate: {error}"),
    }
}

impl Gate {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback interface is there");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared { state: Mutex::default(), arrival: Condvar::new() });
        let gate = Self { shared: Arc::clone(&shared), address };
        std::thread::spawn(move || keep(&listener, &shared));
        gate
    }

    /// What tasks need to find it.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits until so many tasks have come, ever; who they are, in their order.
    #[track_caller]
    pub(super) fn wait_for(&self, count: usize) -> Vec<u64> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.lock();
        while state.arrived.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "of {count} tasks only these have begun after {PATIENCE:?}: {:?}",
                state.arrived
            );
            (state, _) =
                self.shared.arrival.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        state.arrived.clone()
    }

    /// Who has come so far.
    pub(super) fn arrived(&self) -> Vec<u64> {
        self.shared.lock().arrived.clone()
    }

    /// Lets those go on that have come.
    pub(super) fn release(&self) {
        self.shared.lock().held.clear();
    }

    /// Lets all go on that have come and that will come.
    pub(super) fn open(&self) {
        let mut state = self.shared.lock();
        state.is_open = true;
        state.held.clear();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
        self.shared.lock().is_gone = true;
        // Wakes the keeper, which looks and leaves.
        let _ = TcpStream::connect(self.address);
    }
}

fn keep(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.lock().is_gone {
            return;
        }
        let Ok(mut stream) = stream else { continue };
        let mut who = [0; 8];
        // A task that is killed on its way has not come.
        if stream.read_exact(&mut who).is_err() {
            continue;
        }
        let mut state = shared.lock();
        state.arrived.push(u64::from_le_bytes(who));
        if !state.is_open {
            state.held.push(stream);
        }
        shared.arrival.notify_all();
    }
}

/// A file that tasks append lines to. The test's side; tasks [`note`] in it.
pub(super) struct Tally {
    path: String,
}

/// Appends a line, in one write, so that lines of several processes do not mix.
pub(super) fn note(path: &str, line: &str) {
    let mut file: File =
        OpenOptions::new().create(true).append(true).open(path).expect("the folder of the test is there");
    file.write_all(format!("{line}\n").as_bytes()).expect("the folder of the test is writable");
}

/// The lines that have been noted.
pub(super) fn noted(path: &str) -> Vec<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => text.lines().map(str::to_owned).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("reading {path}: {error}"),
    }
}

impl Tally {
    pub(super) fn new(path: String) -> Self {
        Self { path }
    }

    /// What tasks need to find it.
    pub(super) fn path(&self) -> String {
        self.path.clone()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        noted(&self.path)
    }
}

/// A future that is ready after a time, on any runtime and without one.
pub(super) fn timer(time: Duration) -> Timer {
    Timer { deadline: Instant::now() + time }
}

pub(super) struct Timer {
    deadline: Instant,
}

impl Future for Timer {
    type Output = ();
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Poll::Ready(());
        }
        let waker = cx.waker().clone();
        std::thread::spawn(move || {
            std::thread::sleep(left);
            waker.wake();
        });
        Poll::Pending
    }
}

/// Ready when a line has been noted at this path.
pub(super) async fn until_noted(path: &str) {
    let deadline = Instant::now() + PATIENCE;
    while noted(path).is_empty() {
        assert!(Instant::now() < deadline, "nothing is noted after {PATIENCE:?}");
        timer(Duration::from_millis(5)).await;
    }
}

/// A future that lets all others have a turn once.
pub(super) fn yield_now() -> impl Future<Output = ()> {
    let mut has_yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}
