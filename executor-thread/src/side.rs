//! The tasks that the fast queue does not take: those with a priority, those that tasks have submitted, and those
//! for one thread. All behind one mutex, with counts that tell without it that there are none.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use executor_core::Job;

use crate::queue::Refused;

/// Where a task goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// By its priority, which is not 0.
    Priority(i32),
    /// Submitted by a task on this thread.
    Nested(usize),
    /// For this thread and no other.
    Mail(usize),
}

/// Which end of the thread's own lane a task is taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The order of submission; for drainers.
    Oldest,
    /// A task that waits most likely waits for what it has submitted last. Depth first: the stack grows with the depth of
    /// the tree of tasks, and not with its width.
    Newest,
}

pub(crate) struct Side {
    inner: Mutex<Inner>,
    /// Tasks for any thread.
    open: AtomicU64,
    /// Tasks for one thread each.
    mail: Box<[AtomicU64]>,
    /// All of them.
    all: AtomicU64,
}

struct Inner {
    /// Whether only tasks that other tasks submit are taken.
    is_closed: bool,
    /// Whether none is.
    is_sealed: bool,
    priorities: BTreeMap<i32, VecDeque<Job>>,
    nested: Box<[VecDeque<Job>]>,
    nested_len: usize,
    mail: Box<[VecDeque<Job>]>,
}

impl Side {
    pub(crate) fn new(threads: usize) -> Self {
        let lanes = || (0..threads).map(|_| VecDeque::new()).collect();
        Self {
            inner: Mutex::new(Inner {
                is_closed: false,
                is_sealed: false,
                priorities: BTreeMap::new(),
                nested: lanes(),
                nested_len: 0,
                mail: lanes(),
            }),
            open: AtomicU64::new(0),
            mail: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            all: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many tasks there are.
    pub(crate) fn len(&self) -> u64 {
        self.all.load(Ordering::SeqCst)
    }

    /// Whether there is a task that thread `me` may run.
    pub(crate) fn has_work(&self, me: usize) -> bool {
        self.open.load(Ordering::SeqCst) != 0 || self.has_mail(me)
    }

    #[inline]
    fn has_mail(&self, me: usize) -> bool {
        self.mail[me].load(Ordering::SeqCst) != 0
    }

    /// Appends, unless there are `limit` tasks here already. `by_task` says whether a task submits it.
    pub(crate) fn push(&self, job: Job, lane: Lane, by_task: bool, limit: u64) -> Result<(), (Job, Refused)> {
        let mut inner = self.lock();
        if inner.is_sealed || (inner.is_closed && !by_task) {
            return Err((job, Refused::Closed));
        }
        if self.all.load(Ordering::Relaxed) >= limit {
            return Err((job, Refused::Full));
        }
        self.all.fetch_add(1, Ordering::SeqCst);
        match lane {
            Lane::Priority(priority) => inner.priorities.entry(priority).or_default().push_back(job),
            Lane::Nested(thread) => {
                inner.nested_len += 1;
                inner.nested[thread].push_back(job);
            }
            Lane::Mail(thread) => {
                inner.mail[thread].push_back(job);
                self.mail[thread].fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Takes the task that thread `me` is to run next, where `fast` takes one from the fast queue. With `fast_first`,
    /// that queue goes before the lanes of nested tasks: now and then, or tasks that submit their own successors would starve it.
    #[inline]
    pub(crate) fn pop(
        &self,
        me: usize,
        end: End,
        fast_first: bool,
        fast: impl Fn() -> Option<Job>,
    ) -> Option<Job> {
        if !self.has_mail(me) && self.open.load(Ordering::SeqCst) == 0 {
            return fast();
        }
        self.pop_slowly(me, end, fast_first, &fast)
    }

    #[cold]
    fn pop_slowly(
        &self,
        me: usize,
        end: End,
        fast_first: bool,
        fast: &dyn Fn() -> Option<Job>,
    ) -> Option<Job> {
        let has_mail = self.has_mail(me);
        let mut inner = self.lock();
        if has_mail && let Some(job) = inner.mail[me].pop_front() {
            self.mail[me].fetch_sub(1, Ordering::SeqCst);
            self.all.fetch_sub(1, Ordering::SeqCst);
            return Some(job);
        }
        let job = inner.pop_priority(|priority| priority > 0);
        let job = job.or_else(|| if fast_first { None } else { inner.pop_nested(me, end) });
        if job.is_none()
            && let Some(job) = fast()
        {
            return Some(job);
        }
        let job = job.or_else(|| inner.pop_nested(me, end)).or_else(|| inner.pop_priority(|_| true))?;
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.all.fetch_sub(1, Ordering::SeqCst);
        Some(job)
    }

    /// Takes any task, whomever it is for.
    pub(crate) fn pop_any(&self) -> Option<Job> {
        for me in 0..self.mail.len() {
            if let Some(job) = self.pop(me, End::Oldest, false, || None) {
                return Some(job);
            }
        }
        None
    }

    /// Later pushes are refused, but for those by tasks.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Later pushes are refused.
    pub(crate) fn seal(&self) {
        self.lock().is_sealed = true;
    }

    /// As [`seal`](Self::seal), if there is nothing here and `is_done` agrees.
    pub(crate) fn seal_if(&self, is_done: impl FnOnce() -> bool) -> bool {
        let mut inner = self.lock();
        let seals = self.len() == 0 && is_done();
        inner.is_sealed |= seals;
        seals
    }
}

impl Inner {
    /// The oldest of the highest priority, if that is wanted.
    fn pop_priority(&mut self, is_wanted: impl Fn(i32) -> bool) -> Option<Job> {
        let mut highest = self.priorities.last_entry().filter(|it| is_wanted(*it.key()))?;
        let job = highest.get_mut().pop_front();
        if highest.get().is_empty() {
            highest.remove();
        }
        job
    }

    /// From the thread's own lane, else the oldest of another.
    fn pop_nested(&mut self, me: usize, end: End) -> Option<Job> {
        if self.nested_len == 0 {
            return None;
        }
        let own = match end {
            End::Oldest => self.nested[me].pop_front(),
            End::Newest => self.nested[me].pop_back(),
        };
        let job = own.or_else(|| self.nested.iter_mut().find_map(VecDeque::pop_front));
        self.nested_len -= usize::from(job.is_some());
        job
    }
}
