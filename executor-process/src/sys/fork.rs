//! Forks of a process that has one thread. The only place where this crate forks.
//!
//! Why it is sound here: a forked copy has the calling thread only, so a lock that another thread held would stay locked
//! for ever. Whoever calls this has one thread ([`threads`] counts them), so there is no such lock, and the copy may do
//! whatever the original may.
//!
//! Two ways. [`fork`] is the C library's. [`Sibling::fork`] makes a child of the caller's *parent*: a zygote forks
//! workers that are the program's own children, so that the program watches and reaps them, and so that they follow the
//! program and not the zygote. The C library offers no such fork, so the system call is made here, and what the library's
//! fork would have done for a process of one thread is done by hand, which is two things:
//!
//! 1. The library keeps the thread's number beside the thread (`pthread_mutex_lock` writes it into mutexes that know their
//!    owner). The kernel writes the new one there, as it does for the library's fork: to the address that it was told for
//!    `CLONE_CHILD_CLEARTID`, which it tells us back.
//! 2. The kernel forgets the list of robust mutexes in a forked process. It is told where that is: where it was.
//!
//! Functions given to `pthread_atfork` are not called; they exist to put locks in order among threads. The one of this crate
//! is called by hand.

use std::io::{self, Write};
use std::ptr;

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Forked {
    /// The new process.
    Child,
    /// The old one, with the number of the new one.
    Parent(i32),
}

/// The names of this process's threads.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub(crate) fn threads() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for thread in std::fs::read_dir("/proc/self/task")? {
        let name = std::fs::read_to_string(thread?.path().join("comm"));
        names.push(name.map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned()));
    }
    Ok(names)
}

/// How many threads this process has, by one system call: each is a folder in that one.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub(crate) fn count_threads() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    /// Those of the folder itself.
    const OWN: u64 = 2;
    Ok(std::fs::metadata("/proc/self/task")?.nlink().saturating_sub(OWN))
}

/// Counts threads in words: "3 threads (main, worker, worker)".
pub(crate) fn described(threads: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut names = threads[..threads.len().min(SHOWN)].join(", ");
    if threads.len() > SHOWN {
        names.push_str(", ..");
    }
    format!("{} threads ({names})", threads.len())
}

/// Empties the buffers of Rust's and of C's standard streams: a copy of the process would print their content again.
pub(crate) fn flush_streams() {
    let _ = io::stdout().flush();
    // SAFETY: a null pointer means all of C's output streams; C locks each of them.
    unsafe { libc::fflush(ptr::null_mut()) };
}

/// Forks a child.
///
/// # Safety
///
/// This process has one thread, and the child does not return into frames that it does not own: it ends by `_exit` or by
/// a function that does.
///
/// # Errors
///
/// What `fork` reports.
pub(crate) unsafe fn fork() -> io::Result<Forked> {
    flush_streams();
    // SAFETY: one thread, by the caller's promise: see the module documentation.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid)),
    }
}

/// What it takes to fork siblings.
pub(super) struct Sibling {
    /// Where the C library keeps this thread's number.
    tid: *mut libc::pid_t,
    robust_list: *mut libc::c_void,
    robust_len: usize,
}

impl Sibling {
    /// Looks up what the C library and the kernel know of this thread.
    ///
    /// # Errors
    ///
    /// `Unsupported` where they do not tell, as a kernel without `CONFIG_CHECKPOINT_RESTORE`, or a C library that
    /// keeps the number elsewhere.
    pub(super) fn new() -> io::Result<Self> {
        const PR_GET_TID_ADDRESS: libc::c_int = 40;
        let mut tid: *mut libc::pid_t = ptr::null_mut();
        // SAFETY: writes one pointer to the place given.
        let told = unsafe { libc::prctl(PR_GET_TID_ADDRESS, &raw mut tid, 0, 0, 0) };
        // SAFETY: no arguments, no effect.
        let own = unsafe { libc::gettid() };
        // SAFETY: a non-null address is the one that this thread's C library registered for its own use, in memory that
        // lives as long as the thread.
        if told != 0 || tid.is_null() || unsafe { tid.read_volatile() } != own {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel and C library do not tell where the thread's number is kept, so that workers can only be \
                 started by start_method=spawn",
            ));
        }
        let (mut robust_list, mut robust_len) = (ptr::null_mut(), 0usize);
        // SAFETY: asks about the calling thread; writes the two places given.
        let told =
            unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut robust_list, &raw mut robust_len) };
        match told {
            0 => Ok(Self { tid, robust_list, robust_len }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Forks a child of this process's parent.
    ///
    /// # Safety
    ///
    /// As for [`fork`](fork()), on the thread that called [`new`](Self::new), which holds no robust mutex.
    ///
    /// # Errors
    ///
    /// What `clone` reports.
    pub(super) unsafe fn fork(&self) -> io::Result<Forked> {
        flush_streams();
        let flags = libc::CLONE_PARENT | libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID;
        let flags = (flags | libc::SIGCHLD) as libc::c_ulong;
        let null = ptr::null_mut::<libc::c_void>();
        // The order of the last two differs; neither a new stack nor a new thread area is wanted.
        #[cfg(target_arch = "x86_64")]
        let (fourth, fifth) = (self.tid.cast::<libc::c_void>(), null);
        #[cfg(not(target_arch = "x86_64"))]
        let (fourth, fifth) = (null, self.tid.cast::<libc::c_void>());
        // SAFETY: without CLONE_VM this is a fork: the child has copies of all memory, this stack included, and one
        // thread, as the original has by the caller's promise. The kernel writes the child's number into the child's copy of
        // the word that holds the number of its thread.
        match unsafe { libc::syscall(libc::SYS_clone, flags, null, null, fourth, fifth) } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: the head of the list of this very thread, which is empty by the caller's promise.
                unsafe { libc::syscall(libc::SYS_set_robust_list, self.robust_list, self.robust_len) };
                crate::ipc::robust::forget();
                Ok(Forked::Child)
            }
            pid => Ok(Forked::Parent(pid as i32)),
        }
    }
}
