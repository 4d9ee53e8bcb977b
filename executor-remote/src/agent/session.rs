//! A client's session: tasks in, outcomes out, until the connection ends.
//!
//! The session's thread reads. It gives each task to the pool as a relayed job, whose sink is the session: outcomes are
//! appended to the outbox under the pool's lock, and flushed after it, so that those that the pool learns of together leave
//! together.
//!
//! # The end
//!
//! 1. The client says `Exit`: the pool drains, then our side of the stream is closed. Reading goes on.
//! 2. The client closes its side, or the connection is lost, or a message makes no sense: nothing is sent any more but the end of
//!    the stream, and that only when the pool has been killed and is gone.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use executor_core::wire::{self, FromWorker, Packed, TaskFrame, ToWorker, WireError};
use executor_core::{
    Carrier, Executor, Job, Parcel, RelaySink, Relayed, ShareBlob, ShareId, Shutdown, TaskError, TaskOptions,
};

use super::Shared;
use super::connection::is_timeout;
use super::table::{Reply, Table};
use crate::cache::Executable;
use crate::greeting::Hello;
use crate::heartbeat::{Beat, Liveness};
use crate::link::{FrameError, Frames, Outbox};
use crate::noise::{SecureError, SecureReader, SecureWriter};

/// How often running tasks are asked for their progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(50);
/// What a task costs beside its bytes.
const TASK_OVERHEAD: usize = 256;
/// What a frame has around a result.
const DONE_OVERHEAD: usize = 64;

/// A session that is about to run.
pub(super) struct Session {
    reader: SecureReader<TcpStream>,
    frames: Frames,
    relay: Arc<Relay>,
    pool: Arc<dyn Executor>,
    shares: HashMap<ShareId, Arc<ShareBlob>>,
    liveness: Liveness,
    /// How often the client wants to hear something.
    heartbeat: Duration,
    in_flight_limit: usize,
    /// When running tasks were last asked for their progress.
    asked: Instant,
    read_timeout: Duration,
    leaving: bool,
    _executable: Arc<Executable>,
}

/// What those who complete tasks need.
struct Relay {
    outbox: Outbox,
    table: Mutex<Table>,
    /// The client is gone.
    muted: AtomicBool,
    /// The longest result that the client takes.
    result_limit: usize,
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("no sign of life from the client")]
    Silent,
    #[error("the connection is lost")]
    Lost(#[from] SecureError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the client sent {0}")]
    Nonsense(&'static str),
}

/// Runs the session to its end.
pub(super) fn run(mut session: Session, peer: SocketAddr) {
    let relay = Arc::clone(&session.relay);
    let pusher =
        std::thread::Builder::new().name("agent-pusher".to_owned()).spawn(move || relay.outbox.run_pusher());
    let pusher = match pusher {
        Ok(pusher) => pusher,
        Err(error) => {
            tracing::warn!(%peer, %error, "session ends: no thread for it");
            session.end();
            return;
        }
    };
    match session.read_all() {
        Ok(()) => tracing::info!(%peer, "session ends: the client has left"),
        Err(end) => tracing::warn!(%peer, error = &end as &dyn std::error::Error, "session ends"),
    }
    session.end();
    if pusher.join().is_err() {
        tracing::error!(%peer, "a pusher panicked");
    }
}

impl Session {
    pub(super) fn new(
        shared: &Shared,
        (reader, writer, frames): (SecureReader<TcpStream>, SecureWriter<TcpStream>, Frames),
        pool: Arc<dyn Executor>,
        executable: Arc<Executable>,
        hello: &Hello,
    ) -> Self {
        let config = &shared.config;
        let now = Instant::now();
        let heartbeat = Duration::from_millis(hello.heartbeat_ms.into()).max(Duration::from_millis(10));
        let (stream, sealer) = writer.into_parts();
        let relay = Relay {
            outbox: Outbox::new(stream, sealer),
            table: Mutex::default(),
            muted: AtomicBool::new(false),
            result_limit: (hello.frame_limit as usize).saturating_sub(DONE_OVERHEAD),
        };
        Self {
            reader,
            frames,
            relay: Arc::new(relay),
            pool,
            shares: HashMap::new(),
            liveness: Liveness::new(config.heartbeat, config.silence.max(3 * heartbeat), now),
            heartbeat: heartbeat.min(config.heartbeat),
            in_flight_limit: config.in_flight_limit_bytes,
            asked: now,
            read_timeout: Duration::ZERO,
            leaving: false,
            _executable: executable,
        }
    }

    fn read_all(&mut self) -> Result<(), End> {
        loop {
            self.wait_for_room();
            self.set_read_timeout()?;
            match self.reader.receive(self.frames.buffer()) {
                Ok(0) => return Ok(()),
                Ok(_) => self.on_bytes()?,
                Err(SecureError::Io(error)) if is_timeout(&error) => self.on_silence()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Does not read while the client makes us keep too much, and lets it know that we live.
    fn wait_for_room(&mut self) {
        while !self.relay.outbox.wait_for_room(self.in_flight_limit, self.heartbeat) {
            self.send(&FromWorker::Pong);
            // The silence is ours.
            self.liveness.on_bytes(Instant::now());
        }
    }

    /// Running tasks are asked for their progress while nothing comes, so reading must not take longer then.
    fn set_read_timeout(&mut self) -> Result<(), End> {
        let busy = !self.relay.table().is_empty();
        let wanted = match busy {
            true => PROGRESS_EVERY,
            // Left as it is while tasks come and go: setting it is a system call.
            false if self.read_timeout == PROGRESS_EVERY => return Ok(()),
            false => self.heartbeat.max(PROGRESS_EVERY),
        };
        self.change_read_timeout(wanted)
    }

    fn change_read_timeout(&mut self, wanted: Duration) -> Result<(), End> {
        if self.read_timeout != wanted {
            self.reader.stream().set_read_timeout(Some(wanted)).map_err(SecureError::Io)?;
            self.read_timeout = wanted;
        }
        Ok(())
    }

    fn on_silence(&mut self) -> Result<(), End> {
        let now = Instant::now();
        match self.liveness.poll(now) {
            Beat::Nothing => {}
            Beat::SendPing => self.send(&FromWorker::Pong),
            Beat::Dead => return Err(End::Silent),
        }
        if self.relay.table().is_empty() {
            return self.change_read_timeout(self.heartbeat.max(PROGRESS_EVERY));
        }
        self.tell_progress(now);
        Ok(())
    }

    fn on_bytes(&mut self) -> Result<(), End> {
        let now = Instant::now();
        self.liveness.on_bytes(now);
        while let Some(range) = self.frames.next()? {
            let body = self.frames.body(range);
            match ToWorker::decode(body)? {
                ToWorker::Task(task) => {
                    let size = body.len() + TASK_OVERHEAD;
                    submit(&self.relay, &self.pool, &self.shares, task, size, now)?;
                }
                ToWorker::Share(id, value) => {
                    let parcel = value.into_parcel()?.into_owned();
                    self.shares.insert(id, Arc::new(ShareBlob::new(id, parcel)));
                }
                ToWorker::Unshare(id) => drop(self.shares.remove(&id)),
                ToWorker::Stop(number, _) => self.relay.stop(number),
                ToWorker::Revoke(number) => self.relay.revoke(number),
                ToWorker::Ping => drop(self.relay.outbox.append(0, |out| FromWorker::Pong.encode(out))),
                ToWorker::Exit => {
                    if !std::mem::replace(&mut self.leaving, true) {
                        drain(&self.relay, &self.pool);
                    }
                }
                ToWorker::NestedDone(..) => return Err(End::Nonsense("an answer that nobody asked for")),
                ToWorker::Release(..) | ToWorker::Withdraw(_) => {
                    return Err(End::Nonsense("a frame that is for processes of one machine"));
                }
            }
        }
        if now.saturating_duration_since(self.asked) >= PROGRESS_EVERY {
            self.tell_progress(now);
        }
        self.relay.outbox.flush();
        Ok(())
    }

    fn send(&self, message: &FromWorker<'_>) {
        self.relay.outbox.append(0, |out| message.encode(out));
        self.relay.outbox.flush();
    }

    /// Asks tasks that have been here for a while how far they are, and passes it on.
    fn tell_progress(&mut self, now: Instant) {
        self.asked = now;
        let Some(before) = now.checked_sub(PROGRESS_EVERY / 2) else {
            return;
        };
        let old = self.relay.table().borrow_old(before);
        for (number, handle) in old {
            let progress = handle.progress();
            if self.relay.table().note_progress(number, handle, progress) {
                self.send(&FromWorker::Progress(number, progress.unwrap_or_default()));
            }
        }
    }

    /// Ends the pool, then the connection.
    fn end(&mut self) {
        self.relay.muted.store(true, Ordering::Release);
        futures::executor::block_on(self.pool.shutdown(Shutdown::Kill));
        self.relay.outbox.close();
        self.relay.outbox.fail();
    }
}

fn submit(
    relay: &Arc<Relay>,
    pool: &Arc<dyn Executor>,
    shares: &HashMap<ShareId, Arc<ShareBlob>>,
    task: TaskFrame<'_>,
    size: usize,
    now: Instant,
) -> Result<(), End> {
    let TaskFrame { slot, task, attempt, is_async, target, extra, arg } = task;
    let mut options = TaskOptions::default();
    let mut used = Vec::new();
    if let Some(extra) = extra {
        options.timeout = extra.timeout;
        options.name = extra.name;
        options.worker = extra.worker;
        // A value that is not here is missed by the worker, which says so.
        used.extend(extra.shares.iter().filter_map(|id| shares.get(id).cloned()));
    }
    let arg = arg.into_parcel()?;
    let relayed = Relayed { task, target, arg, is_async, attempts_before: attempt.saturating_sub(1) };
    let sink: Arc<dyn RelaySink> = Arc::<Relay>::clone(relay);
    let (job, handle) = Job::relay(relayed, options, used, sink, slot);
    relay.outbox.hold(size);
    if !relay.table().insert(slot, handle, size, now) {
        return Err(End::Nonsense("two tasks under one number, or a number that is too great"));
    }
    if let Err(rejected) = pool.submit_job(job) {
        rejected.fail();
    }
    Ok(())
}

/// Lets the pool run what it has, then closes our side.
fn drain(relay: &Arc<Relay>, pool: &Arc<dyn Executor>) {
    let (relay, pool) = (Arc::clone(relay), Arc::clone(pool));
    let drain = move || {
        futures::executor::block_on(pool.shutdown(Shutdown::Drain));
        relay.outbox.close();
    };
    if let Err(error) = std::thread::Builder::new().name("agent-drain".to_owned()).spawn(drain) {
        // The client then waits until it loses patience, or is lost itself.
        tracing::warn!(%error, "no thread to wait for the last tasks of a client");
    }
}

impl Relay {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self, number: u64) {
        let handle = self.table().borrow(number);
        if let Some(handle) = handle {
            handle.cancel();
            self.table().give_back(number, handle);
        }
    }

    fn revoke(&self, number: u64) {
        let handle = self.table().begin_revoke(number);
        let Some(handle) = handle else {
            return; // its answer is on its way
        };
        let taken = handle.revoke();
        let reply = self.table().end_revoke(number, handle, taken);
        self.reply(number, reply, Err(&TaskError::Cancelled), Duration::ZERO);
    }

    fn reply(&self, number: u64, reply: Reply, outcome: Result<&Parcel<'_>, &TaskError>, elapsed: Duration) {
        match reply {
            Reply::Nothing => {}
            _ if self.muted.load(Ordering::Acquire) => {}
            Reply::Done(bytes) => drop(self.outbox.append(bytes, |out| match outcome {
                Ok(result) => self.encode_result(number, result, elapsed, out),
                Err(error) => FromWorker::Done(number, elapsed, Err(error.clone())).encode(out),
            })),
            Reply::Revoked(bytes) => {
                self.outbox.append(bytes, |out| FromWorker::Revoked(number, true).encode(out));
            }
            Reply::Refused => {
                self.outbox.append(0, |out| FromWorker::Revoked(number, false).encode(out));
            }
        }
    }

    fn encode_result(&self, number: u64, result: &Parcel<'_>, elapsed: Duration, out: &mut Vec<u8>) {
        let carrier = Carrier::remote(usize::MAX);
        let attached = wire::inline(&result.attachments);
        let len = result.bytes.len() + attached.len();
        let checked = carrier.check("result", len, &result.attachments).and_then(|()| {
            if len <= self.result_limit {
                return Ok(());
            }
            let message = format!(
                "it has {len} bytes, and the client takes {}; raise `frame_limit` there",
                self.result_limit
            );
            Err(TaskError::encode("the result", message))
        });
        let outcome = checked.map(|()| Packed { bytes: &result.bytes, attached: &attached, is_bulk: false });
        FromWorker::Done(number, elapsed, outcome).encode(out);
    }
}

impl RelaySink for Relay {
    fn complete(&self, number: u64, outcome: Result<&Parcel<'_>, &TaskError>, elapsed: Duration) {
        let is_cancelled = matches!(outcome, Err(TaskError::Cancelled));
        let reply = self.table().on_outcome(number, is_cancelled);
        self.reply(number, reply, outcome, elapsed);
    }

    fn flush(&self) {
        self.outbox.flush();
    }
}
