//! One connection from its first byte to the begin of its session.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use executor_core::OpenError;

use super::registry::{Place, Registry};
use super::session::{self, Session};
use super::{PoolRequest, Shared};
use crate::cache::{CacheError, Executable, Hash};
use crate::greeting::{Answer, GREETING_LIMIT, GreetingError, Hello, Reason, Refusal};
use crate::link::{FrameError, Frames};
use crate::noise::{self, HandshakeError, SecureError, SecureReader, SecureWriter};

/// How long a refused client may take to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection did not become a session.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the handshake failed")]
    Handshake(#[from] HandshakeError),
    #[error("the connection failed")]
    Secure(#[from] SecureError),
    #[error("the peer sent too much")]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    #[error("the peer left during the greeting")]
    Left,
    #[error("the peer took too long to say hello")]
    Slow,
    #[error("the executable cannot be kept")]
    Cache(#[from] CacheError),
    #[error("the pool cannot be opened")]
    Pool(#[from] OpenError),
    #[error("the agent serves as many clients as it may")]
    Busy,
    #[error("the client is of another build: {0}")]
    Build(String),
}

/// Serves a connection in a thread of its own.
pub(super) fn start(shared: &Arc<Shared>, stream: TcpStream, peer: SocketAddr) {
    let Some(place) = Registry::admit(shared, &stream) else {
        tracing::warn!(%peer, "turned away: too many peers have not proved the key yet");
        return;
    };
    let shared = Arc::clone(shared);
    let serve = move || {
        // Dropped last: who waits for the end of the agent waits for the whole of this.
        let mut place = place;
        match greet(&shared, stream, &mut place, peer) {
            Ok(session) => session::run(session, peer),
            Err(failure) => tracing::warn!(%peer, error = &failure as &dyn std::error::Error, "no session"),
        }
    };
    if let Err(error) = std::thread::Builder::new().name("agent-session".to_owned()).spawn(serve) {
        tracing::warn!(%peer, %error, "turned away: no thread for it");
    }
}

/// The connection while it is greeted.
struct Greeted {
    reader: SecureReader<TcpStream>,
    writer: SecureWriter<TcpStream>,
    frames: Frames,
}

fn greet(
    shared: &Arc<Shared>,
    stream: TcpStream,
    place: &mut Place,
    peer: SocketAddr,
) -> Result<Session, Failure> {
    let config = &shared.config;
    let deadline = Instant::now() + config.handshake_timeout;
    let secure = noise::accept(stream, config.key.as_ref(), deadline)?;
    let mut connection =
        Greeted { reader: secure.reader, writer: secure.writer, frames: Frames::new(GREETING_LIMIT) };
    let hello = match Hello::decode(&connection.first_frame(deadline)?)? {
        Ok(hello) => hello,
        Err(refusal) => {
            let text = refusal.text.clone();
            connection.refuse(refusal);
            return Err(Failure::Build(text));
        }
    };
    if !place.promote() {
        let text =
            "the agent serves as many clients as it may; try again later, or raise its limit".to_owned();
        connection.refuse(Refusal { reason: Reason::Busy, text });
        return Err(Failure::Busy);
    }
    let opened = connection.executable(shared, &hello).map(Arc::new).and_then(|executable| {
        let pool = open_pool(shared, Arc::clone(&executable), peer)?;
        Ok((pool, executable))
    });
    let (pool, executable) = match opened {
        Ok(opened) => opened,
        Err(failure) => {
            let text = chain(&failure);
            connection.refuse(Refusal { reason: Reason::Executable, text });
            return Err(failure);
        }
    };
    let slots = config.slots.clamp(1, 1 << 16) as u32;
    let frame_limit = u32::try_from(config.frame_limit_bytes).unwrap_or(u32::MAX);
    connection.send(&Answer::Welcome { slots, frame_limit })?;
    connection.frames.set_limit(config.frame_limit_bytes);
    tracing::info!(%peer, build = %hello.build, slots, "session begins");
    let Greeted { reader, writer, frames } = connection;
    Ok(Session::new(shared, (reader, writer, frames), pool, executable, &hello))
}

fn open_pool(
    shared: &Arc<Shared>,
    executable: Arc<Executable>,
    peer: SocketAddr,
) -> Result<Arc<dyn executor_core::Executor>, Failure> {
    let config = &shared.config;
    let request = PoolRequest {
        executable,
        slots: config.slots.max(1),
        grace: config.grace,
        frame_limit: config.frame_limit_bytes,
        client: peer.to_string(),
    };
    Ok((shared.config.open_pool)(request)?)
}

impl Greeted {
    fn first_frame(&mut self, deadline: Instant) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(range) = self.frames.next()? {
                return Ok(self.frames.body(range).to_vec());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Slow);
            }
            self.receive(left)?;
        }
    }

    /// Receives something, or lets that time pass.
    fn receive(&mut self, limit: Duration) -> Result<(), Failure> {
        self.reader.stream().set_read_timeout(Some(limit)).map_err(SecureError::Io)?;
        match self.reader.receive(self.frames.buffer()) {
            Ok(0) => Err(Failure::Left),
            Ok(_) => Ok(()),
            Err(SecureError::Io(error)) if is_timeout(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn send(&mut self, answer: &Answer) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        Ok(self.writer.send(&bytes)?)
    }

    /// The client's executable, from the cache or from the client.
    fn executable(&mut self, shared: &Shared, hello: &Hello) -> Result<Executable, Failure> {
        let hash = Hash::from_bytes(hello.hash);
        if let Some(executable) = shared.cache.lookup(&hash)? {
            return Ok(executable);
        }
        let mut writer = shared.cache.begin_store(&hash, hello.size)?;
        self.send(&Answer::SendExecutable)?;
        let mut heard = Instant::now();
        while writer.missing() > 0 {
            let part = self.frames.take_raw(writer.missing());
            if !part.is_empty() {
                heard = Instant::now();
                writer.write(part)?;
                continue;
            }
            let left = shared.config.silence.saturating_sub(heard.elapsed());
            if left.is_zero() {
                return Err(Failure::Slow);
            }
            self.receive(left)?;
        }
        tracing::info!(%hash, bytes = hello.size, "executable received");
        Ok(writer.finish()?)
    }

    /// Tells the client why, as far as that is possible.
    fn refuse(&mut self, refusal: Refusal) {
        // If it cannot be told, it sees a closed connection.
        let _ = self.reader.stream().set_write_timeout(Some(LINGER));
        if self.send(&Answer::Refused(refusal)).is_err() || self.writer.close().is_err() {
            return;
        }
        // To close a socket that holds unread bytes would reset the connection, and could take the answer with it.
        let deadline = Instant::now() + LINGER;
        while Instant::now() < deadline && self.receive(LINGER).is_ok() {
            self.frames.take_raw(u64::MAX);
        }
        let _ = self.reader.stream().shutdown(Shutdown::Both);
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
