//! Waiting tasks: by priority, and those that wait for one particular worker.

use std::collections::BTreeMap;

use super::list::List;
use super::tasks::{Task, Tasks};

/// First in, first out within a priority; the highest priority first. Priority 0 needs no search.
#[derive(Debug)]
pub(super) struct PriorityQueue {
    /// Priorities above 0; no list in it is empty.
    above: BTreeMap<i32, List>,
    zero: List,
    /// Priorities below 0; no list in it is empty.
    below: BTreeMap<i32, List>,
}

impl PriorityQueue {
    pub(super) fn new() -> Self {
        Self { above: BTreeMap::new(), zero: List::EMPTY, below: BTreeMap::new() }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.zero.is_empty() && self.above.is_empty() && self.below.is_empty()
    }

    #[inline]
    pub(super) fn push_back<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        let priority = tasks.priority(slot);
        self.list_mut(priority).push_back(tasks, slot);
    }

    pub(super) fn push_front<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        let priority = tasks.priority(slot);
        self.list_mut(priority).push_front(tasks, slot);
    }

    #[inline]
    pub(super) fn pop_front<T>(&mut self, tasks: &mut Tasks<T>) -> Option<u32> {
        if !self.above.is_empty() {
            return pop_highest(&mut self.above, tasks);
        }
        self.zero.pop_front(tasks).or_else(|| pop_highest(&mut self.below, tasks))
    }

    pub(super) fn remove<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        let priority = tasks.priority(slot);
        let list = self.list_mut(priority);
        list.unlink(tasks, slot);
        if list.is_empty() {
            self.above.remove(&priority);
            self.below.remove(&priority);
        }
    }

    /// The first task that goes next, if it is one of priority 0.
    #[inline]
    pub(super) fn first_of_zero(&self) -> Option<u32> {
        (self.above.is_empty() && !self.zero.is_empty()).then_some(self.zero.head)
    }

    #[inline]
    fn list_mut(&mut self, priority: i32) -> &mut List {
        match priority {
            0 => &mut self.zero,
            1.. => self.above.entry(priority).or_insert(List::EMPTY),
            _ => self.below.entry(priority).or_insert(List::EMPTY),
        }
    }
}

fn pop_highest<T>(lists: &mut BTreeMap<i32, List>, tasks: &mut Tasks<T>) -> Option<u32> {
    let mut highest = lists.last_entry()?;
    let slot = highest.get_mut().pop_front(tasks);
    if highest.get().is_empty() {
        highest.remove();
    }
    slot
}

/// Everything that waits.
#[derive(Debug)]
pub(super) struct Queues {
    /// For any worker with a slot or room ahead.
    pub(super) sync: PriorityQueue,
    /// For any worker with room for an async task.
    pub(super) asynchronous: PriorityQueue,
    /// For the worker with that index, sync and async in one order; no queue in it is empty.
    pinned: BTreeMap<u32, PriorityQueue>,
    len: usize,
}

impl Queues {
    pub(super) fn new() -> Self {
        Self {
            sync: PriorityQueue::new(),
            asynchronous: PriorityQueue::new(),
            pinned: BTreeMap::new(),
            len: 0,
        }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Takes out the first `count` sync tasks of priority 0, of which `last` is the last.
    #[inline]
    pub(super) fn split_front<T>(&mut self, tasks: &mut Tasks<T>, last: u32, count: u32) -> List {
        self.len -= count as usize;
        self.sync.zero.split_front(tasks, last)
    }

    #[inline]
    pub(super) fn push_back<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        self.len += 1;
        self.queue_of(tasks, slot).push_back(tasks, slot);
    }

    pub(super) fn push_front<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        self.len += 1;
        self.queue_of(tasks, slot).push_front(tasks, slot);
    }

    #[inline]
    pub(super) fn pop_sync<T>(&mut self, tasks: &mut Tasks<T>) -> Option<u32> {
        let slot = self.sync.pop_front(tasks)?;
        self.len -= 1;
        Some(slot)
    }

    pub(super) fn pop_async<T>(&mut self, tasks: &mut Tasks<T>) -> Option<u32> {
        let slot = self.asynchronous.pop_front(tasks)?;
        self.len -= 1;
        Some(slot)
    }

    /// The next task for the worker with this index, if `fits` has room for it.
    pub(super) fn pop_pinned<T>(
        &mut self,
        tasks: &mut Tasks<T>,
        index: u32,
        fits: impl Fn(&Task<T>) -> bool,
    ) -> Option<u32> {
        let queue = self.pinned.get_mut(&index)?;
        let slot = queue.pop_front(tasks)?;
        if !fits(&tasks[slot]) {
            queue.push_front(tasks, slot);
            return None;
        }
        if queue.is_empty() {
            self.pinned.remove(&index);
        }
        self.len -= 1;
        Some(slot)
    }

    pub(super) fn has_pinned(&self, index: u32) -> bool {
        self.pinned.contains_key(&index)
    }

    /// Any task, for a pool that runs no more of them.
    pub(super) fn pop_any<T>(&mut self, tasks: &mut Tasks<T>) -> Option<u32> {
        if let Some(slot) = self.pop_sync(tasks).or_else(|| self.pop_async(tasks)) {
            return Some(slot);
        }
        let index = *self.pinned.keys().next()?;
        self.pop_pinned(tasks, index, |_| true)
    }

    pub(super) fn remove<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        self.len -= 1;
        self.queue_of(tasks, slot).remove(tasks, slot);
        if let Some(index) = tasks.pin(slot)
            && self.pinned.get(&index).is_some_and(PriorityQueue::is_empty)
        {
            self.pinned.remove(&index);
        }
    }

    #[inline]
    fn queue_of<T>(&mut self, tasks: &Tasks<T>, slot: u32) -> &mut PriorityQueue {
        match tasks.pin(slot) {
            Some(index) => self.pinned.entry(index).or_insert_with(PriorityQueue::new),
            None if tasks[slot].is_async() => &mut self.asynchronous,
            None => &mut self.sync,
        }
    }
}
