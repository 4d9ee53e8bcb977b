//! Remote calls over ZeroMQ sockets, for programs in C, Python or whatever else has them.
//!
//! # Protocol
//!
//! A message is one frame, whose contents are those of a message on a connection: a call or its answer, as a rule of
//! MessagePack-RPC (`[0, id, name, [arguments]]` gives `[1, id, error, value]`). In front of it stands ZeroMQ's envelope.
//!
//! | pattern | the server here | the client here | the peer may be |
//! | --- | --- | --- | --- |
//! | REQ/REP | [`Router`] | [`Dealer`] | a client with a REQ socket, a server with a REP socket |
//! | ROUTER/DEALER | [`Router`] | [`Dealer`] | a client with a DEALER socket, a server with a ROUTER or DEALER socket |
//!
//! Both patterns are one on the wire, but for the empty frame that REQ and REP put between envelope and message. A [`Dealer`]
//! sends it, as every server expects it, and takes answers with or without. A [`Router`] gives back the envelope that it was
//! given, whatever it is, so that brokers may stand in between. What lost is a REQ and a REP socket on this side: they speak
//! with the same peers, allow one call at a time, and are of no more use after a lost answer.
//!
//! Who sends with one envelope is one *peer*, with answers, calls in flight and failures of its own: a connection, or each of
//! the clients behind a broker. After [`PEERS_MAX`] of them, the one that has been silent for longest is forgotten.
//!
//! # Security
//!
//! ZeroMQ brings none of its own, so only loopback addresses are allowed. What waits in either direction is bounded for each
//! peer, and a peer that does not read its answers stops nobody else; but the crate `zeromq` reserves memory for a frame as
//! soon as its length is announced. Where other users of the machine are not trusted, a Unix socket with an authkey
//! ([`connection`](crate::connection)) is the way.
//!
//! # Examples
//!
//! ```
//! use executor_remote::rpc::RpcServer;
//! use executor_remote::rpc::zeromq::Router;
//!
//! # futures::executor::block_on(async {
//! // In Python, with pyzmq and msgpack:
//! //     socket = zmq.Context().socket(zmq.REQ)
//! //     socket.connect("tcp://127.0.0.1:5555")
//! //     socket.send(msgpack.packb([0, 1, "add", [2, 3]]))
//! //     kind, id, error, value = msgpack.unpackb(socket.recv())
//! # let address = "tcp://127.0.0.1:0";
//! # /*
//! let address = "tcp://127.0.0.1:5555";
//! # */
//! let router = Router::bind(address).await?;
//! let serving = RpcServer::new().register("add", |(x, y): (i64, i64)| x + y).serve(router);
//! # serving.handle().stop();
//! serving.await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::transport::TransportError;

mod dealer;
mod outgoing;
mod room;
mod router;

pub use dealer::Dealer;
pub use router::{PEERS_MAX, Peer, Router};

/// How long [`Dealer::connect`] waits for a server.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What a message costs beside its bytes, in either direction, so that many empty ones are bounded, too.
const OVERHEAD: usize = 128;

/// Why there is no ZeroMQ socket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZeroMqError {
    /// The address cannot be one.
    #[error("`{address}` is no address for ZeroMQ: it should be like `tcp://127.0.0.1:5555`")]
    #[non_exhaustive]
    Address {
        /// What was given.
        address: String,
    },
    /// The address is not of this machine only.
    #[error(
        "{address} is not a loopback address, and ZeroMQ brings no security: use one such as tcp://127.0.0.1:5555, or a \
         connection with an authkey"
    )]
    #[non_exhaustive]
    NotLoopback {
        /// What was given.
        address: String,
    },
    /// The operating system does not let us listen there.
    #[error("cannot listen on {address}")]
    #[non_exhaustive]
    Bind {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no server, or it is not one for remote calls.
    #[error("cannot connect to {address}")]
    #[non_exhaustive]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The address that is meant, if it is of this machine only.
fn loopback(address: &str) -> Result<SocketAddr, ZeroMqError> {
    let invalid = || ZeroMqError::Address { address: address.to_owned() };
    let place = match address.split_once("://") {
        Some(("tcp", place)) => place,
        Some(_) => return Err(invalid()),
        None => address,
    };
    // No name but this one is looked up: what a name means may change between the check and its use.
    let place: SocketAddr = match place.strip_prefix("localhost:") {
        Some(port) => {
            let port = port.parse().map_err(|_| invalid())?;
            SocketAddr::from((Ipv4Addr::LOCALHOST, port))
        }
        None if place.starts_with("*:") => {
            return Err(ZeroMqError::NotLoopback { address: address.to_owned() });
        }
        None => place.parse().map_err(|_| invalid())?,
    };
    if !place.ip().is_loopback() {
        return Err(ZeroMqError::NotLoopback { address: address.to_owned() });
    }
    Ok(place)
}

fn failed(error: zeromq::ZmqError) -> TransportError {
    match error {
        zeromq::ZmqError::Network(error) => TransportError::Io(error),
        zeromq::ZmqError::Codec(error) => TransportError::Protocol(Box::new(error)),
        error => TransportError::Other(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::{ZeroMqError, loopback};

    #[test]
    fn addresses_of_this_machine_are_taken_with_and_without_a_scheme() {
        for (text, wanted) in [
            ("tcp://127.0.0.1:5555", "127.0.0.1:5555"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("tcp://[::1]:1", "[::1]:1"),
            ("tcp://localhost:7", "127.0.0.1:7"),
        ] {
            assert_eq!(loopback(text).unwrap().to_string(), wanted);
        }
    }

    #[test]
    fn addresses_that_others_reach_are_refused_with_the_remedy() {
        for text in
            ["tcp://0.0.0.0:5555", "tcp://*:5555", "192.168.1.1:1", "tcp://[::]:1", "tcp://[2001:db8::1]:1"]
        {
            let error = loopback(text).unwrap_err();
            assert!(matches!(error, ZeroMqError::NotLoopback { .. }), "{text}: {error}");
            assert!(error.to_string().contains(text) && error.to_string().contains("authkey"), "{error}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_an_example() {
        for text in [
            "",
            "tcp://",
            "ipc:///tmp/x",
            "tcp://127.0.0.1",
            "tcp://example.org:1",
            "localhost:x",
            "127.0.0.1:65536",
        ] {
            let error = loopback(text).unwrap_err();
            assert!(matches!(error, ZeroMqError::Address { .. }), "{text}: {error}");
            assert!(error.to_string().contains("tcp://127.0.0.1:5555"), "{error}");
        }
    }
}
