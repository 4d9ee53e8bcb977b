//! Who looks after processes whose handles do not: the keeper, a thread that is started when it is first needed, and the
//! exit handler.
//!
//! * The *keeper* waits for processes that are awaited by an async caller, whose handle was dropped, or whose output comes
//!   through pipes. It also starts processes for threads that may end: the kernel ends a process when the *thread* that
//!   started it ends. A program that only forks and joins has no keeper, and so stays a program that can be forked.
//! * The *exit handler* runs when the program ends by `exit` or by returning from `main`: it kills the daemonic
//!   processes, and waits for the others. If the program ends otherwise, the kernel ends them all.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError, Weak, mpsc};

use rustix::event::{EventfdFlags, epoll, eventfd};

use super::running::Running;

enum Request {
    Keep(Arc<Running>),
    Call(Box<dyn FnOnce() + Send>),
}

/// The keeper as others see it.
struct Keeper {
    requests: Mutex<Vec<Request>>,
    bell: OwnedFd,
}

/// The number of the bell among the events.
const BELL: u64 = 0;

fn keeper() -> io::Result<&'static Keeper> {
    static KEEPER: OnceLock<Keeper> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let _starting = lock(&STARTING);
    if let Some(keeper) = KEEPER.get() {
        return Ok(keeper);
    }
    let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
    let (sender, receiver) = mpsc::channel::<&'static Keeper>();
    std::thread::Builder::new().name("executor-keeper".to_owned()).spawn(move || {
        if let Ok(keeper) = receiver.recv() {
            keeper.run(&epoll);
        }
    })?;
    let keeper = KEEPER.get_or_init(|| Keeper { requests: Mutex::default(), bell });
    // It has just been started and waits.
    let _ = sender.send(keeper);
    Ok(keeper)
}

/// Has the keeper see to the end of a process, and resolve its future.
pub(super) fn keep(running: Arc<Running>) -> io::Result<()> {
    keeper()?.ask(Request::Keep(running));
    Ok(())
}

/// Calls `start` on a thread that lives as long as the program.
pub(super) fn on_lasting_thread<T: Send + 'static>(
    start: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    if rustix::thread::gettid() == rustix::process::getpid() {
        // The main thread, whose end is the program's.
        return Ok(start());
    }
    let (sender, receiver) = mpsc::channel();
    keeper()?.ask(Request::Call(Box::new(move || drop(sender.send(start())))));
    receiver.recv().map_err(io::Error::other)
}

impl Keeper {
    fn ask(&self, request: Request) {
        lock(&self.requests).push(request);
        // A full counter means that it is awake anyway.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn run(&self, epoll: &OwnedFd) {
        let mut kept: HashMap<u64, Arc<Running>> = HashMap::new();
        let mut next = BELL + 1;
        let mut events = Vec::with_capacity(16);
        loop {
            events.clear();
            match epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => {
                    tracing::error!("the keeper of processes cannot wait: {error}");
                    return;
                }
            }
            for event in &events {
                let number = event.data.u64();
                if number == BELL {
                    let _ = rustix::io::read(&self.bell, &mut [0; 8][..]);
                    for request in std::mem::take(&mut *lock(&self.requests)) {
                        match request {
                            Request::Call(call) => drop(catch_unwind(AssertUnwindSafe(call))),
                            Request::Keep(running) => {
                                let data = epoll::EventData::new_u64(next);
                                let added = running.with_descriptors(|fd| {
                                    Ok(epoll::add(epoll, fd, data, epoll::EventFlags::IN)?)
                                });
                                if let Err(error) = added {
                                    tracing::error!("the keeper cannot wait for a process: {error}");
                                }
                                kept.insert(next, running);
                                next += 1;
                            }
                        }
                    }
                } else if let Some(running) = kept.get(&number) {
                    // Wakers are called in there, which are the user's.
                    let forget = |fd: BorrowedFd<'_>| {
                        let _ = epoll::delete(epoll, fd);
                    };
                    let looked = catch_unwind(AssertUnwindSafe(|| running.look(forget)));
                    if !matches!(looked, Ok(None)) {
                        let _ = running.with_descriptors(|fd| Ok(epoll::delete(epoll, fd)?));
                        kept.remove(&number);
                    }
                }
            }
        }
    }
}

// ---- the end of the program ------------------------------------------------------------------------------------

static LIVE: Mutex<Vec<Weak<Running>>> = Mutex::new(Vec::new());

/// Notes a process for the end of the program.
pub(super) fn note(running: &Arc<Running>) {
    static AT_EXIT: Once = Once::new();
    extern "C" fn at_exit() {
        let _ = catch_unwind(end_all);
    }
    AT_EXIT.call_once(|| {
        // SAFETY: the handler is code of the program, which is there until it ends, and does not unwind.
        if unsafe { libc::atexit(at_exit) } != 0 {
            tracing::warn!(
                "the program will not wait for its processes at its end: no memory for an exit handler"
            );
        }
    });
    let mut live = lock(&LIVE);
    live.retain(|it| it.strong_count() > 0);
    live.push(Arc::downgrade(running));
}

/// Kills the daemonic processes, and waits for the others.
pub(crate) fn end_all() {
    // Those of the program that this is a fork of are its own.
    let ours = |it: &Arc<Running>| it.parent == std::process::id();
    let live: Vec<_> = lock(&LIVE).iter().filter_map(Weak::upgrade).filter(ours).collect();
    for running in live.iter().filter(|it| it.is_daemon) {
        running.kill_all();
    }
    for running in live {
        running.wait(None);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
