//! The pool's one thread: it starts the workers, reads what they say, notices their deaths, and keeps the time.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use executor_core::{Printed, WorkerLoss};
use rustix::event::epoll;
use rustix::fs::Timespec;

use super::Pool;
use super::inbox::{Event, Item};
use super::plan::Plan;
use super::worker::Worker;
use crate::board::Ticket;
use crate::ring::Need;
use crate::segment::Book;
use crate::sys::oom::OomWatch;
use crate::sys::{Child, Exit, Origin, OutputPipe, Spawned, Starter, error_chain};
use crate::transport::{Lane, hush};

/// How many of a worker's last lines an error quotes: the reason of an abort, and the trace behind it, which has two lines
/// a frame.
const TAIL_LINES: usize = 100;

/// With as many workers being started as there are CPUs, the next start waits for one of them to be ready, and so long at
/// the most: more processes that start at a time only take turns, and the first of them is ready later. Some times what
/// one takes.
const STAGGER: Duration = Duration::from_millis(3);

/// Starts the pool's thread, which starts the workers, from `origin`.
pub(super) fn start(pool: &Arc<Pool>, origin: Origin) -> io::Result<()> {
    let mut reaper = Reaper::new(Arc::clone(pool), origin)?;
    std::thread::Builder::new().name("executor-pool".to_owned()).spawn(move || {
        let pool = Arc::clone(&reaper.pool);
        // Our own code has failed if this unwinds: the workers go with the thread, and every future is resolved.
        let ended = std::panic::catch_unwind(AssertUnwindSafe(move || reaper.run()));
        pool.with_core(|core, _| {
            if !matches!(ended, Ok(Ok(()))) {
                tracing::error!("the thread of a process pool has failed");
                core.give_up();
            }
            core.close();
        });
    })?;
    Ok(())
}

/// The longest nap: how late an answer may be seen whose worker has more to do.
///
/// A nap of this length costs the processor some 2 % if nothing comes of it, and most windows of tasks take longer.
pub(super) const NAP: Duration = Duration::from_micros(200);

/// While there are answers all the time, deaths and the alarm are looked at after so many turns.
const TURNS: u32 = 16;

/// How often to look at what a dead worker has left, which is a ring of answers at most: some ten looks. There is more only
/// if something has its memory that has outlived it, and goes on writing.
const LAST_LOOKS: usize = 100;

/// What an event is about; in the data of an epoll event, with the worker's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Alarm,
    Bell,
    Control,
    Death,
    Stdout,
    Stderr,
    Starter,
}

impl Source {
    const ALL: [Source; 7] = [
        Source::Alarm,
        Source::Bell,
        Source::Control,
        Source::Death,
        Source::Stdout,
        Source::Stderr,
        Source::Starter,
    ];

    fn data(self, id: u64) -> epoll::EventData {
        epoll::EventData::new_u64(id << 3 | self as u64)
    }

    fn of(data: epoll::EventData) -> (Self, u64) {
        let data = data.u64();
        // The kernel gives back what `data` has made.
        (Self::ALL[(data & 7) as usize], data >> 3)
    }
}

/// The reaper's part of a worker: what it reads from.
struct Io {
    control: Arc<OwnedFd>,
    stdout: Option<OutputPipe>,
    stderr: Option<OutputPipe>,
    is_captured: bool,
}

struct Reaper {
    pool: Arc<Pool>,
    epoll: rustix::fd::OwnedFd,
    starter: Starter,
    /// The indices of workers that have been asked for.
    starting: HashMap<u64, u32>,
    ios: HashMap<u64, Io>,
    next_id: u64,
    last_start: Instant,
    /// How many CPUs this process may use.
    cpus: usize,
    oom: Option<OomWatch>,
    plan: Plan,
    /// How often workers had said something when the reaper last went to sleep.
    answers: u64,
    /// The plan has to be made anew.
    is_stale: bool,
}

impl Reaper {
    fn new(pool: Arc<Pool>, origin: Origin) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &pool.alarm, Source::Alarm.data(0), epoll::EventFlags::IN)?;
        let bell = Arc::clone(&pool.bell);
        let starter = Starter::new(pool.config.worker_command(), origin, pool.config.start_timeout, bell)?;
        if let Some(descriptor) = starter.descriptor() {
            epoll::add(&epoll, descriptor, Source::Starter.data(0), epoll::EventFlags::IN)?;
        }
        epoll::add(&epoll, &pool.bell, Source::Bell.data(0), epoll::EventFlags::IN)?;
        Ok(Self {
            starter,
            starting: HashMap::new(),
            epoll,
            ios: HashMap::new(),
            next_id: 0,
            last_start: Instant::now(),
            cpus: rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize),
            oom: OomWatch::new(),
            plan: Plan::default(),
            answers: 0,
            is_stale: true,
            pool,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        let mut turns = 0;
        loop {
            if self.is_stale {
                self.is_stale = false;
                let plan = self.pool.with_core(|core, now| core.plan(&self.pool, now));
                self.plan.follow(plan);
            }
            if self.plan.is_drained {
                self.plan.starts.clear();
            }
            if self.next_start().is_some_and(|at| at <= Instant::now())
                && let Some(index) = self.plan.starts.pop_front()
            {
                self.start_worker(index);
                self.is_stale = true;
                // The first worker's first words are heard while the second starts.
                self.listen();
                self.poll(&mut events, Some(Duration::ZERO))?;
                continue;
            }
            if self.plan.is_drained && self.ios.is_empty() {
                return Ok(());
            }
            if self.listen() && turns < TURNS {
                turns += 1;
                continue;
            }
            turns = 0;
            self.sleep(&mut events)?;
            if self.until().is_some_and(|until| until <= Instant::now()) {
                self.on_time();
            }
        }
    }

    /// Deals with what workers have said; whether that was anything.
    fn listen(&mut self) -> bool {
        let Self { pool, ios, plan, .. } = self;
        pool.with_core(|core, now| {
            core.wake();
            let is_captured = pool.config.capture.is_some();
            let mut printed = |id: u64, ticket: Ticket| ios.get_mut(&id)?.printed(ticket);
            let found = core.read_all(pool, is_captured.then_some(&mut printed), now);
            if found {
                core.step(pool, now);
                plan.follow(core.plan(pool, now));
            }
            found
        })
    }

    /// Waits for something to happen.
    fn sleep(&mut self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        let (answers, expects_more) = self.pool.with_core(|core, _| core.activity());
        let naps = expects_more && answers != self.answers;
        self.answers = answers;
        let need = if naps { Need::Idle } else { Need::Anything };
        if !self.pool.with_core(|core, _| core.doze(need)) {
            return self.poll(events, Some(Duration::ZERO));
        }
        let until = self.until().map(|until| until.saturating_duration_since(Instant::now()));
        let limit = if naps { Some(until.unwrap_or(NAP).min(NAP)) } else { until };
        self.poll(events, limit)
    }

    /// When there is something to do, whatever happens.
    fn until(&self) -> Option<Instant> {
        [self.plan.until, self.starter.deadline(), self.next_start()].into_iter().flatten().min()
    }

    fn on_time(&mut self) {
        self.is_stale = true;
        self.take_started();
        self.pool.with_core(|core, now| {
            core.on_timer(now);
            core.on_deadlines(&self.pool.config, now);
            core.step(&self.pool, now);
        });
    }

    fn poll(&mut self, events: &mut Vec<epoll::Event>, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        // More than a timespec can hold is for ever.
        let timeout = timeout.and_then(|it| Timespec::try_from(it).ok());
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &*events {
            let (source, id) = Source::of(event.data);
            // What reading answers leads to is planned under the same lock; all else is looked at again.
            self.is_stale |= source != Source::Bell;
            match source {
                Source::Alarm => hush(&self.pool.alarm),
                Source::Bell => hush(&self.pool.bell),
                Source::Control => self.on_control(id, event.flags),
                Source::Death => self.on_death(id, None),
                Source::Stdout => self.on_output(id, true),
                Source::Stderr => self.on_output(id, false),
                Source::Starter => self.take_started(),
            }
        }
        Ok(())
    }

    // ---- starting ----------------------------------------------------------------------------------------------

    /// When the next worker is to be started, if one is.
    fn next_start(&self) -> Option<Instant> {
        self.plan.starts.front()?;
        let is_crowded = self.plan.starting + self.starting.len() >= self.cpus;
        self.last_start.checked_add(if is_crowded { STAGGER } else { Duration::ZERO })
    }

    fn start_worker(&mut self, index: u32) {
        self.last_start = Instant::now();
        let id = self.next_id;
        self.next_id += 1;
        self.starting.insert(id, index);
        self.starter.start(id, &index.to_string());
        self.take_started();
    }

    /// Takes over what the starter has started meanwhile.
    fn take_started(&mut self) {
        while let Some((id, started)) = self.starter.next_started() {
            let Some(index) = self.starting.remove(&id) else { continue };
            let started = started.map_err(|error| error_chain(&error));
            let taken =
                started.and_then(|spawned| self.take(id, index, spawned).map_err(|it| it.to_string()));
            if let Err(reason) = taken {
                self.ios.remove(&id);
                tracing::warn!("a worker could not be started: {reason}");
                self.pool.with_core(|core, now| {
                    core.on_start_failed(index, reason, now);
                    core.step(&self.pool, now);
                });
            }
        }
    }

    fn take(&mut self, id: u64, index: u32, spawned: Spawned) -> io::Result<()> {
        let Spawned { child, control, board, link, stdout, stderr } = spawned;
        let control = Arc::new(control);
        // By edges: its end, descriptors that come, and room for more of them, each once.
        let edges = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &*control, Source::Control.data(id), edges)?;
        self.add(&child, Source::Death.data(id))?;
        if let Some(pipe) = &stdout {
            self.add(pipe, Source::Stdout.data(id))?;
        }
        if let Some(pipe) = &stderr {
            self.add(pipe, Source::Stderr.data(id))?;
        }
        let (lane, pool) = (Lane::of_parent(Arc::clone(&control)), self.pool.this());
        let book = Book::new(lane, true, move || {
            if let Some(pool) = pool.upgrade() {
                pool.push(Item::Event(Box::new(Event::Notes { worker: id })));
            }
        });
        self.ios.insert(id, Io { control, stdout, stderr, is_captured: self.pool.config.capture.is_some() });
        // A result's frame has some bytes besides the result, and an error is sent whatever the limit.
        let limit = self.pool.config.largest_frame() + crate::worker::ERROR_BYTES;
        self.pool.with_core(|core, now| {
            core.add_worker(id, Worker::new(index, child, board, link, book, limit, now))
        });
        Ok(())
    }

    fn add(&self, fd: impl AsFd, data: epoll::EventData) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)?)
    }

    // ---- events ------------------------------------------------------------------------------------------------

    /// On a worker's control socket there are descriptors, room for more of them, its end, or something that a task has
    /// written.
    fn on_control(&mut self, id: u64, flags: epoll::EventFlags) {
        let lane = self.pool.with_core(|core, _| core.on_lane(id));
        match lane {
            _ if flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR) => {
                self.on_death(id, Some("it closed its control socket"));
            }
            Ok(true) => {}
            Ok(false) => self.on_death(id, Some("it closed its control socket")),
            Err(error) => self.expel(id, &format!("its control socket is of no use any more: {error}")),
        }
    }

    fn on_output(&mut self, id: u64, is_stdout: bool) {
        let Some(io) = self.ios.get_mut(&id) else { return };
        let pipe = if is_stdout { &mut io.stdout } else { &mut io.stderr };
        let Some(open) = pipe else { return };
        let is_open = if is_stdout {
            open.read_some(&mut io::stdout().lock())
        } else {
            open.read_some(&mut io::stderr().lock())
        };
        if !is_open.unwrap_or(false) {
            // It is kept for its last lines; there is nothing more to wait for.
            let _ = epoll::delete(&self.epoll, open.as_fd());
        }
    }

    /// A worker that says what no worker says is ended.
    fn expel(&mut self, id: u64, reason: &str) {
        self.pool.with_core(|core, _| core.kill(id, reason));
        self.on_death(id, Some(reason));
    }

    /// The worker is dead, or as good as dead: reads what is left of it, and tells the core.
    fn on_death(&mut self, id: u64, reason: Option<&str>) {
        self.is_stale = true;
        let Some(mut io) = self.ios.remove(&id) else { return };
        for fd in io.descriptors() {
            let _ = epoll::delete(&self.epoll, fd);
        }
        let taken = self.pool.with_core(|core, _| core.take_child(id));
        let Some((child, name)) = taken else { return };
        let exit = bury(child);
        self.read_rest(id, &mut io);
        let kill_reason = self.pool.with_core(|core, _| core.take_kill_reason(id));
        let loss = WorkerLoss {
            worker: name,
            exit: exit.code,
            signal: exit.signal,
            reason: self.reason_of(exit, &kill_reason, reason),
            stderr_tail: io.last_words(),
        };
        tracing::debug!(?loss, "a worker has gone");
        let mut printed = |ticket: Ticket| {
            io.is_captured.then(|| Printed {
                stdout: unfinished(&mut io.stdout, ticket),
                stderr: unfinished(&mut io.stderr, ticket),
            })
        };
        self.pool.with_core(|core, now| {
            core.on_lost(id, loss, &mut printed, now);
            core.step(&self.pool, now);
        });
    }

    fn reason_of(&mut self, exit: Exit, kill_reason: &str, reason: Option<&str>) -> String {
        if !kill_reason.is_empty() {
            return kill_reason.to_owned();
        }
        if self.oom.as_mut().is_some_and(|oom| oom.explains(exit.signal)) {
            return "the machine or its control group was out of memory".to_owned();
        }
        match (exit.code, exit.signal, reason) {
            (None, None, Some(reason)) => reason.to_owned(),
            _ => String::new(),
        }
    }

    /// Deals with what the dead worker has said: all that it had finished.
    fn read_rest(&mut self, id: u64, io: &mut Io) {
        let pool = &self.pool;
        pool.with_core(|core, now| {
            let mut printed = |_, ticket: Ticket| io.printed(ticket);
            for _ in 0..LAST_LOOKS {
                if !core.read(pool, id, &mut Some(&mut printed), now) {
                    break;
                }
            }
        });
    }
}

fn taken(pipe: &mut Option<OutputPipe>, ticket: Ticket, forward: &mut dyn Write) -> Vec<u8> {
    let captured = pipe.as_mut().map(|pipe| pipe.take(ticket, forward));
    captured.and_then(Result::ok).map(|captured| captured.bytes).unwrap_or_default()
}

fn unfinished(pipe: &mut Option<OutputPipe>, ticket: Ticket) -> Vec<u8> {
    pipe.as_mut().map(|pipe| pipe.take_unfinished(ticket).bytes).unwrap_or_default()
}

impl Io {
    /// What the task in a slot has printed, if that is captured.
    fn printed(&mut self, ticket: Ticket) -> Option<Printed> {
        self.is_captured.then(|| Printed {
            stdout: taken(&mut self.stdout, ticket, &mut io::stdout().lock()),
            stderr: taken(&mut self.stderr, ticket, &mut io::stderr().lock()),
        })
    }

    fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let pipes = [&self.stdout, &self.stderr].into_iter().flatten();
        std::iter::once(self.control.as_fd()).chain(pipes.map(AsFd::as_fd))
    }

    fn last_words(&mut self) -> String {
        if let Some(pipe) = &mut self.stdout {
            let _ = pipe.read_rest(&mut io::stdout().lock());
        }
        let Some(pipe) = &mut self.stderr else { return String::new() };
        let _ = pipe.read_rest(&mut io::stderr().lock());
        pipe.tail().last_lines(TAIL_LINES)
    }
}

/// Makes sure that a process is dead, with what its tasks have started in its process group, and reaps it. Not under the
/// core's lock: the end of a process with much memory takes its time.
///
/// Its channel is at its end or its pidfd has told, so that a kill changes nothing about how it ended, unless it has
/// closed its channel and lives on.
fn bury(mut child: Child) -> Exit {
    let _ = child.kill(libc::SIGKILL);
    child.kill_group();
    child.wait().unwrap_or(Exit::UNKNOWN)
}
