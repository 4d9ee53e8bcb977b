//! Where agents listen: `host:port`, lists of them, and who may do without a key.
//!
//! An address is `host`, `host:port`, `[ipv6]` or `[ipv6]:port`; the port is 7077 unless given. A list
//! is separated by commas.
//!
//! **Without a key only loopback addresses are allowed**, to listen on and to connect to. An agent runs
//! what it is told to, so an agent without a key in reach of a network is a machine that
//! anybody may use, and a client without a key would hand its data to whoever answers. The rule is
//! checked on the addresses that a name stands for, as `localhost` is only a name.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Instant;

use crate::key::ClusterKey;

#[cfg(test)]
mod tests;

/// The port of agents that name none.
pub const DEFAULT_PORT: u16 = 7077;

/// Where an agent listens, as a person wrote it. `Display` gives what `FromStr` reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    host: String,
    port: u16,
}

impl Address {
    /// The addresses of a list that is separated by commas.
    ///
    /// # Errors
    ///
    /// [`AddressError::Syntax`] for each address that is none, an empty one among them, and
    /// [`AddressError::Repeated`], as an agent is used once.
    pub fn parse_list(list: &str) -> Result<Vec<Self>, AddressError> {
        let mut addresses = Vec::new();
        for text in list.split(',') {
            let address: Self = text.trim().parse()?;
            if addresses.contains(&address) {
                return Err(AddressError::Repeated { address });
            }
            addresses.push(address);
        }
        Ok(addresses)
    }

    /// The host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The socket addresses that this stands for, at least one.
    ///
    /// # Errors
    ///
    /// [`AddressError::Resolve`].
    ///
    /// # Blocking
    ///
    /// While the system looks a name up, which has time-outs of its own.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, AddressError> {
        let error = |source| AddressError::Resolve { address: self.clone(), source };
        let found: Vec<_> = (self.host.as_str(), self.port).to_socket_addrs().map_err(error)?.collect();
        if found.is_empty() {
            return Err(error(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        Ok(found)
    }

    /// Connects to the agent there. `key` is the one that the handshake will use.
    ///
    /// # Errors
    ///
    /// [`AddressError::Exposed`] without a key unless all the addresses are loopback,
    /// [`AddressError::Resolve`], and [`AddressError::Connect`] when none of them answers in time.
    ///
    /// # Blocking
    ///
    /// Until `deadline`, and while the system looks a name up.
    pub fn connect(&self, key: Option<&ClusterKey>, deadline: Instant) -> Result<TcpStream, AddressError> {
        let targets = self.resolve()?;
        self.check_exposure(&targets, key, "connected to")?;
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for (tried, target) in targets.iter().enumerate() {
            // Shared out, so that one address which swallows packets does not take all of it.
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / (targets.len() - tried).try_into().unwrap_or(u32::MAX);
            if share.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(target, share) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(AddressError::Connect { address: self.clone(), source: last })
    }

    /// Listens there. `key` is the one that handshakes will use.
    ///
    /// # Errors
    ///
    /// [`AddressError::Exposed`] without a key unless all the addresses are loopback,
    /// [`AddressError::Resolve`], and [`AddressError::Listen`].
    ///
    /// # Blocking
    ///
    /// While the system looks a name up.
    pub fn listen(&self, key: Option<&ClusterKey>) -> Result<TcpListener, AddressError> {
        let targets = self.resolve()?;
        self.check_exposure(&targets, key, "listened on")?;
        TcpListener::bind(&*targets).map_err(|source| AddressError::Listen { address: self.clone(), source })
    }

    fn check_exposure(
        &self,
        targets: &[SocketAddr],
        key: Option<&ClusterKey>,
        act: &'static str,
    ) -> Result<(), AddressError> {
        match targets.iter().find(|target| !is_loopback(target.ip())) {
            Some(target) if key.is_none() => {
                Err(AddressError::Exposed { address: self.clone(), target: *target, act })
            }
            _ => Ok(()),
        }
    }
}

/// Whether `ip` never leaves this machine.
#[must_use]
pub fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).map_err(|problem| AddressError::Syntax { text: text.into(), problem })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: address.port() }
    }
}

fn parse(text: &str) -> Result<Address, &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("the `[` is not closed")?;
            let (ip, _zone) = host.split_once('%').unwrap_or((host, ""));
            ip.parse::<Ipv6Addr>().map_err(|_| "between `[` and `]` stands no IPv6 address")?;
            match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return Err("after `]` only `:` and a port may stand"),
            }
        }
        None if text.matches(':').count() > 1 => {
            return Err("an IPv6 address is written in brackets, as in [::1]:7077");
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    // What a name may hold; a slash or an @ is the sign of a URL in the wrong place.
    if !text.starts_with('[') && !host.bytes().all(|c| c.is_ascii_alphanumeric() || b"-._".contains(&c)) {
        return Err("a host has letters, digits, `-`, `_` and `.` only");
    }
    let port = match port {
        // `parse` alone would take "+80".
        Some(port) if port.bytes().all(|c| c.is_ascii_digit()) => {
            port.parse().map_err(|_| "the port is not a number from 0 to 65535")?
        }
        Some(_) => return Err("the port is not a number from 0 to 65535"),
        None => DEFAULT_PORT,
    };
    Ok(Address { host: host.into(), port })
}

/// Why an address cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is no address.
    #[error("`{text}` is not an address of the form host:port: {problem}")]
    Syntax {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A list names an address twice.
    #[error("the address {address} is given twice")]
    Repeated {
        /// The address.
        address: Address,
    },
    /// The host is not known.
    #[error("cannot find the host of {address}")]
    Resolve {
        /// The address.
        address: Address,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// An address that others can reach, and no key.
    #[error(
        "without a cluster key {address} cannot be {act}, as {target} is not a loopback address: \
         give a key with --key FILE (make one with `executor keygen FILE`), or use 127.0.0.1"
    )]
    Exposed {
        /// The address.
        address: Address,
        /// What it stands for.
        target: SocketAddr,
        /// What was to be done.
        act: &'static str,
    },
    /// Nothing answers there.
    #[error("cannot connect to {address}{}", connect_remedy(source))]
    Connect {
        /// The address.
        address: Address,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}{}", listen_remedy(source))]
    Listen {
        /// The address.
        address: Address,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

fn connect_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ": no agent listens there, is it started?",
        io::ErrorKind::TimedOut => ": nothing answered in time, is there a firewall between?",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            ": there is no way to that machine"
        }
        _ => "",
    }
}

fn listen_remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => ": another program listens there, choose another port",
        io::ErrorKind::PermissionDenied => ": ports below 1024 need privileges, choose another port",
        io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        _ => "",
    }
}
