//! Rules of behaviour one by one, on a hand-driven pool; and whole runs on simulated workers.

mod assign;
mod batches;
mod consistency;
mod lost;
mod model;
mod pins;
mod shutdown;
mod simulation;
mod stop;
mod tables;
mod take_back;

use std::time::{Duration, Instant};

use super::*;

/// A scheduler under virtual time; payloads are numbers.
struct Pool {
    core: Scheduler<u32>,
    now: Instant,
}

/// A send as the tests like to see it.
type Sent = (WorkerKey, u32);

fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Pool {
    fn new() -> Self {
        Self::with(SchedulerConfig::default())
    }

    fn with(config: SchedulerConfig) -> Self {
        Self { core: Scheduler::new(config), now: Instant::now() }
    }

    /// A pool with one worker per entry, of that many slots.
    fn with_workers<const N: usize>(slots: [u32; N]) -> (Self, [WorkerKey; N]) {
        let mut pool = Self::new();
        let mut index = 0;
        let workers = slots.map(|slots| {
            index += 1;
            pool.worker(index - 1, slots)
        });
        (pool, workers)
    }

    fn worker(&mut self, index: u32, slots: u32) -> WorkerKey {
        self.core.handle_worker_ready(self.now, index, slots)
    }

    fn submit(&mut self, payload: u32) -> TaskKey {
        self.submit_as(TaskSpec::default(), payload)
    }

    fn submit_as(&mut self, spec: TaskSpec, payload: u32) -> TaskKey {
        self.core.handle_submit(self.now, spec, payload).expect("there is room in the queue")
    }

    fn submit_all(&mut self, payloads: std::ops::Range<u32>) -> Vec<TaskKey> {
        payloads.map(|payload| self.submit(payload)).collect()
    }

    /// Everything to do now.
    fn actions(&mut self) -> Vec<Action<u32>> {
        let actions = std::iter::from_fn(|| self.core.poll_action(self.now)).collect();
        self.core.assert_consistent();
        actions
    }

    /// Everything to do now, which must be nothing but sends: to whom, and which payload.
    fn sends(&mut self) -> Vec<Sent> {
        let actions = self.actions();
        actions.iter().map(|action| self.as_send(action)).collect()
    }

    fn as_send(&self, action: &Action<u32>) -> Sent {
        match *action {
            Action::Send { worker, task, .. } => {
                (worker, *self.core.payload(task).expect("a task that is sent has its payload"))
            }
            ref other => panic!("expected a send: {other:?}"),
        }
    }

    /// Answers every `Revoke` at once, by `taken`; gives the other actions.
    fn actions_answering(&mut self, taken: impl Fn(TaskKey) -> bool) -> Vec<Action<u32>> {
        let mut others = Vec::new();
        while let Some(action) = self.core.poll_action(self.now) {
            match action {
                Action::Revoke { worker, task } => {
                    self.core.handle_revoked(self.now, worker, task, taken(task));
                }
                other => others.push(other),
            }
        }
        self.core.assert_consistent();
        others
    }

    fn finish(&mut self, worker: WorkerKey, task: TaskKey, elapsed: Duration) -> Option<u32> {
        self.core.handle_finished(self.now, worker, task, elapsed)
    }

    /// Lets a worker finish `count` quick tasks, so that it is handed work ahead.
    fn warm_up(&mut self, worker: WorkerKey, count: u32) {
        for payload in 0..count {
            let task = self.submit(payload);
            assert_eq!(self.sends(), [(worker, payload)]);
            assert_eq!(self.finish(worker, task, us(1)), Some(payload));
        }
    }

    fn lose(&mut self, worker: WorkerKey, began: impl FnMut(TaskKey) -> Began) {
        self.core.handle_worker_lost(self.now, worker, began);
    }

    /// Time passes; timers that fall due are handled at the end of it.
    fn advance(&mut self, by: Duration) {
        self.now += by;
        self.core.handle_timer(self.now);
    }
}

#[test]
fn the_scheduler_and_its_actions_can_move_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Scheduler<Box<u8>>>();
    is_send::<Action<Box<u8>>>();
}
