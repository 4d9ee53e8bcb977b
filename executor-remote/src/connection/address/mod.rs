//! Where listeners listen.
//!
//! | text | what it is | Python's form |
//! | --- | --- | --- |
//! | `127.0.0.1:25000`, `[::1]:0`, `host:25000` | TCP; port 0 lets the system choose | `("127.0.0.1", 25000)` |
//! | `unix:/run/app.sock` | a Unix socket; the file is removed when its listener is dropped | `"/run/app.sock"` |
//! | `unix:@name` | a Linux abstract socket, which has no file | `b"\0name"` |
//!
//! A relative path needs no slash: `unix:app.sock` is a file of the current folder.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use super::error::ConnectionError;
use crate::address::{Address as TcpAddress, AddressError};

#[cfg(test)]
mod tests;

const UNIX: &str = "unix:";
/// `sun_path` of Linux without the byte that ends a path, or that begins an abstract name.
const MAX_UNIX_LEN: usize = 107;

/// An address of one of the kinds that [`connection`](crate::connection) has. `Display` gives what `FromStr` reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// A host, by name or by number, and a port.
    Tcp(TcpAddress),
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The name of a Linux abstract socket, without the zero byte.
    Abstract(String),
    /// A Unix socket without a name, as that of nearly every client. Cannot be connected to: its text is no address.
    Unnamed,
}

impl Address {
    /// The port of a TCP address.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            _ => None,
        }
    }

    /// The path of a Unix socket that has one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) => Some(path),
            _ => None,
        }
    }

    pub(super) fn from_any(address: SocketAddrAny) -> Self {
        if let Ok(address) = SocketAddr::try_from(address.clone()) {
            return Self::Tcp(address.into());
        }
        let Ok(address) = SocketAddrUnix::try_from(address) else { return Self::Unnamed };
        if let Some(path) = address.path() {
            Self::Unix(PathBuf::from(path.to_string_lossy().into_owned()))
        } else if let Some(name) = address.abstract_name() {
            Self::Abstract(String::from_utf8_lossy(name).into_owned())
        } else {
            Self::Unnamed
        }
    }
}

impl FromStr for Address {
    type Err = ConnectionError;

    fn from_str(text: &str) -> Result<Self, ConnectionError> {
        parse(text).map_err(|problem| ConnectionError::BadAddress { text: text.into(), problem })
    }
}

fn parse(text: &str) -> Result<Address, String> {
    if let Some(name) = text.strip_prefix(UNIX) {
        return parse_unix(name).map_err(String::from);
    }
    // An IPv6 address without brackets, a path and the rest are explained by what is called below.
    let port = text.rsplit_once(':').map_or("", |(_, port)| port);
    if !port.bytes().all(|c| c.is_ascii_digit()) || port.is_empty() && !text.contains('/') {
        return Err("the port is missing, write host:port, or unix:/path for a Unix socket".into());
    }
    match text.parse() {
        Ok(address) => Ok(Address::Tcp(address)),
        Err(AddressError::Syntax { problem, .. }) => {
            Err(format!("{problem}; write host:port, or unix:/path for a Unix socket"))
        }
        Err(other) => Err(other.to_string()),
    }
}

fn parse_unix(name: &str) -> Result<Address, &'static str> {
    let (name, is_abstract) = match name.strip_prefix('@') {
        Some(name) => (name, true),
        None => (name, false),
    };
    if name.is_empty() {
        return Err("the path is missing, write unix:/path or unix:@name");
    }
    if name.len() > MAX_UNIX_LEN {
        return Err("the path of a Unix socket has at most 107 bytes");
    }
    if name.contains('\0') {
        return Err("there is a zero byte in it; an abstract socket is written unix:@name");
    }
    Ok(if is_abstract { Address::Abstract(name.into()) } else { Address::Unix(name.into()) })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
            Self::Abstract(name) => write!(f, "{UNIX}@{name}"),
            Self::Unnamed => f.write_str("an unnamed Unix socket"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address.into())
    }
}
