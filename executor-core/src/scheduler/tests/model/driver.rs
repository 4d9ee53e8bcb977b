//! The driver: it reports events to the scheduler, does what that says, and checks it.

use super::*;

impl World {
    pub(super) fn finished(&mut self, worker: WorkerKey, task: TaskKey, elapsed: Duration) {
        self.forget_held(worker, task);
        if let Some(id) = self.core.handle_finished(self.now, worker, task, elapsed) {
            self.resolve(id);
        }
    }

    pub(super) fn revoked(&mut self, worker: WorkerKey, task: TaskKey, taken: bool) {
        if taken {
            self.forget_held(worker, task);
        }
        self.core.handle_revoked(self.now, worker, task, taken);
        if taken && self.core.attempt(task).is_some() {
            self.requeue(self.ids[&task]);
        }
    }

    pub(super) fn task_lost(&mut self, worker: WorkerKey, task: TaskKey) {
        self.forget_held(worker, task);
        self.core.handle_task_lost(self.now, worker, task, Began::Yes);
        if self.core.attempt(task).is_some() {
            self.requeue(self.ids[&task]);
        }
    }

    pub(super) fn forget_held(&mut self, worker: WorkerKey, task: TaskKey) {
        let is_sync = !self.records[self.ids[&task]].body.spec.is_async;
        if let Some(sim) = self.workers.get_mut(&worker)
            && is_sync
        {
            sim.credit_used -= 1;
        }
    }

    /// Results that have come from a worker behind one, up to its next report of another kind.
    pub(super) fn take_results(&mut self, worker: WorkerKey, results: &mut Vec<(TaskKey, Duration)>) {
        let now = (self.now, 0)..=(self.now, u64::MAX);
        let mut heard = Vec::new();
        for (key, (from, event)) in self.events.range(now) {
            match event {
                _ if *from != worker => {}
                Event::Finished(task, elapsed) => {
                    heard.push(*key);
                    results.push((*task, *elapsed));
                }
                _ => break,
            }
        }
        for key in heard {
            self.events.remove(&key);
        }
    }

    pub(super) fn finished_together(&mut self, worker: WorkerKey, results: &[(TaskKey, Duration)]) {
        for (task, _) in results {
            self.forget_held(worker, *task);
        }
        let mut handled = self.core.handle_results(self.now, worker);
        let ids: Vec<usize> =
            results.iter().filter_map(|(task, elapsed)| handled.finished(*task, *elapsed)).collect();
        drop(handled);
        for id in ids {
            self.resolve(id);
        }
    }

    pub(super) fn poll(&mut self) {
        loop {
            while self.send_run() {}
            let Some(action) = self.core.poll_action(self.now) else { break };
            self.act(action);
        }
        self.checks += 1;
        // Every step of small runs, and some of the large ones.
        if self.checks.is_multiple_of(1 + self.records.len() as u64 / 100) {
            self.core.assert_consistent();
        }
    }

    /// Sends some of the next tasks; false if there was no run.
    pub(super) fn send_run(&mut self) -> bool {
        if self.park.run == 0 {
            return false;
        }
        let Some(mut run) = self.core.poll_run(self.now) else { return false };
        let worker = run.worker();
        let mut sends = Vec::new();
        while sends.len() < self.park.run as usize
            && let Some(send) = run.next_task()
        {
            sends.push((send.task, send.attempt, *send.payload));
        }
        drop(run);
        assert!(!sends.is_empty(), "a run has a task");
        for (task, attempt, id) in sends {
            assert_eq!(self.core.payload(task), Some(&id));
            self.send(worker, task, attempt);
        }
        true
    }

    pub(super) fn act(&mut self, action: Action<usize>) {
        match action {
            Action::Send { worker, task, attempt } => self.send(worker, task, attempt),
            Action::Revoke { worker, task } if self.park.latency.is_zero() => {
                let taken = self.workers.get_mut(&worker).is_some_and(|sim| sim.revoke(task));
                let under_way = self.take_arrival(worker, task);
                self.revoked(worker, task, taken || under_way);
            }
            Action::Revoke { worker, task } => {
                self.schedule(self.park.latency, worker, Event::ArriveRevoke(task))
            }
            Action::Stop { worker, task } => {
                assert_eq!(self.core.attempt(task), None, "only resolved tasks are stopped");
                self.schedule(self.park.latency, worker, Event::ArriveStop(task));
            }
            Action::Kill { worker, task } => self.kill(worker, task),
            Action::Fail { task, payload, failure } => {
                assert_eq!(self.records[payload].key, task);
                self.check_failure(payload, failure);
                self.resolve(payload);
            }
            Action::Retired { worker } => {
                let sim = self.workers.remove(&worker).expect("it is there until it retires");
                assert!(sim.fifo.is_empty() && sim.running.is_empty(), "it left with tasks: {sim:?}");
            }
        }
    }

    pub(super) fn send(&mut self, worker: WorkerKey, task: TaskKey, attempt: u32) {
        let id = *self.core.payload(task).expect("a task that is sent is not resolved");
        assert_eq!(self.records[id].key, task);
        self.dequeue(id);
        let spec = self.records[id].body.spec;
        self.records[id].belief = Belief::Held;
        self.trace.push((self.now - self.start, worker, id, attempt));
        self.sequence += 1;
        let job = Job { task, id, attempt, stay: self.sequence };
        let sim = self.workers.get_mut(&worker).expect("tasks go to workers that are there");
        assert!(spec.pin.is_none_or(|index| index == sim.index), "a pinned task went elsewhere");
        if !spec.is_async {
            sim.credit_used += 1;
            let (used, credit) = (sim.credit_used, self.core.credit(worker));
            let most = sim.slots * (1 + self.park.config.max_ahead);
            assert!(
                used <= credit && credit <= most as usize,
                "{used} sent, {credit} allowed, {most} at most"
            );
        }
        self.schedule(self.park.latency, worker, Event::Arrive(job));
    }

    /// Takes a task off the wire, which the parent of a process can do.
    pub(super) fn take_arrival(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let arrives = |(to, event): &(WorkerKey, Event)| {
            *to == worker && matches!(event, Event::Arrive(job) if job.task == task)
        };
        let key = self.events.iter().find(|(_, event)| arrives(event)).map(|(key, _)| *key);
        key.is_some_and(|key| self.events.remove(&key).is_some())
    }

    pub(super) fn kill(&mut self, worker: WorkerKey, task: Option<TaskKey>) {
        let Some(task) = task else {
            self.die(worker);
            return;
        };
        assert_eq!(self.core.attempt(task), None, "only resolved tasks are killed");
        let Some(sim) = self.workers.get(&worker) else {
            return;
        };
        if sim.slots == 1 {
            self.die(worker);
        } else if let Some(&(job, _)) = sim.running.iter().find(|(job, _)| job.task == task) {
            self.lose_process(worker, job);
        }
    }

    pub(super) fn check_failure(&self, id: usize, failure: Failure) {
        let Record { body, begun, .. } = self.records[id];
        match failure {
            Failure::WorkerLost { attempts, .. } => {
                assert_eq!(attempts, 1 + body.spec.retries, "it failed with retries left");
            }
            Failure::TimedOut { limit, .. } => assert_eq!(Some(limit), body.spec.timeout),
            Failure::Cancelled | Failure::Closed => assert!(self.core.is_closing()),
            Failure::Broken => assert!(self.core.is_broken()),
        }
        assert!(begun <= 1 + body.spec.retries || body.spec.idempotent);
    }
}
