//! The client's side of calls.

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::Call;
use super::error::RpcError;
use super::protocol::NAME_LIMIT;
use super::transport::Transport;
use crate::connection::frame::Inbox;
use crate::connection::{AuthKey, Client, Connection, ConnectionError};
use crate::object::Codec;

pub(crate) mod body;
mod desk;
mod driver;
pub(crate) mod shared;
mod socket;
pub(crate) mod speech;
#[cfg(test)]
mod tests;

use body::Name;
use shared::Shared;
use socket::Socket;
use speech::Speech;

/// What a client keeps within limits. Effects are those of too low and of too high a value.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClientConfig {
    /// How many calls are sent before the first of them is answered; further ones are held until there is room. Default
    /// 4096. Too low and the server runs dry between answers; too high and it, or the network, has more to remember than it
    /// can use. At least 1.
    pub calls_in_flight: usize,
    /// How many bytes wait to be sent, before further calls are held. One call more is always taken, of any size. Default 1
    /// MiB. Too low and writes become small; too high is memory, while the server reads nothing.
    pub unsent_bytes: usize,
    /// How arguments and values are encoded in the protocol of this crate; other protocols have their own encoding. Default
    /// MessagePack: it says what it carries, so arguments of other types than the function's are an error, or fit. Bincode is
    /// smaller and quicker, but has no types on the wire: an `i32` that is read as a `u64` is another number, without an error.
    pub codec: Codec,
}

impl Default for ClientConfig {
    fn default() -> Self {
        ClientConfig { calls_in_flight: 4096, unsent_bytes: 1 << 20, codec: Codec::MessagePack }
    }
}

impl ClientConfig {
    /// Sets [`calls_in_flight`](Self::calls_in_flight).
    #[must_use]
    pub fn with_calls_in_flight(self, calls: usize) -> Self {
        ClientConfig { calls_in_flight: calls.max(1), ..self }
    }

    /// Sets [`unsent_bytes`](Self::unsent_bytes).
    #[must_use]
    pub fn with_unsent_bytes(self, bytes: usize) -> Self {
        ClientConfig { unsent_bytes: bytes.max(1), ..self }
    }

    /// Sets [`codec`](Self::codec).
    #[must_use]
    pub fn with_codec(self, codec: Codec) -> Self {
        ClientConfig { codec, ..self }
    }
}

/// Calls functions by name on a server at the other end of one connection.
///
/// Clones are cheap and share the connection, as do threads and tasks: many calls are under way on it at the same time, and
/// each answer finds its call. No particular async runtime is needed, and none at all for [`Call::wait`].
///
/// # Limits
///
/// Memory is bounded by [`ClientConfig`] whatever the server does: a call that finds no room is *held* by its [`Call`] and
/// sent when there is room, in order; so a caller that awaits its calls waits for a server that does not read, and one that
/// gives up (drops the `Call`, or sets a deadline) frees what was held.
///
/// # Shutdown
///
/// The connection ends with the last clone and the last [`Call`]. If it ends earlier, each call in flight fails with
/// [`RpcError::Disconnected`], and so does each later one. A client does not connect again: whether a call may be repeated,
/// only its caller knows.
///
/// # Examples
///
/// ```
/// use executor_remote::connection::Listener;
/// use executor_remote::rpc::{RpcClient, RpcServer};
///
/// # futures::executor::block_on(async {
/// let listener = Listener::bind("127.0.0.1:0", b"secret").await?;
/// let address = listener.local_addr().to_string();
/// let serving = RpcServer::new().register("add", |(x, y): (i64, i64)| x + y).serve(listener);
///
/// let client = RpcClient::connect(&address, b"secret").await?;
/// let first = client.call::<_, i64>("add", (1, 2));
/// let second = client.call::<_, i64>("add", (3, 4)); // both are under way
/// assert_eq!(second.await?, 7);
/// assert_eq!(first.wait()?, 3); // without an async runtime
///
/// serving.handle().stop();
/// serving.await?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RpcClient {
    owner: Arc<Owner>,
    limit: Option<Duration>,
}

/// Ends the connection when nobody can call or wait any more; the driver does not count.
pub(crate) struct Owner(Arc<Shared>);

impl Owner {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // Calls that were detached may be waiting for others to be sent along with.
        self.0.flush();
        self.0.fail(RpcError::disconnected("this side has closed it"));
    }
}

impl RpcClient {
    /// Connects to a server of this crate.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`], and [`ConnectionError::Io`] if the socket cannot be set up.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, so is the connection.
    pub async fn connect(
        addr: impl fmt::Display,
        authkey: impl Into<AuthKey>,
    ) -> Result<RpcClient, ConnectionError> {
        let connection = Client::connect(addr, authkey).await?;
        RpcClient::new(connection).map_err(|error| ConnectionError::Io(io::Error::other(error)))
    }

    /// A client over a connection, whose [codec](Connection::codec) says what the server speaks: bincode, the default, stands for
    /// the protocol of this crate (whose values are in [`ClientConfig::codec`]), pickle that of Python's well-known thirty-line RPC server, MessagePack is MessagePack-RPC, JSON is
    /// JSON-RPC 2.0.
    ///
    /// # Errors
    ///
    /// [`RpcError::Disconnected`] if the operating system does not let the socket be set up.
    pub fn new(connection: Connection) -> Result<RpcClient, RpcError> {
        RpcClient::with_config(connection, ClientConfig::default())
    }

    /// As [`new`](Self::new), with other limits.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_config(connection: Connection, config: ClientConfig) -> Result<RpcClient, RpcError> {
        let (codec, peer) = (connection.codec(), connection.peer_addr().to_string());
        match connection.into_socket() {
            Ok((fd, inbox)) => {
                let fd = fd.map_err(|error| RpcError::broken(Arc::new(error.into())))?;
                RpcClient::of_socket(fd, inbox, codec, peer, config)
            }
            Err(connection) => RpcClient::over(*connection, codec, config),
        }
    }

    /// A client over any transport of whole messages. The codec says what the server speaks, as in [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`RpcError::Disconnected`] if the operating system gives no thread to drive it.
    pub fn over(
        transport: impl Transport,
        codec: Codec,
        config: ClientConfig,
    ) -> Result<RpcClient, RpcError> {
        let peer = transport.peer();
        let shared =
            Arc::new(Shared::new(None, Inbox::new(0), Speech::of(codec, config.codec), peer, config));
        driver::start_over(Arc::clone(&shared), Box::new(transport))?;
        Ok(RpcClient::of(shared))
    }

    fn of_socket(
        fd: OwnedFd,
        inbox: Inbox,
        codec: Codec,
        peer: String,
        config: ClientConfig,
    ) -> Result<RpcClient, RpcError> {
        let socket = Socket::new(fd).map_err(|error| RpcError::broken(Arc::new(error.into())))?;
        let shared = Shared::new(Some(socket), inbox, Speech::of(codec, config.codec), peer, config);
        Ok(RpcClient::of(Arc::new(shared)))
    }

    fn of(shared: Arc<Shared>) -> RpcClient {
        RpcClient { owner: Arc::new(Owner(shared)), limit: None }
    }

    /// A clone whose calls have this deadline, counted from when each is made. The server is told of it, as far as its
    /// protocol has a word for it, and need not begin what nobody will wait for. See also [`Call::deadline`].
    #[must_use]
    pub fn with_deadline(&self, limit: Duration) -> RpcClient {
        RpcClient { owner: Arc::clone(&self.owner), limit: Some(limit) }
    }

    /// Calls the function `name` with `args`: a tuple is the positional arguments, any other value is the only one.
    ///
    /// The call is made right now, whether or not the [`Call`] is polled; that gives the value, and cancels the call when it
    /// is dropped. Errors come from there, too.
    ///
    /// # Blocking
    ///
    /// Never.
    pub fn call<A: Serialize, R: DeserializeOwned>(&self, name: &str, args: A) -> Call<R> {
        self.send(name, |speech, out| speech.encode_args(name, &args, out), Call::decoding)
    }

    /// As [`call`](Self::call), with arguments and value as the bytes in which the connection's codec has them.
    pub fn call_bytes(&self, name: &str, args: &[u8]) -> Call<Vec<u8>> {
        let copy = |_, out: &mut Vec<u8>| {
            out.extend_from_slice(args);
            Ok(())
        };
        self.send(name, copy, Call::bytes)
    }

    fn send<R>(
        &self,
        name: &str,
        encode: impl FnOnce(Speech, &mut Vec<u8>) -> Result<(), RpcError>,
        call: impl FnOnce(
            Name,
            Result<(Arc<Owner>, super::protocol::CallId), RpcError>,
            Option<Instant>,
        ) -> Call<R>,
    ) -> Call<R> {
        let shared = self.owner.shared();
        let sent = match name.len() {
            0..=NAME_LIMIT => with_scratch(|scratch| {
                encode(shared.speech(), scratch)?;
                shared.call(name, scratch, self.limit)
            }),
            len => Err(RpcError::Encode {
                name: name.to_owned(),
                message: format!("a name has at most {NAME_LIMIT} bytes, and this one {len}"),
            }),
        };
        let deadline = self.limit.and_then(|limit| Instant::now().checked_add(limit));
        call(Name::new(name), sent.map(|id| (Arc::clone(&self.owner), id)), deadline)
    }

    /// Whether the connection has ended: calls fail from then on. False does not say that the next one will succeed.
    pub fn is_closed(&self) -> bool {
        self.owner.shared().is_closed()
    }

    /// Hands what was sent to the operating system, as far as that takes it now.
    pub(crate) fn flush(&self) {
        self.owner.shared().flush();
    }

    /// Who is at the other end, for people.
    pub fn peer(&self) -> &str {
        self.owner.shared().peer()
    }
}

impl fmt::Debug for RpcClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RpcClient")
            .field("peer", &self.peer())
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// What scratch space keeps from one call to the next.
const KEPT_SCRATCH: usize = 64 * 1024;

/// Empty memory for encoding, kept for the next call of this thread.
fn with_scratch<T>(use_it: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out while in use: encoding may make a call itself, which then gets memory of its own.
    let mut scratch = SCRATCH.try_with(RefCell::take).unwrap_or_default();
    let result = use_it(&mut scratch);
    scratch.clear();
    scratch.shrink_to(KEPT_SCRATCH);
    // While a thread ends, nothing is kept.
    let _ = SCRATCH.try_with(|kept| kept.replace(scratch));
    result
}
