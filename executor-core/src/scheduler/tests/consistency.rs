//! Every count, list and bucket recomputed from scratch.

use super::super::buckets::NOWHERE;
use super::super::list::List;
use super::super::tasks::{NIL, Place, Revoke};
use super::*;

impl<T> Scheduler<T> {
    /// Panics if anything that is kept up to date step by step differs from what it stands for.
    pub(super) fn assert_consistent(&self) {
        let (mut held, mut running, mut blocked, mut revoking) = (0, 0, 0, 0);
        for worker in self.workers.present() {
            held += self.assert_worker_consistent(worker);
            let state = &self.workers[worker];
            running += (state.running + state.async_held) as usize;
            blocked += state.blocked as usize;
            revoking += state.revoking as usize;
        }
        assert_eq!(self.running, running, "running tasks");
        assert_eq!(self.blocked, blocked, "blocked tasks");
        assert_eq!(self.revoking, revoking, "unanswered revokes");
        assert_eq!(self.tasks.len(), held + self.queues.len(), "every task waits or is at a worker");
        assert!(self.ghosts <= held, "ghosts are at workers");
    }

    fn assert_worker_consistent(&self, worker: u32) -> usize {
        let state = &self.workers[worker];
        let key = self.workers.key(worker);
        let (mut held, mut running, mut loose, mut blocked, mut revoking) = (0, 0, 0, 0, 0);
        let (mut async_held, mut loose_async) = (0, 0);
        let mut first_ahead = NIL;
        self.assert_linked(&state.sync);
        self.assert_linked(&state.asynchronous);
        for task in self.tasks_of(key) {
            let slot = self.tasks.find(task).expect("a listed task is in the table");
            let task = &self.tasks[slot];
            assert_eq!(task.worker, worker, "a listed task knows its worker");
            revoking += u32::from(matches!(task.revoke, Revoke::Asked | Revoke::Sent));
            let is_loose = u32::from(task.flags.has(Flags::LOOSE));
            match task.place {
                Place::Async => {
                    async_held += 1;
                    loose_async += is_loose;
                    continue;
                }
                Place::Running => {
                    assert_eq!(first_ahead, NIL, "running tasks come first");
                    running += 1;
                }
                Place::Ahead if first_ahead == NIL => first_ahead = slot,
                Place::Ahead => {}
                Place::Free | Place::Queued => panic!("a task at a worker is {:?}", task.place),
            }
            held += 1;
            loose += is_loose;
            blocked += u32::from(task.flags.has(Flags::BLOCKED));
        }
        assert_eq!(state.held, held, "sync tasks");
        assert_eq!(state.running, running, "tasks in slots");
        assert!(running > 0 || held == 0, "a slot is free while a task is ahead");
        assert_eq!(state.first_ahead, first_ahead, "the first task ahead");
        assert_eq!(state.loose, loose, "loose tasks");
        assert_eq!(state.blocked, blocked, "blocked tasks");
        assert_eq!(state.revoking, revoking, "unanswered revokes");
        assert_eq!(state.async_held, async_held, "async tasks");
        assert_eq!(state.loose_async, loose_async, "loose async tasks");
        assert_eq!(state.sync_level, state.sync_level_now(&self.config), "filed by load");
        assert_eq!(state.loose_level, state.loose_level_now(), "filed by what can be taken back");
        let level = if self.uses_async { state.async_level_now(&self.config) } else { NOWHERE };
        assert_eq!(state.async_level, level, "filed by async load");
        if loose > 0 && !state.stalled {
            assert!(state.stall_timer.is_some(), "what is ahead is watched");
        }
        (held + async_held) as usize
    }

    /// Backwards a list is what it is forwards, reversed.
    fn assert_linked(&self, list: &List) {
        let existing = |slot: u32| (slot != NIL).then_some(slot);
        let forwards = std::iter::successors(existing(list.head), |&slot| existing(self.tasks[slot].next));
        let backwards =
            std::iter::successors(existing(list.last()), |&slot| existing(list.before(&self.tasks, slot)));
        let mut forwards: Vec<u32> = forwards.collect();
        forwards.reverse();
        assert!(forwards.into_iter().eq(backwards), "links agree");
    }
}
