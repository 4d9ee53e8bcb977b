//! Running the examples as a user does, and the backends to run them on.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use examples::Listening;

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

/// The backends to run each example on.
pub struct Backends {
    agent: Listening,
    _folder: tempfile::TempDir,
}

impl Backends {
    /// Starts what they need: an agent, which is the example `cluster` in its other role.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let agent = Listening::agent(&program("cluster"), 2, folder.path(), None).unwrap();
        Self { agent, _folder: folder }
    }

    /// Where the agent listens.
    #[allow(dead_code, reason = "not every test that has this module needs it")]
    pub fn agent(&self) -> &str {
        self.agent.address()
    }

    /// A URL of each.
    pub fn urls(&self) -> [String; 4] {
        [
            "serial://".to_owned(),
            "thread://?workers=2".to_owned(),
            "process://?workers=2".to_owned(),
            format!("tcp://{}", self.agent.address()),
        ]
    }
}
