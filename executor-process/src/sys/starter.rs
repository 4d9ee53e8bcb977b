//! How a pool starts its workers, by whichever method.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use rustix::pipe::{PipeFlags, pipe_with};

use super::output::{Nonce, OutputPipe};
use super::spawn::{Berth, watch_forked};
use super::zygote::{ForkPoint, FromZygote, Received, ZygoteHandle};
use super::{Exit, SpawnError, Spawned, WorkerCommand};
use crate::board::Board;
use crate::transport::ParentEnd;

/// Where workers come from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// Each is the executable, started.
    Spawn,
    /// They are forks of a zygote, which is the executable, started, after the hook of this name.
    Forkserver {
        /// The name that `register!` gave the hook.
        preload: Option<String>,
    },
    /// They are forks of the program as it was there.
    Fork(ForkPoint),
}

/// Starts workers. Where a zygote forks them, starting one means to ask for it, and the answer comes later: wait for
/// [`descriptor`](Self::descriptor).
///
/// Use it on a thread that lives as long as the workers are to live: the kernel ends them when the *thread* that started
/// them, or their zygote, ends (`PR_SET_PDEATHSIG`), not only when the process does.
pub struct Starter {
    command: WorkerCommand,
    origin: Origin,
    /// What workers ring.
    bell: Arc<OwnedFd>,
    /// How long a zygote may take to be ready.
    timeout: Duration,
    /// Readable when the zygote has said something; there if workers are forked.
    epoll: Option<OwnedFd>,
    zygote: Option<ZygoteHandle>,
    /// Until the zygote is ready.
    queue: VecDeque<(u64, String)>,
    outstanding: HashMap<u64, Started>,
    done: VecDeque<(u64, Result<Spawned, SpawnError>)>,
    /// Why no zygote can be prepared: trying it again would run the hook again.
    failure: Option<String>,
}

/// What the program keeps while the worker is being forked.
struct Started {
    control: OwnedFd,
    board: Board,
    capture: Option<(Nonce, usize)>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Starter {
    /// Starts nothing yet. `bell` is the eventfd by which workers wake us.
    ///
    /// # Errors
    ///
    /// If there are no descriptors left.
    pub fn new(
        command: WorkerCommand,
        origin: Origin,
        timeout: Duration,
        bell: Arc<OwnedFd>,
    ) -> io::Result<Self> {
        let epoll = match origin {
            Origin::Spawn => None,
            _ => Some(epoll::create(epoll::CreateFlags::CLOEXEC)?),
        };
        Ok(Self {
            command,
            origin,
            bell,
            timeout,
            epoll,
            zygote: None,
            queue: VecDeque::new(),
            outstanding: HashMap::new(),
            done: VecDeque::new(),
            failure: None,
        })
    }

    /// Becomes readable when there may be something for [`next_started`](Self::next_started); `None` if nothing ever comes later.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.epoll.as_ref().map(AsFd::as_fd)
    }

    /// When [`next_started`](Self::next_started) has to be called even if nothing came.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let zygote = self.zygote.as_ref().filter(|zygote| !zygote.is_ready)?;
        zygote.started.checked_add(self.timeout)
    }

    /// Begins to start a worker. `number` is what [`next_started`](Self::next_started) calls it, and no other's; `name` is what `ps` shows
    /// it as, beside the program's own name.
    ///
    /// # Blocking
    ///
    /// For the time of a `posix_spawn`, some hundred microseconds.
    pub fn start(&mut self, number: u64, name: &str) {
        if let Origin::Spawn = self.origin {
            let spawned = self.command.spawn(name, self.bell.as_fd());
            self.done.push_back((number, spawned));
            return;
        }
        if let Some(reason) = &self.failure {
            self.done.push_back((number, Err(SpawnError::Fork { reason: reason.clone() })));
            return;
        }
        if let Err(error) = self.require_zygote() {
            self.done.push_back((number, Err(error)));
            return;
        }
        self.queue.push_back((number, name.to_owned()));
        self.ask();
    }

    /// The next worker that has started, or has not.
    pub fn next_started(&mut self) -> Option<(u64, Result<Spawned, SpawnError>)> {
        while self.done.is_empty() {
            let Some(zygote) = &self.zygote else { break };
            match zygote.receive(false) {
                Ok(Received::Message(message, _)) => self.handle(message),
                Ok(Received::Nothing) => {
                    if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                        let reason = match &self.origin {
                            Origin::Forkserver { preload: Some(hook) } => {
                                format!("the zygote was not ready in time; its preload hook is `{hook}`")
                            }
                            _ => "the zygote was not ready in time; is `executor::init()` the first line of main?"
                                .to_owned(),
                        };
                        self.lose_zygote(Some(reason));
                    }
                    break;
                }
                Ok(Received::Closed) => self.lose_zygote(None),
                Err(error) => self.lose_zygote(Some(format!("listening to the zygote: {error}"))),
            }
        }
        self.done.pop_front()
    }

    fn require_zygote(&mut self) -> Result<(), SpawnError> {
        if self.zygote.is_some() {
            return Ok(());
        }
        let zygote = match &self.origin {
            Origin::Spawn => return Ok(()),
            Origin::Forkserver { preload } => ZygoteHandle::spawn(&self.command, preload.as_deref())?,
            Origin::Fork(point) => ZygoteHandle::fork(&self.command, point)?,
        };
        if let Some(epoll) = &self.epoll {
            epoll::add(epoll, &zygote.link, epoll::EventData::new_u64(0), epoll::EventFlags::IN)
                .map_err(|error| SpawnError::Channel(error.into()))?;
        }
        self.zygote = Some(zygote);
        Ok(())
    }

    fn handle(&mut self, message: FromZygote) {
        match message {
            FromZygote::Ready => {
                if let Some(zygote) = &mut self.zygote {
                    zygote.is_ready = true;
                }
                self.ask();
            }
            FromZygote::Failed { reason } => {
                if let Origin::Forkserver { .. } = self.origin {
                    self.failure = Some(reason.clone());
                }
                self.lose_zygote(Some(reason));
            }
            FromZygote::Forked { request: 0, pid } => {
                if let Some(zygote) = &mut self.zygote
                    && zygote.child.is_none()
                {
                    zygote.child = watch_forked(pid).ok();
                }
            }
            FromZygote::Forked { request, pid } => {
                if let Some(started) = self.outstanding.remove(&request) {
                    self.done.push_back((request - 1, started.complete(pid)));
                }
            }
            FromZygote::Refused { request, reason } => {
                if self.outstanding.remove(&request).is_some() {
                    self.done.push_back((request - 1, Err(SpawnError::Fork { reason })));
                }
            }
        }
    }

    /// Passes on what waits, if the zygote is ready.
    fn ask(&mut self) {
        while let Some(zygote) = self.zygote.as_ref().filter(|zygote| zygote.is_ready)
            && let Some((number, name)) = self.queue.pop_front()
        {
            match ask(zygote, &self.command, self.bell.as_fd(), number + 1, &name) {
                Ok(started) => drop(self.outstanding.insert(number + 1, started)),
                Err(error) => self.done.push_back((number, Err(error))),
            }
        }
    }

    /// The zygote is gone, or has to go; and all that it was asked for.
    fn lose_zygote(&mut self, reason: Option<String>) {
        let Some(mut zygote) = self.zygote.take() else { return };
        let exit = match (&mut zygote.child, &reason) {
            (Some(child), None) => {
                // It has closed the link, which only its end does: the kill changes nothing, unless it lives on.
                let _ = child.kill(libc::SIGKILL);
                child.wait().unwrap_or(Exit::UNKNOWN)
            }
            _ => Exit::UNKNOWN,
        };
        let was_ready = zygote.is_ready;
        self.reap(zygote);
        let reason = reason.unwrap_or_else(|| match (&self.origin, was_ready) {
            (Origin::Forkserver { preload: Some(hook) }, false) => {
                format!("the zygote {exit} while its preload hook `{hook}` ran")
            }
            (Origin::Forkserver { preload: None }, false) => {
                format!(
                    "the zygote {exit} before it was ready; is `executor::init()` the first line of main?"
                )
            }
            _ => format!("the zygote {exit}"),
        });
        let requests = self.outstanding.drain().map(|(request, _)| request - 1);
        for number in requests.chain(self.queue.drain(..).map(|(number, _)| number)) {
            self.done.push_back((number, Err(SpawnError::Fork { reason: reason.clone() })));
        }
    }

    /// Ends a zygote, and hears it to its end: a worker that it has forked must not stay unknown.
    fn reap(&mut self, mut zygote: ZygoteHandle) {
        zygote.link.finish();
        let is_known = zygote.child.take().is_some();
        let mut unknown = !is_known;
        while unknown || !self.outstanding.is_empty() {
            match zygote.receive(true) {
                Ok(Received::Message(FromZygote::Forked { request: 0, pid }, _)) => {
                    unknown = false;
                    // Dropped: ended and reaped.
                    let _ = watch_forked(pid);
                }
                Ok(Received::Message(FromZygote::Forked { request, pid }, _)) => {
                    if let Some(started) = self.outstanding.remove(&request) {
                        self.done.push_back((request - 1, started.complete(pid)));
                    }
                }
                Ok(Received::Message(..) | Received::Nothing) => {}
                Ok(Received::Closed) | Err(_) => break,
            }
        }
    }
}

impl Drop for Starter {
    /// No worker is left that was asked for, and no zygote.
    fn drop(&mut self) {
        if let Some(zygote) = self.zygote.take() {
            self.reap(zygote);
        }
    }
}

impl Started {
    /// The worker is there.
    fn complete(self, pid: i32) -> Result<Spawned, SpawnError> {
        let Self { control, board, capture, .. } = self;
        let link = ParentEnd::new(&board);
        let child = watch_forked(pid)?;
        let pipe = |end: Option<OwnedFd>| {
            let pipe = end.map(|end| OutputPipe::new(end, capture)).transpose();
            pipe.map_err(SpawnError::Channel)
        };
        let (stdout, stderr) = (pipe(self.stdout)?, pipe(self.stderr)?);
        Ok(Spawned { child, control, board, link, stdout, stderr })
    }
}

/// Asks for a worker. Our copies of what it gets are closed when this returns.
fn ask(
    zygote: &ZygoteHandle,
    command: &WorkerCommand,
    bell: BorrowedFd<'_>,
    request: u64,
    name: &str,
) -> Result<Started, SpawnError> {
    let Berth { control, board, theirs: channel, capture } = command.berth(bell)?;
    let (has_stdout, has_stderr) = command.has_pipes();
    let pipe = |wanted: bool| {
        let ends = wanted.then(|| pipe_with(PipeFlags::CLOEXEC)).transpose();
        ends.map(Option::unzip).map_err(|error| SpawnError::Channel(error.into()))
    };
    let (stdout, their_stdout) = pipe(has_stdout)?;
    let (stderr, their_stderr) = pipe(has_stderr)?;
    let theirs = [&their_stdout, &their_stderr].map(|end| end.as_ref().map(AsFd::as_fd));
    zygote
        .ask(request, name, channel.as_fd(), theirs[0], theirs[1])
        .map_err(|error| SpawnError::Fork { reason: format!("asking the zygote: {error}") })?;
    Ok(Started { control, board, capture, stdout, stderr })
}
