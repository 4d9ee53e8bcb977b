//! Deadlines: a binary heap whose entries can be moved and removed by id, so that it never holds a dead one.

use std::time::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// When a running task has used up its time limit (slot of the task).
    Limit(u32),
    /// When a task that was told to stop should have ended (slot of the task).
    Grace(u32),
    /// When a worker with tasks handed ahead should have finished one (slot of the worker).
    Stall(u32),
}

/// Names an armed timer. Its holder forgets it when the timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimerId(u32);

#[derive(Clone, Copy, Debug)]
struct Node {
    at: Instant,
    id: u32,
}

#[derive(Debug)]
struct Slot {
    /// Where in the heap the timer is.
    position: u32,
    what: Timer,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: Vec<Node>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Timers {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|node| node.at)
    }

    pub(super) fn arm(&mut self, at: Instant, what: Timer) -> TimerId {
        let position = self.heap.len() as u32;
        let slot = Slot { position, what };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = slot;
                id
            }
            None => {
                self.slots.push(slot);
                self.slots.len() as u32 - 1
            }
        };
        self.heap.push(Node { at, id });
        self.sift_up(position as usize);
        TimerId(id)
    }

    pub(super) fn disarm(&mut self, id: TimerId) {
        let position = self.slots[id.0 as usize].position as usize;
        self.remove_at(position);
        self.free.push(id.0);
    }

    /// Takes one timer that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let first = *self.heap.first()?;
        if first.at > now {
            return None;
        }
        self.remove_at(0);
        self.free.push(first.id);
        Some(self.slots[first.id as usize].what)
    }

    fn remove_at(&mut self, position: usize) {
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            self.settle(position);
            self.sift_up(position);
            self.sift_down(position);
        }
    }

    fn sift_up(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / 2;
            if self.heap[parent].at <= self.heap[position].at {
                break;
            }
            self.heap.swap(parent, position);
            self.settle(position);
            position = parent;
        }
        self.settle(position);
    }

    fn sift_down(&mut self, mut position: usize) {
        loop {
            let left = 2 * position + 1;
            let Some(mut least) = self.heap.get(left).map(|_| left) else {
                break;
            };
            if self.heap.get(left + 1).is_some_and(|right| right.at < self.heap[left].at) {
                least = left + 1;
            }
            if self.heap[position].at <= self.heap[least].at {
                break;
            }
            self.heap.swap(position, least);
            self.settle(position);
            position = least;
        }
        self.settle(position);
    }

    /// Tells a timer where it now is.
    fn settle(&mut self, position: usize) {
        let id = self.heap[position].id;
        self.slots[id as usize].position = position as u32;
    }
}
