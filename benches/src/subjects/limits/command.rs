//! `limit-true`: starts `/bin/true` and waits for its end. No pool of processes can have a first result sooner than
//! some process has started.

use std::process::{Command, Stdio};

use crate::pool;
use crate::subject::{BenchError, Family, Sample, Side, Subject};
use crate::workload::Workload;

const PROGRAM: &str = "/bin/true";

pub fn subject() -> Box<dyn Subject> {
    Box::new(True)
}

struct True;

impl Subject for True {
    fn name(&self) -> &str {
        "limit-true"
    }

    fn family(&self) -> Family {
        Family::Processes
    }

    fn side(&self) -> Side {
        Side::Limit
    }

    /// One process in both: what grows with the number of workers is what a pool is asked about.
    fn workloads(&self) -> &[Workload] {
        &[Workload::Startup, Workload::Startup8]
    }

    fn sample(&self, workload: Workload, _quick: bool) -> Result<Sample, BenchError> {
        match workload {
            Workload::Startup | Workload::Startup8 => pool::first_result(run),
            other => Err(BenchError::Failed(format!("a program that does nothing has no {other}"))),
        }
    }
}

fn run() -> Result<(), BenchError> {
    let status = Command::new(PROGRAM)
        .stdin(Stdio::null())
        .status()
        .map_err(BenchError::io(format!("cannot start {PROGRAM}")))?;
    if status.success() { Ok(()) } else { Err(BenchError::Failed(format!("{PROGRAM} ended with {status}"))) }
}
