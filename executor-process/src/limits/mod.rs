//! What this machine allows this process: how many workers by default, and how much memory one holds.
//!
//! The texts come from the system in a few short reads; what they mean is decided by pure functions, tested on recorded
//! texts.

mod cgroup;

pub use cgroup::Hierarchy;

use std::fmt;
use std::io;

/// What decided the default number of workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecidedBy {
    /// The CPUs that this process may run on (`sched_getaffinity`; all of the machine's unless something limits them).
    Affinity,
    /// The CPU quota of this process's control group, or of one above it; rounded up.
    CgroupQuota,
    /// `SLURM_CPUS_PER_TASK`, what the Slurm job was given.
    Slurm,
}

/// The default number of workers and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerCount {
    /// How many; at least 1.
    pub count: usize,
    /// The tightest of the limits; the first named of equal ones.
    pub decided_by: DecidedBy,
}

impl WorkerCount {
    /// The number for this process, now.
    ///
    /// # Blocking
    ///
    /// Reads some small files of `/proc` and `/sys`.
    #[must_use]
    pub fn detect() -> Self {
        let quota = Hierarchy::of_this_process().and_then(|groups| groups.cpu_quota());
        let slurm = std::env::var("SLURM_CPUS_PER_TASK").ok();
        decide(affinity(), quota, slurm.as_deref())
    }
}

impl fmt::Display for WorkerCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.decided_by {
            DecidedBy::Affinity => "CPU affinity",
            DecidedBy::CgroupQuota => "cgroup CPU quota",
            DecidedBy::Slurm => "SLURM_CPUS_PER_TASK",
        };
        let plural = if self.count == 1 { "" } else { "s" };
        write!(f, "{} worker{plural} (by {reason})", self.count)
    }
}

/// The tightest of the limits. `quota` is in CPUs; what is not there, or not a sensible number, limits nothing.
fn decide(affinity: usize, quota: Option<f64>, slurm: Option<&str>) -> WorkerCount {
    let mut decision = WorkerCount { count: affinity.max(1), decided_by: DecidedBy::Affinity };
    let mut limit = |count: Option<usize>, decided_by| {
        if let Some(count) = count.filter(|&count| count < decision.count) {
            decision = WorkerCount { count: count.max(1), decided_by };
        }
    };
    // A positive number, and `as` saturates.
    let quota = quota.filter(|cpus| *cpus > 0.0).map(|cpus| cpus.ceil() as usize);
    limit(quota, DecidedBy::CgroupQuota);
    limit(slurm.and_then(|text| text.trim().parse().ok()).filter(|&count| count > 0), DecidedBy::Slurm);
    decision
}

/// How many processors the threads of this process may run on; at least 1.
pub(crate) fn usable_processors() -> usize {
    affinity().max(1)
}

/// CPUs that this process may run on. A machine of more CPUs than the fixed-size set holds is asked through std.
fn affinity() -> usize {
    rustix::thread::sched_getaffinity(None).map_or_else(
        |_| std::thread::available_parallelism().map_or(1, usize::from),
        |set| set.count() as usize,
    )
}

/// Bytes of memory that a process holds (resident set size, shared pages included).
///
/// For a child of ours that was not reaped, `pid` is certainly still that child.
///
/// # Errors
///
/// `NotFound` if there is no such process; `InvalidData` if the kernel's text is not understood.
pub fn resident_bytes(pid: i32) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
    parse_statm(&text, rustix::param::page_size() as u64)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("unknown form of statm: {text:?}")))
}

/// The second field counts resident pages.
fn parse_statm(text: &str, page: u64) -> Option<u64> {
    text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(page)
}

#[cfg(test)]
mod tests;
