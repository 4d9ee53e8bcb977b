//! Waiting for several futures: [`wait`] and [`as_completed`], as in `concurrent.futures`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, Stream};

use crate::task::{TaskFuture, park};

/// When [`wait`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnWhen {
    /// As soon as one future is resolved, in whatever way.
    FirstCompleted,
    /// As soon as one future is resolved with an error; if there is none, when all are resolved.
    FirstError,
    /// When all futures are resolved.
    AllCompleted,
}

/// The two sets that [`wait`] gives back, each in the order of the input.
#[derive(Debug)]
pub struct Waited<R> {
    /// Resolved: waiting for one of these takes no time.
    pub done: Vec<TaskFuture<R>>,
    /// Not resolved when the wait ended.
    pub not_done: Vec<TaskFuture<R>>,
}

/// Blocks until some or all of the futures are resolved, or the time is up (`None`: no limit), and tells them apart.
///
/// No task is stopped by a wait that ends early.
///
/// # Blocking
///
/// Yes; inside a task it frees the slot as [`TaskFuture::wait`] does.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, ReturnWhen, Serial, wait};
/// let ex = Serial::new();
/// let futures = (0..3u64).map(|n| ex.submit(|n| n * n, n));
/// let waited = wait(futures, ReturnWhen::AllCompleted, None);
/// assert_eq!(waited.done.len(), 3);
/// assert!(waited.not_done.is_empty());
/// ```
pub fn wait<R>(
    futures: impl IntoIterator<Item = TaskFuture<R>>,
    return_when: ReturnWhen,
    timeout: impl Into<Option<Duration>>,
) -> Waited<R> {
    let deadline = timeout.into().and_then(|limit| Instant::now().checked_add(limit));
    let futures: Vec<_> = futures.into_iter().collect();
    let is_enough = |futures: &[TaskFuture<R>]| match return_when {
        ReturnWhen::FirstCompleted => futures.iter().any(TaskFuture::is_done),
        ReturnWhen::FirstError => futures.iter().any(TaskFuture::is_failed),
        ReturnWhen::AllCompleted => false,
    };
    if !is_enough(&futures) {
        wait_until(&futures, deadline, return_when);
    }
    let (done, not_done) = futures.into_iter().partition(TaskFuture::is_done);
    Waited { done, not_done }
}

/// Waits for the futures one after the other; each wake-up costs one look at one future, not at all of them.
fn wait_until<R>(futures: &[TaskFuture<R>], deadline: Option<Instant>, return_when: ReturnWhen) {
    let mut unordered: FuturesUnordered<Resolved<'_, R>> = futures.iter().map(Resolved).collect();
    let _ = park::block_on_deadline(deadline, |cx| {
        loop {
            match Pin::new(&mut unordered).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Ready(Some(failed)) => match return_when {
                    ReturnWhen::FirstCompleted => return Poll::Ready(()),
                    ReturnWhen::FirstError if failed => return Poll::Ready(()),
                    ReturnWhen::FirstError | ReturnWhen::AllCompleted => {}
                },
            }
        }
    });
}

/// Resolves when the task is, without taking its output; true if that is an error.
struct Resolved<'a, R>(&'a TaskFuture<R>);

impl<R> Future for Resolved<'_, R> {
    type Output = bool;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        self.0.poll_done(cx).map(|()| self.0.is_failed())
    }
}

/// Gives the futures back as they are resolved, the first resolved first.
///
/// A `Stream`; in code that is not async, a `for` loop over it (or `into_iter()`) blocks for each next one.
///
/// # Examples
///
/// ```
/// use executor_core::{ExecutorExt, Serial, as_completed};
/// let ex = Serial::new();
/// let futures: Vec<_> = (0..3u64).map(|n| ex.submit(|n| n * n, n)).collect();
/// let mut sum = 0;
/// for future in as_completed(futures) {
///     sum += future.wait()?;
/// }
/// assert_eq!(sum, 5);
/// # Ok::<(), executor_core::TaskError>(())
/// ```
pub fn as_completed<R>(futures: impl IntoIterator<Item = TaskFuture<R>>) -> AsCompleted<R> {
    AsCompleted { pending: futures.into_iter().map(|it| Completed(Some(it))).collect() }
}

/// The futures of [`as_completed`].
///
/// # Cancel safety
///
/// Dropping the stream's `next()` loses nothing. Dropping the stream drops the futures in it.
#[must_use = "iterators and streams do nothing unless asked"]
pub struct AsCompleted<R> {
    pending: FuturesUnordered<Completed<R>>,
}

impl<R> Stream for AsCompleted<R> {
    type Item = TaskFuture<R>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<TaskFuture<R>>> {
        Pin::new(&mut self.pending).poll_next(cx)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.pending.len(), Some(self.pending.len()))
    }
}

impl<R> IntoIterator for AsCompleted<R> {
    type Item = TaskFuture<R>;
    type IntoIter = AsCompletedIter<R>;
    fn into_iter(self) -> AsCompletedIter<R> {
        AsCompletedIter(self)
    }
}

impl<R> fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsCompleted").field("pending", &self.pending.len()).finish()
    }
}

/// Blocking iteration over [`AsCompleted`].
#[derive(Debug)]
#[must_use = "iterators do nothing unless asked"]
pub struct AsCompletedIter<R>(AsCompleted<R>);

impl<R> Iterator for AsCompletedIter<R> {
    type Item = TaskFuture<R>;
    fn next(&mut self) -> Option<TaskFuture<R>> {
        park::block_on(|cx| Pin::new(&mut self.0).poll_next(cx))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

struct Completed<R>(Option<TaskFuture<R>>);

impl<R> Future for Completed<R> {
    type Output = TaskFuture<R>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TaskFuture<R>> {
        let future = self.0.as_ref().expect("it is not polled after it was ready");
        match future.poll_done(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(self.0.take().expect("looked at a moment ago")),
        }
    }
}
