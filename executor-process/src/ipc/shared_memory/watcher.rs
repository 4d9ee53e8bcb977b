//! A process that removes a file when its parent has died.
//!
//! It is a `clone` that shares memory and descriptors with its parent, but is no thread of it, so that `SIGKILL` of the one does not
//! end the other. What it does is three system calls, without the C library, allocation or thread-local storage, which are
//! its parent's:
//!
//! 1. It leaves the session, so that what a terminal or a shell sends to the group does not reach it; all signals are blocked.
//! 2. It waits until the parent's process descriptor says that the parent is dead.
//! 3. It removes the file.
//!
//! Sharing memory costs nothing; a fork would keep copies of all that the parent changes. Sharing descriptors means that none is
//! held open by the watcher which the parent has closed. Its end sends no signal, and `wait` for any child does not see it.

use std::ffi::{CString, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

const STACK: usize = 32 << 10;

/// What the watcher reads. It stays where it is until the watcher is no more.
struct Order {
    parent: OwnedFd,
    path: CString,
}

/// The watcher of one file.
pub(super) struct Watcher {
    pid: Pid,
    /// Which process it watches: in the child of a fork, a copy of this value ends nothing.
    parent: u32,
    order: Box<Order>,
    _stack: Box<[u128]>,
}

impl Watcher {
    /// Has a file removed when this process has ended.
    pub(super) fn start(path: &str) -> Result<Self, Errno> {
        let parent = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        let path = CString::new(path).map_err(|_| Errno::INVAL)?;
        let order = Box::new(Order { parent, path });
        let mut stack = vec![0u128; STACK / size_of::<u128>()].into_boxed_slice();
        let top = stack.as_mut_ptr_range().end.cast::<c_void>();
        let argument = (&raw const *order).cast_mut().cast::<c_void>();
        let pid = with_signals_blocked(|| {
            // SAFETY: the stack and the order stay until the watcher is no more (`end`), or for ever if this value is forgotten.
            // `watch` keeps to what the module documentation says.
            let pid = unsafe { libc::clone(watch, top, libc::CLONE_VM | libc::CLONE_FILES, argument) };
            if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
        });
        let pid = pid.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
        Ok(Self { pid, parent: std::process::id(), order, _stack: stack })
    }

    /// Removes the file, and ends the watcher.
    pub(super) fn end(self) {
        if self.parent != std::process::id() {
            // The memory is a copy, the watcher is not.
            return;
        }
        // Failure: somebody has removed it.
        let _ = rustix::fs::unlink(&*self.order.path);
        // The watcher cannot have gone before its parent.
        let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        loop {
            // SAFETY: no memory is written to.
            let ended =
                unsafe { libc::waitpid(self.pid.as_raw_nonzero().get(), std::ptr::null_mut(), libc::__WALL) };
            if ended >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                break;
            }
        }
    }
}

/// The watcher.
extern "C" fn watch(order: *mut c_void) -> c_int {
    // SAFETY: what `start` has passed, which stays.
    let order = unsafe { &*order.cast::<Order>() };
    let _ = rustix::process::setsid();
    loop {
        let mut parent = [PollFd::from_borrowed_fd(order.parent.as_fd(), PollFlags::IN)];
        match poll(&mut parent, None) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => break,
        }
    }
    let _ = rustix::fs::unlink(&*order.path);
    0
}

fn with_signals_blocked<T>(act: impl FnOnce() -> T) -> T {
    // SAFETY: two sets, written before they are read.
    unsafe {
        let (mut all, mut before) =
            (std::mem::zeroed::<libc::sigset_t>(), std::mem::zeroed::<libc::sigset_t>());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let result = act();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        result
    }
}
