//! Runs the rounds. Each sample is taken in a process of its own, so that no subject inherits the heap, the
//! threads or the page faults of the one before, and one that hangs or dies costs only its sample.
//!
//! Rounds alternate: within a workload every subject is sampled once per round, every second round in reverse,
//! so that drift of the machine hits all sides.

use std::io::{self, IsTerminal, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::report::Series;
use crate::subject::{self, BenchError, Sample, Subject};
use crate::workload::Workload;

/// The hidden first argument that makes this program take one sample: then subject, workload, `quick` or `full`.
pub const SAMPLE: &str = "__sample";

/// The longest time that a sample may take; the slowest, `pending` of `python-process-pool`, took 13 s on a busy machine.
const SAMPLE_LIMIT: Duration = Duration::from_secs(180);

/// What happened in the rounds.
#[derive(Default)]
pub struct Outcome {
    /// What was measured, in the order of workloads and subjects.
    pub series: Vec<Series>,
    /// What failed.
    pub failures: usize,
}

/// Measures the subjects and hands each finished workload to `on_workload`.
pub fn run(
    subjects: &[Box<dyn Subject>],
    workloads: &[Workload],
    rounds: u32,
    quick: bool,
    mut on_workload: impl FnMut(&[Series]),
) -> Outcome {
    let mut outcome = Outcome::default();
    for &workload in workloads {
        let able: Vec<&dyn Subject> = subjects
            .iter()
            .map(|subject| &**subject)
            .filter(|subject| subject.workloads().contains(&workload))
            .collect();
        let series = rounds_of(&able, workload, rounds, quick, &mut outcome.failures);
        on_workload(&series);
        outcome.series.extend(series);
    }
    outcome
}

fn rounds_of(
    subjects: &[&dyn Subject],
    workload: Workload,
    rounds: u32,
    quick: bool,
    failures: &mut usize,
) -> Vec<Series> {
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); subjects.len()];
    for round in 0..rounds {
        let mut order: Vec<usize> = (0..subjects.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let name = subjects[index].name();
            progress(&format!("{workload}, round {} of {rounds}: {name}", round + 1));
            match sample_in_child(name, workload, quick) {
                Ok(sample) => samples[index].push(sample),
                Err(error) => {
                    progress("");
                    eprintln!("benches: {name}, {workload}: {}", error.chain());
                    *failures += 1;
                }
            }
        }
    }
    progress("");
    subjects
        .iter()
        .zip(&samples)
        .flat_map(|(&subject, samples)| series_of(subject, workload, samples))
        .collect()
}

fn series_of(subject: &dyn Subject, workload: Workload, samples: &[Sample]) -> Vec<Series> {
    let values = |metric| -> Vec<f64> {
        let of_metric = samples.iter().flatten().filter(|(m, _)| *m == metric);
        of_metric.map(|&(_, value)| value).collect()
    };
    workload
        .metrics()
        .iter()
        .map(|&metric| Series {
            subject: subject.name().to_owned(),
            family: subject.family(),
            side: subject.side(),
            workload,
            metric,
            values: values(metric),
        })
        .filter(|series| !series.values.is_empty())
        .collect()
}

/// Shows what is being measured, where a person may be looking.
fn progress(text: &str) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[2K{text}");
    }
}

fn sample_in_child(subject: &str, workload: Workload, quick: bool) -> Result<Sample, BenchError> {
    let scale = if quick { "quick" } else { "full" };
    let mut child = Command::new("/proc/self/exe")
        .args([SAMPLE, subject, workload.name(), scale])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(BenchError::io("cannot start a process for the sample"))?;
    let output = read_within(&mut child, SAMPLE_LIMIT);
    if output.is_err() {
        // A kill fails only for a process that has ended already, which is what is wanted.
        let _ = child.kill();
    }
    let status = child.wait().map_err(BenchError::io("cannot wait for the sample"))?;
    let output = output?;
    if !status.success() {
        return Err(BenchError::Failed(format!("the sample ended with {status}")));
    }
    parse_sample(workload, &output)
}

/// Reads the child's output to its end, or gives up after `limit`.
fn read_within(child: &mut Child, limit: Duration) -> Result<String, BenchError> {
    let mut stdout = child.stdout.take().expect("the child was started with a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text).map(|_| text);
        // The receiver is gone if the limit has passed: then nobody wants the text.
        let _ = sender.send(read);
    });
    match receiver.recv_timeout(limit) {
        Ok(read) => read.map_err(BenchError::io("cannot read the sample")),
        Err(_) => Err(BenchError::Failed(format!("no result within {} s", limit.as_secs()))),
    }
}

/// What a process started for one sample does: takes it and prints it.
///
/// # Errors
///
/// When the subject fails, or there is none of that name.
pub fn take_sample(subject: &str, workload: &str, quick: bool) -> Result<(), BenchError> {
    // A sample is of no use to anybody once the run that wanted it is gone.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|errno| BenchError::io("cannot tie the sample to its run")(errno.into()))?;
    let workload: Workload = workload.parse().map_err(BenchError::failed)?;
    let selected = subject::select(&[subject.to_owned()]).map_err(BenchError::failed)?;
    for subject in selected {
        check_supported(subject.as_ref(), workload)?;
        let sample = subject.sample(workload, quick)?;
        println!("{}", print_sample(&sample));
    }
    Ok(())
}

/// Whether the subject has that workload. One that it lacks might wait for ever.
fn check_supported(subject: &dyn Subject, workload: Workload) -> Result<(), BenchError> {
    if subject.workloads().contains(&workload) {
        Ok(())
    } else {
        let name = subject.name();
        Err(BenchError::Failed(format!("{name} has no {workload}")))
    }
}

/// The text form of a sample: the values of the workload's metrics in their order.
fn print_sample(sample: &Sample) -> String {
    let values: Vec<f64> = sample.iter().map(|&(_, value)| value).collect();
    serde_json::to_string(&values).expect("numbers always encode")
}

fn parse_sample(workload: Workload, text: &str) -> Result<Sample, BenchError> {
    let last = text.lines().last().unwrap_or_default();
    let values: Vec<f64> = serde_json::from_str(last)
        .map_err(|error| BenchError::Failed(format!("unreadable sample `{last}`: {error}")))?;
    let metrics = workload.metrics();
    if values.len() != metrics.len() {
        return Err(BenchError::Failed(format!("{} values in `{last}`", values.len())));
    }
    Ok(metrics.iter().copied().zip(values).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::Metric;

    #[test]
    fn a_sample_survives_the_way_between_processes() {
        let sample = vec![(Metric::P50Us, 2.25), (Metric::P99Us, 40.5)];
        let text = print_sample(&sample);
        assert_eq!(parse_sample(Workload::Roundtrip, &text).unwrap(), sample);
    }

    #[test]
    fn what_a_subject_prints_before_the_sample_is_ignored() {
        let sample = parse_sample(Workload::Noop, "hello\n[5.0]\n").unwrap();
        assert_eq!(sample, [(Metric::TasksPerSecond, 5.0)]);
    }

    #[test]
    fn a_workload_that_a_subject_does_not_have_is_refused_and_not_tried() {
        let tarpc = subject::select(&["tarpc".to_owned()]).unwrap();
        assert!(check_supported(tarpc[0].as_ref(), Workload::Noop).is_ok());
        let error = check_supported(tarpc[0].as_ref(), Workload::Pending).unwrap_err();
        assert_eq!(error.to_string(), "tarpc has no pending");
    }

    #[test]
    fn a_sample_with_too_few_values_or_none_is_an_error() {
        assert!(parse_sample(Workload::Roundtrip, "[1.0]").is_err());
        assert!(parse_sample(Workload::Noop, "").is_err());
    }
}
