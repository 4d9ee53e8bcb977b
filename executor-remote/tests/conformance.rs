//! The conformance suite on `tcp://`: each executor is a client of an agent on loopback, with a key.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use executor_core::{Config, conformance};
use executor_remote::address::Address;
use executor_remote::key::ClusterKey;
use executor_remote::{Agent, AgentConfig, RemoteConfig, RemoteExecutor};

fn main() -> ExitCode {
    executor_process::init();
    let cache = tempfile::tempdir().expect("the folder for temporary files is writable");
    let agents = Agents {
        key: ClusterKey::generate().expect("the system gives randomness"),
        cache: cache.path().to_owned(),
        known: Mutex::default(),
    };
    conformance::main(move |options| {
        let option = |name| options.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let workers = option("workers").map(|value| value.parse().expect("a number of workers"));
        let grace = option("grace").map(|value| {
            let config = Config::from_url(&format!("process://?grace={value}")).expect("it is a URL");
            let options = config.options(&executor_process::SCHEME).expect("it is an option of pools");
            options.duration("grace").expect("it is a duration").expect("it is set")
        });
        let mut config = RemoteConfig::new([agents.find(workers, grace)]).with_key(agents.key.clone());
        if let Some(queue) = option("queue") {
            config = config.with_queue(queue.parse().expect("a length of a queue"));
        }
        Arc::new(RemoteExecutor::open(config).expect("threads can be started"))
    })
}

/// What an agent's pool is limited to.
type Limits = (Option<usize>, Option<Duration>);

/// An agent for each combination of what an agent decides. Several executors are its clients, and it lives as long as
/// this process.
struct Agents {
    key: ClusterKey,
    cache: std::path::PathBuf,
    known: Mutex<HashMap<Limits, Address>>,
}

impl Agents {
    fn find(&self, workers: Option<usize>, grace: Option<Duration>) -> Address {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let listen = "127.0.0.1:0".parse().expect("it is an address");
            let mut config =
                AgentConfig::new(listen).with_key(self.key.clone()).with_cache_folder(&self.cache);
            config.slots = workers.unwrap_or(config.slots);
            config.grace = grace.unwrap_or(config.grace);
            let agent = Agent::bind(config).expect("the loopback interface is there");
            let address = agent.local_addr().into();
            std::thread::spawn(move || agent.run());
            address
        };
        known.entry((workers, grace)).or_insert_with(start).clone()
    }
}
