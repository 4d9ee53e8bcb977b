//! An agent's thread: connect, greet, upload, read, and again.

use std::fs::File;
use std::io::{self, Read};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use executor_core::wire::{self, ToWorker};
use executor_core::{CODEC_ID, TaskError, build_id};

use super::Shared;
use super::executable::{self, Identity};
use super::link::Link;
use super::lost::Nonsense;
use crate::address::AddressError;
use crate::greeting::{Answer, GREETING_LIMIT, GreetingError, Hello, Reason, Refusal, describe, own_target};
use crate::heartbeat::{Beat, Liveness};
use crate::link::{FrameError, Frames, Outbox};
use crate::noise::{self, HandshakeError, PROTOCOL_VERSION, SecureError, SecureReader, SecureWriter};

/// The pause after the first failure; it doubles with each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: an agent that is started anew is found within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How much of the executable is sent at a time.
const UPLOAD_PIECE: usize = 256 * 1024;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Secure(#[from] SecureError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Greeting(#[from] GreetingError),
    #[error("the agent closed the connection during the greeting")]
    Left,
    #[error("the agent took too long to answer")]
    Slow,
    #[error("this program's own executable cannot be read")]
    Executable(#[source] io::Error),
    #[error("the agent refused: {}", .0.text)]
    Refused(Refusal),
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("connection closed")]
    Closed,
    #[error("no sign of life for {0:?}")]
    Silent(Duration),
    #[error("connection lost")]
    Lost(#[from] SecureError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
}

/// Starts the thread, which ends when the executor is over.
pub(super) fn start(shared: &Arc<Shared>, agent: usize) -> io::Result<()> {
    let shared = Arc::clone(shared);
    let address = &shared.config.agents[agent];
    let name = format!("tcp {address}");
    std::thread::Builder::new().name(name).spawn(move || run(&shared, agent)).map(drop)
}

fn run(shared: &Shared, agent: usize) {
    let address = shared.config.agents[agent].to_string();
    let mut pause = FIRST_PAUSE;
    while !*shared.finish.finished() {
        match dial(shared, agent) {
            Ok(session) => {
                pause = FIRST_PAUSE;
                serve(shared, agent, session);
            }
            Err(failure) => {
                tracing::debug!(%address, error = &failure as &dyn std::error::Error, "no session");
                let (error, is_final) = judge(&address, failure);
                shared.drive_now(|core, after, now| {
                    core.on_not_connected(agent, error, is_final, after, now);
                });
                shared.finish.wait(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
    shared.on_thread_ended();
}

/// What tasks fail with, and whether waiting cannot help.
fn judge(address: &str, failure: Failure) -> (TaskError, bool) {
    let is_final = match &failure {
        Failure::Address(AddressError::Exposed { .. }) | Failure::Executable(_) | Failure::Greeting(_) => {
            true
        }
        Failure::Handshake(error) => !matches!(
            error,
            HandshakeError::Closed { .. } | HandshakeError::TimedOut { .. } | HandshakeError::Io { .. }
        ),
        Failure::Refused(refusal) => refusal.reason != Reason::Busy,
        _ => false,
    };
    let error = match failure {
        Failure::Refused(refusal) => refusal.into_error(address),
        Failure::Handshake(HandshakeError::Version { theirs, .. }) => TaskError::build_mismatch(
            describe(wire::PROTOCOL, CODEC_ID, &own_target())
                + &format!(", transport version {PROTOCOL_VERSION}"),
            format!("transport version {theirs} (the agent at {address}); use the same release on both"),
        ),
        other => TaskError::unreachable(address, chain(&other)),
    };
    (error, is_final)
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

/// An agent that has welcomed us.
struct Session {
    reader: SecureReader<TcpStream>,
    frames: Frames,
    outbox: Arc<Outbox>,
    slots: u32,
    frame_limit: usize,
}

fn dial(shared: &Shared, agent: usize) -> Result<Session, Failure> {
    let config = &shared.config;
    let deadline = Instant::now() + config.connect_timeout;
    let key = config.key.as_ref();
    let stream = config.agents[agent].connect(key, deadline)?;
    let secure = noise::connect(stream, key, deadline)?;
    shared.drive_now(|core, _, _| core.on_reached(agent));
    let identity = executable::identity().map_err(Failure::Executable)?;
    let mut greeting =
        Greeting { reader: secure.reader, writer: secure.writer, frames: Frames::new(GREETING_LIMIT) };
    // Time that the hash took is not the agent's.
    let deadline = Instant::now() + config.connect_timeout;
    greeting.hello(config, identity)?;
    let mut answer = greeting.answer(deadline)?;
    if answer == Answer::SendExecutable {
        greeting.upload(identity, config.silence)?;
        // It is checked and written to disk before the agent answers.
        answer = greeting.answer(Instant::now() + config.connect_timeout.max(config.silence))?;
    }
    match answer {
        Answer::Welcome { slots, frame_limit } => {
            let Greeting { reader, writer, mut frames } = greeting;
            frames.set_limit(config.frame_limit_bytes);
            let (stream, sealer) = writer.into_parts();
            let outbox = Arc::new(Outbox::new(stream, sealer));
            let frame_limit = config.frame_limit_bytes.min(frame_limit as usize);
            Ok(Session { reader, frames, outbox, slots: slots.max(1), frame_limit })
        }
        Answer::Refused(refusal) => Err(Failure::Refused(refusal)),
        Answer::SendExecutable => Err(Failure::Left),
    }
}

struct Greeting {
    reader: SecureReader<TcpStream>,
    writer: SecureWriter<TcpStream>,
    frames: Frames,
}

impl Greeting {
    fn hello(&mut self, config: &super::RemoteConfig, identity: Identity) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        let hello = Hello {
            protocol: wire::PROTOCOL,
            codec: CODEC_ID,
            target: own_target(),
            build: build_id(),
            hash: identity.hash,
            size: identity.size,
            frame_limit: u32::try_from(config.frame_limit_bytes).unwrap_or(u32::MAX),
            heartbeat_ms: u32::try_from(config.heartbeat.as_millis()).unwrap_or(u32::MAX),
        };
        hello.encode(&mut bytes);
        Ok(self.writer.send(&bytes)?)
    }

    fn answer(&mut self, deadline: Instant) -> Result<Answer, Failure> {
        loop {
            if let Some(range) = self.frames.next()? {
                return Ok(Answer::decode(self.frames.body(range))?);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::Slow);
            }
            self.reader.stream().set_read_timeout(Some(left)).map_err(SecureError::Io)?;
            match self.reader.receive(self.frames.buffer()) {
                Ok(0) => return Err(Failure::Left),
                Ok(_) => {}
                Err(SecureError::Io(error)) if is_timeout(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn upload(&mut self, identity: Identity, silence: Duration) -> Result<(), Failure> {
        let mut file: File = executable::open().map_err(Failure::Executable)?;
        self.reader.stream().set_write_timeout(Some(silence)).map_err(SecureError::Io)?;
        let mut left = identity.size;
        let mut piece = vec![0; UPLOAD_PIECE];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(UPLOAD_PIECE);
            let read = file.read(&mut piece[..wanted]).map_err(Failure::Executable)?;
            if read == 0 {
                return Err(Failure::Executable(io::ErrorKind::UnexpectedEof.into()));
            }
            self.writer.send(&piece[..read])?;
            left -= read as u64;
        }
        self.reader.stream().set_write_timeout(None).map_err(SecureError::Io)?;
        tracing::info!(bytes = identity.size, "executable sent");
        Ok(())
    }
}

/// Reads what the agent sends until the end of the connection.
fn serve(shared: &Shared, agent: usize, mut session: Session) {
    let outbox = Arc::clone(&session.outbox);
    let pusher = std::thread::Builder::new().name("tcp-pusher".to_owned()).spawn(move || outbox.run_pusher());
    let pusher = match pusher {
        Ok(pusher) => pusher,
        Err(error) => {
            tracing::warn!(%error, "no thread for a connection");
            session.outbox.fail();
            shared.finish.wait(LONGEST_PAUSE);
            return;
        }
    };
    connect(shared, agent, &session);
    let ended = read_all(shared, agent, &mut session);
    let reason = match &ended {
        Ok(()) => End::Closed.to_string(),
        Err(end) => chain(end),
    };
    tracing::debug!(address = %shared.config.agents[agent], reason, "session ended");
    session.outbox.fail();
    // Its only way to fail is a panic, which has been printed.
    let _ = pusher.join();
    shared.drive_now(|core, _, now| core.on_lost(agent, &reason, now));
    shared.wake_closers();
}

fn connect(shared: &Shared, agent: usize, session: &Session) {
    tracing::info!(address = %shared.config.agents[agent], slots = session.slots, "connected");
    shared.drive_now(|core, _, now| {
        core.on_connected(agent, |core| {
            let worker = core.scheduler.handle_worker_ready(now, agent as u32, session.slots);
            Link::new(worker, Arc::clone(&session.outbox), session.slots, session.frame_limit)
        });
    });
}

fn read_all(shared: &Shared, agent: usize, session: &mut Session) -> Result<(), End> {
    let config = &shared.config;
    let mut liveness = Liveness::new(config.heartbeat, config.silence, Instant::now());
    let mut pinged = Instant::now();
    // Short, so that a silence is noticed not much later than it should.
    let patience = (config.heartbeat / 2).max(Duration::from_millis(1));
    session.reader.stream().set_read_timeout(Some(patience)).map_err(SecureError::Io)?;
    loop {
        match session.reader.receive(session.frames.buffer()) {
            Ok(0) => return Ok(()),
            Ok(_) => {
                let now = Instant::now();
                liveness.on_bytes(now);
                on_bytes(shared, agent, session)?;
            }
            Err(SecureError::Io(error)) if is_timeout(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let now = Instant::now();
        let beat = liveness.poll(now);
        if beat == Beat::Dead {
            return Err(End::Silent(config.silence));
        }
        // Also when the agent is anything but silent: it wants to hear from us.
        if beat == Beat::SendPing || now.saturating_duration_since(pinged) >= config.heartbeat {
            pinged = now;
            session.outbox.append(0, |out| ToWorker::Ping.encode(out));
            session.outbox.flush();
        }
    }
}

fn on_bytes(shared: &Shared, agent: usize, session: &mut Session) -> Result<(), End> {
    let Session { frames, .. } = session;
    let mut bodies = Vec::new();
    while let Some(range) = frames.next()? {
        bodies.push(range);
    }
    shared.drive_now(|core, after, now| {
        for range in bodies {
            core.on_message(agent, frames.body(range), after, now)?;
        }
        core.flush_now(agent);
        Ok(())
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

impl Shared {
    /// One of the threads of agents is gone, or could not be started.
    pub(super) fn on_thread_ended(&self) {
        if self.threads.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.timer.end();
        }
    }
}
