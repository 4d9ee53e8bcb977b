//! SHA-256 of every file under the paths, printed as `sha256sum` does, sorted by path.
//!
//! `checksum [--executor URL] PATH...` prints what `find PATH... -type f | sort | xargs sha256sum` prints in the C
//! locale. A file that cannot be read gives a line on standard error, and exit status 1 at the end.

mod files;
mod line;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use executor::prelude::*;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// SHA-256 of every file under the paths, printed as sha256sum does, sorted by path.
#[derive(Parser)]
struct Arguments {
    /// Where to compute, such as process://?workers=4 [default: what EXECUTOR_URL or EXECUTOR_CONFIG names, else
    /// thread://]
    #[arg(long, value_name = "URL")]
    executor: Option<String>,
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

fn main() -> ExitCode {
    executor::init();
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Who reads our output has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("checksum: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if every file could be read.
fn run(arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let ex = match &arguments.executor {
        Some(url) => executor::open(url)?,
        None => executor::from_env()?,
    };
    let mut report = Report::new();
    let mut files = files::find(&arguments.paths, |path, error| report.failed(path, &line::reason(error)));
    // By bytes; the order of `Path` itself is by components.
    files.sort_unstable_by(|a, b| a.as_os_str().cmp(b.as_os_str()));

    report.begin(files.len());
    // Workers may have another current folder, so they get absolute paths; what is printed is the path as it was given.
    let folder = std::env::current_dir()?;
    let absolute = files.iter().map(|path| line::to_bytes(folder.join(path)));
    // A worker that dies costs a second try: reading a file again does no harm.
    let digests = ex.map(files::digest, absolute).retries(2).idempotent(true);
    for (path, digest) in files.iter().zip(digests) {
        match digest {
            Ok(Ok(digest)) => report.line(&line::format(&digest, path))?,
            Ok(Err(reason)) => report.failed(path, &reason),
            Err(error) => report.failed(path, &error.to_string()),
        }
        report.bar.inc(1);
    }
    report.end()
}

/// Standard output, standard error, and the progress bar that they must not run into.
struct Report {
    out: io::BufWriter<io::StdoutLock<'static>>,
    bar: ProgressBar,
    is_complete: bool,
}

impl Report {
    fn new() -> Self {
        let out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
        Self { out, bar: ProgressBar::hidden(), is_complete: true }
    }

    /// Shows the bar, if there is a terminal to show it on.
    fn begin(&mut self, files: usize) {
        if io::stderr().is_terminal() {
            self.bar = ProgressBar::with_draw_target(Some(files as u64), ProgressDrawTarget::stderr());
            self.bar.set_style(
                ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} files, {eta} left")
                    .expect("the template is a constant"),
            );
        }
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bar.is_hidden() {
            return self.out.write_all(line);
        }
        let out = &mut self.out;
        self.bar.suspend(|| out.write_all(line).and_then(|()| out.flush()))
    }

    fn failed(&mut self, path: &std::path::Path, reason: &str) {
        self.is_complete = false;
        self.bar.suspend(|| eprintln!("checksum: {}: {reason}", line::printable(path)));
    }

    fn end(mut self) -> Result<bool, Box<dyn std::error::Error>> {
        self.bar.finish_and_clear();
        self.out.flush()?;
        Ok(self.is_complete)
    }
}

fn is_broken_pipe(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
}
