//! Running the examples as a user does, and the backends to run them on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The root of the repository, where the examples are run.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The example's executable, which `cargo test` has built beside this test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join("examples").join(name);
    assert!(program.exists(), "{} is not there; build it: cargo build --examples", program.display());
    program
}

/// Runs an example in the root of the repository.
pub fn run<S: AsRef<std::ffi::OsStr>>(name: &str, arguments: &[S]) -> Output {
    Command::new(program(name))
        .args(arguments)
        .current_dir(root())
        .env_remove("EXECUTOR_URL")
        .env_remove("EXECUTOR_CONFIG")
        .output()
        .unwrap()
}

/// The URLs to run each example on.
pub fn urls() -> Vec<String> {
    vec!["serial://".to_owned()]
}
