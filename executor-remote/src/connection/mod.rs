//! Connections that carry messages, and that a stock Python interpreter can be the other side of: its
//! `multiprocessing.connection`.
//!
//! A [`Listener`] waits at an [`Address`], a [`Client`] connects to it, and each of them then has a [`Connection`]. [`blocking`] has
//! the same for callers without async code.
//!
//! # Protocol
//!
//! 1. A message is its length and its bytes, as [`frame`] says. Nothing tells an object from bytes; the two sides agree on that.
//! 2. With a key both sides prove first that they hold it, as [`auth`] says. Without one there is no handshake. The handshake protects
//!    nothing that follows. It has a deadline, and the number of peers in it is bounded.
//! 3. A TCP listener for other machines than this one needs a key, or encryption.
//! 4. Between Rust peers there is encryption: the handshake and records of [`noise`](crate::noise) with a
//!    [`ClusterKey`](crate::key::ClusterKey), and the same messages inside of it.
//! 5. The end of the stream between two messages is [`Closed`](ConnectionError::Closed), inside of one it is
//!    [`Truncated`](ConnectionError::Truncated). An encrypted stream that was not closed by its peer is always truncated.
//!
//! # Example
//!
//! ```
//! use executor_remote::connection::{Client, ConnectionError, Listener};
//!
//! # futures::executor::block_on(async {
//! // Listener(("127.0.0.1", 0), authkey=b"secret") in Python
//! let listener = Listener::bind("127.0.0.1:0", b"secret").await?;
//! let mut client = Client::connect(listener.local_addr(), b"secret").await?;
//! let mut server = listener.accept().await?;
//!
//! client.send_bytes(b"hello").await?;
//! assert_eq!(server.recv_bytes(1024).await?, b"hello");
//! drop(client);
//! assert!(matches!(server.recv_bytes(1024).await, Err(ConnectionError::Closed)));
//! # Ok::<_, ConnectionError>(())
//! # }).unwrap();
//! ```

mod accept;
mod address;
pub mod auth;
pub mod blocking;
mod client;
mod config;
mod dial;
mod error;
pub mod frame;
mod handshake;
mod listener;
mod stream;
pub(crate) mod wire;

pub use address::Address;
pub use auth::AuthKey;
pub use client::Client;
pub use config::{ClientConfig, ListenerConfig};
pub use error::{ConnectionError, Found};
pub use listener::Listener;
pub use stream::{Connection, Receiver, Sender};
