//! The driver's state: the scheduler, and what stands behind its workers. All of it under one lock.

use std::collections::HashMap;
use std::task::Waker;
use std::time::{Duration, Instant};

use executor_core::scheduler::{
    Action, Cancelled, Failure, Scheduler, SchedulerConfig, ShutdownMode, TaskKey, TaskSpec, WorkerKey,
};
use executor_core::{Job, OwnerId, ShareBlob, Stats, TaskError, WorkerLoss};

use super::RemoteConfig;
use super::after::{After, Sending};
use super::link::Link;

/// Frames are not sent one by one while this many tasks for each slot are at an agent: the next answer is near, and takes
/// what has gathered along.
const BUSY_PER_SLOT: usize = 2;
/// Frames of this many bytes are sent in any case.
const LARGE: usize = 16 * 1024;

pub(super) struct Core {
    pub(super) scheduler: Scheduler<Job>,
    pub(super) agents: Vec<Agent>,
    /// By the slot of a task's key: its number at its agent.
    pub(super) numbers: Vec<u32>,
    /// Tasks that name a worker.
    pub(super) pins: HashMap<TaskKey, Pin>,
    /// The worker that was lost last, and how.
    pub(super) loss: Option<(WorkerKey, WorkerLoss)>,
    /// Tasks that have just lost the process that ran them, and how.
    pub(super) losses: HashMap<TaskKey, WorkerLoss>,
    /// Agents that were lost with nothing to do, and worker processes that agents have lost.
    pub(super) other_losses: u64,
    /// Why no task can run at present (rule 3).
    out: Option<TaskError>,
    /// As [`ShareBlob::dropped`] was when agents were last told to forget values.
    shares_dropped: u64,
    wait_ready: Vec<Waker>,
    wait_over: Vec<Waker>,
    pub(super) unreachable: Duration,
    /// When [`Core::on_time`] has to look for agents that are out.
    give_up_at: Option<Instant>,
    in_flight_bytes: usize,
    /// Below this many waiting tasks, who waits for room is woken.
    low_water: usize,
}

/// One agent of the configuration.
pub(super) struct Agent {
    pub(super) address: String,
    pub(super) link: Option<Link>,
    /// Without a connection since.
    pub(super) down_since: Instant,
    /// It has been reached, and the greeting is under way: its steps have limits of their own.
    pub(super) is_greeting: bool,
    /// Why the last attempt to connect failed, and whether another one can be expected to fail as well.
    pub(super) failure: Option<(TaskError, bool)>,
}

/// What a task that names a worker stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pin {
    pub(super) agent: usize,
    pub(super) slot: u32,
}

impl Core {
    pub(super) fn new(config: &RemoteConfig, now: Instant) -> Self {
        let scheduler = SchedulerConfig {
            // Counted before a task gets here, with those in the inbox.
            queue_limit: usize::MAX,
            ..SchedulerConfig::default()
        };
        let agent = |address: &crate::address::Address| Agent {
            address: address.to_string(),
            link: None,
            down_since: now,
            is_greeting: false,
            failure: None,
        };
        Self {
            scheduler: Scheduler::new(scheduler),
            agents: config.agents.iter().map(agent).collect(),
            numbers: Vec::new(),
            pins: HashMap::new(),
            loss: None,
            losses: HashMap::new(),
            other_losses: 0,
            out: None,
            shares_dropped: ShareBlob::dropped(),
            wait_ready: Vec::new(),
            wait_over: Vec::new(),
            unreachable: config.unreachable,
            give_up_at: None,
            in_flight_bytes: config.in_flight_bytes,
            low_water: config.queue - config.queue / 4,
        }
    }

    // ---- events ------------------------------------------------------------------------------------------------

    /// Takes a job from the inbox.
    pub(super) fn submit(&mut self, job: Job, owner: &OwnerId, after: &mut After<'_>, now: Instant) {
        let options = job.options();
        let mut spec = TaskSpec {
            priority: options.priority,
            retries: options.retries,
            idempotent: options.idempotent,
            is_async: job.is_async(),
            ..TaskSpec::default()
        };
        let pin = match options.worker {
            None => None,
            Some(worker) => match self.find_slot(worker) {
                Ok(pin) => Some(pin),
                Err(error) => return after.fail(job, error),
            },
        };
        spec.pin = pin.map(|pin| pin.agent as u32);
        match self.scheduler.handle_submit(now, spec, job) {
            Ok(task) => {
                if let Some(pin) = pin {
                    self.pins.insert(task, pin);
                }
                self.take_charge(task, owner, after, now);
            }
            Err(rejected) => {
                let error = self.refusal().unwrap_or(TaskError::Closed);
                after.fail(rejected.into_payload(), error);
            }
        }
    }

    /// Makes the task's future ask us from here on, unless it was cancelled before.
    fn take_charge(&mut self, task: TaskKey, owner: &OwnerId, after: &mut After<'_>, now: Instant) {
        let held = self.scheduler.payload(task).is_some_and(|job| job.set_owner(owner, task.into_raw()));
        if !held && let Cancelled::Removed(job) | Cancelled::Resolved(job) = self.cancel(task, now) {
            after.fail(job, TaskError::Cancelled);
        }
    }

    /// The slot of that index among all that are connected.
    fn find_slot(&self, worker: u32) -> Result<Pin, TaskError> {
        let mut slot = worker;
        for (agent, state) in self.agents.iter().enumerate() {
            let slots = state.link.as_ref().map_or(0, |link| link.slots);
            if slot < slots {
                return Ok(Pin { agent, slot });
            }
            slot -= slots;
        }
        let reason = format!("the connected agents have {} slots", worker - slot);
        Err(TaskError::unreachable(format!("worker {worker}"), reason))
    }

    pub(super) fn cancel(&mut self, task: TaskKey, now: Instant) -> Cancelled<Job> {
        self.pins.remove(&task);
        self.scheduler.handle_cancel(now, task)
    }

    pub(super) fn shutdown(&mut self, mode: ShutdownMode, now: Instant) {
        self.scheduler.handle_shutdown(now, mode);
    }

    pub(super) fn on_time(&mut self, after: &mut After<'_>, now: Instant) {
        self.scheduler.handle_timer(now);
        if self.give_up_at.is_some_and(|at| at <= now) {
            self.give_up_at = None;
            self.look_for_out(after, now);
        }
    }

    /// An agent has no connection from now on: looks after it when it counts as out.
    pub(super) fn arm_give_up(&mut self, now: Instant) {
        if let Some(at) = now.checked_add(self.unreachable) {
            self.arm_give_up_at(at);
        }
    }

    pub(super) fn arm_give_up_at(&mut self, at: Instant) {
        self.give_up_at = Some(self.give_up_at.map_or(at, |armed| armed.min(at)));
    }

    /// What has gathered for this agent leaves with the others: it has just answered, and waits for more.
    pub(super) fn flush_now(&mut self, agent: usize) {
        if let Some(link) = &mut self.agents[agent].link {
            link.urgent = true;
            link.dirty = true;
        }
    }

    // ---- actions -----------------------------------------------------------------------------------------------

    /// Does what the scheduler asks for.
    pub(super) fn perform(&mut self, after: &mut After<'_>, now: Instant) {
        while let Some(action) = self.scheduler.poll_action(now) {
            match action {
                Action::Send { worker, task, attempt } => self.send(worker, task, attempt, after, now),
                Action::Revoke { worker, task } => self.ask_back(worker, task),
                Action::Stop { worker, task } => self.stop(worker, task),
                Action::Kill { worker, task: None } => {
                    if let Some(link) = self.link_of(worker) {
                        link.leaving = true;
                        after.send(&link.outbox, Sending::Last);
                    }
                }
                // The agent has been told to stop it, answered, and keeps its own grace period.
                Action::Kill { task: Some(_), .. } | Action::Retired { .. } => {}
                Action::Fail { task, payload, failure } => {
                    let error = self.error_of(task, failure);
                    after.fail(payload, error);
                }
            }
        }
    }

    fn error_of(&mut self, task: TaskKey, failure: Failure) -> TaskError {
        self.pins.remove(&task);
        match failure {
            Failure::WorkerLost { worker, attempts } => {
                let loss = self.losses.remove(&task).or_else(|| self.loss_of(worker)).unwrap_or_default();
                TaskError::worker_lost(loss, attempts)
            }
            // As if each had been cancelled.
            Failure::Cancelled | Failure::Closed => TaskError::Cancelled,
            Failure::Broken => self.broken(),
            // Time limits are kept by agents.
            Failure::TimedOut { limit, .. } => TaskError::timed_out(limit, ""),
            _ => TaskError::Closed,
        }
    }

    fn loss_of(&self, worker: WorkerKey) -> Option<WorkerLoss> {
        self.loss.as_ref().filter(|(lost, _)| *lost == worker).map(|(_, loss)| loss.clone())
    }

    fn broken(&self) -> TaskError {
        let last = self.loss.as_ref().map(|(_, loss)| TaskError::worker_lost(loss.clone(), 1).to_string());
        TaskError::broken(format!(
            "{} workers were lost in a row, and no task finished in between; the last one: {}",
            self.scheduler.config().breaker,
            last.unwrap_or_default()
        ))
    }

    /// What follows from the state after all actions.
    pub(super) fn settle(&mut self, after: &mut After<'_>) {
        self.losses.clear();
        if let Some(error) = &self.out {
            while let Some(job) = self.scheduler.take_waiting() {
                after.fail(job, error.clone());
            }
            self.pins.clear();
        }
        self.forget_shares();
        let drained = self.is_drained();
        for agent in &mut self.agents {
            let Some(link) = &mut agent.link else {
                continue;
            };
            if drained && !link.leaving {
                link.leave_agent();
            }
            if std::mem::take(&mut link.dirty) {
                let idle = link.outstanding() <= BUSY_PER_SLOT * link.slots as usize;
                let now = std::mem::take(&mut link.urgent) || idle || link.gathered >= LARGE;
                after.send(&link.outbox, if now { Sending::Now } else { Sending::Soon });
            }
        }
        let stuck = self.out.is_some() || self.refusal().is_some();
        if !self.wait_ready.is_empty() && (stuck || self.is_connected() && self.waiting() < self.low_water) {
            after.wake(&mut self.wait_ready);
        }
    }

    /// Whether nothing more may be sent to an agent that has that much without an answer.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        bytes > self.in_flight_bytes
    }

    /// Tells agents to forget values that nobody has any more.
    fn forget_shares(&mut self) {
        let dropped = ShareBlob::dropped();
        if dropped == self.shares_dropped {
            return;
        }
        self.shares_dropped = dropped;
        for link in self.agents.iter_mut().filter_map(|agent| agent.link.as_mut()) {
            link.forget_shares();
        }
    }

    // ---- questions ---------------------------------------------------------------------------------------------

    /// The link of a worker that is not lost.
    pub(super) fn link_of(&mut self, worker: WorkerKey) -> Option<&mut Link> {
        let agent = self.scheduler.worker_index(worker)? as usize;
        self.agents.get_mut(agent)?.link.as_mut()
    }

    pub(super) fn waiting(&self) -> usize {
        self.scheduler.waiting()
    }

    pub(super) fn is_connected(&self) -> bool {
        self.agents.iter().any(|agent| agent.link.is_some())
    }

    pub(super) fn is_drained(&self) -> bool {
        self.scheduler.is_drained()
    }

    pub(super) fn is_at_agent(&self, task: TaskKey) -> bool {
        self.scheduler.worker_of(task).is_some()
    }

    /// Whether the task is in a slot of its agent, as far as is known here.
    pub(super) fn has_begun(&self, task: TaskKey) -> bool {
        let Some(worker) = self.scheduler.worker_of(task) else {
            return false;
        };
        let slots = self
            .scheduler
            .worker_index(worker)
            .and_then(|agent| self.agents.get(agent as usize)?.link.as_ref())
            .map_or(0, |link| link.slots as usize);
        let is_async = self.scheduler.payload(task).is_some_and(Job::is_async);
        is_async || self.scheduler.tasks_of(worker).take(slots).any(|it| it == task)
    }

    /// Why no task is taken any more.
    pub(super) fn refusal(&self) -> Option<TaskError> {
        if self.scheduler.is_closing() {
            Some(TaskError::Closed)
        } else if self.scheduler.is_broken() {
            Some(self.broken())
        } else {
            None
        }
    }

    /// Why no task can run at present.
    pub(super) fn out(&self) -> Option<&TaskError> {
        self.out.as_ref()
    }

    pub(super) fn set_out(&mut self, error: Option<TaskError>) {
        self.out = error;
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.scheduler.poll_timeout().into_iter().chain(self.give_up_at).min()
    }

    pub(super) fn stats(&self) -> Stats {
        let counts = self.scheduler.stats();
        let links = self.agents.iter().filter_map(|agent| agent.link.as_ref());
        let mut stats = Stats::default();
        stats.workers = links.map(|link| link.slots as usize).sum();
        stats.queued = counts.waiting;
        stats.running = counts.running + counts.ahead;
        stats.finished = counts.finished;
        stats.lost_workers = counts.lost_workers + self.other_losses;
        stats.retried = counts.retried;
        stats
    }

    pub(super) fn wait_until_ready(&mut self, waker: &Waker) {
        remember(&mut self.wait_ready, waker);
    }

    pub(super) fn wait_until_over(&mut self, waker: &Waker) {
        remember(&mut self.wait_over, waker);
    }

    pub(super) fn take_closers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wait_over)
    }
}

fn remember(wakers: &mut Vec<Waker>, waker: &Waker) {
    if !wakers.iter().any(|it| it.will_wake(waker)) {
        wakers.push(waker.clone());
    }
}
