//! Where async bodies are polled: a tokio runtime, or without the feature one plain thread, started by the first of them.

use std::future::Future;
use std::pin::Pin;

/// An async body, or anything like it.
pub(crate) type Polled = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) use imp::Runtime;

/// Runs a future to its end on this thread, inside of a runtime, so that timers and sockets work in it. For
/// `serial://`, which runs async bodies inside of `submit`.
///
/// # Blocking
///
/// For as long as the future takes. In a runtime's own context, which forbids blocking, another thread is started for it.
pub fn block_on(body: Pin<Box<dyn Future<Output = ()> + Send>>) {
    imp::block_on(body);
}

#[cfg(feature = "tokio")]
mod imp {
    use std::sync::{Mutex, OnceLock, PoisonError};

    use super::Polled;

    /// Started on first use, ended once.
    #[derive(Default)]
    pub(crate) struct Runtime(Mutex<State>);

    #[derive(Default)]
    enum State {
        #[default]
        New,
        Running(tokio::runtime::Runtime),
        Ended,
    }

    impl Runtime {
        /// Polls `body` to its end, or drops it if there is no runtime any more.
        pub(crate) fn spawn(&self, body: Polled, threads: usize) {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::New) {
                match start(threads) {
                    Ok(runtime) => *state = State::Running(runtime),
                    Err(error) => tracing::error!(%error, "no runtime for async tasks"),
                }
            }
            let handle = match &*state {
                State::Running(runtime) => Some(runtime.handle().clone()),
                State::New | State::Ended => None,
            };
            // Not under the lock: a body that is dropped ends tasks, which may end the pool.
            drop(state);
            match handle {
                Some(handle) => drop(handle.spawn(body)),
                None => drop(body),
            }
        }

        /// Drops the bodies that are left, and lets the threads end.
        pub(crate) fn end(&self) {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let state = std::mem::replace(&mut *state, State::Ended);
            if let State::Running(runtime) = state {
                runtime.shutdown_background();
            }
        }
    }

    fn start(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("executor-async")
            .enable_all()
            .build()
    }

    pub(super) fn block_on(body: Polled) {
        static SERIAL: OnceLock<Option<tokio::runtime::Runtime>> = OnceLock::new();
        let runtime = SERIAL.get_or_init(|| match start(1) {
            Ok(runtime) => Some(runtime),
            Err(error) => {
                tracing::error!(%error, "no runtime for async tasks");
                None
            }
        });
        // Without a runtime the body is dropped, which resolves its task as closed.
        let Some(runtime) = runtime else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            runtime.block_on(body);
            return;
        }
        std::thread::scope(|scope| {
            scope.spawn(|| runtime.block_on(body));
        });
    }
}

#[cfg(not(feature = "tokio"))]
mod imp {
    use std::collections::{HashMap, VecDeque};
    use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
    use std::task::{Context, Wake, Waker};

    use super::Polled;

    /// One thread that polls all bodies.
    #[derive(Default)]
    pub(crate) struct Runtime(Arc<Poller>);

    #[derive(Default)]
    struct Poller {
        state: Mutex<State>,
        woken: Condvar,
    }

    #[derive(Default)]
    struct State {
        ready: VecDeque<Arc<Task>>,
        /// All that have not ended, also those that nobody could wake.
        all: HashMap<u64, Arc<Task>>,
        next: u64,
        has_thread: bool,
        has_ended: bool,
    }

    struct Task {
        id: u64,
        /// `None` when it has ended.
        body: Mutex<Option<Polled>>,
        poller: Arc<Poller>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            let poller = Arc::clone(&self.poller);
            let mut state = poller.lock();
            if !state.has_ended && !state.ready.iter().any(|it| Arc::ptr_eq(it, &self)) {
                state.ready.push_back(self);
                poller.woken.notify_one();
            }
        }
    }

    impl Poller {
        fn lock(&self) -> MutexGuard<'_, State> {
            self.state.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn run(&self) {
            let mut state = self.lock();
            while !state.has_ended {
                let Some(task) = state.ready.pop_front() else {
                    state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
                    continue;
                };
                drop(state);
                let ended = Arc::clone(&task).poll();
                state = self.lock();
                if ended {
                    state.all.remove(&task.id);
                }
            }
        }
    }

    impl Task {
        /// Whether the body has ended.
        fn poll(self: Arc<Self>) -> bool {
            let waker = Waker::from(Arc::clone(&self));
            let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(polled) = body.as_mut() else { return true };
            let ended = polled.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if ended {
                *body = None;
            }
            ended
        }
    }

    impl Runtime {
        /// Polls `body` to its end, or drops it if there is no thread for it any more.
        pub(crate) fn spawn(&self, body: Polled, _threads: usize) {
            let mut state = self.0.lock();
            if !state.has_thread && !state.has_ended {
                let poller = Arc::clone(&self.0);
                let thread = std::thread::Builder::new().name("executor-async".to_owned());
                match thread.spawn(move || poller.run()) {
                    Ok(_) => state.has_thread = true,
                    Err(error) => tracing::error!(%error, "no thread for async tasks"),
                }
            }
            if !state.has_thread || state.has_ended {
                // Not under the lock: a body that is dropped ends tasks, which may end the pool.
                drop(state);
                drop(body);
                return;
            }
            let id = state.next;
            state.next += 1;
            let task = Arc::new(Task { id, body: Mutex::new(Some(body)), poller: Arc::clone(&self.0) });
            state.all.insert(id, Arc::clone(&task));
            drop(state);
            task.wake();
        }

        /// Drops the bodies that are left, and lets the thread end.
        pub(crate) fn end(&self) {
            let mut state = self.0.lock();
            state.has_ended = true;
            let left = std::mem::take(&mut state.all);
            let ready = std::mem::take(&mut state.ready);
            self.0.woken.notify_one();
            drop(state);
            // Their wakers may outlive them, and would keep the bodies.
            for task in left.into_values().chain(ready) {
                // A body that is being polled goes with its task.
                let body = task.body.try_lock().ok().and_then(|mut body| body.take());
                drop(body);
            }
        }
    }

    pub(super) fn block_on(body: Polled) {
        match futures::executor::enter() {
            Ok(entered) => {
                drop(entered);
                futures::executor::block_on(body);
            }
            Err(_) => std::thread::scope(|scope| {
                scope.spawn(|| futures::executor::block_on(body));
            }),
        }
    }
}
