//! What tests work with: managers, executors of both kinds, and what is left behind.

use std::thread::JoinHandle;
use std::time::Duration;

use executor_core::{Executor, TaskFuture};
use executor_process::{ProcessConfig, ProcessExecutor};
use executor_remote::address::Address;
use executor_remote::key::ClusterKey;
use executor_remote::manager::Manager;
use executor_remote::{Agent, AgentConfig, AgentHandle, RemoteConfig, RemoteExecutor};
use tempfile::TempDir;

use crate::waiting::{PATIENCE, eventually_equal};

pub fn manager() -> Manager {
    Manager::start().expect("a manager can be started here")
}

/// How many objects somebody refers to.
pub fn objects(manager: &Manager) -> u64 {
    manager.number_of_objects().wait().expect("the manager answers")
}

/// Waits until somebody refers to so many.
#[track_caller]
pub fn await_objects(manager: &Manager, number: u64) {
    eventually_equal("objects that somebody refers to", || objects(manager), &number);
}

/// The value of a task, which has to come.
#[track_caller]
pub fn value<R>(future: TaskFuture<R>) -> R {
    match future.wait_timeout(PATIENCE) {
        Some(outcome) => outcome.expect("the task has a value"),
        None => panic!("a future is not resolved after {PATIENCE:?}: {future:?}"),
    }
}

/// A pool of so many worker processes.
pub fn processes(workers: usize) -> ProcessExecutor {
    let config = ProcessConfig::default().with_workers(workers).with_grace(Duration::from_millis(100));
    ProcessExecutor::open(config).expect("a pool can be opened here")
}

/// An agent in this process, whose workers are processes; stopped when it is dropped.
pub struct Cluster {
    executor: Option<RemoteExecutor>,
    handle: AgentHandle,
    serving: Option<JoinHandle<()>>,
    _cache: TempDir,
}

impl Cluster {
    pub fn start(slots: usize) -> Self {
        let cache = tempfile::tempdir().expect("a folder");
        let key = ClusterKey::from_bytes([42; 32]);
        let config = AgentConfig::new("127.0.0.1:0".parse().expect("an address"))
            .with_key(key.clone())
            .with_slots(slots)
            .with_grace(Duration::from_millis(100))
            .with_cache_folder(cache.path());
        let agent = Agent::bind(config).expect("an agent");
        let (address, handle) = (agent.local_addr(), agent.handle());
        let serving = std::thread::spawn(move || agent.run().expect("it serves"));
        let executor = RemoteExecutor::open(RemoteConfig::new([Address::from(address)]).with_key(key))
            .expect("the agent is there");
        Self { executor: Some(executor), handle, serving: Some(serving), _cache: cache }
    }
}

impl std::ops::Deref for Cluster {
    type Target = RemoteExecutor;

    fn deref(&self) -> &RemoteExecutor {
        self.executor.as_ref().expect("it is there until the drop")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.executor.take());
        self.handle.stop();
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

/// Runs a test on worker processes of this machine, and on those of an agent.
pub fn on_both(workers: usize, test: fn(&dyn Executor)) {
    test(&processes(workers));
    test(&*Cluster::start(workers));
}

/// Children of this process, zombies included.
pub fn children() -> Vec<i32> {
    std::fs::read_dir("/proc/self/task")
        .expect("/proc")
        .flat_map(|task| {
            let children = task.expect("/proc").path().join("children");
            let text = std::fs::read_to_string(children).unwrap_or_default();
            text.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect::<Vec<i32>>()
        })
        .collect()
}

/// Abstract sockets of managers on this machine that this process is connected to or listens at.
pub fn sockets_of(manager: &str) -> usize {
    let name = manager.trim_start_matches("unix:");
    let table = std::fs::read_to_string("/proc/net/unix").expect("/proc");
    table.lines().filter(|line| line.ends_with(name)).count()
}
