//! The same for callers that block: plain system calls on their thread, no runtime in between.
//!
//! ```
//! use executor_remote::connection::blocking::{Client, Listener};
//!
//! let listener = Listener::bind("127.0.0.1:0", b"secret")?;
//! let address = listener.local_addr().clone();
//! let echo = std::thread::spawn(move || {
//!     let mut connection = listener.accept()?;
//!     let message = connection.recv_bytes(1024)?;
//!     connection.send_bytes(&message)
//! });
//! let mut connection = Client::connect(address, b"secret")?;
//! connection.send_bytes(b"hello")?;
//! assert_eq!(connection.recv_bytes(1024)?, b"hello");
//! echo.join().expect("it does not panic")?;
//! # Ok::<_, executor_remote::connection::ConnectionError>(())
//! ```

mod stream;

use std::fmt;
use std::time::Instant;

pub use stream::{Connection, Receiver, Sender};

use super::accept::Acceptor;
use super::address::Address;
use super::auth::{AuthKey, Side};
use super::config::{ClientConfig, ListenerConfig};
use super::dial;
use super::error::ConnectionError;
use super::handshake::{Protection, Terms, greet_waiting};
use crate::io_runtime;
use crate::key::ClusterKey;

/// Waits for connections, as the [asynchronous one](super::Listener). Handshakes are still done on threads of this crate,
/// so that a silent peer holds up nobody.
pub struct Listener {
    acceptor: Acceptor,
}

impl Listener {
    /// As [`Listener::bind`](super::Listener::bind).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// While the system looks a name up.
    pub fn bind(addr: impl fmt::Display, authkey: impl Into<AuthKey>) -> Result<Self, ConnectionError> {
        Self::bind_with(addr, authkey, &ListenerConfig::default())
    }

    /// As [`bind`](Self::bind), with other settings.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Blocking
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_with(
        addr: impl fmt::Display,
        authkey: impl Into<AuthKey>,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        let protection = Protection::of_key(authkey.into())?;
        Self::start(&addr.to_string().parse()?, protection, config)
    }

    /// As [`Listener::bind_noise`](super::Listener::bind_noise).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_noise(addr: impl fmt::Display, key: &ClusterKey) -> Result<Self, ConnectionError> {
        Self::bind_noise_with(addr, key, &ListenerConfig::default())
    }

    /// As [`bind_noise`](Self::bind_noise), with other settings.
    ///
    /// # Errors
    ///
    /// As [`bind_noise`](Self::bind_noise).
    ///
    /// # Blocking
    ///
    /// As [`bind`](Self::bind).
    pub fn bind_noise_with(
        addr: impl fmt::Display,
        key: &ClusterKey,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        Self::start(&addr.to_string().parse()?, Protection::Noise(key.clone()), config)
    }

    fn start(
        address: &Address,
        protection: Protection,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        let is_protected = !matches!(protection, Protection::None);
        let bound = dial::bind_to(address, &dial::resolve(address)?, is_protected)?;
        Ok(Self { acceptor: Acceptor::start(bound, protection, config)? })
    }

    /// The next peer that has proven to hold the key. Many threads may wait at the same time.
    ///
    /// # Errors
    ///
    /// [`Io`](ConnectionError::Io) if the connection is of no use; others are not touched.
    ///
    /// # Blocking
    ///
    /// Until one comes.
    pub fn accept(&self) -> Result<Connection, ConnectionError> {
        Ok(Connection::new(io_runtime::block_on(self.acceptor.next())))
    }

    /// Where it listens: with the port that the system chose if the given one was 0.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        self.acceptor.address()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("local_addr", self.local_addr()).finish_non_exhaustive()
    }
}

/// Makes connections, as the [asynchronous one](super::Client).
#[derive(Debug)]
#[non_exhaustive]
pub struct Client;

impl Client {
    /// As [`Client::connect`](super::Client::connect).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// Until the handshake is over, 10 seconds at most; and while the system looks a name up.
    pub fn connect(
        addr: impl fmt::Display,
        authkey: impl Into<AuthKey>,
    ) -> Result<Connection, ConnectionError> {
        Self::connect_with(addr, authkey, &ClientConfig::default())
    }

    /// As [`connect`](Self::connect), with other settings.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Blocking
    ///
    /// Until the handshake is over, for as long as [the settings](ClientConfig::with_limit) say.
    pub fn connect_with(
        addr: impl fmt::Display,
        authkey: impl Into<AuthKey>,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        let protection = Protection::of_key(authkey.into())?;
        start(addr.to_string().parse()?, config.terms(protection))
    }

    /// As [`Client::connect_noise`](super::Client::connect_noise).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Blocking
    ///
    /// As [`connect`](Self::connect).
    pub fn connect_noise(addr: impl fmt::Display, key: &ClusterKey) -> Result<Connection, ConnectionError> {
        Self::connect_noise_with(addr, key, &ClientConfig::default())
    }

    /// As [`connect_noise`](Self::connect_noise), with other settings.
    ///
    /// # Errors
    ///
    /// As [`connect_noise`](Self::connect_noise).
    ///
    /// # Blocking
    ///
    /// As [`connect_with`](Self::connect_with).
    pub fn connect_noise_with(
        addr: impl fmt::Display,
        key: &ClusterKey,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        start(addr.to_string().parse()?, config.terms(Protection::Noise(key.clone())))
    }
}

fn start(address: Address, terms: Terms) -> Result<Connection, ConnectionError> {
    let deadline = Instant::now() + terms.limit;
    let (fd, kind) = dial::connect_waiting(&address, deadline)?;
    Ok(Connection::new(greet_waiting(fd, kind, Side::Client, &terms, address, deadline)?))
}
