//! What the examples share: an agent that a program starts for itself, so that `cluster` needs nothing but itself.

use std::error::Error;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use executor::remote::key::ClusterKey;
use executor::{Agent, AgentConfig};

/// What an agent prints before its address, when it is ready for clients.
const READY: &str = "listening on ";

/// An agent in a process of its own, which ends with this value.
pub struct AgentProcess {
    child: Child,
    address: String,
}

impl AgentProcess {
    /// Starts `program agent --listen 127.0.0.1:0 ..` and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it cannot be started, or ends before it listens; why is on its standard error.
    pub fn start(program: &Path, slots: usize, cache: &Path, key: Option<&Path>) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(["agent", "--listen", "127.0.0.1:0"]);
        command.arg("--slots").arg(slots.to_string()).arg("--cache").arg(cache);
        if let Some(key) = key {
            command.arg("--key").arg(key);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut agent = Self { child, address: String::new() };
        let mut line = String::new();
        if let Some(stdout) = agent.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.strip_prefix(READY).and_then(|it| it.split([',', '\n']).next());
        let address =
            address.ok_or_else(|| io::Error::other(format!("the agent said `{}`", line.trim_end())))?;
        address.clone_into(&mut agent.address);
        Ok(agent)
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
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

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.kill();
    }
}

/// Runs an agent in this process: the other side of [`AgentProcess::start`].
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
