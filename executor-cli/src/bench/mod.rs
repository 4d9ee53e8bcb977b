//! `executor bench URL...`: executors side by side.

mod measure;
mod report;
mod workload;

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use executor::prelude::*;
use indicatif::{ProgressBar, ProgressStyle};

use crate::failure::Failure;
use report::{Series, table};
use workload::Workload;

/// Compare executors side by side.
///
/// Each round measures every executor in turn, so that a drift of the machine hits all of them alike.
#[derive(clap::Args)]
pub struct Arguments {
    /// What to measure; may be given several times [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Print one JSON object a line instead of a table
    #[arg(long)]
    json: bool,
    /// How often to measure each
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long one measurement should take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    budget: u64,
    /// Executors, such as thread:// 'process://?workers=2' 'tcp://host:7077?key=FILE'
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
}

/// How long an executor may take until it has run its first task.
const READY: Duration = Duration::from_secs(30);

/// An executor that is measured.
pub struct Subject {
    url: String,
    executor: Arc<dyn Executor>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut subjects = Vec::new();
    for url in &arguments.urls {
        subjects.push(Subject { url: url.clone(), executor: executor::open(url)? });
    }
    for subject in &subjects {
        subject.wait_until_ready()?;
    }
    let workloads = match &arguments.workload[..] {
        [] => &Workload::ALL,
        some => some,
    };
    let bar = progress_bar(workloads.len() * subjects.len() * (arguments.rounds as usize + 1));
    let mut series = Vec::new();
    for workload in workloads {
        let measured = compare(*workload, &subjects, arguments, &bar)?;
        if arguments.json {
            print(&measured.iter().map(|it| it.json() + "\n").collect::<String>())?;
        }
        series.extend(measured);
    }
    bar.finish_and_clear();
    if !arguments.json {
        print(&table(&series))?;
    }
    for subject in subjects {
        futures::executor::block_on(subject.executor.shutdown(Shutdown::Drain));
    }
    Ok(())
}

/// One warm-up of each subject, which also finds how much it does in the time that a measurement should take; then the
/// rounds.
fn compare(
    workload: Workload,
    subjects: &[Subject],
    arguments: &Arguments,
    bar: &ProgressBar,
) -> Result<Vec<Series>, Failure> {
    let budget = Duration::from_millis(arguments.budget);
    let mut series: Vec<Series> = Vec::new();
    let mut sizes = Vec::new();
    for subject in subjects {
        bar.set_message(format!("{} {}", workload.name(), subject.url));
        sizes.push(subject.measuring(workload, measure::warm_up(workload, &*subject.executor, budget))?);
        series.extend(workload.metrics().iter().map(|metric| Series::new(&subject.url, workload, metric)));
        bar.inc(1);
    }
    for _ in 0..arguments.rounds {
        for (at, subject) in subjects.iter().enumerate() {
            bar.set_message(format!("{} {}", workload.name(), subject.url));
            let values =
                subject.measuring(workload, measure::once(workload, &*subject.executor, sizes[at]))?;
            let width = workload.metrics().len();
            for (series, value) in series[at * width..][..width].iter_mut().zip(values) {
                series.push(value);
            }
            bar.inc(1);
        }
    }
    Ok(series)
}

impl Subject {
    fn measuring<T>(&self, workload: Workload, outcome: Result<T, TaskError>) -> Result<T, Failure> {
        outcome.map_err(|source| Failure::Task {
            subject: self.url.clone(),
            workload: workload.name(),
            source: Box::new(source),
        })
    }

    fn wait_until_ready(&self) -> Result<(), Failure> {
        let first = self.executor.submit(measure::noop, 0).cancel_on_drop();
        let reason = match first.wait_timeout(READY) {
            Some(Ok(_)) => return Ok(()),
            Some(Err(error)) => error.to_string(),
            None => format!("it has not run a task within {} seconds", READY.as_secs()),
        };
        Err(Failure::NotReady { subject: self.url.clone(), reason })
    }
}

fn progress_bar(steps: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::new(steps as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}").expect("the template is a constant"),
    )
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)
}
