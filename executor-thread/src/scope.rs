//! Closures that borrow: [`Scope`].
//!
//! # The protocol
//!
//! A body counts as *there* from `spawn` until it, its captures and its side of the result are dropped; whether it ran, was
//! cancelled or was never taken makes no difference. The scope ends when none is there. That is not the same as all futures being
//! resolved: a task that was killed or timed out is resolved while its body runs on.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use executor_core::{Job, TaskError, TaskFuture};

use crate::executor::ThreadExecutor;
use crate::sync::give_way;

/// Where closures that borrow are spawned; from [`ThreadExecutor::scope`].
pub struct Scope<'scope, 'env: 'scope> {
    executor: &'scope ThreadExecutor,
    count: Arc<Count>,
    /// Invariant, as those of `std::thread::Scope`.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// The result of a closure that was spawned in a scope.
///
/// Dropping it lets the closure run on; the scope waits for it.
#[must_use = "a closure's panic is told here only"]
pub struct ScopedFuture<'scope, T> {
    done: TaskFuture<()>,
    result: Arc<Mutex<Option<T>>>,
    _scope: PhantomData<&'scope T>,
}

/// How many bodies are there, plus one for the scope itself.
struct Count {
    state: Mutex<(usize, Option<Job>)>,
}

/// A body's place in the count.
struct Present(Arc<Count>);

/// Fields are dropped in this order: what borrows goes before the place in the count does.
struct Body<'scope, T, F> {
    f: Option<F>,
    result: Arc<Mutex<Option<T>>>,
    _borrows: PhantomData<&'scope ()>,
    _present: Present,
}

pub(crate) fn run<'env, F, R>(executor: &ThreadExecutor, f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    // A task that nobody runs: the last body drops it, which wakes the scope. Its wait helps when this is a pool thread.
    let (job, all_gone) = Job::from_fn(|| ());
    let count = Arc::new(Count { state: Mutex::new((1, Some(job))) });
    let scope = Scope { executor, count: Arc::clone(&count), _scope: PhantomData, _env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    drop(Present(Arc::clone(&count)));
    wait_until_gone(&count, &all_gone);
    result.unwrap_or_else(|panic: Box<dyn Any + Send>| resume_unwind(panic))
}

fn wait_until_gone(count: &Count, all_gone: &TaskFuture<()>) {
    while !count.is_zero() {
        // However the wait ends, also by an error (no stack left to help on), the borrows are in use until the count is zero.
        if all_gone.wait_timeout(Duration::MAX) != Some(Err(TaskError::Closed)) {
            give_way();
        }
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Runs `f` on the pool. A full queue or a shutdown comes out of the future; `f` is then dropped.
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedFuture<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let result = Arc::new(Mutex::new(None));
        let body = Body {
            f: Some(f),
            result: Arc::clone(&result),
            _borrows: PhantomData,
            _present: Present::new(&self.count),
        };
        let body: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || body.run());
        // SAFETY: only the lifetime changes. The closure owns a place in the count until all else that it owns is
        // dropped, and `run` does not return before the count is zero, so that it is gone when `'scope` ends.
        let body: Box<dyn FnOnce() + Send + 'static> = unsafe { std::mem::transmute(body) };
        ScopedFuture { done: self.executor.spawn(body), result, _scope: PhantomData }
    }
}

impl<T, F: FnOnce() -> T> Body<'_, T, F> {
    fn run(mut self) {
        if let Some(f) = self.f.take() {
            let value = f();
            *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        }
    }
}

impl Count {
    fn is_zero(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 == 0
    }
}

impl Present {
    fn new(count: &Arc<Count>) -> Self {
        count.state.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
        Self(Arc::clone(count))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 -= 1;
        let job = if state.0 == 0 { state.1.take() } else { None };
        drop(state);
        drop(job);
    }
}

impl<T> ScopedFuture<'_, T> {
    /// Blocks until the closure has ended, and gives its result.
    ///
    /// # Errors
    ///
    /// [`TaskError::Panicked`] if it did, [`TaskError::Full`] or [`TaskError::Closed`] if it was not taken.
    ///
    /// # Blocking
    ///
    /// For as long as the closure takes. Inside of a task, the thread runs others meanwhile.
    pub fn wait(self) -> Result<T, TaskError> {
        self.done.wait()?;
        let value = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Resolved with a value, the body has stored its own.
        Ok(value.expect("a body stores its value before it ends"))
    }

    /// Cancels it, if it has not begun; true if so. Else its cooperative flag is raised.
    pub fn cancel(&self) -> bool {
        self.done.cancel()
    }

    /// Whether the closure has ended.
    pub fn is_done(&self) -> bool {
        self.done.is_done()
    }
}

impl<T> fmt::Debug for ScopedFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ScopedFuture").field(&self.done).finish()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}
