//! What our backends are to reach, as ratios of medians within one run: which subject, against whom, by how much.
//! A table of best peers cannot say this, because a goal may name one peer of several, or one of another family.

use std::fmt::Write as _;

use crate::report::{Series, human};
use crate::workload::{Metric, Workload};

const THREAD: &str = "thread://?workers=2";
const PROCESS: &str = "process://?workers=2";
const PROCESS_OF_EIGHT: &str = "process://?workers=8";
const PYTHON: &str = "python-process-pool";

/// A figure of one of our backends, and what it is to be.
struct Goal {
    subject: &'static str,
    workload: Workload,
    metric: Metric,
    wanted: Wanted,
}

/// What a figure is to be. The ratios are of the figures themselves, not of which is better.
#[derive(Clone, Copy)]
enum Wanted {
    /// At least so many times the figure of that subject.
    AtLeast(f64, &'static str),
    /// At most so many times the figure of that subject.
    AtMost(f64, &'static str),
    /// At most this.
    Below(f64),
}

use Wanted::{AtLeast, AtMost, Below};

const GOALS: &[Goal] = &[
    process(Workload::Noop, Metric::TasksPerSecond, AtLeast(200.0, PYTHON)),
    process(Workload::Noop, Metric::TasksPerSecond, AtLeast(0.7, THREAD)),
    process(Workload::Roundtrip, Metric::P50Us, AtMost(3.0, "limit-futex")),
    process(Workload::Roundtrip, Metric::P50Us, AtMost(10.0, "limit-spin")),
    process(Workload::RoundtripPaused, Metric::P50Us, AtMost(3.0, "limit-futex")),
    process(Workload::Map, Metric::ItemsPerSecond, AtLeast(0.9, "rayon-par-iter")),
    process(Workload::Payload, Metric::GibPerSecond, AtLeast(4.0, PYTHON)),
    process(Workload::Blob, Metric::GibPerSecond, AtLeast(20.0, PYTHON)),
    process(Workload::BlobInPlace, Metric::GibPerSecond, AtLeast(0.8, "limit-in-place")),
    process(Workload::Shared, Metric::MemoryRatio, Below(1.3)),
    process(Workload::Startup, Metric::FirstResultMs, AtMost(4.0, "limit-true")),
    goal(PROCESS_OF_EIGHT, Workload::Startup8, Metric::FirstResultMs, AtMost(10.0, "limit-true")),
    process(Workload::Idle, Metric::CpuPercent, Below(0.1)),
    // A thread that something wakes in a period of up to five seconds would show.
    process(Workload::Idle, Metric::WakeupsPerSecond, Below(0.1)),
    process(Workload::Queue, Metric::MessagesPerSecond, AtLeast(30.0, "python-queue")),
    process(Workload::Queue, Metric::P50Us, AtMost(3.0, "limit-futex")),
    process(Workload::Lock, Metric::UncontendedNs, AtMost(0.2, "python-lock")),
    process(Workload::Lock, Metric::ContendedPerSecond, AtLeast(2.0, "python-lock")),
    process(Workload::Value, Metric::IncrementsPerSecond, AtLeast(20.0, "python-value")),
    goal("connection-unix", Workload::Connection, Metric::P50Us, AtMost(1.15, "limit-socketpair")),
    goal("connection-tcp", Workload::Connection, Metric::P50Us, AtMost(1.15, "limit-tcp")),
    goal("rpc", Workload::Rpc, Metric::CallsPerSecond, AtLeast(1.0, "tarpc")),
    goal("rpc", Workload::Rpc, Metric::P50Us, AtMost(1.3, "limit-tokio")),
    goal("rpc-from-python", Workload::Rpc, Metric::CallsPerSecond, AtLeast(1.5, "python-rpc")),
    goal("manager", Workload::Manager, Metric::OperationsPerSecond, AtLeast(4.0, "python-manager")),
    goal(
        "manager-pipelined",
        Workload::Manager,
        Metric::OperationsPerSecond,
        AtLeast(20.0, "python-manager"),
    ),
];

const fn process(workload: Workload, metric: Metric, wanted: Wanted) -> Goal {
    goal(PROCESS, workload, metric, wanted)
}

const fn goal(subject: &'static str, workload: Workload, metric: Metric, wanted: Wanted) -> Goal {
    Goal { subject, workload, metric, wanted }
}

/// The goals of which this run has all that is needed, and whether they are reached; nothing if there is none.
pub fn table(all: &[Series]) -> String {
    let mut rows = String::new();
    for goal in GOALS {
        if let Some(row) = row(goal, all) {
            rows += &row;
        }
    }
    if rows.is_empty() {
        return rows;
    }
    let columns = ["median", "is", "goal"];
    let mut out = format!("goals\n  {:44}{:24}", "", "subject");
    // Writing into a String cannot fail.
    for column in columns {
        let _ = write!(out, "{column:>11}");
    }
    out + "  of\n" + &rows + "\n"
}

fn row(goal: &Goal, all: &[Series]) -> Option<String> {
    let median = |subject: &str| {
        let wanted =
            |s: &&Series| (s.workload, s.metric, s.subject.as_str()) == (goal.workload, goal.metric, subject);
        all.iter().find(wanted).map(Series::median)
    };
    let ours = median(goal.subject)?;
    let (is, wanted, reference) = match goal.wanted {
        AtLeast(factor, reference) | AtMost(factor, reference) => {
            (ours / median(reference)?, factor, reference)
        }
        Below(value) => (ours, value, "-"),
    };
    let (reached, sign, unit) = match goal.wanted {
        AtLeast(..) => (is >= wanted, ">=", "x"),
        AtMost(..) => (is <= wanted, "<=", "x"),
        Below(_) => (is <= wanted, "<=", ""),
    };
    let question = format!("{}: {}", goal.workload, goal.metric.name());
    let verdict = if reached { "" } else { "  MISSED" };
    let (is, wanted) = (human(is) + unit, format!("{sign} {wanted}{unit}"));
    let line = format!(
        "  {question:44}{:24}{:>11}{is:>11}{wanted:>11}  {reference}{verdict}",
        goal.subject,
        human(ours)
    );
    Some(line + "\n")
}

#[cfg(test)]
mod tests;
