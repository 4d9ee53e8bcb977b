//! Processes that stand at the other end: this program again, with a hidden argument that names the role.
//!
//! A helper lives as long as its standard input: a socket, or a pipe that nobody writes to. So it ends when the
//! sample ends, however that ends. One whose standard input is shared memory, which has no end, is killed by the kernel
//! when the sample ends.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use crate::subject::BenchError;
use crate::subjects::limits::{self, Wait};
use crate::subjects::{ours, tarpc_peer, tcp_agent};

/// The hidden first argument of a helper; the role follows.
pub const HELPER: &str = "__helper";

/// What a helper does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends pings back.
    EchoPing,
    /// Sends payloads back.
    EchoPayload,
    /// Sends back through tokio what it gets.
    TokioEcho,
    /// Serves tarpc on a port that it prints.
    TarpcServer,
    /// Our agent, on a port that it prints.
    Agent,
    /// Sends back objects through our connection, at an address that it prints.
    ConnectionEcho,
    /// Our RPC server, on a port that it prints.
    RpcServer,
    /// The other end of rings whose sides spin.
    SpinningRing,
    /// The other end of rings whose sides sleep.
    FutexRing,
    /// Reads payloads in place, and writes others.
    InPlace,
}

impl Role {
    const ALL: [Role; 10] = [
        Role::EchoPing,
        Role::EchoPayload,
        Role::TokioEcho,
        Role::TarpcServer,
        Role::Agent,
        Role::ConnectionEcho,
        Role::RpcServer,
        Role::SpinningRing,
        Role::FutexRing,
        Role::InPlace,
    ];

    fn name(self) -> &'static str {
        match self {
            Role::EchoPing => "echo-ping",
            Role::EchoPayload => "echo-payload",
            Role::TokioEcho => "tokio-echo",
            Role::TarpcServer => "tarpc-server",
            Role::Agent => "agent",
            Role::ConnectionEcho => "connection-echo",
            Role::RpcServer => "rpc-server",
            Role::SpinningRing => "spinning-ring",
            Role::FutexRing => "futex-ring",
            Role::InPlace => "in-place",
        }
    }

    /// The role of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Plays the role until the standard input ends, or for ever if that is shared memory.
    ///
    /// # Errors
    ///
    /// What the transport says.
    pub fn play(self) -> io::Result<()> {
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        match self {
            Role::EchoPing => limits::serve_pings(&stdin),
            Role::EchoPayload => limits::serve_payloads(&stdin),
            Role::TokioEcho => limits::serve_tokio(stdin),
            Role::TarpcServer => tarpc_peer::serve_until_end_of(stdin),
            Role::Agent => tcp_agent::serve_until_end_of(stdin),
            Role::ConnectionEcho => ours::serve_connection(stdin),
            Role::RpcServer => ours::serve_rpc(stdin),
            Role::SpinningRing => limits::serve_ring(Wait::Spin, stdin.as_fd()),
            Role::FutexRing => limits::serve_ring(Wait::Futex, stdin.as_fd()),
            Role::InPlace => limits::serve_in_place(stdin.as_fd()),
        }
    }
}

/// A running helper, killed and reaped when dropped.
pub struct Helper {
    child: Child,
}

impl Helper {
    /// Starts one with `stdin` as its standard input and a pipe as its standard output.
    ///
    /// # Errors
    ///
    /// When no process can be started.
    pub fn start(role: Role, stdin: impl Into<OwnedFd>) -> Result<Self, BenchError> {
        let child = Command::new("/proc/self/exe")
            .args([HELPER, role.name()])
            .stdin(Stdio::from(stdin.into()))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(BenchError::io(format!("cannot start the {}", role.name())))?;
        Ok(Self { child })
    }

    /// What the helper prints.
    pub fn stdout(&mut self) -> impl io::Read + use<> {
        self.child.stdout.take().expect("started with a pipe, and asked for once")
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A helper that listens, for as long as this value is there or this process lives.
pub struct Server {
    address: String,
    // Before the lifeline, so that it is killed and does not first see its end.
    _helper: Helper,
    _lifeline: io::PipeWriter,
}

impl Server {
    /// Starts one, writes `first_line` to its standard input and waits for the address that it prints.
    ///
    /// # Errors
    ///
    /// When no process can be started, or it does not listen; why is on its standard error.
    pub fn start(role: Role, first_line: &str) -> Result<Self, BenchError> {
        let (input, mut lifeline) = io::pipe().map_err(BenchError::io("cannot make a pipe"))?;
        let mut helper = Helper::start(role, input)?;
        writeln!(lifeline, "{first_line}")
            .map_err(BenchError::io(format!("cannot write to the {}", role.name())))?;
        let mut address = String::new();
        BufReader::new(helper.stdout())
            .read_line(&mut address)
            .map_err(BenchError::io(format!("cannot read the address of the {}", role.name())))?;
        let address = address.trim_end().to_owned();
        if address.is_empty() {
            return Err(BenchError::Failed(format!("the {} does not listen", role.name())));
        }
        Ok(Self { address, _helper: helper, _lifeline: lifeline })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_found_by_its_name() {
        for role in Role::ALL {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("echo"), None);
    }
}
