//! How much may wait: a count of bytes, and who has to wait until it is less.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Room for so many bytes, of which each [`Charge`] takes some for as long as it is there.
///
/// It has one waiter at a time, the task that sends.
pub(super) struct Room {
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    used: usize,
    waiter: Option<Waker>,
}

/// Bytes that are counted until this is dropped.
pub(super) struct Charge {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, state: Mutex::default() })
    }

    /// Waits until not all is taken.
    pub(super) fn poll_free(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.used < self.capacity {
            return Poll::Ready(());
        }
        state.waiter = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes so many bytes, be there room for them or not.
    pub(super) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.lock().used += bytes;
        Charge { room: self.clone(), bytes }
    }

    /// Takes so many bytes if there is room, or if nothing else is there: what is larger than all of the room comes alone.
    pub(super) fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let mut state = self.lock();
        if state.used > 0 && state.used.saturating_add(bytes) > self.capacity {
            return None;
        }
        state.used += bytes;
        Some(Charge { room: self.clone(), bytes })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics with the state half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let waiter = {
            let mut state = self.room.lock();
            state.used -= self.bytes;
            if state.used < self.room.capacity { state.waiter.take() } else { None }
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use futures::FutureExt;

    use super::Room;

    #[test]
    fn who_sends_waits_while_all_of_the_room_is_taken() {
        let room = Room::new(10);
        let (first, second) = (room.charge(9), room.charge(9));
        let mut free = Box::pin(poll_fn(|cx| room.poll_free(cx)));
        let waker = futures::task::noop_waker();
        let mut cx = std::task::Context::from_waker(&waker);
        assert_eq!(free.poll_unpin(&mut cx), Poll::Pending);
        drop(first);
        assert_eq!(free.poll_unpin(&mut cx), Poll::Ready(()));
        drop(second);
        assert!(room.try_charge(10).is_some());
    }

    #[test]
    fn what_is_larger_than_the_room_comes_alone() {
        let room = Room::new(10);
        let large = room.try_charge(1000);
        assert!(large.is_some() && room.try_charge(1).is_none());
        drop(large);
        let small = room.try_charge(1);
        assert!(small.is_some() && room.try_charge(10).is_none() && room.try_charge(9).is_some());
    }
}
