//! Several agents, several clients, and those that are slow to read.

use std::collections::HashSet;
use std::path::PathBuf;

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError};
use executor_remote::RemoteExecutor;
use futures::executor::block_on;

use super::support::{agent, assert_serves, client, config, eventually, outcome, relay, tests};

tests! {
    two_agents_share_the_tasks,
    a_broadcast_reaches_every_slot_of_every_agent_once,
    two_clients_of_one_agent_do_not_meet,
    a_client_that_does_not_read_is_bounded_and_blocks_nobody,
    large_arguments_wait_for_one_another,
    an_argument_over_the_frame_limit_fails_alone,
    a_result_over_the_frame_limit_fails_alone,
    a_shared_value_is_sent_once_to_each_agent,
}

fn pid(_: ()) -> u32 {
    std::process::id()
}

fn two(first: std::net::SocketAddr, second: std::net::SocketAddr) -> RemoteExecutor {
    let mut config = config(first);
    config.agents.push(second.into());
    let ex = RemoteExecutor::open(config).unwrap();
    eventually("both agents are connected", || ex.stats().workers == 4);
    ex
}

fn two_agents_share_the_tasks() {
    let (first, second) = (agent(|config| config), agent(|config| config));
    let ex = two(first.address, second.address);
    let folder = tempfile::tempdir().unwrap();
    let task = |(folder, n): (PathBuf, u64)| {
        std::fs::write(folder.join(std::process::id().to_string()), "").unwrap();
        // A worker may take longer to start than the others take for all the tasks.
        eventually("each worker has a task", || std::fs::read_dir(&folder).unwrap().count() == 4);
        (n + 1, std::process::id())
    };
    let futures: Vec<_> = (0..100).map(|n| ex.submit(task, (folder.path().to_owned(), n))).collect();
    let mut workers = HashSet::new();
    for (n, future) in (0..).zip(futures) {
        let (value, worker) = outcome(future).unwrap();
        assert_eq!(value, n + 1);
        workers.insert(worker);
    }
    assert_eq!(workers.len(), 4, "two of each agent");
}

fn a_broadcast_reaches_every_slot_of_every_agent_once() {
    let (first, second) = (agent(|config| config), agent(|config| config));
    let ex = two(first.address, second.address);
    let pids: HashSet<u32> =
        ex.broadcast(pid, ()).into_iter().map(|future| outcome(future).unwrap()).collect();
    assert_eq!(pids.len(), 4);
    let again: HashSet<u32> =
        ex.broadcast(pid, ()).into_iter().map(|future| outcome(future).unwrap()).collect();
    assert_eq!(again, pids);
}

fn two_clients_of_one_agent_do_not_meet() {
    let agent = agent(|config| config);
    let (first, second) = (client(agent.address), client(agent.address));
    let ours: HashSet<u32> = (0..50).map(|_| outcome(first.submit(pid, ())).unwrap()).collect();
    let theirs: HashSet<u32> = (0..50).map(|_| outcome(second.submit(pid, ())).unwrap()).collect();
    assert!(ours.is_disjoint(&theirs), "each has workers of its own");
    block_on(first.shutdown(Shutdown::Kill));
    assert_eq!(outcome(second.submit(|n: u64| n, 1)), Ok(1));
}

fn a_client_that_does_not_read_is_bounded_and_blocks_nobody() {
    const LEN: usize = 1 << 20;
    const TASKS: usize = 60;
    let limit = 4 * LEN;
    let agent = agent(|config| config.with_in_flight_limit_bytes(limit));
    let relay = relay(agent.address);
    let ex = RemoteExecutor::open(config(relay.address)).unwrap();
    assert_eq!(outcome(ex.submit(|n: u64| n, 1)), Ok(1));
    relay.state.freeze(false, true);
    let futures: Vec<_> = (0..TASKS).map(|_| ex.submit(|len: usize| "x".repeat(len), LEN)).collect();
    for _ in 0..3 {
        assert_serves(agent.address);
    }
    relay.state.freeze(false, false);
    for future in futures {
        assert_eq!(outcome(future).unwrap().len(), LEN);
    }
}

fn large_arguments_wait_for_one_another() {
    let agent = agent(|config| config);
    let ex = RemoteExecutor::open(config(agent.address).with_in_flight_bytes(100_000)).unwrap();
    let futures: Vec<_> =
        (0..50).map(|_| ex.submit(|bytes: String| bytes.len(), "x".repeat(70_000))).collect();
    for future in futures {
        assert_eq!(outcome(future), Ok(70_000));
    }
}

fn an_argument_over_the_frame_limit_fails_alone() {
    let agent = agent(|config| config.with_frame_limit_bytes(10_000));
    let ex = client(agent.address);
    let large = ex.submit(|text: String| text.len(), "x".repeat(20_000));
    let small = ex.submit(|text: String| text.len(), "x".repeat(2_000));
    match outcome(large) {
        Err(TaskError::Encode { message, .. }) => {
            assert!(message.contains("raise `frame_limit`"), "{message}")
        }
        other => panic!("Encode was expected, not: {other:?}"),
    }
    assert_eq!(outcome(small), Ok(2_000));
}

fn a_result_over_the_frame_limit_fails_alone() {
    let agent = agent(|config| config);
    let ex = RemoteExecutor::open(config(agent.address).with_frame_limit_bytes(10_000)).unwrap();
    let large = ex.submit(|len: usize| "x".repeat(len), 20_000);
    let small = ex.submit(|len: usize| "x".repeat(len), 2_000);
    match outcome(large) {
        Err(TaskError::Encode { message, .. }) => {
            assert!(message.contains("raise `frame_limit`"), "{message}")
        }
        other => panic!("Encode was expected, not: {other:?}"),
    }
    assert_eq!(outcome(small).unwrap().len(), 2_000);
}

fn a_shared_value_is_sent_once_to_each_agent() {
    use std::sync::atomic::Ordering;
    let agent = agent(|config| config);
    assert_serves(agent.address);
    let relay = relay(agent.address);
    let ex = RemoteExecutor::open(config(relay.address)).unwrap();
    let value = ex.share("x".repeat(1 << 20));
    let futures: Vec<_> =
        (0..20).map(|_| ex.submit(|text: executor_core::Shared<String>| text.len(), value.clone())).collect();
    for future in futures {
        assert_eq!(outcome(future), Ok(1 << 20));
    }
    assert!(relay.state.up.load(Ordering::SeqCst) < 3 << 19, "once, and not twenty times");
}
