//! The async twins: they look, ask for the bell, and have the process's waiter thread sleep for them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{DoneError, GetError, PutError};
use super::mapping::Mapping;
use super::memory::Side;
use super::records::{self, Damage, PopError, PushError};
use super::{Queue, TRY, encode};
use crate::ipc::futex::Deadline;
use crate::ipc::waiter::Wait;

/// A wait for progress of one side of a queue.
#[derive(Default)]
struct Watch(Option<Wait>);

impl Watch {
    /// Polls `attempt` until it has something, or until it can be left to the waiter thread to tell when to try again.
    fn poll<R>(
        &mut self,
        memory: &Arc<Mapping>,
        side: Side,
        context: &Context<'_>,
        mut attempt: impl FnMut() -> Option<R>,
        ready: impl Fn(&Mapping) -> bool,
    ) -> Poll<Result<R, Damage>> {
        if self.0.as_ref().is_some_and(|wait| wait.goes_on(context.waker())) {
            return Poll::Pending;
        }
        self.0 = None;
        loop {
            if let Some(result) = attempt() {
                return Poll::Ready(Ok(result));
            }
            match records::listen(&**memory, side, Deadline::after(TRY), &ready) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    let word = (memory.event(side), event);
                    self.0 = Some(Wait::new(memory, word, Deadline::NEVER, false, context.waker()));
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(Damage::Lock(error))),
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(wait) = self.0.take() {
            // All who sleep are woken, so there is nobody to whom a wake-up would have to be passed on.
            wait.cancel();
        }
    }
}

/// A put that is waited for; see [`Queue::put_async`].
#[must_use = "nothing is put unless it is awaited"]
pub struct Put<T> {
    queue: Queue<T>,
    /// Taken by the poll that is ready.
    item: Option<T>,
    bytes: Result<Vec<u8>, String>,
    watch: Watch,
}

/// The item is never pinned.
impl<T> Unpin for Put<T> {}

impl<T: Serialize + 'static> Put<T> {
    pub(super) fn new(queue: Queue<T>, item: T) -> Self {
        let mut bytes = Vec::new();
        let bytes = encode(&item, &mut bytes).map(|()| bytes);
        Self { queue, item: Some(item), bytes, watch: Watch::default() }
    }
}

impl<T> Future for Put<T> {
    type Output = Result<(), PutError<T>>;

    /// # Panics
    ///
    /// If polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let take = |item: &mut Option<T>| item.take().expect("a future is not polled after it was ready");
        let bytes = match &mut this.bytes {
            Ok(bytes) => &*bytes,
            Err(message) => {
                let message = std::mem::take(message);
                return Poll::Ready(Err(PutError::Encode { item: take(&mut this.item), message }));
            }
        };
        let memory = &this.queue.memory;
        let attempt = || match records::push(&**memory, bytes, Deadline::after(TRY)) {
            Err(PushError::Full | PushError::TimedOut) => None,
            done => Some(done),
        };
        let polled = this
            .watch
            .poll(memory, Side::Head, context, attempt, |memory| records::has_room(memory, bytes.len()));
        polled.map(|result| {
            let item = take(&mut this.item);
            match result.map_err(PushError::Damaged).flatten() {
                Ok(()) => Ok(()),
                Err(error) => Err(PutError::from_push(error, item, bytes.len())),
            }
        })
    }
}

impl<T> fmt::Debug for Put<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Put").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// A get that is waited for; see [`Queue::get_async`].
#[must_use = "nothing is got unless it is awaited"]
pub struct Get<T> {
    queue: Queue<T>,
    watch: Watch,
}

impl<T> Get<T> {
    pub(super) fn new(queue: Queue<T>) -> Self {
        Self { queue, watch: Watch::default() }
    }
}

impl<T: DeserializeOwned + 'static> Future for Get<T> {
    type Output = Result<T, GetError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let queue = &this.queue;
        let attempt = || match queue.try_get() {
            Err(GetError::Empty) => None,
            done => Some(done),
        };
        let polled = this.watch.poll(&queue.memory, Side::Tail, context, attempt, records::has_items);
        polled.map(|result| result.map_err(|damage| GetError::from_pop(PopError::Damaged(damage))).flatten())
    }
}

impl<T> fmt::Debug for Get<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// A wait until all is done; see [`Queue::join_async`].
#[must_use = "nothing is waited for unless it is awaited"]
pub struct Join<T> {
    queue: Queue<T>,
    watch: Watch,
}

impl<T> Join<T> {
    pub(super) fn new(queue: Queue<T>) -> Self {
        Self { queue, watch: Watch::default() }
    }
}

impl<T> Future for Join<T> {
    type Output = Result<(), DoneError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let memory = &this.queue.memory;
        let attempt = || records::is_all_done(&**memory).then_some(());
        let polled = this.watch.poll(memory, Side::Done, context, attempt, records::is_all_done);
        polled.map_err(|damage| DoneError::Damaged { reason: damage.to_string() })
    }
}

impl<T> fmt::Debug for Join<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Join").field("queue", &self.queue).finish_non_exhaustive()
    }
}
