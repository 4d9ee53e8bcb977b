//! The conformance suite on worker processes that a zygote forks. Its main() decides what the process is, so it has no
//! harness.

use std::process::ExitCode;
use std::sync::Arc;

use executor_core::{Config, Executor};
use executor_process::{ProcessConfig, ProcessExecutor, SCHEME};

fn main() -> ExitCode {
    executor_process::init();
    executor_core::conformance::main(open)
}

fn open(options: &[(&str, &str)]) -> Arc<dyn Executor> {
    let query: String = options.iter().map(|(key, value)| format!("&{key}={value}")).collect();
    let config = Config::from_url(&format!("process://?start_method=forkserver{query}"))
        .expect("the suite's options are a URL's");
    let options = config.options(&SCHEME).expect("the suite's options are known");
    let config = ProcessConfig::from_options(&options).expect("the suite's options have sensible values");
    Arc::new(ProcessExecutor::open(config).expect("a pool can be opened here"))
}
