//! Two agents on this machine with a key; closures are sent to both, one agent is killed half-way, and all results
//! arrive.
//!
//! A real cluster has agents on other machines, started by `executor agent --listen ADDR --key FILE`. Here the program
//! starts itself again as an agent, so that one command shows it all.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use examples::Listening;
use executor::prelude::*;
use executor::remote::key::ClusterKey;

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Subcommand)]
enum Role {
    /// Be an agent
    Agent {
        #[arg(long)]
        listen: String,
        #[arg(long, default_value_t = 2)]
        slots: usize,
        #[arg(long)]
        cache: PathBuf,
        #[arg(long)]
        key: Option<PathBuf>,
    },
}

const TASKS: u64 = 400;

/// How many numbers a task looks at: about a millisecond of work, so that a machine can die meanwhile.
const NUMBERS: u64 = 5_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init();
    match Arguments::parse().role {
        Some(Role::Agent { listen, slots, cache, key }) => {
            examples::serve(&listen, slots, &cache, key.as_deref())
        }
        None => {
            let folder = tempfile::tempdir()?;
            cluster(folder.path())
        }
    }
}

fn cluster(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let key = folder.join("cluster.key");
    ClusterKey::generate()?.write_new(&key)?;
    let cache = folder.join("cache");
    let program = std::env::current_exe()?;
    let start = || Listening::agent(&program, 2, &cache, Some(&key));
    let (first, mut second) = (start()?, start()?);
    println!("two agents listen, with 2 slots each");

    let ex =
        executor::open(&format!("tcp://{},{}?key={}", first.address(), second.address(), key.display()))?;
    let start = 1_000_000;
    let futures: Vec<_> = (0..TASKS)
        .map(|n| {
            let longest_from =
                |(start, n): (u64, u64)| (start + n * NUMBERS..).take(NUMBERS as usize).map(collatz).max();
            // What was begun on the agent that dies is begun again on the other: that does no harm here.
            ex.task(longest_from, (start, n)).retries(3).idempotent(true).submit()
        })
        .collect();

    let mut longest = 0;
    for (done, future) in (0..).zip(futures) {
        if done == TASKS / 2 {
            second.kill()?;
            println!("half-way, one agent is killed");
        }
        longest = longest.max(future.wait()?.unwrap_or(0));
    }
    println!("all {TASKS} results are here; the longest Collatz sequence has {longest} steps");
    Ok(())
}

/// How many steps it takes from `n` to 1.
fn collatz(mut n: u64) -> u64 {
    let mut steps = 0;
    while n != 1 {
        n = if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 };
        steps += 1;
    }
    steps
}
