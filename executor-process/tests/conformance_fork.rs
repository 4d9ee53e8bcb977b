//! The conformance suite on worker processes that are forks of the program. The suite has threads, from which its checks
//! open several pools; so the program is forked before it begins, and all pools are of that moment.
//!
//! Its main() decides what the process is, so it has no harness.

use std::process::ExitCode;
use std::sync::Arc;

use executor_core::{Config, Executor};
use executor_process::{ForkPoint, ProcessConfig, ProcessExecutor, SCHEME};

fn main() -> ExitCode {
    executor_process::init();
    let point = ForkPoint::here().expect("this process has one thread");
    executor_core::conformance::main(move |options| open(options, &point))
}

fn open(options: &[(&str, &str)], point: &ForkPoint) -> Arc<dyn Executor> {
    let query: String = options.iter().map(|(key, value)| format!("&{key}={value}")).collect();
    let config = Config::from_url(&format!("process://?start_method=fork{query}"))
        .expect("the suite's options are a URL's");
    let options = config.options(&SCHEME).expect("the suite's options are known");
    let config = ProcessConfig::from_options(&options).expect("the suite's options have sensible values");
    let config = config.with_fork_point(point.clone());
    Arc::new(ProcessExecutor::open(config).expect("a pool can be opened here"))
}
