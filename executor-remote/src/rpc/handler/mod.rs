//! Functions that can be called: what is done with a call's arguments, where, and what becomes of its outcome.
//!
//! # Policy
//!
//! A peer's messages are read by one task on one of the few threads that serve all peers. Where a handler runs is decided for
//! each call:
//!
//! 1. *A sync handler that has been quick so far runs where its call was read*, and its answer goes out with those of its
//!    neighbours in one write: handing work to another thread and the answer back costs more than such a handler itself.
//!    Quick is a running mean below 50 µs.
//! 2. *Other sync handlers run aside*, on a pool of threads that may block: a handler's first calls, of which nothing is
//!    known; those that have become slow, until they are quick again; and those registered as blocking, always.
//! 3. *An async handler is polled at once where its call was read.* If it is ready, that was all; if not, it becomes a task
//!    of its own.
//! 4. *A handler on an executor* is an async handler that waits for a task.
//!
//! So the calls of one peer are begun in the order in which they were sent as far as they run where they were read, or are
//! async; what runs aside is begun in no particular order.
//!
//! The estimate is wrong for a handler that is quick until it waits for something. While it does, its peer is not read from, and
//! one of the few threads that serve all peers is taken. It is a deadlock if what it waits for is another call of the same peer, or if
//! as many peers do so as there are threads. A handler that waits has to be registered as async or as blocking.
//!
//! A panic, of the function, of the decoding of its argument or the encoding of its value, is caught here and is the outcome
//! of that call alone. What has been written of its answer is taken back.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::dialect::{Args, Fault, Form};
use super::protocol::{Failure, FailureKind};
use super::transport::Batch;
use crate::object::{Exception, Object};

mod executor;
mod pace;
mod registered;
#[cfg(test)]
mod tests;

pub(crate) use executor::on_executor;
pub(crate) use pace::{Pace, Place};
pub(crate) use registered::Registered;

/// A function that can be called.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Begins a call; its answer, if it is there already, has been added to the batch.
    fn begin(&self, args: Args<'_>, form: &Form, batch: &mut Batch) -> Begun;
}

/// What became of a call when it was begun.
pub(crate) enum Begun {
    /// It is answered.
    Answered,
    /// It is to run on a thread that may block.
    Aside(Aside),
    /// It goes on, and is to be polled.
    Pending(Box<dyn Running>),
}

/// Runs a call, and adds its answer.
pub(crate) type Aside = Box<dyn FnOnce(&Form, &mut Batch) + Send>;

/// A call that goes on.
pub(crate) trait Running: Send {
    /// As a future; when it is ready, it has added the answer.
    fn poll(&mut self, cx: &mut Context<'_>, form: &Form, batch: &mut Batch) -> Poll<()>;
}

/// What a handler's outcome is to its caller.
pub(crate) trait Outcome {
    fn write(self, form: &Form, batch: &mut Batch);
}

/// A value is a value.
pub(crate) struct Plain<R>(pub(crate) R);

impl<R: Serialize> Outcome for Plain<R> {
    fn write(self, form: &Form, batch: &mut Batch) {
        form.write_value(&self.0, batch);
    }
}

impl<R: Serialize, E: Display + 'static> Outcome for Result<R, E> {
    fn write(self, form: &Form, batch: &mut Batch) {
        match self {
            Ok(value) => form.write_value(&value, batch),
            Err(error) => form.write_fault(&from_error(&error), batch),
        }
    }
}

impl<R: Serialize> Outcome for OrFault<R> {
    fn write(self, form: &Form, batch: &mut Batch) {
        match self.0 {
            Ok(value) => form.write_value(&value, batch),
            Err(fault) => form.write_fault(&fault, batch),
        }
    }
}

/// The outcome of a handler of this crate.
pub(crate) struct OrFault<R>(pub(crate) Result<R, Fault>);

/// A sync function. `O` makes an outcome of what it returns.
pub(crate) struct Function<F, A, O> {
    shared: Arc<PacedFunction<F>>,
    always_aside: bool,
    types: PhantomData<fn(A) -> O>,
}

struct PacedFunction<F> {
    function: F,
    pace: Pace,
}

impl<F, A, O> Function<F, A, O> {
    pub(crate) fn new(function: F, always_aside: bool) -> Self {
        let shared = Arc::new(PacedFunction { function, pace: Pace::default() });
        Self { shared, always_aside, types: PhantomData }
    }
}

impl<F, A, O> Handler for Function<F, A, O>
where
    F: Fn(A) -> O + Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    O: Outcome + 'static,
{
    fn begin(&self, args: Args<'_>, form: &Form, batch: &mut Batch) -> Begun {
        let place = if self.always_aside { Place::Aside } else { self.shared.pace.place() };
        match place {
            Place::Here => {
                let begin = Instant::now();
                answer(form, batch, |batch| {
                    match args.decode() {
                        Ok(args) => (self.shared.function)(args).write(form, batch),
                        Err(fault) => form.write_fault(&fault, batch),
                    };
                });
                self.shared.pace.record(begin.elapsed());
                Begun::Answered
            }
            Place::Aside => {
                let Some(args) = decode(args, form, batch) else { return Begun::Answered };
                let shared = self.shared.clone();
                Begun::Aside(Box::new(move |form, batch| {
                    let begin = Instant::now();
                    answer(form, batch, |batch| (shared.function)(args).write(form, batch));
                    shared.pace.record(begin.elapsed());
                }))
            }
        }
    }
}

/// A function that returns a future.
pub(crate) struct AsyncFunction<F, A, O> {
    function: F,
    types: PhantomData<fn(A) -> O>,
}

impl<F, A, O> AsyncFunction<F, A, O> {
    pub(crate) fn new(function: F) -> Self {
        Self { function, types: PhantomData }
    }
}

impl<F, A, Fut, O> Handler for AsyncFunction<F, A, O>
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    A: DeserializeOwned + 'static,
    Fut: Future<Output = O> + Send + 'static,
    O: Outcome + 'static,
{
    fn begin(&self, args: Args<'_>, form: &Form, batch: &mut Batch) -> Begun {
        begin_future(form, batch, || args.decode().map(|args| (self.function)(args)))
    }
}

/// Begins a call whose outcome is that of a future, if there is one.
fn begin_future<Fut>(form: &Form, batch: &mut Batch, future: impl FnOnce() -> Result<Fut, Fault>) -> Begun
where
    Fut: Future<Output: Outcome> + Send + 'static,
{
    let mut running = None;
    answer(form, batch, |batch| {
        let future = match future() {
            Ok(future) => Box::pin(future),
            Err(fault) => return form.write_fault(&fault, batch),
        };
        let mut polled = Polled(future);
        // Whoever it registers now is woken in vain: as a task it is polled again at once.
        let mut cx = Context::from_waker(Waker::noop());
        if polled.poll_uncaught(&mut cx, form, batch).is_pending() {
            running = Some(polled);
        }
    });
    match running {
        Some(running) => Begun::Pending(Box::new(running)),
        None => Begun::Answered,
    }
}

struct Polled<Fut>(Pin<Box<Fut>>);

impl<Fut: Future<Output: Outcome>> Polled<Fut> {
    fn poll_uncaught(&mut self, cx: &mut Context<'_>, form: &Form, batch: &mut Batch) -> Poll<()> {
        self.0.as_mut().poll(cx).map(|outcome| outcome.write(form, batch))
    }
}

impl<Fut: Future<Output: Outcome> + Send> Running for Polled<Fut> {
    fn poll(&mut self, cx: &mut Context<'_>, form: &Form, batch: &mut Batch) -> Poll<()> {
        let mut polled = Poll::Ready(());
        answer(form, batch, |batch| polled = self.poll_uncaught(cx, form, batch));
        polled
    }
}

/// Runs what adds an answer to the batch. If it panics, what it has added is taken back, and the panic is the answer.
fn answer(form: &Form, batch: &mut Batch, write: impl FnOnce(&mut Batch)) {
    let mark = batch.mark();
    // Unwind safety: the batch is put in order below; what handlers share is subject to the same rules as with threads.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| write(batch))) {
        batch.rewind(mark);
        let message = format!("the function panicked: {}", panic_message(&*payload));
        form.write_fault(&Fault::new(FailureKind::Panic, message), batch);
    }
}

/// The arguments, or none if they do not fit, when that has been answered.
fn decode<A: DeserializeOwned>(args: Args<'_>, form: &Form, batch: &mut Batch) -> Option<A> {
    let mut decoded = None;
    answer(form, batch, |batch| match args.decode() {
        Ok(args) => decoded = Some(args),
        Err(fault) => form.write_fault(&fault, batch),
    });
    decoded
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (_, Some(text)) => text.clone(),
        _ => "with something that is no text".to_owned(),
    }
}

/// What the error of a handler is to its caller.
fn from_error<E: Display + 'static>(error: &E) -> Fault {
    let any: &dyn Any = error;
    let exception = match (any.downcast_ref::<Exception>(), any.downcast_ref::<std::io::Error>()) {
        (Some(exception), _) => exception.clone(),
        (_, Some(error)) => match error.raw_os_error() {
            Some(number) => {
                Exception::with_args("OSError", vec![Object::from(number), Object::Str(error.to_string())])
            }
            None => Exception::new("OSError", error.to_string()),
        },
        _ => {
            let type_name = short_type_name(std::any::type_name::<E>()).to_owned();
            let message = error.to_string();
            return Failure { kind: FailureKind::Error, type_name, message, notes: Vec::new() }.into();
        }
    };
    let failure = Failure {
        kind: FailureKind::Error,
        type_name: exception.type_name.clone(),
        message: exception.message(),
        notes: exception.notes.clone(),
    };
    Fault { exception: Some(Box::new(exception)), ..Fault::from(failure) }
}

/// A text is an error without a type.
fn short_type_name(type_name: &str) -> &str {
    match type_name {
        "alloc::string::String" | "&str" => "",
        type_name => type_name,
    }
}
