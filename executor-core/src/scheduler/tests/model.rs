//! Simulated workers and a driver under virtual time, with every promise checked as the run goes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use super::*;

/// What one task does, beside its spec.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body {
    pub(super) spec: TaskSpec,
    pub(super) takes: Duration,
    /// Ends when its flag is raised.
    pub(super) heeds_stop: bool,
    /// Its first so many attempts end the worker instead.
    pub(super) fatal_attempts: u32,
}

/// The machine park.
#[derive(Clone, Debug)]
pub(super) struct Park {
    pub(super) config: SchedulerConfig,
    /// Slots of each worker.
    pub(super) slots: Vec<u32>,
    /// One way. Zero: a process pool, where revokes are answered at once and deaths say what had begun.
    pub(super) latency: Duration,
    /// From a death or a retirement to the replacement.
    pub(super) restart: Duration,
}

/// Something that happens from outside.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Submit(Body, u32),
    Cancel(u32),
    KillWorker(u32),
    Retire(u32),
    /// A running task of this worker waits that long for another of its pool.
    Block(u32, Duration),
    Pause(u32, Duration),
    Pass(Duration),
    Shutdown(ShutdownMode),
}

/// A task at a simulated worker.
#[derive(Clone, Copy, Debug)]
struct Job {
    task: TaskKey,
    id: usize,
    attempt: u32,
    /// Tells apart two stays of one task at one worker.
    stay: u64,
}

/// Runs tasks in the order of arrival, as many at a time as it has slots.
#[derive(Debug)]
struct SimWorker {
    key: WorkerKey,
    slots: u32,
    index: u32,
    fifo: VecDeque<Job>,
    running: Vec<(Job, Instant)>,
    /// Sync tasks sent and not heard of since, as the driver knows.
    credit_used: usize,
}

#[derive(Debug)]
enum Event {
    Arrive(Job),
    ArriveRevoke(TaskKey),
    ArriveStop(TaskKey),
    End(u64),
    Finished(TaskKey, Duration),
    Revoked(TaskKey, bool),
    TaskLost(TaskKey),
    Unblock(TaskKey),
    Resume,
}

/// Where the driver believes a task to be; the order of the queue is modelled exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Queued(i64),
    Held,
    Resolved,
}

struct Record {
    body: Body,
    key: TaskKey,
    belief: Belief,
    begun: u32,
    /// Losses in which nobody knew whether it had begun.
    unknown_losses: u32,
}

type Class = (bool, Option<u32>);

pub(super) struct World {
    core: Scheduler<usize>,
    park: Park,
    now: Instant,
    records: Vec<Record>,
    ids: BTreeMap<TaskKey, usize>,
    /// By whether it is async and its pin: highest priority first, then the place in line.
    queues: BTreeMap<Class, BTreeSet<(Reverse<i32>, i64, usize)>>,
    workers: BTreeMap<WorkerKey, SimWorker>,
    /// Indices to start a worker for, by time.
    starts: BinaryHeap<Reverse<(Instant, u32)>>,
    /// By time and order of creation.
    events: BTreeMap<(Instant, u64), (WorkerKey, Event)>,
    sequence: u64,
    front: i64,
    checks: u64,
    rejected: usize,
}

impl World {
    pub(super) fn new(park: Park) -> Self {
        let mut world = Self {
            core: Scheduler::new(park.config.clone()),
            now: Instant::now(),
            records: Vec::new(),
            ids: BTreeMap::new(),
            queues: BTreeMap::new(),
            workers: BTreeMap::new(),
            starts: BinaryHeap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            front: 0,
            checks: 0,
            rejected: 0,
            park,
        };
        for index in 0..world.park.slots.len() as u32 {
            world.start(index);
        }
        world
    }

    /// Runs the operations, lets everything come to rest, and checks the outcome.
    pub(super) fn run(mut self, operations: Vec<Operation>) -> SchedulerStats {
        for operation in operations {
            self.operate(operation);
            self.poll();
        }
        // Bounded: a scheduler that keeps itself busy for ever must fail and not hang.
        let mut left = 200 * (self.records.len() + self.workers.len() + 100);
        while self.step(None) {
            left -= 1;
            assert!(left > 0, "the run does not come to rest: {:?}", self.core);
        }
        self.check_outcome();
        self.core.stats()
    }

    fn operate(&mut self, operation: Operation) {
        match operation {
            Operation::Submit(body, count) => {
                for _ in 0..count {
                    self.submit(body);
                }
            }
            Operation::Cancel(n) => self.cancel(n),
            Operation::KillWorker(n) => {
                if let Some(worker) = self.pick(n) {
                    self.die(worker);
                }
            }
            Operation::Retire(n) => {
                if let Some(worker) = self.pick(n) {
                    // The replacement is there before the old one leaves.
                    let index = self.workers[&worker].index;
                    self.start(index);
                    self.core.handle_retire(self.now, worker);
                }
            }
            Operation::Block(n, time) => {
                if let Some(worker) = self.pick(n)
                    && let Some(&(job, _)) = self.workers[&worker].running.first()
                {
                    self.core.handle_blocked(self.now, worker, job.task);
                    self.schedule(time, worker, Event::Unblock(job.task));
                }
            }
            Operation::Pause(n, time) => {
                if let Some(worker) = self.pick(n) {
                    self.core.handle_paused(self.now, worker);
                    self.schedule(time, worker, Event::Resume);
                }
            }
            Operation::Pass(time) => {
                let until = self.now + time;
                while self.step(Some(until)) {}
                self.now = until;
            }
            Operation::Shutdown(mode) => self.core.handle_shutdown(self.now, mode),
        }
    }

    fn submit(&mut self, body: Body) {
        let id = self.records.len();
        match self.core.handle_submit(self.now, body.spec, id) {
            Ok(key) => {
                assert!(self.ids.insert(key, id).is_none(), "a key is used twice");
                let belief = Belief::Resolved;
                self.records.push(Record { body, key, belief, begun: 0, unknown_losses: 0 });
                self.enqueue(id, i64::try_from(id).expect("few tasks"));
            }
            Err(rejected) => {
                assert_eq!(rejected.into_payload(), id);
                self.rejected += 1;
            }
        }
    }

    fn cancel(&mut self, n: u32) {
        if self.records.is_empty() {
            return;
        }
        let id = n as usize % self.records.len();
        let Record { key, belief, .. } = self.records[id];
        match (self.core.handle_cancel(self.now, key), belief) {
            (Cancelled::Removed(payload), Belief::Queued(_))
            | (Cancelled::Resolved(payload), Belief::Held) => {
                assert_eq!(payload, id);
                self.resolve(id);
            }
            (Cancelled::Unknown, Belief::Resolved) => {}
            (cancelled, belief) => panic!("{cancelled:?} of a task that is {belief:?}"),
        }
    }

    /// Handles the next event, if there is one until then.
    fn step(&mut self, until: Option<Instant>) -> bool {
        let event = self.events.keys().next().map(|key| key.0);
        let start = self.starts.peek().map(|start| start.0.0);
        let timer = self.core.poll_timeout();
        let Some(next) = [event, start, timer].into_iter().flatten().min() else {
            return false;
        };
        if until.is_some_and(|until| next > until) {
            return false;
        }
        self.now = self.now.max(next);
        if start == Some(next)
            && let Some(Reverse((_, index))) = self.starts.pop()
        {
            self.start(index);
        } else if event == Some(next)
            && let Some((_, (worker, event))) = self.events.pop_first()
        {
            self.happen(worker, event);
        } else {
            self.core.handle_timer(self.now);
        }
        self.poll();
        true
    }

    fn happen(&mut self, worker: WorkerKey, event: Event) {
        let Some(sim) = self.workers.get_mut(&worker) else {
            return;
        };
        match event {
            Event::Arrive(job) => {
                sim.fifo.push_back(job);
                self.begin(worker);
            }
            Event::ArriveRevoke(task) => {
                let taken = sim.revoke(task);
                self.schedule(self.park.latency, worker, Event::Revoked(task, taken));
            }
            Event::ArriveStop(task) => self.stop(worker, task),
            Event::End(stay) => self.end(worker, stay),
            Event::Finished(task, elapsed) => self.finished(worker, task, elapsed),
            Event::Revoked(task, taken) => self.revoked(worker, task, taken),
            Event::TaskLost(task) => self.task_lost(worker, task),
            Event::Unblock(task) => self.core.handle_unblocked(self.now, worker, task),
            Event::Resume => self.core.handle_resumed(self.now, worker),
        }
    }

    // THE WORKERS

    fn start(&mut self, index: u32) {
        let slots = self.park.slots[index as usize];
        let key = self.core.handle_worker_ready(self.now, index, slots);
        let (fifo, running) = (VecDeque::new(), Vec::new());
        let sim = SimWorker { key, slots, index, fifo, running, credit_used: 0 };
        assert!(self.workers.insert(key, sim).is_none(), "a worker's key is used twice");
    }

    /// Begins what fits into the slots; async tasks fit always.
    fn begin(&mut self, worker: WorkerKey) {
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
    fn lose_process(&mut self, worker: WorkerKey, job: Job) {
        let Some(sim) = self.workers.get_mut(&worker) else {
            return;
        };
        if sim.slots == 1 {
            self.die(worker);
            return;
        }
        sim.running.retain(|(other, _)| other.stay != job.stay);
        self.schedule(self.park.latency, worker, Event::TaskLost(job.task));
        self.begin(worker);
    }

    fn end(&mut self, worker: WorkerKey, stay: u64) {
        let Some(sim) = self.workers.get_mut(&worker) else {
            return;
        };
        let Some(at) = sim.running.iter().position(|(job, _)| job.stay == stay) else {
            return;
        };
        let (job, begun) = sim.running.swap_remove(at);
        let elapsed = self.now - begun;
        self.schedule(self.park.latency, worker, Event::Finished(job.task, elapsed));
        self.begin(worker);
    }

    fn stop(&mut self, worker: WorkerKey, task: TaskKey) {
        let running = |(job, _): &&(Job, Instant)| job.task == task;
        if let Some(&(job, _)) = self.workers.get(&worker).and_then(|sim| sim.running.iter().find(running))
            && self.records[job.id].body.heeds_stop
        {
            self.end(worker, job.stay);
        }
    }

    /// A worker is gone, with all messages under way from and to it.
    fn die(&mut self, worker: WorkerKey) {
        let Some(sim) = self.workers.remove(&worker) else {
            return;
        };
        if self.park.latency.is_zero() {
            self.deliver_last_results(worker);
        }
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
    fn deliver_last_results(&mut self, worker: WorkerKey) {
        let keys: Vec<_> =
            self.events.iter().filter(|(_, (to, _))| *to == worker).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some((_, Event::Finished(task, elapsed))) = self.events.remove(&key) {
                self.finished(worker, task, elapsed);
            }
        }
    }

    // THE DRIVER

    fn finished(&mut self, worker: WorkerKey, task: TaskKey, elapsed: Duration) {
        self.forget_held(worker, task);
        if let Some(id) = self.core.handle_finished(self.now, worker, task, elapsed) {
            self.resolve(id);
        }
    }

    fn revoked(&mut self, worker: WorkerKey, task: TaskKey, taken: bool) {
        if taken {
            self.forget_held(worker, task);
        }
        self.core.handle_revoked(self.now, worker, task, taken);
        if taken && self.core.attempt(task).is_some() {
            self.requeue(self.ids[&task]);
        }
    }

    fn task_lost(&mut self, worker: WorkerKey, task: TaskKey) {
        self.forget_held(worker, task);
        self.core.handle_task_lost(self.now, worker, task, Began::Yes);
        if self.core.attempt(task).is_some() {
            self.requeue(self.ids[&task]);
        }
    }

    fn forget_held(&mut self, worker: WorkerKey, task: TaskKey) {
        let is_sync = !self.records[self.ids[&task]].body.spec.is_async;
        if let Some(sim) = self.workers.get_mut(&worker)
            && is_sync
        {
            sim.credit_used -= 1;
        }
    }

    fn poll(&mut self) {
        while let Some(action) = self.core.poll_action(self.now) {
            self.act(action);
        }
        self.checks += 1;
        // Every step of small runs, and some of the large ones.
        if self.checks.is_multiple_of(1 + self.records.len() as u64 / 100) {
            self.core.assert_consistent();
        }
    }

    fn act(&mut self, action: Action<usize>) {
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

    fn send(&mut self, worker: WorkerKey, task: TaskKey, attempt: u32) {
        let id = *self.core.payload(task).expect("a task that is sent is not resolved");
        assert_eq!(self.records[id].key, task);
        self.dequeue(id);
        let spec = self.records[id].body.spec;
        self.records[id].belief = Belief::Held;
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
    fn take_arrival(&mut self, worker: WorkerKey, task: TaskKey) -> bool {
        let arrives = |(to, event): &(WorkerKey, Event)| {
            *to == worker && matches!(event, Event::Arrive(job) if job.task == task)
        };
        let key = self.events.iter().find(|(_, event)| arrives(event)).map(|(key, _)| *key);
        key.is_some_and(|key| self.events.remove(&key).is_some())
    }

    fn kill(&mut self, worker: WorkerKey, task: Option<TaskKey>) {
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

    fn check_failure(&self, id: usize, failure: Failure) {
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

    // THE QUEUE

    fn class(&self, id: usize) -> Class {
        let spec = self.records[id].body.spec;
        // Pinned tasks of an index are one line.
        (spec.is_async && spec.pin.is_none(), spec.pin)
    }

    fn enqueue(&mut self, id: usize, place: i64) {
        let priority = self.records[id].body.spec.priority;
        self.records[id].belief = Belief::Queued(place);
        self.queues.entry(self.class(id)).or_default().insert((Reverse(priority), place, id));
    }

    fn requeue(&mut self, id: usize) {
        assert_eq!(self.records[id].belief, Belief::Held, "only what a worker held comes back");
        self.front -= 1;
        self.enqueue(id, self.front);
    }

    /// Takes a task out of the line, which must be first in it.
    fn dequeue(&mut self, id: usize) {
        let class = self.class(id);
        let first = self.queues.get_mut(&class).and_then(BTreeSet::pop_first);
        assert_eq!(first.map(|entry| entry.2), Some(id), "another task was first in line");
    }

    fn resolve(&mut self, id: usize) {
        match self.records[id].belief {
            Belief::Queued(place) => {
                let priority = self.records[id].body.spec.priority;
                let class = self.class(id);
                self.queues.entry(class).or_default().remove(&(Reverse(priority), place, id));
            }
            Belief::Held => {}
            Belief::Resolved => panic!("task {id} was resolved twice"),
        }
        self.records[id].belief = Belief::Resolved;
    }

    // HELPERS

    fn pick(&self, n: u32) -> Option<WorkerKey> {
        let count = self.workers.len();
        (count > 0).then(|| self.workers.values().nth(n as usize % count)).flatten().map(|sim| sim.key)
    }

    fn schedule(&mut self, after: Duration, worker: WorkerKey, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), (worker, event));
    }

    fn check_outcome(&self) {
        for (id, record) in self.records.iter().enumerate() {
            assert_eq!(record.belief, Belief::Resolved, "task {id} never resolved: {:?}", record.body);
        }
        self.core.assert_consistent();
        let stats = self.core.stats();
        assert_eq!((stats.waiting, stats.running, stats.ahead, stats.blocked), (0, 0, 0, 0));
        assert_eq!(self.core.is_drained(), self.core.is_closing());
        assert_eq!(stats.finished + stats.failed + stats.cancelled, self.records.len() as u64);
        assert_eq!(self.core.poll_timeout(), None);
    }
}

impl SimWorker {
    /// Takes a task back that has not begun.
    fn revoke(&mut self, task: TaskKey) -> bool {
        let at = self.fifo.iter().position(|job| job.task == task);
        at.and_then(|at| self.fifo.remove(at)).is_some()
    }

    fn next_to_begin(&mut self, records: &[Record]) -> Option<Job> {
        let is_async = |job: &Job| records[job.id].body.spec.is_async;
        let busy = self.running.iter().filter(|(job, _)| !is_async(job)).count();
        let at = self.fifo.iter().position(|job| is_async(job) || busy < self.slots as usize)?;
        self.fifo.remove(at)
    }
}
