//! The references of Python processes, which take and give them up by connections that end at once.
//!
//! Of a peer on a Unix socket the system tells the process. Its references are dropped when it has ended, however it has ended:
//! that is [looked after](Processes::sweep) from time to time. Of a peer on TCP nobody knows the process: what it does not
//! give up stays, as with CPython's own server.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::manager::store::{Reference, Store};
use crate::object::Exception;

/// What each process holds.
pub(super) struct Processes {
    store: Arc<Store>,
    held: Mutex<HashMap<i32, Holder>>,
}

/// A process that holds references.
struct Holder {
    /// Readable when it has ended; `None` if it had ended when it was to be opened.
    process: Option<OwnedFd>,
    references: HashMap<u64, Vec<Reference>>,
}

impl Processes {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, held: Mutex::default() }
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Keeps a reference until the process gives it up or ends.
    pub(super) fn keep(&self, process: Option<i32>, reference: Reference) {
        let Some(process) = process else { return reference.leave() };
        let mut held = self.lock();
        // The number may be that of another process by now.
        let ended = held.get(&process).is_some_and(Holder::has_ended).then(|| held.remove(&process));
        let holder = held.entry(process).or_insert_with(|| Holder::new(process));
        holder.references.entry(reference.entry().id()).or_default().push(reference);
        drop(held);
        drop(ended);
    }

    /// Gives a reference up.
    pub(super) fn give_up(&self, process: Option<i32>, id: u64) -> Result<(), Exception> {
        let reference = process.and_then(|process| self.lock().get_mut(&process)?.take(id));
        match reference {
            Some(reference) => {
                drop(reference);
                Ok(())
            }
            // One that was taken by a process that nobody knows.
            None => self.store.decref(id),
        }
    }

    /// Drops what processes held that have ended, and forgets who holds nothing.
    pub(super) fn sweep(&self) {
        let mut held = self.lock();
        let ended: Vec<Holder> = held
            .extract_if(|_, holder| holder.references.is_empty() || holder.has_ended())
            .map(|(_, it)| it)
            .collect();
        drop(held);
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Holder>> {
        // It is changed in single steps.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Holder {
    fn new(process: i32) -> Self {
        let process = Pid::from_raw(process).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        Self { process, references: HashMap::new() }
    }

    fn has_ended(&self) -> bool {
        let Some(process) = &self.process else { return true };
        let mut fds = [PollFd::new(process, PollFlags::IN)];
        // An interrupted look is made again at the next sweep.
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ended| ended > 0)
    }

    fn take(&mut self, id: u64) -> Option<Reference> {
        let references = self.references.get_mut(&id)?;
        let reference = references.pop();
        if references.is_empty() {
            self.references.remove(&id);
        }
        reference
    }
}
