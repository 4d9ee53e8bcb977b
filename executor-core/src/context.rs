//! What a running task can ask and tell: [`context`].
//!
//! A backend enters a [`Scope`] around each body (and around each poll of an async body). The scope lives on the
//! stack and is found through a thread-local pointer, so that a task that never asks pays two thread-local stores.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::ptr;
use std::sync::Arc;
use std::task::Waker;

use crate::error::TaskError;
use crate::executor::Executor;
use crate::task::{JobHandle, Ref, TaskId};

/// What a backend offers to the tasks that it runs.
///
/// `token` is the number that the backend gave with the task to [`run_encoded`](crate::worker::run); it is 0 for
/// tasks that are run as [`Job`](crate::Job)s, whose flag and progress live in the job itself.
pub trait Host: Send + Sync {
    /// The executor to which a task may submit more work.
    fn executor(&self) -> Arc<dyn Executor>;

    /// The name of the worker, as it appears in errors.
    fn worker(&self) -> String;

    /// Whether the cooperative flag of the task is raised.
    fn is_cancelled(&self, _token: u64) -> bool {
        false
    }

    /// Passes on what the task tells about its progress, 0 to 1.
    fn set_progress(&self, _token: u64, _fraction: f64) {}

    /// A task on this thread waits: runs another queued task meanwhile, if there is one. False if there is none.
    fn help(&self) -> bool {
        false
    }

    /// A task on this thread is about to block until `waker` is woken. The backend may free its slot, and may wake
    /// the waker when there is something to [`help`](Self::help) with. Called again after each such wake-up.
    ///
    /// # Errors
    ///
    /// If the wait could never end, as [`TaskError::NestedTooDeep`].
    fn enter_wait(&self, _token: u64, _waker: &Waker) -> Result<(), TaskError> {
        Ok(())
    }

    /// Whether a task that blocks on a future by somebody's `block_on` is [helped](Self::help) too. Such functions refuse to
    /// be nested, so a task that is run meanwhile must not use one; a backend that can do better says no.
    fn helps_in_foreign_wait(&self) -> bool {
        true
    }

    /// As [`enter_wait`](Self::enter_wait), for a wait by somebody's `block_on`.
    ///
    /// # Errors
    ///
    /// If the wait could never end, as [`TaskError::NestedTooDeep`].
    fn enter_foreign_wait(&self, token: u64, waker: &Waker) -> Result<(), TaskError> {
        self.enter_wait(token, waker)
    }

    /// The wait has ended. Also called when none had begun.
    fn leave_wait(&self, _token: u64) {}
}

/// The running task's view of its own circumstances; from [`context`].
#[derive(Clone)]
pub struct Context {
    task: TaskId,
    attempt: u32,
    host: Option<Arc<dyn Host>>,
    flag: Flag,
}

#[derive(Clone)]
enum Flag {
    Job(JobHandle),
    Token(u64),
}

/// The context of the task that runs on this thread (or whose future is being polled on it).
///
/// Outside of a task it is an empty one: not cancelled, attempt 0, progress goes nowhere, and
/// [`executor`](Context::executor) panics.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, Serial, context};
/// let ex = Serial::new();
/// let attempt = ex.submit(|()| context().attempt(), ()).wait().unwrap();
/// assert_eq!(attempt, 1);
/// ```
pub fn context() -> Context {
    with_current(|scope| match scope {
        Some(scope) => scope.context(),
        None => Context { task: TaskId(0), attempt: 0, host: thread_host(), flag: Flag::Token(0) },
    })
}

/// Makes `host` the one of this thread, for code that a backend's thread runs outside of a task's own scope, such as a piece of
/// a parallel iterator that a task has started: its waits help and free slots as those of tasks do.
pub fn set_thread_host(host: Option<Arc<dyn Host>>) {
    THREAD_HOST.with(|slot| slot.replace(host));
}

fn thread_host() -> Option<Arc<dyn Host>> {
    THREAD_HOST.try_with(|slot| slot.borrow().clone()).ok().flatten()
}

/// The host to which a blocking wait on this thread is told, if there is one, with the token.
fn waiting_host(scope: Option<&Scope<'_>>) -> Option<(Arc<dyn Host>, u64)> {
    match scope {
        Some(scope) => Some((Arc::clone(scope.host), scope.token())),
        None => Some((thread_host()?, 0)),
    }
}

/// As [`waiting_host`], for a future that is polled: in an async body, that is no blocking wait.
#[inline]
fn polling_host() -> Option<(Arc<dyn Host>, u64)> {
    if IS_OWN_WAIT.get() {
        return None;
    }
    with_current(|scope| match scope {
        Some(scope) if scope.is_async => None,
        scope => waiting_host(scope),
    })
}

impl Context {
    /// Whether the task should stop: it was cancelled, or its time is up. Worth asking often; it costs a few
    /// nanoseconds.
    pub fn is_cancelled(&self) -> bool {
        match (&self.flag, &self.host) {
            (Flag::Job(job), _) => job.is_cancelled(),
            (Flag::Token(token), Some(host)) => host.is_cancelled(*token),
            (Flag::Token(_), None) => false,
        }
    }

    /// Which attempt this is, counting from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The name of the worker, as it appears in errors; empty outside of a task.
    pub fn worker(&self) -> String {
        self.host.as_ref().map_or_else(String::new, |host| host.worker())
    }

    /// The task's id, the same that its future tells.
    pub fn task(&self) -> TaskId {
        self.task
    }

    /// Tells how far the task is, from 0 to 1. `TaskFuture::progress` shows the last value told.
    pub fn progress(&self, fraction: f64) {
        match (&self.flag, &self.host) {
            (Flag::Job(job), _) => job.set_progress(fraction),
            (Flag::Token(token), Some(host)) => host.set_progress(*token, fraction),
            (Flag::Token(_), None) => {}
        }
    }

    /// The executor that runs this task, to submit more work from within.
    ///
    /// Waiting for such work is safe on a full pool.
    ///
    /// # Panics
    ///
    /// Outside of a task.
    pub fn executor(&self) -> Arc<dyn Executor> {
        self.host.as_ref().expect("context().executor() is available inside of a task only").executor()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.task)
            .field("attempt", &self.attempt)
            .field("worker", &self.worker())
            .finish()
    }
}

/// A task's circumstances for as long as its body runs on this thread.
pub(crate) struct Scope<'a> {
    task: TaskId,
    attempt: u32,
    host: &'a Arc<dyn Host>,
    flag: ScopeFlag<'a>,
    is_async: bool,
}

enum ScopeFlag<'a> {
    Job(&'a Ref),
    Handle(&'a JobHandle),
    Token(u64),
}

thread_local! {
    /// The innermost scope of this thread; null outside of tasks.
    static CURRENT: Cell<*const Scope<'static>> = const { Cell::new(ptr::null()) };
    /// Whether futures are being polled by a wait of our own.
    static IS_OWN_WAIT: Cell<bool> = const { Cell::new(false) };
    /// Of a backend's thread, outside of scopes.
    static THREAD_HOST: RefCell<Option<Arc<dyn Host>>> = const { RefCell::new(None) };
}

/// Puts the outer scope back, also when the body unwinds.
struct Restore(*const Scope<'static>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[inline]
fn with_current<T>(f: impl FnOnce(Option<&Scope<'_>>) -> T) -> T {
    let current = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: `Scope::enter` stores a pointer to a scope that outlives the call during which it is stored, and puts
    // the outer one back before it returns or unwinds; the pointer never leaves this thread, and `f` cannot keep it.
    f(unsafe { current.as_ref() })
}

impl<'a> Scope<'a> {
    #[inline]
    pub(crate) fn of_job(job: &'a Ref, task: TaskId, attempt: u32, host: &'a Arc<dyn Host>) -> Self {
        Self { task, attempt, host, flag: ScopeFlag::Job(job), is_async: job.is_async() }
    }

    pub(crate) fn of_token(token: u64, task: TaskId, attempt: u32, host: &'a Arc<dyn Host>) -> Self {
        Self { task, attempt, host, flag: ScopeFlag::Token(token), is_async: false }
    }

    /// Runs `f` with this as the current scope.
    #[inline]
    pub(crate) fn enter<T>(&self, f: impl FnOnce() -> T) -> T {
        let this: *const Scope<'_> = self;
        let _restore = Restore(CURRENT.replace(this.cast()));
        f()
    }

    fn context(&self) -> Context {
        Context {
            task: self.task,
            attempt: self.attempt,
            host: Some(Arc::clone(self.host)),
            flag: match &self.flag {
                ScopeFlag::Job(task) => Flag::Job(JobHandle::new(task.another())),
                ScopeFlag::Handle(job) => Flag::Job((*job).clone()),
                ScopeFlag::Token(token) => Flag::Token(*token),
            },
        }
    }

    fn token(&self) -> u64 {
        match self.flag {
            ScopeFlag::Token(token) => token,
            ScopeFlag::Job(_) | ScopeFlag::Handle(_) => 0,
        }
    }

    /// The same circumstances for a body that is polled later.
    pub(crate) fn into_owned(self, job: JobHandle) -> OwnedScope {
        OwnedScope {
            task: self.task,
            attempt: self.attempt,
            host: Arc::clone(self.host),
            flag: Flag::Job(job),
        }
    }

    /// As [`into_owned`](Self::into_owned), for a task that is not a job here.
    pub(crate) fn into_owned_token(self) -> OwnedScope {
        OwnedScope {
            task: self.task,
            attempt: self.attempt,
            host: Arc::clone(self.host),
            flag: Flag::Token(self.token()),
        }
    }
}

/// The circumstances of an async body.
pub(crate) struct OwnedScope {
    task: TaskId,
    attempt: u32,
    host: Arc<dyn Host>,
    flag: Flag,
}

impl OwnedScope {
    /// Polls `future` to its end, inside of this scope each time.
    pub(crate) async fn poll_inside<F: Future>(self, future: F) -> F::Output {
        let mut future: Pin<Box<F>> = Box::pin(future);
        std::future::poll_fn(move |cx| {
            let scope = Scope {
                task: self.task,
                attempt: self.attempt,
                host: &self.host,
                flag: match &self.flag {
                    Flag::Job(job) => ScopeFlag::Handle(job),
                    Flag::Token(token) => ScopeFlag::Token(*token),
                },
                is_async: true,
            };
            scope.enter(|| future.as_mut().poll(cx))
        })
        .await
    }
}

/// Whether this thread runs a task at the moment, or a piece of one.
pub(crate) fn is_inside_task() -> bool {
    with_current(|scope| scope.is_some()) || THREAD_HOST.with(|host| host.borrow().is_some())
}

/// A blocking wait on this thread, which may be inside of a task.
pub(crate) struct Wait<'a> {
    host: Option<(Arc<dyn Host>, u64)>,
    waker: &'a Waker,
}

impl<'a> Wait<'a> {
    pub(crate) fn begin(waker: &'a Waker) -> Self {
        Self { host: with_current(waiting_host), waker }
    }

    pub(crate) fn help(&self) -> bool {
        self.host.as_ref().is_some_and(|(host, _)| host.help())
    }

    /// To be called before each sleep.
    pub(crate) fn enter(&self) -> Result<(), TaskError> {
        match &self.host {
            Some((host, token)) => host.enter_wait(*token, self.waker),
            None => Ok(()),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some((host, token)) = &self.host {
            host.leave_wait(*token);
        }
    }
}

/// A task future was polled and is not ready. If that happens on the thread of a body that is not async, the body is
/// blocking on it by means that we do not see: free the slot. True if `is_done` holds meanwhile.
pub(crate) fn pending_inside_task(waker: &Waker, is_done: impl Fn() -> bool) -> Result<bool, TaskError> {
    let Some((host, token)) = polling_host() else {
        return Ok(false);
    };
    while host.helps_in_foreign_wait() && host.help() {
        if is_done() {
            host.leave_wait(token);
            return Ok(true);
        }
    }
    host.enter_foreign_wait(token, waker)?;
    Ok(is_done())
}

/// Polls futures for a wait of our own, which tells the host by itself.
pub(crate) fn poll_for_own_wait<T>(poll: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            IS_OWN_WAIT.set(self.0);
        }
    }
    let _restore = Restore(IS_OWN_WAIT.replace(true));
    poll()
}

/// The counterpart of [`pending_inside_task`]: the future is ready, the body goes on.
#[inline]
pub(crate) fn ready_inside_task() {
    if let Some((host, token)) = polling_host() {
        host.leave_wait(token);
    }
}
