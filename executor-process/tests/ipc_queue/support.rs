//! Children, and memory in which they leave word.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;

/// A forked process that runs a closure. Killed, if it still runs, when this is dropped.
pub struct Child {
    pid: libc::pid_t,
}

impl Child {
    pub fn run(body: impl FnOnce()) -> Self {
        // SAFETY: this process has one thread, so the child finds no lock taken by another.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: no memory is involved. A child never outlives its parent.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                let passed = catch_unwind(AssertUnwindSafe(body)).is_ok();
                // SAFETY: ends the child here, without what the parent registered for its own end.
                unsafe { libc::_exit(i32::from(!passed)) }
            }
            pid => {
                assert!(pid > 0, "fork failed: {}", std::io::Error::last_os_error());
                Self { pid }
            }
        }
    }

    pub fn kill(&self) {
        // SAFETY: a child that was not waited for, so the number is its.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// How it ended: its exit code, or 128 and the signal.
    pub fn wait(mut self) -> i32 {
        self.reap()
    }

    fn reap(&mut self) -> i32 {
        let mut status = 0;
        // SAFETY: writes to the variable.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(waited, self.pid, "a child is waited for once");
        self.pid = 0;
        if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.pid > 0 {
            self.kill();
            self.reap();
        }
    }
}

/// Numbers that this process shares with the children that it forks.
pub fn shared(count: usize) -> &'static [AtomicU64] {
    let bytes = count * size_of::<AtomicU64>();
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    assert_ne!(address, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    // SAFETY: just mapped, so long, zeroed, aligned to a page, and never unmapped.
    unsafe { std::slice::from_raw_parts(address.cast(), count) }
}

/// A signal ends this process if it is still in the same test then.
pub fn alarm(seconds: u32) {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(seconds) };
}

pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

pub fn has_children() -> bool {
    // SAFETY: no status is asked for.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) >= 0 }
}

/// Numbers that look random and are the same each time.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

impl Child {
    /// Waits until it sleeps in a futex call.
    pub fn until_asleep(&self) {
        let path = format!("/proc/{}/syscall", self.pid);
        let futex = format!("{} ", libc::SYS_futex);
        // The number of the call, or "running".
        while !std::fs::read_to_string(&path).is_ok_and(|call| call.starts_with(&futex)) {
            std::thread::yield_now();
        }
    }
}
