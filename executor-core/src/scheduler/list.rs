//! Lists of tasks, threaded through the tasks' own links.

use super::tasks::{NIL, Task, Tasks};

/// A list of tasks. A task is in one list at most.
///
/// The first task's `prev` and an empty list's `tail` mean nothing: so nothing needs to be written into the second task
/// when the first leaves, which with a million tasks waiting would be a cache miss.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    pub(super) head: u32,
    tail: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self { head: NIL, tail: NIL };

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// The last task; `NIL` for none.
    #[inline]
    pub(super) fn last(&self) -> u32 {
        if self.is_empty() { NIL } else { self.tail }
    }

    /// The task before one of this list; `NIL` before the first.
    #[inline]
    pub(super) fn before<T>(&self, tasks: &Tasks<T>, slot: u32) -> u32 {
        if slot == self.head { NIL } else { tasks[slot].prev }
    }

    #[inline]
    pub(super) fn push_back<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        let task = &mut tasks[slot];
        (task.prev, task.next) = (self.tail, NIL);
        self.link_back(tasks, slot);
        self.tail = slot;
    }

    #[inline]
    fn link_back<T>(&mut self, tasks: &mut Tasks<T>, first: u32) {
        match self.is_empty() {
            true => self.head = first,
            false => tasks[self.tail].next = first,
        }
    }

    pub(super) fn push_front<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        tasks[slot].next = self.head;
        match self.is_empty() {
            true => self.tail = slot,
            false => tasks[self.head].prev = slot,
        }
        self.head = slot;
    }

    #[inline]
    pub(super) fn pop_front<T>(&mut self, tasks: &mut Tasks<T>) -> Option<u32> {
        let slot = self.head;
        if slot == NIL {
            return None;
        }
        self.head = tasks[slot].next;
        Some(slot)
    }

    /// Cuts off everything up to and with `last`, as a list.
    #[inline]
    pub(super) fn split_front<T>(&mut self, tasks: &mut Tasks<T>, last: u32) -> Self {
        let front = Self { head: self.head, tail: last };
        self.head = std::mem::replace(&mut tasks[last].next, NIL);
        front
    }

    /// Puts a list that is not empty behind this one.
    #[inline]
    pub(super) fn append<T>(&mut self, tasks: &mut Tasks<T>, other: Self) {
        debug_assert!(!other.is_empty(), "nothing to append");
        tasks[other.head].prev = self.tail;
        self.link_back(tasks, other.head);
        self.tail = other.tail;
    }

    #[inline]
    pub(super) fn unlink<T>(&mut self, tasks: &mut Tasks<T>, slot: u32) {
        let Task { prev, next, .. } = tasks[slot];
        if slot == self.head {
            self.head = next;
            return;
        }
        tasks[prev].next = next;
        match next {
            NIL => self.tail = prev,
            _ => tasks[next].prev = prev,
        }
    }
}
