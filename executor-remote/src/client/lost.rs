//! What comes from agents, their loss included.

use std::time::Instant;

use executor_core::scheduler::{Began, TaskKey, WorkerKey};
use executor_core::wire::{FromWorker, Packed, WireError};
use executor_core::{Printed, TaskError, WorkerLoss};

use super::after::After;
use super::core::Core;
use super::link::Link;

#[cfg(test)]
mod tests;

/// A message that no agent of this version sends, or not now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Nonsense {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error("the agent sent a message of a worker process")]
    NotOfAnAgent,
}

impl Core {
    /// An agent can be reached. Whether it takes us is still to come, and may have to wait for the executable.
    pub(super) fn on_reached(&mut self, agent: usize) {
        self.agents[agent].is_greeting = true;
    }

    /// An agent is connected.
    pub(super) fn on_connected(&mut self, agent: usize, link: impl FnOnce(&mut Self) -> Link) {
        let link = link(self);
        let state = &mut self.agents[agent];
        state.link = Some(link);
        state.is_greeting = false;
        state.failure = None;
        self.set_out(None);
    }

    /// An agent could not be reached, or refused.
    pub(super) fn on_not_connected(
        &mut self,
        agent: usize,
        error: TaskError,
        is_final: bool,
        after: &mut After<'_>,
        now: Instant,
    ) {
        self.agents[agent].is_greeting = false;
        self.agents[agent].failure = Some((error, is_final));
        self.look_for_out(after, now);
    }

    /// The connection of an agent has ended.
    pub(super) fn on_lost(&mut self, agent: usize, reason: &str, now: Instant) {
        let state = &mut self.agents[agent];
        let Some(link) = state.link.take() else {
            return;
        };
        state.down_since = now;
        let worker = link.worker;
        if self.scheduler.tasks_of(worker).next().is_none() && !self.scheduler.is_closing() {
            // Nothing was lost with it, so it is no sign that tasks kill their workers.
            self.scheduler.handle_retire(now, worker);
            self.other_losses += 1;
        } else {
            let address = self.agents[agent].address.clone();
            let loss = WorkerLoss { worker: address, reason: reason.to_owned(), ..WorkerLoss::default() };
            self.loss = Some((worker, loss));
            self.scheduler.handle_worker_lost(now, worker, |_| Began::Unknown);
        }
        self.arm_give_up(now);
    }

    /// Looks which agents are out (rule 3 of the module), and fails what waits for them.
    pub(super) fn look_for_out(&mut self, after: &mut After<'_>, now: Instant) {
        let mut all = true;
        let mut next = None;
        for agent in 0..self.agents.len() {
            let state = &self.agents[agent];
            if state.link.is_some() || state.is_greeting {
                all = false;
                continue;
            }
            let is_final = state.failure.as_ref().is_some_and(|(_, is_final)| *is_final);
            let due = state.down_since.checked_add(self.unreachable);
            if is_final || due.is_some_and(|due| due <= now) {
                self.fail_pinned(agent, after, now);
            } else {
                all = false;
                next = next.into_iter().chain(due).min();
            }
        }
        if all {
            self.set_out(Some(self.why_out()));
        } else if let Some(next) = next {
            self.arm_give_up_at(next);
        }
    }

    /// Fails the tasks that wait for one agent, which is out.
    fn fail_pinned(&mut self, agent: usize, after: &mut After<'_>, now: Instant) {
        let waits = |task: &TaskKey, core: &Self| !core.is_at_agent(*task);
        let tasks: Vec<TaskKey> = self
            .pins
            .iter()
            .filter(|(task, pin)| pin.agent == agent && waits(task, self))
            .map(|it| *it.0)
            .collect();
        for task in tasks {
            use executor_core::scheduler::Cancelled::{Removed, Resolved, Unknown};
            match self.cancel(task, now) {
                Removed(job) | Resolved(job) => after.fail(job, self.why_is_out(agent)),
                Unknown => {}
            }
        }
    }

    fn why_is_out(&self, agent: usize) -> TaskError {
        let state = &self.agents[agent];
        match &state.failure {
            Some((error, _)) => error.clone(),
            None => TaskError::unreachable(&state.address, "it has not answered"),
        }
    }

    fn why_out(&self) -> TaskError {
        let mut errors: Vec<TaskError> = (0..self.agents.len()).map(|agent| self.why_is_out(agent)).collect();
        if let [error] = &mut errors[..] {
            return error.clone();
        }
        let is_final = self.agents.iter().filter_map(|agent| agent.failure.as_ref()).find(|it| it.1);
        if let Some((error, _)) = is_final {
            return error.clone();
        }
        let addresses: Vec<&str> = self.agents.iter().map(|agent| agent.address.as_str()).collect();
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        TaskError::unreachable(addresses.join(","), reasons.join("; "))
    }

    // ---- messages ----------------------------------------------------------------------------------------------

    /// A message came from an agent.
    pub(super) fn on_message<'a>(
        &mut self,
        agent: usize,
        body: &'a [u8],
        after: &mut After<'a>,
        now: Instant,
    ) -> Result<(), Nonsense> {
        match FromWorker::decode(body)? {
            FromWorker::Done(number, elapsed, outcome) => {
                let outcome = outcome.map(Packed::into_parcel);
                let outcome = match outcome {
                    Ok(parcel) => Ok(parcel?),
                    Err(error) => Err(error),
                };
                let Some((worker, task)) = self.leave(agent, number, false, now) else {
                    return Ok(());
                };
                match outcome {
                    Err(error @ TaskError::WorkerLost { .. }) => {
                        self.other_losses += 1;
                        self.losses.insert(task, self.loss_at(agent, error));
                        self.scheduler.handle_task_lost(now, worker, task, Began::Yes);
                    }
                    outcome => {
                        if let Some(job) = self.scheduler.handle_finished(now, worker, task, elapsed) {
                            let outcome = outcome.map_err(|error| self.at_agent(agent, error));
                            after.complete(job, outcome);
                        }
                        if !self.pins.is_empty() {
                            self.pins.remove(&task);
                        }
                    }
                }
            }
            FromWorker::Revoked(number, taken) => {
                let link = self.agents[agent].link.as_ref();
                let Some((worker, task)) = link.and_then(|link| Some((link.worker, link.task(number)?)))
                else {
                    return Ok(());
                };
                if taken {
                    self.leave(agent, number, true, now);
                } else if let Some(link) = &mut self.agents[agent].link {
                    link.note_asked(number, false);
                }
                self.scheduler.handle_revoked(now, worker, task, taken);
            }
            FromWorker::Progress(number, fraction) => {
                let link = self.agents[agent].link.as_ref();
                if let Some(job) =
                    link.and_then(|link| link.task(number)).and_then(|task| self.scheduler.payload(task))
                {
                    job.set_progress(fraction);
                }
            }
            FromWorker::Output(number, stdout, stderr) => {
                let link = self.agents[agent].link.as_ref();
                if let Some(job) =
                    link.and_then(|link| link.task(number)).and_then(|task| self.scheduler.payload(task))
                {
                    job.set_printed(Printed { stdout: stdout.to_vec(), stderr: stderr.to_vec() });
                }
            }
            FromWorker::Pong | FromWorker::Ready(_) => {}
            FromWorker::Nested(_)
            | FromWorker::NestedCancel(_)
            | FromWorker::NestedShare(..)
            | FromWorker::Blocked(_)
            | FromWorker::Release(..)
            | FromWorker::Withdraw(_)
            | FromWorker::Unblocked(_) => return Err(Nonsense::NotOfAnAgent),
        }
        Ok(())
    }

    /// The task with that number has its answer; whether that is that the agent has given it back.
    fn leave(
        &mut self,
        agent: usize,
        number: u64,
        taken: bool,
        now: Instant,
    ) -> Option<(WorkerKey, TaskKey)> {
        let link = self.agents[agent].link.as_mut()?;
        let (task, asked) = link.leave(number)?;
        let (worker, bytes) = (link.worker, link.bytes());
        if link.paused && !self.is_full(bytes) {
            if let Some(link) = self.agents[agent].link.as_mut() {
                link.paused = false;
            }
            self.scheduler.handle_resumed(now, worker);
        }
        if asked && !taken {
            // The scheduler wants an answer to each request, and the agent gives one answer for each task.
            self.scheduler.handle_revoked(now, worker, task, false);
        }
        Some((worker, task))
    }

    /// How a worker process of an agent ended.
    fn loss_at(&self, agent: usize, error: TaskError) -> WorkerLoss {
        match error {
            TaskError::WorkerLost { worker, exit, signal, reason, stderr_tail, .. } => {
                let worker = self.name_at(agent, &worker);
                WorkerLoss { worker, exit, signal, reason, stderr_tail }
            }
            other => WorkerLoss { reason: other.to_string(), ..WorkerLoss::default() },
        }
    }

    /// An agent's error, with the agent's address where there is a worker in it.
    fn at_agent(&self, agent: usize, error: TaskError) -> TaskError {
        match error {
            TaskError::TimedOut { limit, worker, .. } => {
                TaskError::timed_out(limit, self.name_at(agent, &worker))
            }
            other => other,
        }
    }

    fn name_at(&self, agent: usize, worker: &str) -> String {
        format!("{} {worker}", self.agents[agent].address)
    }
}
