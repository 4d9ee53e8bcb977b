//! `executor agent --listen ADDR`: lends this machine to programs elsewhere.

use std::io::Write;
use std::path::PathBuf;

use executor::remote::address::Address;
use executor::remote::key::ClusterKey;
use executor::{Agent, AgentConfig};

use crate::failure::Failure;

/// Run tasks for programs that connect to this machine.
///
/// A program sends its executable once, and its tasks run in processes of it, as many at a time as there are slots. The agent
/// runs until it is killed, and its workers end with it.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where to listen, such as 0.0.0.0:7077; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: Address,
    /// The cluster key, from `executor keygen`; without one, ADDR must be of this machine only
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How many tasks of each program to run at a time [default: as many as this process may use cores]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    slots: Option<usize>,
    /// Where to keep the executables of programs
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How large that folder may grow
    #[arg(long, value_name = "BYTES")]
    cache_limit: Option<u64>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it should be a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let failed = |error| Failure::Other(Box::new(error));
    let mut config = AgentConfig::new(arguments.listen.clone());
    let mut secured = "no key".to_owned();
    if let Some(file) = &arguments.key {
        let key = ClusterKey::read(file).map_err(|error| Failure::Other(Box::new(error)))?;
        secured = format!("key {}", key.fingerprint());
        config = config.with_key(key);
    }
    if let Some(slots) = arguments.slots {
        config = config.with_slots(slots);
    }
    if let Some(folder) = &arguments.cache {
        config = config.with_cache_folder(folder);
    }
    if let Some(bytes) = arguments.cache_limit {
        config = config.with_cache_limit_bytes(bytes);
    }
    let slots = config.slots;
    let agent = Agent::bind(config).map_err(failed)?;
    // Who starts agents from a program waits for this line.
    let mut out = std::io::stdout().lock();
    writeln!(out, "listening on {}, {slots} slots, {secured}", agent.local_addr())
        .map_err(Failure::Output)?;
    drop(out);
    agent.run().map_err(failed)
}
