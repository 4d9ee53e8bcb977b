//! A socket that a runtime watches, but for times when whoever reads it looks for itself.
//!
//! A runtime that watches a socket is woken by whatever arrives there, also if somebody looks at it anyway. So who looks takes the
//! socket out of the watch first ([`Watched::ignore`]). It is watched again as soon as somebody has to be woken for it: a watch
//! that begins reports what is there already, so nothing that arrived in between is missed.
//!
//! To ignore it forgets who was to be woken. So that is for the one task that polls both directions, at a time when it waits for
//! neither, and will poll before it waits again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use super::socket::Done;

#[cfg(test)]
mod tests;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Watched {
    /// None while nobody is to be woken.
    watch: Mutex<Option<Watch>>,
    runtime: Handle,
    fd: Arc<OwnedFd>,
}

type Watch = Arc<AsyncFd<Arc<OwnedFd>>>;

impl Watched {
    /// Has the socket watched by this runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no IO enabled.
    pub(super) fn new(fd: OwnedFd, runtime: Handle) -> io::Result<Self> {
        let watched = Self { watch: Mutex::new(None), runtime, fd: Arc::new(fd) };
        watched.watch()?;
        Ok(watched)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        let Self { watch, runtime: _, fd } = self;
        drop(watch);
        Arc::into_inner(fd).expect("the watch had it, and is gone")
    }

    /// Takes the socket out of the watch until it is polled and would wait.
    pub(super) fn ignore(&self) {
        drop(self.current().take());
    }

    /// Runs `act`, which does not block, when it may get on.
    pub(super) fn poll_io(
        &self,
        cx: &mut Context<'_>,
        reads: bool,
        mut act: impl FnMut() -> Result<Done, Errno>,
    ) -> Poll<io::Result<()>> {
        loop {
            let current = self.current().clone();
            let done = match current {
                None => act(),
                Some(watch) => {
                    let ready = if reads { watch.poll_read_ready(cx) } else { watch.poll_write_ready(cx) };
                    let mut ready = ready!(ready)?;
                    let done = act();
                    // What comes after this is reported again, also when this call has found out by the way that it has had all.
                    if matches!(done, Ok(Done::All) | Err(Errno::AGAIN)) {
                        ready.clear_ready();
                    }
                    done
                }
            };
            match done {
                Ok(_) => return Poll::Ready(Ok(())),
                Err(Errno::AGAIN) => self.watch()?,
                Err(Errno::INTR) => {}
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }

    fn watch(&self) -> io::Result<()> {
        let mut current = self.current();
        if current.is_none() {
            let _context = self.runtime.enter();
            *current = Some(Arc::new(begin(Arc::clone(&self.fd))?));
        }
        Ok(())
    }

    fn current(&self) -> MutexGuard<'_, Option<Watch>> {
        // It is replaced in single steps.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(
    deprecated,
    reason = "what replaces it is unsafe, for descriptors that end before their registration; this one does not"
)]
fn begin(fd: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::new(fd)
}
