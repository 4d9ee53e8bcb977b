//! A runtime of one thread that looks for more for a while before it goes to sleep.
//!
//! The thread of a runtime sleeps in `epoll_wait` when no task is ready; a task that has given way, and nothing else, makes it ask there
//! without waiting. So one task that gives way again and again, the *attendant*, has the thread look at all sockets at once, and
//! whatever comes is served as soon as it would be otherwise. How long it does so is for [`Patience`] to say: the attendant
//! begins when something was received, and ends when nothing is for a while. Between two looks it offers the processor to others.
//!
//! *No wake-up is lost*, as far as there is one: the attendant sleeps by [`Attention::received_since`], which registers before it
//! looks at the count, and [`Attention::has_received`] counts before it wakes. If one were lost, the thread would sleep in
//! `epoll_wait`, which is where it is woken for sockets in any case: the attendant makes it quicker, and nothing depends on it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

use crate::patience::Patience;

/// What was received, for the attendant.
#[derive(Debug, Default)]
pub(super) struct Attention {
    received: AtomicU64,
    sleeps: AtomicBool,
    attendant: AtomicWaker,
}

impl Attention {
    /// Something was received.
    pub(super) fn has_received(&self) {
        self.received.fetch_add(1, Ordering::SeqCst);
        if self.sleeps.load(Ordering::SeqCst) {
            self.attendant.wake();
        }
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }

    /// Waits until something more was received.
    async fn received_since(&self, before: u64) {
        poll_fn(|cx| {
            self.attendant.register(cx.waker());
            self.sleeps.store(true, Ordering::SeqCst);
            if self.received() == before {
                return Poll::Pending;
            }
            self.sleeps.store(false, Ordering::SeqCst);
            Poll::Ready(())
        })
        .await;
    }
}

/// The attendant. Never ends.
pub(super) async fn attend(attention: Arc<Attention>) {
    let mut patience = Patience::new();
    loop {
        let before = attention.received();
        let mut look = patience.begin();
        loop {
            // LOOK, once more than others are offered the processor: it brings what has come while the last was served
            tokio::task::yield_now().await;
            if attention.received() != before {
                patience.found(&look);
                break;
            }
            // SLEEP
            if !patience.offer(&mut look) {
                attention.received_since(before).await;
                patience.slept(&look);
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The processor time of this thread.
    fn used() -> Duration {
        let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(statistics.split(' ').next().unwrap().parse().unwrap())
    }

    #[test]
    fn the_thread_sleeps_when_nothing_comes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let attention = Arc::new(Attention::default());
        runtime.block_on(async {
            tokio::spawn(attend(Arc::clone(&attention)));
            for _ in 0..100 {
                attention.has_received();
                tokio::task::yield_now().await;
            }
            let is_asleep = async {
                while !attention.sleeps.load(Ordering::SeqCst) {
                    tokio::task::yield_now().await;
                }
            };
            let limit = Duration::from_secs(60);
            tokio::time::timeout(limit, is_asleep).await.expect("the attendant looks for a while only");
            let before = used();
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(used() - before < Duration::from_millis(20), "{:?}", used() - before);
            attention.has_received();
            tokio::task::yield_now().await;
            assert!(!attention.sleeps.load(Ordering::SeqCst), "the attendant looks again");
        });
    }
}
