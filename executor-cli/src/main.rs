//! The `executor` command: `agent`, `keygen`, `bench` and `call`.
//!
//! Exit status: 0 if all went well, 1 if something failed, 2 if the command line cannot be meant.
#![forbid(unsafe_code)]

mod agent;
mod bench;
mod call;
mod failure;
mod keygen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs and measures executors of the `executor` library.
#[derive(Parser)]
#[command(name = "executor", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Agent(agent::Arguments),
    Keygen(keygen::Arguments),
    Bench(bench::Arguments),
    Call(call::Arguments),
}

fn main() -> ExitCode {
    // `bench` opens executors whose workers are this very program.
    executor::init();
    let outcome = match Arguments::parse().command {
        Command::Agent(arguments) => agent::run(&arguments),
        Command::Keygen(arguments) => keygen::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Call(arguments) => call::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
