//! The conformance suite on threads.

use std::process::ExitCode;
use std::sync::Arc;

use executor_core::{Config, Executor};
use executor_thread::{SCHEME, ThreadConfig, ThreadExecutor};

fn main() -> ExitCode {
    executor_core::conformance::main(open)
}

fn open(options: &[(&str, &str)]) -> Arc<dyn Executor> {
    let query: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let config =
        Config::from_url(&format!("thread://?{}", query.join("&"))).expect("the suite's options are a URL's");
    let options = config.options(&SCHEME).expect("the suite's options are known");
    let config = ThreadConfig::from_options(&options).expect("the suite's options have sensible values");
    Arc::new(ThreadExecutor::open(config).expect("a pool can be opened here"))
}
