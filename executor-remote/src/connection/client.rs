use std::fmt;
use std::time::Instant;

use super::address::Address;
use super::auth::{AuthKey, Side};
use super::config::ClientConfig;
use super::dial;
use super::error::ConnectionError;
use super::handshake::{Established, Protection, Terms, greet};
use super::stream::Connection;
use super::wire::Socket;
use crate::io_runtime;
use crate::key::ClusterKey;

/// Makes connections, as `multiprocessing.connection.Client` does.
#[derive(Debug)]
#[non_exhaustive]
pub struct Client;

impl Client {
    /// Connects to the listener at `addr`, with the settings of [`ClientConfig::default`]. Each side proves to the other that
    /// it holds `authkey`; with `None` nobody does.
    ///
    /// # Errors
    ///
    /// [`BadAddress`](ConnectionError::BadAddress), [`Resolve`](ConnectionError::Resolve), [`Connect`](ConnectionError::Connect),
    /// [`EmptyKey`](ConnectionError::EmptyKey),
    /// [`AuthenticationFailed`](ConnectionError::AuthenticationFailed), [`HandshakeTimedOut`](ConnectionError::HandshakeTimedOut),
    /// [`HandshakeClosed`](ConnectionError::HandshakeClosed).
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, so is the connection.
    ///
    /// # Panics
    ///
    /// In a tokio runtime without IO.
    pub async fn connect(
        addr: impl fmt::Display,
        authkey: impl Into<AuthKey>,
    ) -> Result<Connection, ConnectionError> {
        Self::connect_with(addr, authkey, &ClientConfig::default()).await
    }

    /// As [`connect`](Self::connect), with other settings.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(
        addr: impl fmt::Display,
        authkey: impl Into<AuthKey>,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        let protection = Protection::of_key(authkey.into())?;
        start(addr.to_string().parse()?, config.terms(protection)).await
    }

    /// Connects to a listener of [`bind_noise`](super::Listener::bind_noise) that holds the same `key`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect), with [`Noise`](ConnectionError::Noise) instead of those about keys.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_noise(
        addr: impl fmt::Display,
        key: &ClusterKey,
    ) -> Result<Connection, ConnectionError> {
        Self::connect_noise_with(addr, key, &ClientConfig::default()).await
    }

    /// As [`connect_noise`](Self::connect_noise), with other settings.
    ///
    /// # Errors
    ///
    /// As [`connect_noise`](Self::connect_noise).
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_noise_with(
        addr: impl fmt::Display,
        key: &ClusterKey,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        start(addr.to_string().parse()?, config.terms(Protection::Noise(key.clone()))).await
    }
}

async fn start(address: Address, terms: Terms) -> Result<Connection, ConnectionError> {
    let runtime = io_runtime::start().map_err(ConnectionError::Io)?;
    // It needs timers, whatever the runtime of the caller has.
    let mut task = tokio::task::JoinSet::new();
    task.spawn_on(establish(address, terms), &runtime);
    let established = match task.join_next().await {
        Some(Ok(established)) => established?,
        Some(Err(stopped)) => return Err(ConnectionError::Io(std::io::Error::other(stopped))),
        None => unreachable!("the task has been spawned"),
    };
    Connection::new(established)
}

async fn establish(address: Address, mut terms: Terms) -> Result<Established, ConnectionError> {
    let deadline = Instant::now() + terms.limit;
    let (fd, kind) = dial::connect_async(&address, deadline).await?;
    let socket = Socket::register_here(fd, kind).map_err(ConnectionError::Io)?;
    terms.limit = deadline.saturating_duration_since(Instant::now());
    greet(socket, Side::Client, &terms, address).await
}
