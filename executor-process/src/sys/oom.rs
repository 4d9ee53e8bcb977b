//! Was it the kernel that ran out of memory? A hint for the message about a worker that died of SIGKILL.

use crate::limits::Hierarchy;

/// SIGKILL, which is what the kernel's out-of-memory killer sends.
const SIGKILL: i32 = libc::SIGKILL;

/// Watches the control group's count of out-of-memory kills.
#[derive(Debug)]
pub struct OomWatch {
    groups: Hierarchy,
    seen: u64,
}

impl OomWatch {
    /// Starts with the present count. `None` where the system counts none.
    ///
    /// # Blocking
    ///
    /// Reads some small files of `/proc` and `/sys`.
    #[must_use]
    pub fn new() -> Option<Self> {
        let groups = Hierarchy::of_this_process()?;
        let seen = groups.oom_kills()?;
        Some(Self { groups, seen })
    }

    /// Whether a death by `signal` goes with a rise of the count since the last call. Each rise explains one death: of
    /// two workers that died of SIGKILL with one kill counted, the first asked about gets the hint.
    ///
    /// # Blocking
    ///
    /// Reads one small file, for SIGKILL only.
    pub fn explains(&mut self, signal: Option<i32>) -> bool {
        signal == Some(SIGKILL) && self.groups.oom_kills().is_some_and(|count| self.account(count))
    }

    fn account(&mut self, count: u64) -> bool {
        let risen = count > self.seen;
        self.seen += u64::from(risen);
        risen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kill_explains_one_death() {
        let mut watch = OomWatch { groups: Hierarchy::default(), seen: 3 };
        assert!(!watch.account(3));
        assert!(watch.account(5));
        assert!(watch.account(5));
        assert!(!watch.account(5));
    }

    #[test]
    fn only_sigkill_is_explained() {
        let mut watch = OomWatch { groups: Hierarchy::default(), seen: 0 };
        assert!(!watch.explains(Some(libc::SIGSEGV)));
        assert!(!watch.explains(None));
    }
}
