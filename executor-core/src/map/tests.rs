//! A map over an executor whose tasks end when the test says so.

use std::cell::Cell;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::context::Host;
use crate::executor::{Capabilities, Shutdown, Stats};
use crate::{ExecutorExt, Job, Serial};

/// Keeps jobs until it is told to run them.
#[derive(Default)]
struct Manual {
    state: Mutex<ManualState>,
}

#[derive(Default)]
struct ManualState {
    jobs: Vec<Job>,
    /// How many jobs fit; 0 for any number.
    limit: usize,
    wakers: Vec<Waker>,
}

struct NoHost;

impl Host for NoHost {
    fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(Serial::new())
    }
    fn worker(&self) -> String {
        "here".to_owned()
    }
}

impl Manual {
    fn with_limit(limit: usize) -> Self {
        Self { state: Mutex::new(ManualState { limit, ..ManualState::default() }) }
    }

    fn len(&self) -> usize {
        self.state.lock().unwrap().jobs.len()
    }

    fn take(&self, at: usize) -> Job {
        let mut state = self.state.lock().unwrap();
        state.wakers.drain(..).for_each(Waker::wake);
        state.jobs.remove(at)
    }

    fn run(&self, at: usize) {
        let host: Arc<dyn Host> = Arc::new(NoHost);
        assert!(!matches!(self.take(at).run(&host, 1), crate::RunOutcome::Async(_)));
    }
}

#[async_trait::async_trait]
impl Executor for Manual {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        let mut state = self.state.lock().unwrap();
        if state.limit > 0 && state.jobs.len() >= state.limit {
            return Err(Rejected { job, error: TaskError::Full });
        }
        state.jobs.push(job);
        Ok(())
    }
    async fn ready(&self) -> Result<(), TaskError> {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            if state.jobs.len() < state.limit {
                return Poll::Ready(Ok(()));
            }
            state.wakers.push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::new("manual").with_concurrent(true)
    }
    fn stats(&self) -> Stats {
        Stats::new(2)
    }
    async fn shutdown(&self, _: Shutdown) {}
}

/// What the map gives now, without waiting.
fn poll<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(stream).poll_next(&mut cx)
}

/// Counts the items that are taken from it.
fn counted(taken: &Cell<usize>) -> impl Iterator<Item = u64> {
    (0..).inspect(move |_| taken.set(taken.get() + 1))
}

#[test]
fn nothing_is_taken_before_a_result_is_asked_for() {
    let (ex, taken) = (Manual::default(), Cell::new(0));
    let map = ex.map(|n: u64| n, counted(&taken));
    assert_eq!((taken.get(), ex.len()), (0, 0));
    drop(map);
    assert_eq!(taken.get(), 0);
}

#[test]
fn a_buffer_takes_exactly_so_many_items_ahead() {
    for chunk in [1, 3, 5, 100] {
        let (ex, taken) = (Manual::default(), Cell::new(0));
        let mut map = ex.map(|n: u64| n, counted(&taken)).buffer(5).chunk_size(chunk);
        assert!(poll(&mut map).is_pending());
        assert_eq!(taken.get(), 5, "in chunks of {chunk}");
        assert!(poll(&mut map).is_pending());
        assert_eq!(taken.get(), 5, "asking again takes no more");
        assert_eq!(ex.len(), 5usize.div_ceil(chunk));
    }
}

#[test]
fn each_result_that_is_handed_out_makes_room_for_an_item() {
    let (ex, taken) = (Manual::default(), Cell::new(0));
    let mut map = ex.map(|n: u64| n * 10, counted(&taken)).buffer(3).chunk_size(1);
    for n in 0..20 {
        assert!(poll(&mut map).is_pending());
        assert_eq!(taken.get(), n + 3);
        ex.run(0);
        assert_eq!(poll(&mut map), Poll::Ready(Some(Ok(n as u64 * 10))));
    }
}

#[test]
fn results_wait_for_those_before_them() {
    let ex = Manual::default();
    let mut map = ex.map(|n: u64| n, 0..3).buffer(3).chunk_size(1);
    assert!(poll(&mut map).is_pending());
    ex.run(2);
    ex.run(1);
    assert!(poll(&mut map).is_pending(), "the first is not there");
    ex.run(0);
    for n in 0..3 {
        assert_eq!(poll(&mut map), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(poll(&mut map), Poll::Ready(None));
}

#[test]
fn unordered_results_wait_for_nobody() {
    let ex = Manual::default();
    let mut map = ex.map(|n: u64| n, 0..3).buffer(3).chunk_size(1).unordered();
    assert!(poll(&mut map).is_pending());
    for (at, n) in [(2, 2), (0, 0), (0, 1)] {
        ex.run(at);
        assert_eq!(poll(&mut map), Poll::Ready(Some(Ok(n))));
    }
    assert_eq!(poll(&mut map), Poll::Ready(None));
}

#[test]
fn a_map_that_is_dropped_cancels_its_tasks() {
    let ex = Manual::default();
    let mut map = ex.map(|_: u64| unreachable!("it was cancelled"), 0..10).buffer(4).chunk_size(1);
    let polled: Poll<Option<Result<(), _>>> = poll(&mut map);
    assert!(polled.is_pending());
    drop(map);
    assert_eq!(ex.len(), 4);
    for _ in 0..4 {
        let job = ex.take(0);
        assert!(job.is_resolved(), "{job:?} is cancelled");
    }
}

#[test]
fn a_full_executor_is_waited_for_and_no_item_is_lost() {
    let ex = Manual::with_limit(2);
    let mut map = ex.map(|n: u64| n, 0..6).buffer(6).chunk_size(1);
    let mut results = Vec::new();
    for _ in 0..6 {
        assert!(poll(&mut map).is_pending());
        assert!(ex.len() <= 2);
        ex.run(0);
        match poll(&mut map) {
            Poll::Ready(Some(result)) => results.push(result),
            other => panic!("a result was expected, not {other:?}"),
        }
    }
    assert_eq!(results, (0..6).map(Ok).collect::<Vec<_>>());
    assert_eq!(poll(&mut map), Poll::Ready(None));
}

#[test]
fn an_executor_that_drops_jobs_gives_an_error_for_each_item() {
    let ex = Manual::default();
    let mut map = ex.map(|n: u64| n, 0..4).buffer(4).chunk_size(2);
    assert!(poll(&mut map).is_pending());
    drop(ex.take(1));
    ex.run(0);
    let results: Vec<_> = std::iter::from_fn(|| match poll(&mut map) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("all is there"),
    })
    .collect();
    assert_eq!(results, [Ok(0), Ok(1), Err(TaskError::Closed), Err(TaskError::Closed)]);
}

#[test]
fn progress_is_told_after_each_result() {
    let ex = Serial::new();
    let seen = Mutex::new(Vec::new());
    let map = ex.map(|n: u64| n, 0..3).progress(|it| seen.lock().unwrap().push((it.done, it.total)));
    assert_eq!(map.wait().len(), 3);
    assert_eq!(*seen.lock().unwrap(), [(1, Some(3)), (2, Some(3)), (3, Some(3))]);
    let seen = Mutex::new(Vec::new());
    let items = (0..3u64).filter(|n| n % 2 == 0);
    let map = ex.map(|n: u64| n, items).progress(|it| seen.lock().unwrap().push((it.done, it.total)));
    assert_eq!(map.wait().len(), 2);
    assert_eq!(*seen.lock().unwrap(), [(1, None), (2, None)], "how many there are is not known");
}

#[test]
fn the_size_is_told_as_far_as_it_is_known() {
    let ex = Serial::new();
    let mut map = ex.map(|n: u64| n, 0..10).buffer(4).chunk_size(2);
    assert_eq!(Stream::size_hint(&map), (10, Some(10)));
    assert_eq!(poll(&mut map), Poll::Ready(Some(Ok(0))));
    assert_eq!(Stream::size_hint(&map), (9, Some(9)));
    assert_eq!(map.into_iter().count(), 9);
    assert_eq!(Stream::size_hint(&ex.map(|n: u64| n, 0..)).1, None);
}

#[test]
#[should_panic(expected = "a chunk has at least one item")]
fn a_chunk_of_nothing_is_refused() {
    drop(Serial::new().map(|n: u64| n, 0..3).chunk_size(0));
}

#[test]
#[should_panic(expected = "a buffer has room for at least one item")]
fn a_buffer_of_nothing_is_refused() {
    drop(Serial::new().map(|n: u64| n, 0..3).buffer(0));
}

#[test]
fn a_panic_of_the_items_themselves_reaches_the_consumer() {
    let ex = Serial::new();
    let items = (0..10u64).inspect(|n| assert!(*n < 5, "items end in a panic"));
    let map = ex.map(|n: u64| n, items).chunk_size(1).buffer(1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| map.wait()));
    assert!(panicked.is_err());
}

/// A chunk as a worker runs it: from bytes to bytes.
fn run_encoded<M: Mapper<Item = u64, Output = u64>>(mapper: &M, items: Vec<u64>) -> Vec<u8> {
    let (mut job, future) = mapper.job(items, None);
    job.encode().unwrap();
    let target = job.target().unwrap();
    let incoming = crate::worker::Incoming {
        target: &target,
        arg: job.encoded().into(),
        task: job.id(),
        attempt: 1,
        token: 0,
    };
    let (host, mut out): (Arc<dyn Host>, _) = (Arc::new(NoHost), Vec::new());
    let invocation = {
        let mut outlet = crate::Outlet::new(&mut out, crate::Carrier::bytes(usize::MAX));
        crate::worker::run(incoming, &host, &mut outlet)
    };
    assert!(matches!(invocation, crate::Invocation::Done(Ok(()))));
    drop((job, future));
    out
}

#[test]
fn items_that_fail_in_a_worker_fail_alone() {
    let mapper = chunk::Plain(|n: u64| if n == 1 { panic!("one") } else { n });
    let bytes = run_encoded(&mapper, vec![0, 1, 2]);
    let (job, future) = mapper.job(vec![0, 1, 2], None);
    job.complete(&bytes);
    let results = future.wait().unwrap().results;
    assert_eq!(results.len(), 3);
    assert_eq!((&results[0], &results[2]), (&Ok(0), &Ok(2)));
    assert!(results[1].as_ref().is_err_and(|error| error.to_string().contains("one")));
}

#[test]
fn a_chunk_with_too_few_or_too_many_results_gives_one_per_item() {
    let mapper = chunk::Plain(|n: u64| n);
    let (one, three) = (run_encoded(&mapper, vec![7]), run_encoded(&mapper, vec![7, 8, 9]));
    for (bytes, expected) in [(one, [true, false]), (three, [true, true])] {
        let ex = Manual::default();
        let mut map = ex.map(|n: u64| n, [7, 8]).chunk_size(2);
        assert!(poll(&mut map).is_pending());
        ex.take(0).complete(&bytes);
        let results: Vec<_> = map.into_iter().map(|it| it.is_ok()).collect();
        assert_eq!(results, expected);
    }
}

proptest! {
    #[test]
    fn truncated_and_random_results_never_panic(cut in any::<usize>(), at in any::<usize>(), byte in any::<u8>()) {
        let mapper = chunk::Plain(|n: u64| n * 1000);
        let mut bytes = run_encoded(&mapper, vec![1, 2, 3, 4]);
        let index = at % bytes.len();
        bytes[index] = byte;
        bytes.truncate(cut % (bytes.len() + 1));
        let ex = Manual::default();
        let mut map = ex.map(|n: u64| n * 1000, [1, 2, 3, 4]).chunk_size(4);
        prop_assert!(poll(&mut map).is_pending());
        ex.take(0).complete(&bytes);
        prop_assert_eq!(map.into_iter().count(), 4, "one result per item, whatever came");
    }

    #[test]
    fn all_options_give_all_results(
        len in 0u64..60,
        chunk in proptest::option::of(1usize..20),
        buffer in proptest::option::of(1usize..20),
        is_unordered: bool,
        limit in 1usize..4,
        picks in proptest::collection::vec(any::<usize>(), 60),
    ) {
        let ex = Manual::with_limit(limit);
        let mut map = ex.map(|n: u64| n, 0..len);
        if let Some(chunk) = chunk {
            map = map.chunk_size(chunk);
        }
        if let Some(buffer) = buffer {
            map = map.buffer(buffer);
        }
        if is_unordered {
            map = map.unordered();
        }
        let (mut results, mut picks) = (Vec::new(), picks.into_iter().cycle());
        loop {
            match poll(&mut map) {
                Poll::Ready(Some(result)) => results.push(result.unwrap()),
                Poll::Ready(None) => break,
                Poll::Pending => {
                    prop_assert!(ex.len() > 0, "a map that waits has something to wait for");
                    ex.run(picks.next().unwrap() % ex.len());
                }
            }
        }
        if is_unordered {
            results.sort_unstable();
        }
        prop_assert_eq!(results, (0..len).collect::<Vec<_>>());
    }
}

#[test]
fn a_map_is_collected_in_async_code() {
    let ex = Serial::new();
    let all: Vec<_> = block_on(ex.map(|n: u64| n + 1, 0..3).collect());
    assert_eq!(all, [Ok(1), Ok(2), Ok(3)]);
    let first_error: Result<Vec<u64>, _> =
        block_on(ex.map(|n: u64| if n == 1 { panic!("one") } else { n }, 0..3).collect());
    assert!(first_error.is_err_and(|error| error.is_panic()));
}
