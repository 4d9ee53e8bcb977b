//! The interface that binds users: [`ExecutorExt`].

use std::future::Future;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserializer, Serialize};

use crate::dynamic::{self, Dynamic, DynamicError};
use crate::error::{TaskError, TrySubmitError};
use crate::executor::Executor;
use crate::map::{ChunkWith, Map, chunk};
use crate::shared::Shared;
use crate::task::{AsyncCall, Body, Call, Job, NamedCall, TaskFuture, TaskOptions};

/// What every executor offers. Implemented for all of them; do not implement it.
///
/// Functions are `fn` pointers: plain functions, methods, and closures that capture nothing. What a closure would
/// capture travels in the argument:
///
/// ```
/// # use executor_core::{ExecutorExt, Serial};
/// # let ex = Serial::new();
/// let factor = 3;
/// let product = ex.submit(|(factor, n)| factor * n, (factor, 14u64));
/// assert_eq!(product.wait(), Ok(42));
/// ```
///
/// A closure that captures is a type error:
///
/// ```compile_fail,E0308
/// # use executor_core::{ExecutorExt, Serial};
/// # let ex = Serial::new();
/// let factor = 3u64;
/// let product = ex.submit(|n: u64| factor * n, 14);
/// ```
pub trait ExecutorExt: Executor {
    /// Submits `f(arg)`.
    ///
    /// Never blocks. Whatever is wrong, a full queue or an argument that does not serialise included, comes out of the
    /// future.
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_core::{ExecutorExt, Serial};
    /// let ex = Serial::new();
    /// assert_eq!(ex.submit(|n: u32| n * 2, 21).wait(), Ok(42));
    /// assert_eq!(ex.submit(str::len_of, "seven".to_owned()).wait(), Ok(5));
    /// # mod str { pub fn len_of(s: String) -> usize { s.len() } }
    /// ```
    fn submit<A, R>(&self, f: fn(A) -> R, arg: A) -> TaskFuture<R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        submit_body(self, Call(f), arg, None)
    }

    /// Submits a task whose body is a future, which runs on the worker's own async runtime; many share a worker.
    ///
    /// Write `|x| async move { .. }`: an `async |x| ..` closure is not a function pointer.
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_core::{ExecutorExt, Serial};
    /// let ex = Serial::new();
    /// assert_eq!(ex.submit_async(|n: u32| async move { n * 2 }, 21).wait(), Ok(42));
    /// ```
    fn submit_async<A, Fut>(&self, f: fn(A) -> Fut, arg: A) -> TaskFuture<Fut::Output>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        submit_body(self, AsyncCall(f), arg, None)
    }

    /// Submits a call of a function that [`register!`](crate::register) has made known under this name, on whichever side
    /// the worker is. The result type is the caller's to know.
    fn call<A, R>(&self, name: &str, arg: A) -> TaskFuture<R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        submit_body(self, NamedCall::new(name), arg, None)
    }

    /// As [`call`](Self::call), for callers that know the types of the function as little as those of what they pass on to
    /// it: servers of remote calls, scripting languages.
    ///
    /// The argument is deserialised here, on the caller's thread, from any format (of a tuple it asks for a tuple, of a struct
    /// for a struct, and so on), and the result is there as something that serialises into any format. In between, the task
    /// is as any other: on this executor's workers, whatever they are, in the same build as this one. Use
    /// [`registered_names`](crate::registered_names) for the names.
    ///
    /// # Errors
    ///
    /// [`DynamicError`] if there is no such function in this program or the argument does not fit; nothing is then submitted.
    /// What is wrong later comes out of the future.
    ///
    /// # Examples
    ///
    /// ```
    /// use executor_core::{ExecutorExt, Serial, register};
    ///
    /// register! { "scale" => |(factor, values): (f64, Vec<f64>)| values.iter().map(|it| factor * it).collect::<Vec<_>>() }
    ///
    /// let ex = Serial::new();
    /// let result = ex.call_dynamic("scale", &mut serde_json::Deserializer::from_str("[2, [0.5, 1.5]]"))?.wait()?;
    /// assert_eq!(serde_json::to_string(&result)?, "[1.0,3.0]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn call_dynamic<'de, D>(&self, name: &str, arg: D) -> Result<TaskFuture<Dynamic>, DynamicError>
    where
        D: Deserializer<'de>,
    {
        self.call_dynamic_with(name, arg, TaskOptions::default())
    }

    /// As [`call_dynamic`](Self::call_dynamic), with what [`TaskBuilder`] sets for other tasks.
    ///
    /// # Errors
    ///
    /// As `call_dynamic`.
    fn call_dynamic_with<'de, D>(
        &self,
        name: &str,
        arg: D,
        options: TaskOptions,
    ) -> Result<TaskFuture<Dynamic>, DynamicError>
    where
        D: Deserializer<'de>,
    {
        let (job, future) = dynamic::call(name, arg)?;
        job.set_options(options);
        if let Err(rejected) = self.submit_job(job) {
            rejected.fail();
        }
        Ok(future)
    }

    /// A task with options; see [`TaskBuilder`].
    ///
    /// ```
    /// use executor_core::{ExecutorExt, Serial};
    /// use std::time::Duration;
    /// let ex = Serial::new();
    /// let future = ex
    ///     .task(|n: u64| n + 1, 41)
    ///     .name("answer")
    ///     .retries(2)
    ///     .timeout(Duration::from_secs(5))
    ///     .submit();
    /// assert_eq!(future.wait(), Ok(42));
    /// ```
    #[must_use = "a task is submitted by .submit() or .try_submit()"]
    fn task<A, R>(&self, f: fn(A) -> R, arg: A) -> TaskBuilder<'_, Self, A, R>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        TaskBuilder::new(self, Call(f), arg)
    }

    /// An async task with options; see [`TaskBuilder`].
    #[must_use = "a task is submitted by .submit() or .try_submit()"]
    fn task_async<A, Fut>(&self, f: fn(A) -> Fut, arg: A) -> TaskBuilder<'_, Self, A, Fut::Output>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Serialize + DeserializeOwned + Send + 'static,
    {
        TaskBuilder::new(self, AsyncCall(f), arg)
    }

    /// Calls `f` with each item; see [`Map`] for its options and for how the results are had.
    ///
    /// Lazy: nothing is submitted before the first result is asked for, and never more than the buffer holds.
    ///
    /// ```
    /// use executor_core::{ExecutorExt, Serial};
    /// let ex = Serial::new();
    /// let squares: Result<Vec<u64>, _> = ex.map(|n| n * n, 0..4u64).into_iter().collect();
    /// assert_eq!(squares, Ok(vec![0, 1, 4, 9]));
    /// ```
    fn map<A, R, I>(&self, f: fn(A) -> R, items: I) -> Map<'_, Self, I::IntoIter, chunk::Plain<A, R>>
    where
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        I: IntoIterator<Item = A>,
    {
        Map::new(self, items.into_iter(), chunk::Plain(f))
    }

    /// Calls `f` with a value that is sent once to each worker, and with each item; otherwise as [`map`](Self::map).
    ///
    /// ```
    /// use executor_core::{ExecutorExt, Serial};
    /// let ex = Serial::new();
    /// let names = vec!["zero".to_owned(), "one".to_owned()];
    /// let lengths: Result<Vec<usize>, _> = ex
    ///     .map_with(names, |names, at: usize| names[at].len(), [1, 0])
    ///     .into_iter()
    ///     .collect();
    /// assert_eq!(lengths, Ok(vec![3, 4]));
    /// ```
    fn map_with<E, A, R, I>(
        &self,
        env: E,
        f: fn(&E, A) -> R,
        items: I,
    ) -> Map<'_, Self, I::IntoIter, ChunkWith<E, A, R>>
    where
        E: Serialize + DeserializeOwned + Send + Sync + 'static,
        A: Serialize + DeserializeOwned + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
        I: IntoIterator<Item = A>,
    {
        Map::new(self, items.into_iter(), ChunkWith::new(f, Shared::new(env)))
    }

    /// Runs `f(arg)` once on each worker that there is now; one future per worker, in their order.
    fn broadcast<A, R>(&self, f: fn(A) -> R, arg: A) -> Vec<TaskFuture<R>>
    where
        A: Serialize + DeserializeOwned + Clone + Send + 'static,
        R: Serialize + DeserializeOwned + Send + 'static,
    {
        let workers = u32::try_from(self.stats().workers).unwrap_or(u32::MAX);
        (0..workers)
            .map(|worker| {
                let options = TaskOptions { worker: Some(worker), ..TaskOptions::default() };
                submit_body(self, Call(f), arg.clone(), Some(options))
            })
            .collect()
    }

    /// Wraps a value that many tasks use; it is sent at most once to each worker. See [`Shared`].
    fn share<T>(&self, value: T) -> Shared<T>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        Shared::new(value)
    }
}

impl<E: Executor + ?Sized> ExecutorExt for E {}

fn submit_body<E, B>(executor: &E, body: B, arg: B::Arg, options: Option<TaskOptions>) -> TaskFuture<B::Out>
where
    E: Executor + ?Sized,
    B: Body,
{
    let (job, future) = Job::new(body, arg, options);
    if let Err(rejected) = executor.submit_job(job) {
        rejected.fail();
    }
    future
}

/// A task that is being put together; from [`ExecutorExt::task`].
#[must_use = "a task is submitted by .submit() or .try_submit()"]
pub struct TaskBuilder<'a, E: ?Sized, A, R> {
    executor: &'a E,
    job: Job,
    future: TaskFuture<R>,
    options: TaskOptions,
    /// Moves the argument out of the job, which has the type that this function was made for.
    reclaim: unsafe fn(Job) -> Option<A>,
}

impl<'a, E: Executor + ?Sized, A, R: Send + 'static> TaskBuilder<'a, E, A, R> {
    fn new<B: Body<Arg = A, Out = R>>(executor: &'a E, body: B, arg: A) -> Self {
        let (job, future) = Job::new(body, arg, None);
        Self { executor, job, future, options: TaskOptions::default(), reclaim: Job::reclaim::<B> }
    }

    /// A name for logs, errors and listings. Default: none.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// How long an attempt may run, from the moment its body begins. At the limit the future resolves with
    /// [`TaskError::TimedOut`] and the cooperative flag is raised; backends that isolate tasks end the worker after a
    /// grace period. Default: no limit.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.timeout = Some(limit);
        self
    }

    /// How many times the task is begun again after its worker was lost. A panic is a result and not tried again.
    /// Default: 0.
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Tasks of higher priority are begun first. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.options.priority = priority;
        self
    }

    /// Says that the body may be begun again without harm when it is unknown whether it had begun, as after the loss
    /// of a machine; such a second begin is not charged as a retry. Default: false.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.options.idempotent = idempotent;
        self
    }

    /// Submits the task. Whatever is wrong comes out of the future.
    pub fn submit(self) -> TaskFuture<R> {
        self.job.set_options(self.options);
        if let Err(rejected) = self.executor.submit_job(self.job) {
            rejected.fail();
        }
        self.future
    }

    /// Submits the task, or gives the argument back.
    ///
    /// # Errors
    ///
    /// [`TaskError::Full`] if the queue is full, and every other reason for which the executor takes no task.
    pub fn try_submit(self) -> Result<TaskFuture<R>, TrySubmitError<A>> {
        self.job.set_options(self.options);
        let Err(rejected) = self.executor.submit_job(self.job) else {
            return Ok(self.future);
        };
        let (job, error) = (rejected.job, rejected.error);
        assert_eq!(job.id(), self.future.id(), "an executor gives back the job that it was given");
        // SAFETY: `reclaim` was made for the type of this job, which is the one that was submitted.
        match unsafe { (self.reclaim)(job) } {
            Some(arg) => Err(TrySubmitError { arg, error }),
            // A backend that broke the contract and kept the argument: the error is still told.
            None => Ok(failed(error)),
        }
    }
}

/// A future that is resolved with an error.
fn failed<R: Send + 'static>(error: TaskError) -> TaskFuture<R> {
    let (job, future) = Job::from_fn(|| unreachable!("a failed job does not run"));
    job.fail(error);
    future
}
