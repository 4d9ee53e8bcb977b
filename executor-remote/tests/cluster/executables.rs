//! The client's executable: sent once, kept, evicted.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use executor_core::{Executor, ExecutorExt, Shutdown, TaskError};
use executor_remote::RemoteExecutor;
use executor_remote::cache::{Cache, Hash};
use futures::executor::block_on;

use super::support::{agent, agent_with_cache, config, outcome, relay, tests};

tests! {
    the_executable_is_sent_once,
    an_agent_that_is_started_again_still_has_it,
    an_older_executable_makes_room,
    an_executable_that_is_too_large_is_refused_with_the_remedy,
    a_damaged_executable_is_sent_again,
}

fn own_size() -> u64 {
    std::fs::metadata("/proc/self/exe").unwrap().len()
}

/// Bytes that a client sends to run one task.
fn cost(address: std::net::SocketAddr) -> u64 {
    let relay = relay(address);
    let ex = RemoteExecutor::open(config(relay.address)).unwrap();
    assert_eq!(outcome(ex.submit(|n: u64| n + 1, 1)), Ok(2));
    block_on(ex.shutdown(Shutdown::Drain));
    relay.state.up.load(Ordering::SeqCst)
}

fn the_executable_is_sent_once() {
    let agent = agent(|config| config);
    assert!(cost(agent.address) > own_size());
    assert!(cost(agent.address) < 100_000, "the second time it is there");
}

fn an_agent_that_is_started_again_still_has_it() {
    let mut first = agent(|config| config);
    assert!(cost(first.address) > own_size());
    first.stop();
    let second = agent_with_cache(Arc::clone(&first.cache), |config| config);
    assert!(cost(second.address) < 100_000);
}

/// Puts something of that length into the cache; its hash.
fn store(cache: &Cache, len: u64) -> Hash {
    let contents = vec![3; len as usize];
    let hash = Hash::from(*blake3::hash(&contents).as_bytes());
    let mut writer = cache.begin_store(&hash, len).unwrap();
    writer.write(&contents).unwrap();
    drop(writer.finish().unwrap());
    hash
}

fn an_older_executable_makes_room() {
    let limit = own_size() + 1000;
    let agent = agent(|config| config.with_cache_limit_bytes(limit));
    let cache = Cache::open(agent.cache.path(), limit).unwrap();
    let old = store(&cache, 2000);
    assert!(cache.lookup(&old).unwrap().is_some());
    assert!(cost(agent.address) > own_size());
    assert!(cache.lookup(&old).unwrap().is_none(), "it has been evicted");
}

fn an_executable_that_is_too_large_is_refused_with_the_remedy() {
    let agent = agent(|config| config.with_cache_limit_bytes(1000));
    let ex = RemoteExecutor::open(config(agent.address)).unwrap();
    match outcome(ex.submit(|n: u64| n, 1)) {
        Err(TaskError::Unreachable { reason, .. }) => {
            assert!(reason.contains("raise its limit"), "{reason}");
        }
        other => panic!("Unreachable was expected, not: {other:?}"),
    }
}

fn a_damaged_executable_is_sent_again() {
    let agent = agent(|config| config);
    cost(agent.address);
    let mut entries = std::fs::read_dir(agent.cache.path()).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    std::fs::write(&path, b"damaged").unwrap();
    assert!(cost(agent.address) > own_size());
}
