//! Simulated workers and a driver under virtual time, with every promise checked as the run goes.

mod driver;
mod workers;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use self::workers::SimWorker;
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
    /// The driver takes up to so many tasks of a run at once; 0: it polls them one by one.
    pub(super) run: u32,
    /// The driver hears of its workers so often, and takes in many results at once. Zero: it hears of each event when it
    /// happens.
    pub(super) hears_every: Duration,
}

/// A send as told by a run: when, to whom, which task and attempt.
pub(super) type Trace = Vec<(Duration, WorkerKey, usize, u32)>;

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
    start: Instant,
    now: Instant,
    trace: Trace,
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
        let start = Instant::now();
        let mut world = Self {
            core: Scheduler::new(park.config.clone()),
            start,
            now: start,
            trace: Vec::new(),
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
    pub(super) fn run(self, operations: Vec<Operation>) -> SchedulerStats {
        self.run_traced(operations).0
    }

    /// The same, and what was sent.
    pub(super) fn run_traced(mut self, operations: Vec<Operation>) -> (SchedulerStats, Trace) {
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
        (self.core.stats(), self.trace)
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
                self.report(worker, Event::Revoked(task, taken));
            }
            Event::ArriveStop(task) => self.stop(worker, task),
            Event::End(stay) => self.end(worker, stay),
            Event::Finished(task, elapsed) if self.park.hears_every.is_zero() => {
                self.finished(worker, task, elapsed);
            }
            Event::Finished(task, elapsed) => {
                let mut results = vec![(task, elapsed)];
                self.take_results(worker, &mut results);
                self.finished_together(worker, &results);
            }
            Event::Revoked(task, taken) => self.revoked(worker, task, taken),
            Event::TaskLost(task) => self.task_lost(worker, task),
            Event::Unblock(task) => self.core.handle_unblocked(self.now, worker, task),
            Event::Resume => self.core.handle_resumed(self.now, worker),
        }
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

    /// The driver is told something, as soon as it listens.
    fn report(&mut self, worker: WorkerKey, event: Event) {
        let mut after = self.park.latency;
        let every = self.park.hears_every.as_nanos();
        if every > 0 {
            let late = (self.now + after - self.start).as_nanos() % every;
            after += Duration::from_nanos(((every - late) % every) as u64);
        }
        self.schedule(after, worker, event);
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
