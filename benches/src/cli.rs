//! The command line, and the errors that a wrong name on it gets.

use std::path::PathBuf;

use clap::Parser;
use thiserror::Error;

use crate::workload::Workload;

/// Measures our backends, what a user would take instead, and the limits of the machine.
#[derive(Debug, Parser)]
#[command(name = "benches", version)]
pub struct Args {
    /// Print one JSON object a line instead of tables
    #[arg(long)]
    pub json: bool,

    /// Only these subjects, separated by commas (see --list)
    #[arg(long, value_name = "SUBJECT,..", value_delimiter = ',')]
    pub only: Vec<String>,

    /// Only these workloads, separated by commas (see --list)
    #[arg(long, value_name = "W,..", value_delimiter = ',')]
    pub workload: Vec<Workload>,

    /// Rounds over all subjects; min, median and max are taken over them [default: 5, with --quick 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,

    /// A tenth of the tasks, for a first look
    #[arg(long)]
    pub quick: bool,

    /// Draw the medians as bars into this SVG file
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,

    /// List subjects and workloads, and which subject has which
    #[arg(long)]
    pub list: bool,
}

impl Args {
    /// The rounds to run.
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// The workloads to run, in their fixed order.
    pub fn workloads(&self) -> Vec<Workload> {
        let wanted = |w: &Workload| self.workload.is_empty() || self.workload.contains(w);
        Workload::ALL.into_iter().filter(wanted).collect()
    }
}

/// A name on the command line that nothing has.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("unknown {kind} `{given}`: did you mean `{nearest}`? (--list shows all)")]
pub struct UnknownName {
    kind: &'static str,
    given: String,
    nearest: String,
}

/// The error for `given`, which is none of `known`, naming the one of them that is most like it.
pub fn nearest<'a>(kind: &'static str, given: &str, known: impl IntoIterator<Item = &'a str>) -> UnknownName {
    let nearest = known
        .into_iter()
        .max_by(|a, b| {
            let likeness = |name: &str| strsim::jaro_winkler(given, name);
            likeness(a).total_cmp(&likeness(b))
        })
        .unwrap_or_default();
    UnknownName { kind, given: given.to_owned(), nearest: nearest.to_owned() }
}

#[cfg(test)]
mod tests;
