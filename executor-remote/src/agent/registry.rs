//! Who is connected: places for peers and clients, and the way to end them all.

use std::collections::HashMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::Shared;

/// All connections of an agent.
#[derive(Default)]
pub(super) struct Registry {
    state: Mutex<State>,
    empty: Condvar,
}

#[derive(Default)]
struct State {
    stopping: bool,
    half_open: usize,
    sessions: usize,
    next: u64,
    sockets: HashMap<u64, TcpStream>,
}

/// The place of a connection; dropped, it is free again.
pub(super) struct Place {
    shared: Arc<Shared>,
    id: u64,
    is_session: bool,
}

impl Registry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a peer that has not proved anything, if there is one.
    pub(super) fn admit(shared: &Arc<Shared>, stream: &TcpStream) -> Option<Place> {
        let socket = stream.try_clone().ok()?;
        let mut state = shared.registry.state();
        if state.stopping || state.half_open >= shared.config.max_half_open {
            return None;
        }
        state.half_open += 1;
        let id = state.next;
        state.next += 1;
        state.sockets.insert(id, socket);
        Some(Place { shared: Arc::clone(shared), id, is_session: false })
    }

    /// Ends all connections, and takes no more.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        for socket in state.sockets.values() {
            // One that is closed already needs nothing.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn wait_until_empty(&self) {
        let waited = self.empty.wait_while(self.state(), |state| !state.sockets.is_empty());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Place {
    /// The peer is a client: a place among the sessions instead, if there is one.
    pub(super) fn promote(&mut self) -> bool {
        let mut state = self.shared.registry.state();
        if state.stopping || state.sessions >= self.shared.config.max_sessions {
            return false;
        }
        state.half_open -= 1;
        state.sessions += 1;
        self.is_session = true;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.registry.state();
        match self.is_session {
            true => state.sessions -= 1,
            false => state.half_open -= 1,
        }
        state.sockets.remove(&self.id);
        if state.sockets.is_empty() {
            self.shared.registry.empty.notify_all();
        }
    }
}
