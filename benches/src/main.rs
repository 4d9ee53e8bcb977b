//! Benchmarks of the executor library against its peers. See `README.md` for how to run them and read the results.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

mod bulk;
mod bytes;
mod cli;
mod goals;
mod helper;
mod plot;
mod pool;
mod processes;
mod report;
mod runner;
mod subject;
mod subjects;
mod workload;

use cli::Args;
use subject::{BenchError, Subject};
use workload::Workload;

fn main() -> ExitCode {
    // Whoever starts workers by running this program again takes over here, before anything else.
    executor::init();
    procspawn::init();

    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("benches: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, BenchError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [helper::HELPER, role] => {
            let role = helper::Role::from_name(role)
                .ok_or_else(|| BenchError::Failed(format!("no helper is called `{role}`")))?;
            role.play().map_err(BenchError::io("the helper failed"))?;
            Ok(ExitCode::SUCCESS)
        }
        [runner::SAMPLE, subject, workload, scale] => {
            runner::take_sample(subject, workload, scale == "quick")?;
            Ok(ExitCode::SUCCESS)
        }
        _ => compare(&Args::parse()),
    }
}

fn compare(args: &Args) -> Result<ExitCode, BenchError> {
    let subjects = subject::select(&args.only).map_err(BenchError::failed)?;
    if args.list {
        print(&list(&subjects))?;
        return Ok(ExitCode::SUCCESS);
    }
    raise_descriptor_limit();
    let subjects: Vec<Box<dyn Subject>> = subjects.into_iter().filter(|s| is_available(s.as_ref())).collect();

    for subject in &subjects {
        let has_one = |w: &Workload| subject.workloads().contains(w);
        if !args.only.is_empty() && !args.workloads().iter().any(has_one) {
            eprintln!("benches: {} has none of these workloads", subject.name());
        }
    }

    let mut printed = Ok(());
    let outcome = runner::run(&subjects, &args.workloads(), args.rounds(), args.quick, |series| {
        if args.json && printed.is_ok() {
            let lines = series.iter().map(|series| series.json() + "\n");
            printed = print(&lines.collect::<String>());
        }
    });
    printed?;
    if !args.json {
        print(&(report::tables(&outcome.series) + &goals::table(&outcome.series)))?;
    }
    if let Some(path) = &args.plot {
        let shown = path.display().to_string();
        fs::write(path, plot::svg(&outcome.series))
            .map_err(BenchError::io(format!("cannot write {shown}")))?;
    }
    Ok(if outcome.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_available(subject: &dyn Subject) -> bool {
    match subject.available() {
        Ok(()) => true,
        Err(reason) => {
            eprintln!("benches: {} is left out: {reason}", subject.name());
            false
        }
    }
}

fn list(subjects: &[Box<dyn Subject>]) -> String {
    let mut out = String::new();
    for subject in subjects {
        let workloads: Vec<&str> = subject.workloads().iter().map(|w| w.name()).collect();
        out += &format!("{:28} {}\n", subject.name(), workloads.join(", "));
    }
    out += "\nmetrics\n";
    for workload in Workload::ALL {
        let metrics: Vec<&str> = workload.metrics().iter().map(|m| m.name()).collect();
        out += &format!("{:28} {}\n", workload.name(), metrics.join(", "));
    }
    out
}

fn print(text: &str) -> Result<(), BenchError> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(BenchError::io("cannot write the results"))
}

/// Some peers need three descriptors a pending task, and the usual soft limit is 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused, the sample that needs it says so.
    let _ = setrlimit(Resource::Nofile, raised);
}
