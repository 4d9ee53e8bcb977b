//! [`Map`]: a function over many items, lazily, with bounded memory.

pub(crate) mod chunk;
mod sizing;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::stream::{FuturesUnordered, Stream};

use chunk::ChunkResults;
pub(crate) use chunk::ChunkWith;
pub use chunk::Mapper;
use sizing::Sizing;

use crate::error::{Rejected, TaskError};
use crate::executor::Executor;
use crate::task::{TaskFuture, TaskOptions, park};

/// How far a [`Map`] is; given to the function that [`Map::progress`] takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Items whose results have been handed out.
    pub done: usize,
    /// All items, if the iterator knows how many there are.
    pub total: Option<usize>,
}

/// A function over many items; from [`ExecutorExt::map`](crate::ExecutorExt::map).
///
/// It is a `Stream` of one `Result` per item, in the order of the items unless [`unordered`](Self::unordered). In code
/// that is not async, a `for` loop over it blocks for each next result, and [`wait`](Self::wait) for all of them. A
/// failed item does not end the iteration.
///
/// Items travel in chunks, whose size adapts to the measured time of an item. An item that panics, or that does not
/// serialise, fails alone; if a worker is lost, that costs the chunk that it was running, so where workers are
/// expected to die, use [`retries`](Self::retries), or [`chunk_size(1)`](Self::chunk_size).
///
/// # Cancel safety
///
/// Dropping `next()` loses nothing. Dropping the map cancels what it has submitted.
#[must_use = "a map does nothing unless its results are asked for"]
pub struct Map<'a, E: ?Sized, I, M: Mapper> {
    executor: &'a E,
    items: I,
    mapper: M,
    options: TaskOptions,
    sizing: Sizing,
    on_progress: Option<Box<dyn FnMut(Progress) + Send + 'a>>,
    progress: Progress,
    is_unordered: bool,

    /// Results of the chunk that is being handed out.
    current: std::vec::IntoIter<Result<M::Output, Box<TaskError>>>,
    /// Chunks that have been submitted, in order.
    ordered: VecDeque<Chunk<M::Output>>,
    /// Chunks that have been submitted, if order does not matter.
    unordered: FuturesUnordered<Chunk<M::Output>>,
    /// Items in `ordered` and `unordered`.
    in_flight: usize,
    /// A chunk that the executor had no room for, and the wait for room.
    waiting: Option<(Rejected, Chunk<M::Output>, Ready<'a>)>,
    items_ended: bool,
}

type Ready<'a> = Pin<Box<dyn Future<Output = Result<(), TaskError>> + Send + 'a>>;

// Nothing in it is pinned.
impl<E: ?Sized, I, M: Mapper> Unpin for Map<'_, E, I, M> {}

/// A chunk on its way.
struct Chunk<R> {
    future: TaskFuture<ChunkResults<R>>,
    len: usize,
}

/// What became of a chunk.
struct Finished<R> {
    results: Result<ChunkResults<R>, TaskError>,
    len: usize,
}

impl<R> Future for Chunk<R> {
    type Output = Finished<R>;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished<R>> {
        let results = ready!(Pin::new(&mut self.future).poll(cx));
        Poll::Ready(Finished { results, len: self.len })
    }
}

impl<'a, E, I, M> Map<'a, E, I, M>
where
    E: Executor + ?Sized,
    M: Mapper,
    I: Iterator<Item = M::Item>,
{
    pub(crate) fn new(executor: &'a E, items: I, mapper: M) -> Self {
        Self {
            executor,
            progress: Progress {
                done: 0,
                total: items.size_hint().1.filter(|upper| *upper == items.size_hint().0),
            },
            items,
            mapper,
            options: TaskOptions::default(),
            sizing: Sizing::new(executor.stats().workers),
            on_progress: None,
            is_unordered: false,
            current: Vec::new().into_iter(),
            ordered: VecDeque::new(),
            unordered: FuturesUnordered::new(),
            in_flight: 0,
            waiting: None,
            items_ended: false,
        }
    }

    /// How many items travel together. Default: as many as take about a millisecond, by measurement. Larger chunks cost
    /// less per item and balance worse.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn chunk_size(mut self, items: usize) -> Self {
        assert!(items > 0, "a chunk has at least one item");
        self.sizing.fix_chunk(items);
        self
    }

    /// How many items may be taken from the iterator ahead of the result that was handed out last. Default: a few chunks
    /// per worker. With an unordered or a quickly consumed map, more keeps workers busy when items vary; the memory of
    /// that many items and results is the cost.
    ///
    /// # Panics
    ///
    /// If it is 0.
    pub fn buffer(mut self, items: usize) -> Self {
        assert!(items > 0, "a buffer has room for at least one item");
        self.sizing.fix_buffer(items);
        self
    }

    /// Hands results out as they come, not in the order of the items.
    pub fn unordered(mut self) -> Self {
        self.is_unordered = true;
        self
    }

    /// Calls `f` after each result that is handed out.
    pub fn progress(mut self, f: impl FnMut(Progress) + Send + 'a) -> Self {
        self.on_progress = Some(Box::new(f));
        self
    }

    /// How many times a chunk is begun again after its worker was lost. Default: 0.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// The priority of the map's tasks. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.priority = priority;
        self
    }

    /// Says that an item may be worked on again without harm when it is unknown whether it had been begun. Default: false.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.options.idempotent = idempotent;
        self
    }

    /// The name of the map's tasks, for logs, errors and listings. Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Collects all results: into a `Vec<Result<R, TaskError>>`, or, to stop at the first error, into a
    /// `Result<Vec<R>, TaskError>`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels what has been submitted.
    pub async fn collect<C>(mut self) -> C
    where
        C: FromIterator<Result<M::Output, TaskError>>,
    {
        let mut results = Vec::with_capacity(self.items.size_hint().0.min(1 << 16));
        while let Some(result) = std::future::poll_fn(|cx| Pin::new(&mut self).poll_next(cx)).await {
            results.push(result);
        }
        results.into_iter().collect()
    }

    /// Blocks until all results are there.
    ///
    /// # Blocking
    ///
    /// Yes; inside a task it frees the slot as [`TaskFuture::wait`] does.
    pub fn wait(self) -> Vec<Result<M::Output, TaskError>> {
        self.into_iter().collect()
    }

    /// Submits chunks until the buffer or the executor is full or the items end.
    fn fill(&mut self, cx: &mut Context<'_>) {
        loop {
            if let Some((rejected, chunk, mut ready)) = self.waiting.take() {
                match ready.as_mut().poll(cx) {
                    Poll::Pending => {
                        self.waiting = Some((rejected, chunk, ready));
                        return;
                    }
                    Poll::Ready(Err(error)) => {
                        rejected.job.fail(error);
                        self.push(chunk);
                    }
                    Poll::Ready(Ok(())) => self.submit(rejected.job, chunk),
                }
                continue;
            }
            let room = self.sizing.room(self.in_flight, self.ordered.len() + self.unordered.len());
            if room == 0 || self.items_ended {
                return;
            }
            let len = self.sizing.chunk(self.items.size_hint()).min(room);
            let mut items = Vec::with_capacity(len);
            items.extend(self.items.by_ref().take(len));
            self.items_ended = items.len() < len;
            if items.is_empty() {
                return;
            }
            let len = items.len();
            let options = (self.options != TaskOptions::default()).then(|| self.options.clone());
            let (job, future) = self.mapper.job(items, options);
            let future = future.cancel_on_drop();
            self.in_flight += len;
            self.submit(job, Chunk { future, len });
        }
    }

    fn submit(&mut self, job: crate::Job, chunk: Chunk<M::Output>) {
        match self.executor.submit_job(job) {
            Ok(()) => self.push(chunk),
            Err(rejected) if matches!(rejected.error, TaskError::Full) => {
                let executor = self.executor;
                self.waiting = Some((rejected, chunk, Box::pin(async move { executor.ready().await })));
            }
            Err(rejected) => {
                rejected.fail();
                self.push(chunk);
            }
        }
    }

    fn push(&mut self, chunk: Chunk<M::Output>) {
        if self.is_unordered {
            self.unordered.push(chunk);
        } else {
            self.ordered.push_back(chunk);
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Finished<M::Output>>> {
        if self.is_unordered {
            return Pin::new(&mut self.unordered).poll_next(cx);
        }
        let Some(chunk) = self.ordered.front_mut() else {
            return Poll::Ready(None);
        };
        let finished = ready!(Pin::new(chunk).poll(cx));
        self.ordered.pop_front();
        Poll::Ready(Some(finished))
    }

    fn open(&mut self, finished: Finished<M::Output>) {
        let Finished { results, len } = finished;
        self.in_flight -= len;
        let mut results = match results {
            Ok(chunk) => {
                self.sizing.measured(len, chunk.elapsed);
                chunk.results
            }
            Err(error) => (0..len).map(|_| Err(Box::new(error.clone()))).collect(),
        };
        results.resize_with(len, || {
            Err(Box::new(TaskError::decode("chunk of a map", "it has another number of results than items")))
        });
        self.current = results.into_iter();
    }

    fn hand_out(&mut self, result: Result<M::Output, Box<TaskError>>) -> Result<M::Output, TaskError> {
        self.progress.done += 1;
        if let Some(on_progress) = &mut self.on_progress {
            on_progress(self.progress);
        }
        result.map_err(|error| *error)
    }
}

impl<E, I, M> Stream for Map<'_, E, I, M>
where
    E: Executor + ?Sized,
    M: Mapper,
    I: Iterator<Item = M::Item>,
{
    type Item = Result<M::Output, TaskError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(result) = this.current.next() {
                return Poll::Ready(Some(this.hand_out(result)));
            }
            this.fill(cx);
            match ready!(this.poll_chunk(cx)) {
                Some(finished) => this.open(finished),
                // Nothing is on its way, but a chunk may wait for room: `fill` has registered for that.
                None if this.waiting.is_some() => return Poll::Pending,
                None => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (lower, upper) = self.items.size_hint();
        let ours = self.current.len() + self.in_flight;
        (lower.saturating_add(ours), upper.and_then(|upper| upper.checked_add(ours)))
    }
}

impl<'a, E, I, M> IntoIterator for Map<'a, E, I, M>
where
    E: Executor + ?Sized,
    M: Mapper,
    I: Iterator<Item = M::Item>,
{
    type Item = Result<M::Output, TaskError>;
    type IntoIter = MapIter<'a, E, I, M>;

    fn into_iter(self) -> Self::IntoIter {
        MapIter(self)
    }
}

impl<E: ?Sized, I, M: Mapper> Drop for Map<'_, E, I, M> {
    /// Cancels the last chunk first: were it the first, which may be running, the next could begin in its place before its
    /// turn to be cancelled has come.
    fn drop(&mut self) {
        self.waiting = None;
        while self.ordered.pop_back().is_some() {}
    }
}

impl<E: ?Sized, I, M: Mapper> fmt::Debug for Map<'_, E, I, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("progress", &self.progress)
            .field("in_flight", &self.in_flight)
            .finish_non_exhaustive()
    }
}

/// Blocking iteration over a [`Map`].
#[derive(Debug)]
#[must_use = "iterators do nothing unless asked"]
pub struct MapIter<'a, E: ?Sized, I, M: Mapper>(Map<'a, E, I, M>);

impl<E, I, M> Iterator for MapIter<'_, E, I, M>
where
    E: Executor + ?Sized,
    M: Mapper,
    I: Iterator<Item = M::Item>,
{
    type Item = Result<M::Output, TaskError>;

    /// # Blocking
    ///
    /// Until the next result is there.
    fn next(&mut self) -> Option<Self::Item> {
        if let Some(result) = self.0.current.next() {
            return Some(self.0.hand_out(result));
        }
        park::block_on(|cx| Pin::new(&mut self.0).poll_next(cx))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}
