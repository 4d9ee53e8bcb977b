//! `executor agent --listen ADDR`: lends this machine to programs elsewhere.

use std::path::PathBuf;

use crate::failure::Failure;

/// Run tasks for programs that connect to this machine.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where to listen, such as 0.0.0.0:7077; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: String,
    /// The cluster key, from `executor keygen`; without one, ADDR must be of this machine only
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// How many tasks to run at a time [default: as many as this process may use cores]
    #[arg(long, value_name = "N")]
    slots: Option<usize>,
    /// Where to keep the executables of programs
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How large that folder may grow
    #[arg(long, value_name = "BYTES")]
    cache_limit: Option<u64>,
}

pub fn run(_arguments: &Arguments) -> Result<(), Failure> {
    Err(Failure::NotReady { subject: "agent".to_owned(), reason: "waits for executor-remote".to_owned() })
}
