//! What both protocols have in common about one connection.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::manager::operation::{Given, Outcome, SessionId, Step, Wait};
use crate::manager::store::{Entry, Store};
use crate::object::Object;

/// So many locks are remembered before it is looked which of them are gone.
const MIN_PRUNE: usize = 64;

/// A connection, as the objects know it.
pub(super) struct Session {
    id: SessionId,
    store: Arc<Store>,
    /// The locks that it may hold.
    locks: HashMap<u64, Weak<Entry>>,
    prune_at: usize,
}

impl Session {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { id: store.next_session(), store, locks: HashMap::new(), prune_at: MIN_PRUNE }
    }

    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Calls a method; `None` if there is none of that name.
    pub(super) fn call(&mut self, entry: &Arc<Entry>, method: &str, given: Given) -> Option<Step> {
        if entry.is_held() {
            self.remember(entry);
        }
        let step = entry.call(method, given, self.id)?;
        if let Step::Done(Ok(answer)) = &step {
            on_answer(&self.store, answer);
        }
        Some(step)
    }

    fn remember(&mut self, entry: &Arc<Entry>) {
        if self.locks.len() >= self.prune_at {
            self.locks.retain(|_, entry| entry.strong_count() > 0);
            self.prune_at = (self.locks.len() * 2).max(MIN_PRUNE);
        }
        self.locks.insert(entry.id(), Arc::downgrade(entry));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for entry in self.locks.values().filter_map(Weak::upgrade) {
            entry.on_session_end(self.id);
        }
    }
}

/// What a call that was parked comes to.
pub(super) async fn parked(wait: Wait, entry: Arc<Entry>, session: SessionId, store: Arc<Store>) -> Outcome {
    let outcome = wait.outcome(entry, session).await;
    if let Ok(answer) = &outcome {
        on_answer(&store, answer);
    }
    outcome
}

fn on_answer(store: &Store, answer: &Object) {
    if store.has_leased() {
        store.lease_mentioned(answer);
    }
}
