//! What the examples and their tests share: programs that listen, such as an agent that a program starts for itself, so that
//! `cluster` needs nothing but itself.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use executor::remote::key::ClusterKey;
use executor::{Agent, AgentConfig};

/// What a program prints before its address, when it is ready for clients.
const READY: &str = "listening on ";

/// A program that listens, in a process of its own, which ends with this value.
pub struct Listening {
    child: Child,
    address: String,
    stdout: BufReader<ChildStdout>,
}

impl Listening {
    /// Starts it and waits until it says where it listens: `listening on ADDRESS` in its first line.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or ends before it listens; why is on its standard error.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let Some(stdout) = child.stdout.take() else {
            return Err(io::Error::other("the process has no standard output"));
        };
        let mut listening = Self { child, address: String::new(), stdout: BufReader::new(stdout) };
        let line = listening.line()?;
        let address = line.strip_prefix(READY).and_then(|it| it.split(',').next());
        let address = address.ok_or_else(|| io::Error::other(format!("the process said `{line}`")))?;
        address.clone_into(&mut listening.address);
        Ok(listening)
    }

    /// Starts `program agent --listen 127.0.0.1:0 ..` and waits until it listens.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn agent(program: &Path, slots: usize, cache: &Path, key: Option<&Path>) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["agent", "--listen", "127.0.0.1:0"]);
        command.arg("--slots").arg(slots.to_string()).arg("--cache").arg(cache);
        if let Some(key) = key {
            command.arg("--key").arg(key);
        }
        Self::start(&mut command)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The next line that it prints; empty when it has ended.
    ///
    /// # Errors
    ///
    /// If the operating system refuses, or the line is not UTF-8.
    pub fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Ends it at once, as a power cut would.
    ///
    /// # Errors
    ///
    /// If the operating system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.kill();
    }
}

/// Runs an agent in this process: the other side of [`Listening::agent`].
///
/// # Errors
///
/// If it cannot listen.
pub fn serve(listen: &str, slots: usize, cache: &Path, key: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let mut config = AgentConfig::new(listen.parse()?).with_slots(slots).with_cache_folder(cache);
    if let Some(key) = key {
        config = config.with_key(ClusterKey::read(key)?);
    }
    let agent = Agent::bind(config)?;
    println!("{READY}{}", agent.local_addr());
    agent.run()?;
    Ok(())
}
