//! How the command fails: one line on standard error, and the exit status.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use executor::{OpenError, TaskError};

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The executor that was asked for is not one.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A task of the bench had no value.
    #[error("{subject}: {workload} failed")]
    Task {
        subject: String,
        workload: &'static str,
        #[source]
        source: Box<TaskError>,
    },
    /// The bench cannot begin.
    #[error("{subject}: {reason}")]
    NotReady { subject: String, reason: String },
    /// Who reads the output has gone, or the disk is full.
    #[error("cannot write the results")]
    Output(#[source] io::Error),
    /// The library's own message says it all.
    #[error(transparent)]
    Other(#[from] Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// Tells the user, with all causes, and gives the exit status.
    pub fn report(&self) -> ExitCode {
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::FAILURE;
        }
        let mut line = format!("executor: {self}");
        let mut cause = self.source();
        while let Some(error) = cause {
            line += &format!(": {error}");
            cause = error.source();
        }
        eprintln!("{line}");
        if self.is_usage() { ExitCode::from(2) } else { ExitCode::FAILURE }
    }

    /// Whether another command line is the remedy.
    fn is_usage(&self) -> bool {
        match self {
            Self::Open(error) => !matches!(error, OpenError::System { .. } | OpenError::InitMissing),
            _ => false,
        }
    }
}
