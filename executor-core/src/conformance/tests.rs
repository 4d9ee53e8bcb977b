//! The suite on executors that break their promises: it has to say so, and by the names of what it tested.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::Serial;
use crate::error::{Rejected, TaskError};
use crate::executor::{Shutdown, Stats};
use crate::task::Job;

/// How an executor is broken.
#[derive(Clone, Copy)]
enum Break {
    Nothing,
    /// Every tenth job vanishes, which resolves its future as closed.
    DropsJobs,
    /// Every tenth job is never looked at again.
    ForgetsJobs,
    /// Tasks are taken after the end.
    NeverCloses,
    /// The end is not waited for.
    Panics,
}

struct Broken {
    inner: Serial,
    how: Break,
    number: AtomicU64,
}

#[async_trait::async_trait]
impl Executor for Broken {
    fn submit_job(&self, job: Job) -> Result<(), Rejected> {
        let is_tenth = self.number.fetch_add(1, Ordering::Relaxed) % 10 == 9;
        match self.how {
            Break::DropsJobs if is_tenth => drop(job),
            Break::ForgetsJobs if is_tenth => {
                let _ = job.into_raw();
            }
            Break::Panics if is_tenth => panic!("a broken executor"),
            _ => return self.inner.submit_job(job),
        }
        Ok(())
    }
    async fn ready(&self) -> Result<(), TaskError> {
        self.inner.ready().await
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn stats(&self) -> Stats {
        self.inner.stats()
    }
    async fn shutdown(&self, how: Shutdown) {
        if !matches!(self.how, Break::NeverCloses) {
            self.inner.shutdown(how).await;
        }
    }
}

/// The tests that fail, of those whose names contain `only`.
fn failures(how: Break, only: &str) -> Vec<String> {
    let mut suite = Suite::new(move |_| {
        Arc::new(Broken { inner: Serial::new(), how, number: AtomicU64::new(0) }) as Arc<dyn Executor>
    });
    suite.selection.names.push(only.to_owned());
    suite.run(&suite.factory, "")
}

#[test]
fn nothing_fails_on_an_executor_that_keeps_its_promises() {
    assert_eq!(failures(Break::Nothing, "submit::"), Vec::<String>::new());
}

#[test]
fn jobs_that_are_dropped_are_seen() {
    let failed = failures(Break::DropsJobs, "submit::each_task");
    assert_eq!(failed, ["submit::each_task_gets_its_own_answer (serial)"]);
}

#[test]
fn jobs_that_are_forgotten_are_seen_and_the_suite_goes_on() {
    let failed = failures(Break::ForgetsJobs, "futures::wait_returns_when_all");
    assert_eq!(failed, ["futures::wait_returns_when_all_are_done (serial)"]);
}

#[test]
fn an_executor_that_takes_tasks_after_its_end_is_seen() {
    let failed = failures(Break::NeverCloses, "shutdown::submits_after");
    assert_eq!(failed.len(), 1);
}

#[test]
fn an_executor_that_panics_is_seen() {
    assert_eq!(failures(Break::Panics, "submit::each_task").len(), 1);
}

#[test]
fn names_of_tests_are_distinct() {
    let names: Vec<_> = all_tests().map(Test::path).collect();
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
    assert!(names.len() > 100);
}

#[test]
fn arguments_select_tests_as_those_of_the_standard_harness() {
    let parse = |args: &[&str]| Selection::parse(args.iter().map(|&arg| arg.to_owned()));
    assert!(parse(&[]).wants("map::anything"));
    assert!(parse(&["map::", "--nocapture"]).wants("map::anything"));
    assert!(!parse(&["map::"]).wants("cancel::anything"));
    assert!(!parse(&["map", "--exact"]).wants("map::anything"));
    assert!(parse(&["--exact", "map::anything"]).wants("map::anything"));
    assert!(!parse(&["--skip", "map"]).wants("map::anything"));
    assert!(parse(&["--test-threads", "1"]).wants("map::anything"), "its value is no name");
    assert!(parse(&["--list"]).is_list);
}
