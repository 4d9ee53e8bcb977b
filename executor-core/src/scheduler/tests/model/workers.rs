//! The simulated workers: what they begin, end, give back and take with them.

use super::*;

/// Runs tasks in the order of arrival, as many at a time as it has slots.
#[derive(Debug)]
pub(super) struct SimWorker {
    pub(super) key: WorkerKey,
    pub(super) slots: u32,
    pub(super) index: u32,
    pub(super) fifo: VecDeque<Job>,
    pub(super) running: Vec<(Job, Instant)>,
    /// Sync tasks sent and not heard of since, as the driver knows.
    pub(super) credit_used: usize,
}

impl World {
    pub(super) fn start(&mut self, index: u32) {
        let slots = self.park.slots[index as usize];
        let key = self.core.handle_worker_ready(self.now, index, slots);
        let (fifo, running) = (VecDeque::new(), Vec::new());
        let sim = SimWorker { key, slots, index, fifo, running, credit_used: 0 };
        assert!(self.workers.insert(key, sim).is_none(), "a worker's key is used twice");
    }

    /// Begins what fits into the slots; async tasks fit always.
    pub(super) fn begin(&mut self, worker: WorkerKey) {
        while let Some(sim) = self.workers.get_mut(&worker)
            && let Some(job) = sim.next_to_begin(&self.records)
        {
            sim.running.push((job, self.now));
            let record = &mut self.records[job.id];
            record.begun += 1;
            let (body, begun) = (record.body, record.begun);
            let allowed =
                1 + body.spec.retries + if body.spec.idempotent { record.unknown_losses } else { 0 };
            assert!(begun <= allowed, "task {} was begun {begun} times: {body:?}", job.id);
            let (attempt, unknown) = (job.attempt, record.unknown_losses);
            assert!(
                attempt <= begun + unknown && begun <= attempt + unknown,
                "attempt {attempt} is begin {begun}"
            );
            if begun <= body.fatal_attempts {
                self.lose_process(worker, job);
            } else {
                self.schedule(body.takes, worker, Event::End(job.stay));
            }
        }
    }

    /// The process that runs a task dies: the worker itself, or one of an agent's.
    pub(super) fn lose_process(&mut self, worker: WorkerKey, job: Job) {
        let Some(sim) = self.workers.get_mut(&worker) else {
            return;
        };
        if sim.slots == 1 {
            self.die(worker);
            return;
        }
        sim.running.retain(|(other, _)| other.stay != job.stay);
        self.report(worker, Event::TaskLost(job.task));
        self.begin(worker);
    }

    pub(super) fn end(&mut self, worker: WorkerKey, stay: u64) {
        let Some(sim) = self.workers.get_mut(&worker) else {
            return;
        };
        let Some(at) = sim.running.iter().position(|(job, _)| job.stay == stay) else {
            return;
        };
        let (job, begun) = sim.running.swap_remove(at);
        let elapsed = self.now - begun;
        self.report(worker, Event::Finished(job.task, elapsed));
        self.begin(worker);
    }

    pub(super) fn stop(&mut self, worker: WorkerKey, task: TaskKey) {
        let running = |(job, _): &&(Job, Instant)| job.task == task;
        if let Some(&(job, _)) = self.workers.get(&worker).and_then(|sim| sim.running.iter().find(running))
            && self.records[job.id].body.heeds_stop
        {
            self.end(worker, job.stay);
        }
    }

    /// A worker is gone, with all messages under way from and to it.
    pub(super) fn die(&mut self, worker: WorkerKey) {
        if self.park.latency.is_zero() {
            self.deliver_last_results(worker);
        }
        if self.core.worker_index(worker).is_none() {
            // With these it has retired.
            return;
        }
        let Some(sim) = self.workers.remove(&worker) else {
            return;
        };
        let held: Vec<TaskKey> = self.core.tasks_of(worker).collect();
        let exact = self.park.latency.is_zero();
        let began = |task: TaskKey| match sim.running.iter().any(|(job, _)| job.task == task) {
            true if exact => Began::Yes,
            false if exact => Began::No,
            _ => Began::Unknown,
        };
        self.core.handle_worker_lost(self.now, worker, began);
        // Async tasks go back before sync ones, each from the last to the first.
        let is_async = |task: &TaskKey| self.records[self.ids[task]].body.spec.is_async;
        let (mut back, sync): (Vec<_>, Vec<_>) = held.into_iter().rev().partition(is_async);
        back.extend(sync);
        for task in back {
            let id = self.ids[&task];
            self.records[id].unknown_losses += u32::from(!exact);
            if self.core.attempt(task).is_some() {
                self.requeue(id);
            }
        }
        // As a driver does: a pool at its end needs no new workers.
        if self.core.unresolved() > 0 || !self.core.is_closing() {
            let at = self.now + self.park.restart;
            self.starts.push(Reverse((at, sim.index)));
        }
    }

    /// What a process has written survives it.
    pub(super) fn deliver_last_results(&mut self, worker: WorkerKey) {
        let keys: Vec<_> =
            self.events.iter().filter(|(_, (to, _))| *to == worker).map(|(key, _)| *key).collect();
        for key in keys {
            match self.events.remove(&key) {
                Some((_, Event::Finished(task, elapsed))) => self.finished(worker, task, elapsed),
                Some((_, Event::TaskLost(task))) => self.task_lost(worker, task),
                _ => {}
            }
        }
    }
}

impl SimWorker {
    /// Takes a task back that has not begun.
    pub(super) fn revoke(&mut self, task: TaskKey) -> bool {
        let at = self.fifo.iter().position(|job| job.task == task);
        at.and_then(|at| self.fifo.remove(at)).is_some()
    }

    pub(super) fn next_to_begin(&mut self, records: &[Record]) -> Option<Job> {
        let is_async = |job: &Job| records[job.id].body.spec.is_async;
        let busy = self.running.iter().filter(|(job, _)| !is_async(job)).count();
        let at = self.fifo.iter().position(|job| is_async(job) || busy < self.slots as usize)?;
        self.fifo.remove(at)
    }
}
