//! Stopping a server: what its handle and its peers share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::in_flight::InFlight;

/// What the handles of a server, the task that accepts, and the peers share.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) stopping: Arc<AtomicBool>,
    /// For the task that accepts.
    pub(super) stopped: Notify,
    /// Those that are to be woken; those that have left are removed when there is no room for another.
    peers: Mutex<Vec<Weak<InFlight>>>,
}

impl Control {
    /// Lets nothing more be begun. Peers are woken, to complete what they have begun, and to leave.
    pub(super) fn stop(&self) {
        // A peer that is entered after the wake-ups below sees it, by the lock; one that is woken before it has registered its
        // waker sees it, as it looks after that.
        self.stopping.store(true, Ordering::SeqCst);
        self.stopped.notify_one();
        for peer in self.peers().iter().filter_map(Weak::upgrade) {
            peer.wake();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Enters a peer.
    pub(super) fn enter(&self, peer: &Arc<InFlight>) {
        let mut peers = self.peers();
        if peers.len() == peers.capacity() {
            peers.retain(|peer| peer.strong_count() > 0);
        }
        peers.push(Arc::downgrade(peer));
    }

    fn peers(&self) -> std::sync::MutexGuard<'_, Vec<Weak<InFlight>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
