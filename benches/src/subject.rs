//! A subject is something that can be measured; a family holds those that are compared with each other.

use futures::executor::block_on;
use thiserror::Error;

use crate::cli::{UnknownName, nearest};
use crate::subjects;
use crate::workload::{Metric, Workload};

/// Where a subject's tasks run. Ratios are taken within a family: threads pay for no isolation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Threads of this process.
    Threads,
    /// Other processes of this machine.
    Processes,
    /// Whatever answers on a TCP port.
    Network,
}

/// On which side of the comparison a subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A backend of the executor library.
    Ours,
    /// What a user would take instead.
    Peer,
    /// What the machine allows at best.
    Limit,
}

/// One sample: a value for each metric of the workload.
pub type Sample = Vec<(Metric, f64)>;

/// Something that can be measured.
///
/// # Contract
///
/// `sample` does its set-up and its warm-up outside the timed part, and yields one value for each of
/// [`Workload::metrics`]. It is called in a process of its own, so it may leave threads and memory behind,
/// but no process.
pub trait Subject: Sync {
    /// The fixed name in the output.
    fn name(&self) -> &str;

    /// With whom the subject is compared.
    fn family(&self) -> Family;

    /// On which side it stands.
    fn side(&self) -> Side {
        Side::Peer
    }

    /// The workloads that make sense for it.
    fn workloads(&self) -> &[Workload];

    /// Whether it can run on this machine.
    ///
    /// # Errors
    ///
    /// The reason why not.
    fn available(&self) -> Result<(), String> {
        Ok(())
    }

    /// Measures once.
    ///
    /// # Errors
    ///
    /// What went wrong; the other subjects are measured all the same.
    fn sample(&self, workload: Workload, quick: bool) -> Result<Sample, BenchError>;
}

/// Why a sample could not be taken.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The operating system refused something.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The subject failed, or gave a wrong result.
    #[error("{0}")]
    Failed(String),
}

impl BenchError {
    /// For `map_err` on an IO result.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| BenchError::Io { what, source }
    }

    /// The subject failed for a reason that only it knows.
    pub fn failed(reason: impl std::fmt::Display) -> Self {
        BenchError::Failed(reason.to_string())
    }

    /// The message with those of its sources.
    pub fn chain(&self) -> String {
        match self {
            BenchError::Io { what, source } => format!("{what}: {source}"),
            BenchError::Failed(reason) => reason.clone(),
        }
    }
}

/// The subjects with these names, in the fixed order; all of them when no name is given.
///
/// # Errors
///
/// A name that no subject has, with the nearest that one has.
pub fn select(names: &[String]) -> Result<Vec<Box<dyn Subject>>, UnknownName> {
    let all = subjects::all();
    for name in names {
        if !all.iter().any(|subject| subject.name() == name) {
            return Err(nearest("subject", name, all.iter().map(|s| s.name())));
        }
    }
    let wanted = |s: &dyn Subject| names.is_empty() || names.iter().any(|name| name == s.name());
    Ok(all.into_iter().filter(|s| wanted(s.as_ref())).collect())
}

/// A pool of [`crate::workload::WORKERS`] workers that runs the tasks of the workloads. What a subject has to say to be measured by [`crate::pool`].
pub trait Pool: Sized {
    /// How many tasks a caller can keep pending; `noop` is submitted in waves of that size.
    const MAX_PENDING: usize = usize::MAX;

    /// Submits [`crate::workload::noop`].
    fn noop(&self, x: u64) -> impl Handle;

    /// Submits [`crate::workload::burn`].
    fn burn(&self, x: u64) -> impl Handle;

    /// Submits [`crate::workload::hold`].
    fn hold(&self, path: String) -> impl Handle;

    /// Runs [`crate::workload::echo`] and waits for its result.
    fn echo(&self, _bytes: Vec<u8>) -> Result<Vec<u8>, BenchError> {
        Err(BenchError::failed("threads pass a pointer: there is no payload to measure"))
    }

    /// Maps [`crate::workload::spin_1us`] over `items` with default chunking, and adds the results up.
    fn map_sum(&self, _items: Vec<u64>) -> Result<u64, BenchError> {
        Err(BenchError::failed("it has no map of its own"))
    }
}

/// What a caller holds until the result of a task is there.
pub trait Handle: Sized {
    /// Waits for the result.
    fn wait(self) -> Result<u64, BenchError>;

    /// Awaits each of many results in order, and adds them up. Leaves `handles` empty, for the next wave.
    fn wait_sum(handles: &mut Vec<Self>) -> Result<u64, BenchError> {
        let mut sum = 0u64;
        for handle in handles.drain(..) {
            sum = sum.wrapping_add(handle.wait()?);
        }
        Ok(sum)
    }
}

/// A handle that is a future with the result itself as its output.
pub struct Awaited<F>(pub F);

impl<F: Future<Output = u64>> Handle for Awaited<F> {
    fn wait(self) -> Result<u64, BenchError> {
        Ok(block_on(self.0))
    }

    fn wait_sum(handles: &mut Vec<Self>) -> Result<u64, BenchError> {
        block_on(async {
            let mut sum = 0u64;
            for handle in handles.drain(..) {
                sum = sum.wrapping_add(handle.0.await);
            }
            Ok(sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_each_subject_has_a_workload() {
        let all = subjects::all();
        for (index, subject) in all.iter().enumerate() {
            assert!(!subject.workloads().is_empty(), "{}", subject.name());
            assert!(all[index + 1..].iter().all(|other| other.name() != subject.name()));
        }
    }

    #[test]
    fn subjects_are_selected_in_their_fixed_order() {
        let names = ["procspawn".to_owned(), "affinitypool".to_owned()];
        let selected = select(&names).unwrap();
        let selected: Vec<&str> = selected.iter().map(|s| s.name()).collect();
        assert_eq!(selected, ["affinitypool", "procspawn"]);
    }

    #[test]
    fn an_unknown_subject_names_the_nearest() {
        let error = select(&["rayon+oneshoot".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("unknown subject `rayon+oneshoot`"), "{error}");
        assert!(error.contains("did you mean `rayon+oneshot`"), "{error}");
    }
}
