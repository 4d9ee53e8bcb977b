use std::fmt;

use super::accept::Acceptor;
use super::address::Address;
use super::auth::AuthKey;
use super::config::ListenerConfig;
use super::dial;
use super::error::ConnectionError;
use super::handshake::Protection;
use super::stream::Connection;
use crate::io_runtime;
use crate::key::ClusterKey;

/// Waits for connections, as `multiprocessing.connection.Listener` does.
///
/// Peers are accepted, and prove that they hold the key, on threads of this crate, each on its own and within a
/// [limit](ListenerConfig::with_handshake_limit): a silent one holds up nobody. Peers that fail are dropped; `accept` gives only those that
/// are through.
///
/// When it is dropped, its address is free, the file of its Unix socket is removed, and who was not accepted is cut off.
pub struct Listener {
    acceptor: Acceptor,
}

impl Listener {
    /// Listens on `addr`, with the settings of [`ListenerConfig::default`]. Peers have to hold `authkey`; with `None`
    /// nobody is asked.
    ///
    /// # Errors
    ///
    /// [`BadAddress`](ConnectionError::BadAddress), [`Resolve`](ConnectionError::Resolve),
    /// [`NotLoopback`](ConnectionError::NotLoopback) without a key, [`EmptyKey`](ConnectionError::EmptyKey),
    /// [`AddressInUse`](ConnectionError::AddressInUse), [`PathExists`](ConnectionError::PathExists),
    /// [`Bind`](ConnectionError::Bind).
    ///
    /// # Cancel safety
    ///
    /// Nothing listens when the future was dropped.
    pub async fn bind(addr: impl fmt::Display, authkey: impl Into<AuthKey>) -> Result<Self, ConnectionError> {
        Self::bind_with(addr, authkey, &ListenerConfig::default()).await
    }

    /// As [`bind`](Self::bind), with other settings.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_with(
        addr: impl fmt::Display,
        authkey: impl Into<AuthKey>,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        let protection = Protection::of_key(authkey.into())?;
        Self::start(addr.to_string().parse()?, protection, config).await
    }

    /// Listens on `addr` for peers of this crate that hold `key`; everything is encrypted.
    ///
    /// # Errors
    ///
    /// As [`bind`](Self::bind), but for those about keys.
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_noise(addr: impl fmt::Display, key: &ClusterKey) -> Result<Self, ConnectionError> {
        Self::bind_noise_with(addr, key, &ListenerConfig::default()).await
    }

    /// As [`bind_noise`](Self::bind_noise), with other settings.
    ///
    /// # Errors
    ///
    /// As [`bind_noise`](Self::bind_noise).
    ///
    /// # Cancel safety
    ///
    /// As [`bind`](Self::bind).
    pub async fn bind_noise_with(
        addr: impl fmt::Display,
        key: &ClusterKey,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        Self::start(addr.to_string().parse()?, Protection::Noise(key.clone()), config).await
    }

    async fn start(
        address: Address,
        protection: Protection,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        let runtime = io_runtime::start().map_err(ConnectionError::Io)?;
        let lookup = address.clone();
        let targets = match &address {
            Address::Tcp(_) => match runtime.spawn_blocking(move || dial::resolve(&lookup)).await {
                Ok(targets) => targets?,
                Err(stopped) => return Err(ConnectionError::Io(std::io::Error::other(stopped))),
            },
            _ => Vec::new(),
        };
        Self::from_bound(&address, &targets, protection, config)
    }

    fn from_bound(
        address: &Address,
        targets: &[std::net::SocketAddr],
        protection: Protection,
        config: &ListenerConfig,
    ) -> Result<Self, ConnectionError> {
        let is_protected = !matches!(protection, Protection::None);
        let bound = dial::bind_to(address, targets, is_protected)?;
        Ok(Self { acceptor: Acceptor::start(bound, protection, config)? })
    }

    /// The next peer that has proven to hold the key.
    ///
    /// # Errors
    ///
    /// [`Io`](ConnectionError::Io) when the connection cannot be given to the runtime of the caller; others are not touched.
    ///
    /// # Cancel safety
    ///
    /// No peer is lost when the future is dropped. Many may wait at the same time.
    ///
    /// # Panics
    ///
    /// In a tokio runtime without IO.
    pub async fn accept(&self) -> Result<Connection, ConnectionError> {
        Connection::new(self.acceptor.next().await)
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
