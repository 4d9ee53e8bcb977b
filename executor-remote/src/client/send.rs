//! What goes to agents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use executor_core::attachment::Attachment;
use executor_core::scheduler::{TaskKey, WorkerKey};
use executor_core::wire::{self, Packed, TaskExtra, TaskFrame, ToWorker};
use executor_core::{Job, ShareBlob, TaskError};

use super::after::After;
use super::core::{Core, Pin};
use super::link::Link;

/// What a task's frame has beside argument, name and shared values: more than it ever is.
const FRAME_OVERHEAD: usize = 512;
/// What a task counts as beside its argument.
const TASK_OVERHEAD: usize = 128;

impl Core {
    /// Sends a task to an agent.
    pub(super) fn send(
        &mut self,
        worker: WorkerKey,
        task: TaskKey,
        attempt: u32,
        after: &mut After<'_>,
        now: Instant,
    ) {
        let pin = match self.pins.is_empty() {
            true => None,
            false => self.pins.get(&task).copied(),
        };
        let index = self.scheduler.worker_index(worker).map(|index| index as usize);
        let link = index.and_then(|index| self.agents.get_mut(index)?.link.as_mut());
        let (Some(link), Some(job)) = (link, self.scheduler.payload(task)) else {
            debug_assert!(false, "a task is sent to an agent that is connected");
            return;
        };
        match link.send_task(task, job, attempt, pin) {
            Ok(number) => {
                let at = task.slot();
                if at >= self.numbers.len() {
                    self.numbers.resize(at + 1, u32::MAX);
                }
                self.numbers[at] = number;
                let bytes = link.bytes();
                if self.is_full(bytes) {
                    self.scheduler.handle_paused(now, worker);
                    if let Some(link) = self.link_of(worker) {
                        link.paused = true;
                    }
                }
            }
            Err(error) => {
                self.pins.remove(&task);
                if let Some(job) = self.scheduler.handle_not_sent(now, worker, task) {
                    after.fail(job, error);
                }
            }
        }
    }

    /// Asks an agent for a task that it may not have begun.
    pub(super) fn ask_back(&mut self, worker: WorkerKey, task: TaskKey) {
        self.say(worker, task, ToWorker::Revoke);
        let number = self.number_of(task);
        if let Some(link) = self.link_of(worker) {
            link.note_asked(number, true);
        }
    }

    fn number_of(&self, task: TaskKey) -> u64 {
        self.numbers.get(task.slot()).map_or(u64::MAX, |&number| number.into())
    }

    /// Makes an agent stop a task.
    pub(super) fn stop(&mut self, worker: WorkerKey, task: TaskKey) {
        let grace: Duration = self.scheduler.config().grace;
        self.say(worker, task, |number| ToWorker::Stop(number, grace));
    }

    fn say(&mut self, worker: WorkerKey, task: TaskKey, what: impl FnOnce(u64) -> ToWorker<'static>) {
        let number = self.number_of(task);
        if let Some(link) = self.link_of(worker)
            && link.task(number) == Some(task)
        {
            link.say(&what(number));
        }
    }
}

impl Link {
    /// Appends the frames of a task; gives its number.
    fn send_task(
        &mut self,
        task: TaskKey,
        job: &Job,
        attempt: u32,
        pin: Option<Pin>,
    ) -> Result<u32, TaskError> {
        let target = job.target()?;
        let arg = job.encoded();
        let attached = wire::inline(job.attachments());
        self.check_len("the argument", arg.len() + attached.len())?;
        for blob in job.shares() {
            self.check_len("a shared value", blob.bytes().len() + attached_len(blob))?;
        }
        for blob in job.shares() {
            if self.shares.insert(blob.id(), Arc::downgrade(blob)).is_none() {
                let attached = wire::inline(blob.attachments());
                let value = Packed { bytes: blob.bytes(), attached: &attached, is_bulk: false };
                self.say(&ToWorker::Share(blob.id(), value));
            }
        }
        let number = self.enter(task);
        let frame = TaskFrame {
            slot: number.into(),
            task: job.id(),
            attempt: attempt + job.attempts_before(),
            is_async: job.is_async(),
            target,
            extra: extra(job, pin),
            arg: Packed { bytes: arg, attached: &attached, is_bulk: false },
        };
        self.gathered = self.outbox.append(0, |out| frame.encode(out));
        self.dirty = true;
        self.urgent |= frame.is_async;
        self.charge(number, arg.len() + attached.len() + TASK_OVERHEAD);
        Ok(number)
    }

    fn check_len(&self, what: &str, len: usize) -> Result<(), TaskError> {
        if len <= self.frame_limit.saturating_sub(FRAME_OVERHEAD) {
            return Ok(());
        }
        let message = format!(
            "it has {len} bytes, and the frame limit is {} bytes; raise `frame_limit` here and at the agent",
            self.frame_limit
        );
        Err(TaskError::encode(what, message))
    }

    /// Appends a frame that is to leave at once.
    pub(super) fn say(&mut self, message: &ToWorker<'_>) {
        self.gathered = self.outbox.append(0, |out| message.encode(out));
        self.dirty = true;
        self.urgent = true;
    }

    /// Lets the agent end the session, when its pool has run what tasks of ours still left there.
    pub(super) fn leave_agent(&mut self) {
        self.leaving = true;
        self.say(&ToWorker::Exit);
    }

    /// Tells the agent to forget values that nobody has any more.
    pub(super) fn forget_shares(&mut self) {
        let mut gone = Vec::new();
        self.shares.retain(|id, blob| {
            let lives = blob.strong_count() > 0;
            if !lives {
                gone.push(*id);
            }
            lives
        });
        for id in gone {
            self.say(&ToWorker::Unshare(id));
        }
    }
}

/// The most that is written for what is attached to a shared value.
fn attached_len(share: &ShareBlob) -> usize {
    /// Besides the bytes of a blob.
    const ITEM: usize = 16;
    share.attachments().iter().fold(0, |len, attachment| match attachment {
        Attachment::Blob(blob) => len + blob.len() + ITEM,
        _ => len + ITEM,
    })
}

/// What only few tasks need to say.
fn extra(job: &Job, pin: Option<Pin>) -> Option<TaskExtra> {
    let (options, shares) = (job.options(), job.shares());
    if options.timeout.is_none() && options.name.is_none() && pin.is_none() && shares.is_empty() {
        return None;
    }
    Some(TaskExtra {
        timeout: options.timeout,
        name: options.name.clone(),
        worker: pin.map(|pin| pin.slot),
        shares: shares.iter().map(|blob| blob.id()).collect(),
    })
}
