//! Where async bodies run: a thread of its own, started with the first of them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use executor_core::{Parcel, TaskError};

use super::Shared;

type Body = Pin<Box<dyn Future<Output = Result<Parcel<'static>, TaskError>> + Send>>;

#[derive(Default)]
pub(super) struct Runtime {
    inner: OnceLock<imp::Inner>,
}

impl Runtime {
    /// Polls the body to its end, and answers for its slot.
    pub(super) fn spawn(&self, shared: &Arc<Shared>, slot: u64, body: Body) {
        let shared = Arc::clone(shared);
        let started = Instant::now();
        let inner = self.inner.get_or_init(imp::Inner::start);
        inner.spawn(Box::pin(async move {
            let result = body.await;
            shared.answer(slot, started.elapsed(), result);
        }));
    }
}

#[cfg(feature = "tokio")]
mod imp {
    use std::future::Future;
    use std::pin::Pin;

    use super::super::fail;

    /// A tokio runtime of one thread, so that tokio's timers and sockets work in the bodies.
    pub(super) struct Inner(tokio::runtime::Runtime);

    impl Inner {
        pub(super) fn start() -> Self {
            let built = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("executor-async")
                .enable_all()
                .build();
            match built {
                Ok(runtime) => Self(runtime),
                Err(error) => fail(&format!("the async runtime could not be started: {error}")),
            }
        }

        pub(super) fn spawn(&self, body: Pin<Box<dyn Future<Output = ()> + Send>>) {
            // Not joined: its answer is all that matters.
            drop(self.0.spawn(body));
        }
    }
}

#[cfg(not(feature = "tokio"))]
mod imp {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex, PoisonError};
    use std::task::{Context, Wake, Waker};

    use super::super::fail;

    type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

    /// A thread that polls bodies as they are woken.
    pub(super) struct Inner(Mutex<Sender<Arc<Task>>>);

    struct Task {
        body: Mutex<Option<Body>>,
        queue: Mutex<Sender<Arc<Task>>>,
    }

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // The thread lives as long as the process.
            let _ = queue.send(self);
        }
    }

    impl Inner {
        pub(super) fn start() -> Self {
            let (sender, receiver): (_, Receiver<Arc<Task>>) = channel();
            let started = std::thread::Builder::new().name("executor-async".to_owned()).spawn(move || {
                for task in receiver {
                    let waker = Waker::from(Arc::clone(&task));
                    let mut slot = task.body.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(body) = &mut *slot
                        && body.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
                    {
                        *slot = None;
                    }
                }
            });
            match started {
                Ok(_) => Self(Mutex::new(sender)),
                Err(error) => fail(&format!("the async thread could not be started: {error}")),
            }
        }

        pub(super) fn spawn(&self, body: Body) {
            let queue = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Arc::new(Task { body: Mutex::new(Some(body)), queue: Mutex::new(queue) }).wake();
        }
    }
}
