//! Agents and clients that go away.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError, context};
use executor_remote::RemoteExecutor;
use futures::executor::block_on;

use super::support::{
    Other, agent, client, config, eventually, is_alive, key, other_agent, outcome, relay, tests,
};

tests! {
    an_agent_killed_in_mid_flight_costs_retries_only,
    without_retries_every_future_of_a_killed_agent_resolves,
    tasks_wait_for_an_agent_that_is_started_again,
    an_agent_that_stops_ends_sessions_and_workers,
    workers_of_a_killed_client_end,
    an_agent_that_falls_silent_is_lost,
    a_client_that_falls_silent_is_lost,
    the_last_handle_may_go_before_the_tasks_have_run,
}

/// Of tasks among which an agent is killed, so many end by themselves; the others wait until there is this file.
const FREE: u64 = 200;

fn held((file, n): (PathBuf, u64)) -> (u64, u32) {
    if n >= FREE {
        eventually("the tasks are let go", || file.exists());
    }
    (n * n, context().attempt())
}

fn an_agent_killed_in_mid_flight_costs_retries_only() {
    let cache = tempfile::tempdir().unwrap();
    let (mut first, first_at) = other_agent("127.0.0.1:0", cache.path());
    let (_second, second_at) = other_agent("127.0.0.1:0", cache.path());
    let mut config = config(first_at);
    config.agents.push(second_at.into());
    let ex = RemoteExecutor::open(config).unwrap();
    eventually("both agents are connected", || ex.stats().workers == 4);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("go on");
    let futures: Vec<_> = (0..1000).map(|n| ex.task(held, (file.clone(), n)).retries(3).submit()).collect();
    eventually("some have finished", || ex.stats().finished > 100);
    first.kill();
    std::fs::write(&file, "").unwrap();
    for (n, future) in (0..).zip(futures) {
        let (value, attempt) = outcome(future).unwrap();
        assert_eq!(value, n * n);
        assert!(attempt <= 4);
    }
    let stats = ex.stats();
    assert_eq!((stats.lost_workers, stats.workers), (1, 2), "{stats:?}");
}

fn without_retries_every_future_of_a_killed_agent_resolves() {
    let cache = tempfile::tempdir().unwrap();
    let (mut agent, address) = other_agent("127.0.0.1:0", cache.path());
    let config = config(address).with_unreachable(Duration::from_millis(200));
    let ex = RemoteExecutor::open(config).unwrap();
    eventually("the agent is connected", || ex.stats().workers == 2);
    let folder = tempfile::tempdir().unwrap();
    let never = folder.path().join("go on");
    let futures: Vec<_> = (0..1000).map(|n| ex.submit(held, (never.clone(), n))).collect();
    eventually("some have finished", || ex.stats().finished > 100);
    agent.kill();
    let (mut values, mut lost) = (0, 0);
    for (n, future) in (0..).zip(futures) {
        match outcome(future) {
            Ok(value) => {
                assert_eq!(value, (n * n, 1));
                values += 1;
            }
            Err(TaskError::WorkerLost { worker, attempts, .. }) => {
                assert_eq!((worker, attempts), (address.to_string(), 1));
                lost += 1;
            }
            // Those that had not been sent.
            Err(TaskError::Unreachable { .. }) => {}
            Err(other) => panic!("WorkerLost or Unreachable was expected, not: {other}"),
        }
    }
    assert!(values > 100 && lost > 0, "{values} values, {lost} lost");
}

fn tasks_wait_for_an_agent_that_is_started_again() {
    let cache = tempfile::tempdir().unwrap();
    let (mut agent, address) = other_agent("127.0.0.1:0", cache.path());
    let ex = RemoteExecutor::open(config(address).with_unreachable(Duration::from_secs(3600))).unwrap();
    assert_eq!(outcome(ex.submit(|n: u64| n, 1)), Ok(1));
    agent.kill();
    eventually("the loss is noticed", || ex.stats().workers == 0);
    let waiting: Vec<_> = (0..100u64).map(|n| ex.submit(|n| n + 1, n)).collect();
    let (_again, _) = other_agent(&address.to_string(), cache.path());
    for (n, future) in (0..).zip(waiting) {
        assert_eq!(outcome(future), Ok(n + 1));
    }
}

/// Writes its process id to the file, and does not end.
fn endless(path: String) {
    std::fs::write(&path, std::process::id().to_string()).unwrap();
    loop {
        std::thread::park();
    }
}

/// The process id in a file that a task writes.
fn pid_in(path: &std::path::Path) -> u32 {
    let read = || std::fs::read_to_string(path).ok().and_then(|text| text.parse().ok());
    eventually("the task has begun", || read().is_some());
    read().unwrap()
}

fn an_agent_that_stops_ends_sessions_and_workers() {
    let mut agent = agent(|config| config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let ex = client(agent.address);
    let future = ex.submit(endless, path.display().to_string());
    let pid = pid_in(&path);
    agent.stop();
    assert!(!is_alive(pid), "when run() returns, workers are gone");
    match outcome(future) {
        Err(TaskError::WorkerLost { worker, reason, .. }) => {
            assert_eq!(worker, agent.address.to_string());
            assert!(reason.contains("connection"), "{reason}");
        }
        other => panic!("WorkerLost was expected, not: {other:?}"),
    }
}

fn workers_of_a_killed_client_end() {
    let agent = agent(|config| config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let args = [agent.address.to_string(), path.display().to_string()];
    let mut other = Other::start("client", &args);
    assert_eq!(other.line(), "submitted");
    let pid = pid_in(&path);
    assert!(is_alive(pid));
    other.kill();
    eventually("the worker has ended", || !is_alive(pid));
}

/// Far longer than a peer that lives is silent on a busy machine: nobody is to be lost before the test has it so.
const SILENCE: Duration = Duration::from_secs(2);

fn an_agent_that_falls_silent_is_lost() {
    let agent = agent(|config| config);
    let relay = relay(agent.address);
    let config = config(relay.address).with_heartbeat(Duration::from_millis(50), SILENCE);
    let ex = RemoteExecutor::open(config).unwrap();
    assert_eq!(outcome(ex.submit(|n: u64| n, 1)), Ok(1));
    relay.state.freeze(true, true);
    let future = ex.submit(|n: u64| n, 2);
    match outcome(future) {
        Err(TaskError::WorkerLost { worker, reason, .. }) => {
            assert_eq!(worker, relay.address.to_string());
            assert!(reason.contains("no sign of life for 2s"), "{reason}");
        }
        other => panic!("WorkerLost was expected, not: {other:?}"),
    }
    relay.state.freeze(false, false);
    assert_eq!(outcome(ex.submit(|n: u64| n, 3)), Ok(3), "it is connected again");
    assert!(relay.state.connections.load(Ordering::SeqCst) > 1);
}

fn a_client_that_falls_silent_is_lost() {
    let heartbeat = Duration::from_millis(50);
    let agent = agent(|config| config.with_heartbeat(heartbeat, SILENCE));
    let relay = relay(agent.address);
    let config = config(relay.address).with_heartbeat(heartbeat, Duration::from_secs(3600));
    let ex = RemoteExecutor::open(config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pid");
    let future = ex.submit(endless, path.display().to_string());
    let pid = pid_in(&path);
    relay.state.freeze(true, true);
    eventually("the worker has ended", || !is_alive(pid));
    relay.state.freeze(false, false);
    assert!(matches!(outcome(future), Err(TaskError::WorkerLost { .. })));
}

fn the_last_handle_may_go_before_the_tasks_have_run() {
    let agent = agent(|config| config);
    let ex = client(agent.address);
    let futures: Vec<_> = (0..FREE).map(|n| ex.submit(held, (PathBuf::new(), n))).collect();
    drop(ex);
    for (n, future) in (0..).zip(futures) {
        assert_eq!(outcome(future).unwrap().0, n * n);
    }
    // And a shutdown with nothing there to do.
    let ex = RemoteExecutor::open(config(agent.address).with_key(key())).unwrap();
    block_on(ex.shutdown(Shutdown::Drain));
}
